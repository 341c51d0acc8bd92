"""Objects chosen by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aisfs_sdk.multiobj.object_collection import ObjectCollection

if TYPE_CHECKING:
    from collections.abc import Iterator


class ObjectNames(ObjectCollection):
    """A list of names.

    Args:
        names: of the objects.
    """

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def __str__(self) -> str:
        return ", ".join(self._names)

    def get_value(self) -> dict[str, Any]:
        """Return the names as they stand in control messages."""
        return {"objnames": list(self._names)}

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    @property
    def chooses_all(self) -> bool:
        """Whether the list is empty, which clusters take for "everything"."""
        return not self._names
