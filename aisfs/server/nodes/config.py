"""The cluster's configuration: what can be changed of it, and where changes are kept.

AIS: `PUT /v1/cluster/set-config?KEY=VALUE`, actions `set-config` and `reset-config`. The tree holds
what this store obeys or gives to new buckets; other keys are unknown. Changes survive a restart.
"""

import copy
import json
from typing import Any

from aisfs.server.eras import NEWEST, Era
from aisfs.server.http.call import Query
from aisfs.server.http.errors import AisError
from aisfs.server.storage.catalog import Catalog

_META = "config"
_BUCKET_SECTIONS = ("checksum", "lru", "mirror", "versioning")
_SHARED_SECTIONS = {"write_policy", "rate_limit", "ec", *_BUCKET_SECTIONS}


def _defaults(era: Era) -> dict[str, Any]:
    shared = {name: item for name, item in era.bucket_props.items() if name in _SHARED_SECTIONS}
    return {
        **copy.deepcopy(shared),
        "space": {"cleanupwm": 65, "lowwm": 75, "highwm": 90, "out_of_space": 95},
        "features": "0",
    }


class Config:
    """The configuration. `tree` is what applies now."""

    def __init__(self, catalog: Catalog, era: Era = NEWEST) -> None:
        self._catalog = catalog
        self._era = era
        self.tree = _defaults(era)
        self._overlay(self.tree, json.loads(catalog.get_meta(_META, "{}")))
        if self.tree["checksum"]["type"] not in era.checksum_types:  # kept by another release
            self.tree["checksum"] = _defaults(era)["checksum"]

    def _overlay(self, tree: dict[str, Any], changes: dict[str, Any]) -> None:
        for key, value in changes.items():
            if isinstance(value, dict) and isinstance(tree.get(key), dict):
                self._overlay(tree[key], value)
            elif key in tree:
                tree[key] = value

    def bucket_props(self, props: dict[str, Any]) -> dict[str, Any]:
        """Return the properties of a new bucket: defaults with the cluster's sections."""
        shared = {name: copy.deepcopy(self.tree[name]) for name in _BUCKET_SECTIONS}
        return {**props, **shared}

    def set_query(self, query: Query) -> None:
        """Change the keys that a query names, as `mirror.burst_buffer=600`.

        Raises:
            AisError: 400 for unknown keys and values that do not fit.
        """
        if not len(query):
            raise AisError(400, "set-config: no keys given")
        tree = copy.deepcopy(self.tree)
        for key, text in query.items():
            if key == "transient":
                continue
            *path, last = key.split(".")
            place: Any = tree
            for part in path:
                place = place.get(part) if isinstance(place, dict) else None
            if not isinstance(place, dict) or last not in place or isinstance(place[last], dict):
                raise AisError(400, f'unknown property "{key}"')
            if query.flag("transient"):
                section = path[0] if path else last
                raise self._era.said.not_transient.error(section=section)
            place[last] = _parsed(place[last], text)
        self._apply(tree)

    def set_message(self, value: Any) -> None:
        """Change the keys of a partial tree.

        Raises:
            AisError: 400 for unknown keys and values that do not fit.
        """
        head = "{node}: failed to unmarshal set-config (map[string]interface {}), err: "
        if not isinstance(value, dict):
            raise AisError(400, f"{head}readObjectStart: expect {{ or n")
        tree = copy.deepcopy(self.tree)
        _merge(tree, value, head)
        self._apply(tree)

    def reset(self) -> None:
        """Go back to the defaults."""
        self._apply(_defaults(self._era))

    def _apply(self, tree: dict[str, Any]) -> None:
        space = tree["space"]
        marks = (space["cleanupwm"], space["lowwm"], space["highwm"], space["out_of_space"])
        if not 0 < marks[0] < marks[1] < marks[2] < marks[3] < 100:
            clean, low, high, full = marks
            raise AisError(
                400,
                f"invalid space config: cleanup={clean}%, low={low}%, high={high}%, OOS={full}% "
                "(expecting: 0 < cleanup < low < high < OOS < 100)",
            )
        if (kind := tree["checksum"]["type"]) not in self._era.checksum_types:
            expected = " ".join(self._era.checksum_types)
            raise AisError(400, f'invalid checksum type "{kind}" (expecting [{expected}])')
        if tree["features"] != "0":
            text = f"features={tree['features']}: this store has none of AIS's feature flags"
            raise AisError(501, text, "ErrNotImpl")
        self.tree = tree
        self._catalog.set_meta(_META, json.dumps(tree))


def _parsed(old: Any, text: str) -> Any:
    if isinstance(old, bool):
        return text.lower() in {"1", "t", "true", "y", "yes", "on"}
    if isinstance(old, int):
        try:
            return int(text)
        except ValueError:
            message = f'strconv.ParseInt: parsing "{text}": invalid syntax'
            raise AisError(400, message, "NumError") from None
    return text


def _merge(tree: dict[str, Any], change: dict[str, Any], head: str) -> None:
    for key, value in change.items():
        if key not in tree:
            raise AisError(400, f"{head}cmn.ConfigToSet.ReadObject: found unknown field: {key}")
        if isinstance(tree[key], dict) and isinstance(value, dict):
            _merge(tree[key], value, head)
        elif type(tree[key]) is type(value):
            tree[key] = value
        elif value is not None:
            raise AisError(400, f"{head}{key}: unexpected value {value!r}")
