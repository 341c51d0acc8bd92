"""Objects chosen by a template in bash's notation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aisfs_sdk.multiobj.object_collection import ObjectCollection
from aisfs_sdk.utils import expand_braces

if TYPE_CHECKING:
    from collections.abc import Iterator


class ObjectTemplate(ObjectCollection):
    """A template, such as `shard-{000..127..1}.tar`; without a range it is a prefix.

    The cluster does not know all of bash: lists (`{a,b}`), letters and descending ranges are
    refused there. A name that holds `@`, `%` or a pair of braces can be chosen by `ObjectNames`
    only.

    Args:
        template: the text.
    """

    def __init__(self, template: str) -> None:
        self._template = template

    def __str__(self) -> str:
        return self._template

    def get_value(self) -> dict[str, Any]:
        """Return the template as it stands in control messages."""
        return {"template": self._template}

    def __iter__(self) -> Iterator[str]:
        # Padded as the cluster does it, for these are the names that it will act on.
        return expand_braces(self._template, pad=min)

    @property
    def chooses_all(self) -> bool:
        """Whether a cluster takes the template for "everything"."""
        return not self._template.strip("*")
