"""Bucket properties: what a new bucket has, and what a client may change.

AIS: the JSON of `Ais-Bucket-Props`; `set-bprops` takes a partial tree of the same shape.
"""

import copy
from typing import Any

from aisfs.server.eras import NEWEST, Era
from aisfs.server.http.errors import AisError

_FIXED = {"provider", "Renamed", "bid", "created"}
_QUOTED_NUMBERS = {"access", "features"}


class InvalidPropsError(Exception):
    """A change of properties that names an unknown one or has a wrong type; the text says which."""


def default_props(era: Era = NEWEST) -> dict[str, Any]:
    """Return a fresh copy of what a release gives a new bucket."""
    return copy.deepcopy(dict(era.bucket_props))


def changed(props: dict[str, Any], change: Any, era: Era = NEWEST) -> dict[str, Any]:
    """Return properties with a partial tree applied; `props` stays as it is.

    Args:
        props: Properties before.
        change: What the client sent; null means nothing.
        era: Whose checksum types there are.

    Raises:
        InvalidPropsError: unknown fields, wrong types.
        AisError: 400 for an unknown checksum type.
    """
    result = copy.deepcopy(props)
    if change is None:
        return result
    if not isinstance(change, dict):
        raise InvalidPropsError("readObjectStart: expect { or n")
    known = {key: value for key, value in change.items() if key != "force"}
    _merge(result, known, _FIXED)
    kind = result["checksum"]["type"]
    if kind not in era.checksum_types:
        expected = " ".join(era.checksum_types)
        raise AisError(400, f'invalid checksum type "{kind}" (expecting [{expected}])')
    return result


def _merge(tree: dict[str, Any], change: dict[str, Any], fixed: set[str]) -> None:
    for key, value in change.items():
        if key not in tree or key in fixed:
            raise InvalidPropsError(f"cmn.BpropsToSet.ReadObject: found unknown field: {key}")
        if value is None:
            continue
        old = tree[key]
        if isinstance(old, dict) and old and isinstance(value, dict):
            _merge(old, value, set())
        elif _fits(key, old, value):
            tree[key] = value
        else:
            raise InvalidPropsError(f"cmn.BpropsToSet.{key}: unexpected value {value!r}")


def _fits(key: str, old: Any, value: Any) -> bool:
    if key in _QUOTED_NUMBERS:
        return isinstance(value, str) and value.isascii() and value.isdigit()
    return type(old) is type(value)
