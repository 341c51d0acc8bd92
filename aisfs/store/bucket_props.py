"""Properties of a bucket by name: texts that people write, as the values that the cluster takes.

Serves `ais_work`. The cluster refuses a value of another JSON type than a property has; its present
value tells which that is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.config import nearest
from aisfs.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SWITCHES = {"true": True, "yes": True, "false": False, "no": False}


def changed_props(present: Mapping[str, object], texts: Mapping[str, str]) -> dict[str, object]:
    """Return a part of a bucket's tree of properties, with new values.

    AIS: objects.md 3.8.

    >>> changed_props({"mirror": {"copies": 1, "enabled": False}}, {"mirror.copies": "2"})
    {'mirror': {'copies': 2}}

    Args:
        present: the whole tree.
        texts: new values by name, with dots between the levels.

    Raises:
        Invalid: there is no such property, or the text is none of its values.
    """
    known = dict(_leaves(present))
    tree: dict[str, object] = {}
    for name, text in texts.items():
        if name not in known:
            raise Invalid(f"a bucket has no property {name}{nearest(name, known)}")
        *above, last = name.split(".")
        branch = tree
        for level in above:
            branch = branch.setdefault(level, {})  # type: ignore[assignment]
        branch[last] = _value(name, text, known[name])
    return tree


def _leaves(tree: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield above + key, value


def _value(name: str, text: str, present: object) -> object:
    """Return a text as a value of the same type as the present one."""
    if isinstance(present, bool):
        if text.lower() not in _SWITCHES:
            raise Invalid(f"{name}={text}: write {name}=yes or {name}=no")
        return _SWITCHES[text.lower()]
    if not isinstance(present, int | float):
        return text
    try:
        return type(present)(text)
    except ValueError:
        raise Invalid(f"{name}={text} is no number; it is {present} now") from None
