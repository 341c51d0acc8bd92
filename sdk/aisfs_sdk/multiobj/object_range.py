"""Objects chosen by a range of numbers in their names."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from aisfs_sdk.errors import InvalidObjectRangeIndex
from aisfs_sdk.multiobj.object_collection import ObjectCollection

if TYPE_CHECKING:
    from collections.abc import Iterator

_TEMPLATE = re.compile(r"([^{}]*)\{(\d+)\.\.(\d+)(?:\.\.(\d+))?\}([^{}]*)")


class ObjectRange(ObjectCollection):
    """A range of names: a prefix, a number between two bounds, a suffix.

    Without bounds it stands for all objects whose name begins with the prefix.

    Args:
        prefix: what all names begin with.
        min_index: first number.
        max_index: last number, included.
        pad_width: digits that every number has at least, by leading zeros.
        step: difference between one number and the next.
        suffix: what all names end with.

    Raises:
        InvalidObjectRangeIndex: only one bound is given, the first is not below the last, has more
            digits than `pad_width` where that is given, or is negative; or the step is below 1.
        ValueError: there is a suffix, but no bounds.
    """

    def __init__(
        self,
        prefix: str,
        min_index: int | None = None,
        max_index: int | None = None,
        pad_width: int = 0,
        step: int = 1,
        suffix: str = "",
    ) -> None:
        self._prefix = prefix
        self._pad_width = pad_width
        self._step = step
        self._suffix = suffix
        self._bounds = _checked_bounds(min_index, max_index, pad_width, step)
        if self._bounds is None and suffix:
            msg = "a suffix needs bounds: every name that begins with the prefix is meant"
            raise ValueError(msg)

    @classmethod
    def from_string(cls, range_string: str) -> ObjectRange:
        """Return the range that a template such as `p-{00..99..1}.x` describes.

        Raises:
            ValueError: it is no template with one range.
            InvalidObjectRangeIndex: its bounds are no range.
        """
        found = _TEMPLATE.fullmatch(range_string)
        if found is None:
            msg = f"no template with one range {{FIRST..LAST..STEP}}: {range_string!r}"
            raise ValueError(msg)
        prefix, first, last, step, suffix = found.groups()
        # AIS pads to the shorter of both bounds; a bound without leading zero does not pad.
        pad_width = min(len(first), len(last)) if first.startswith("0") and len(first) > 1 else 0
        return cls(prefix, int(first), int(last), pad_width, int(step or 1), suffix)

    def __str__(self) -> str:
        if self._bounds is None:
            return self._prefix
        first, last = (str(bound).zfill(self._pad_width) for bound in self._bounds)
        return f"{self._prefix}{{{first}..{last}..{self._step}}}{self._suffix}"

    def get_value(self) -> dict[str, Any]:
        """Return the range as it stands in control messages."""
        return {"template": str(self)}

    def __iter__(self) -> Iterator[str]:
        if self._bounds is None:
            msg = f"the names that begin with {self._prefix!r} are known to the cluster only"
            raise RuntimeError(msg)
        first, last = self._bounds
        return (
            f"{self._prefix}{str(i).zfill(self._pad_width)}{self._suffix}"
            for i in range(first, last + 1, self._step)
        )

    @property
    def chooses_all(self) -> bool:
        """Whether it is the empty prefix."""
        return not str(self).strip("*")


def _checked_bounds(
    first: int | None, last: int | None, pad_width: int, step: int
) -> tuple[int, int] | None:
    if first is None and last is None:
        return None
    problem = ""
    if first is None or last is None:
        problem = "a range has a first and a last number, or none of them"
    elif first >= last:
        problem = f"{first} is not below {last}"
    elif first < 0 or step < 1:
        problem = f"{first} to {last} in steps of {step} is none"
    elif pad_width and len(str(first)) > pad_width:
        problem = f"{first} has more than {pad_width} digits"
    if problem:
        raise InvalidObjectRangeIndex(problem)
    assert first is not None
    assert last is not None
    return first, last
