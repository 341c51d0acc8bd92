"""Namespaces: which cluster, and which space within it, a bucket's name belongs to."""

from __future__ import annotations

import msgspec


class Namespace(msgspec.Struct, frozen=True):
    """A bucket's namespace; two buckets of one name in different namespaces are different buckets.

    Attributes:
        uuid: uuid or alias of an attached AIS cluster, "" for the cluster itself.
        name: name of the space within that cluster, "" for its global one.
    """

    uuid: str = ""
    name: str = ""

    def get_path(self) -> str:
        """Return the text form, `@uuid#name`; the global namespace is `@#`."""
        return f"@{self.uuid}#{self.name}"

    @classmethod
    def from_path(cls, path: str) -> Namespace:
        """Return the namespace that a text form names.

        Raises:
            ValueError: the text does not begin with `@`.
        """
        if not path.startswith("@"):
            msg = f"a namespace is written @uuid#name, not {path!r}"
            raise ValueError(msg)
        uuid, _, name = path[1:].partition("#")
        return cls(uuid, name)
