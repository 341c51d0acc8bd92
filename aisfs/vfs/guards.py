"""What a mount does not let applications do, whoever asks (C36).

Serves `filesystem`, `names`, `rename` and commands. A read-only mount is the kernel's affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aisfs.control.verbs import VERBS, Effect
from aisfs.errors import NotPermitted
from aisfs.vfs.nodes import FileNode

if TYPE_CHECKING:
    from collections.abc import Collection

    from aisfs.control.verbs import Verb
    from aisfs.vfs.nodes import Node


@dataclass(frozen=True, slots=True)
class Guards:
    """The switches of one mount.

    Attributes:
        bucket_ops: whether buckets may be made and removed.
        no_delete: names stay.
        no_overwrite: what is stored keeps its content and its name; new files can be made.
        verbs: what the cluster may be told to do.
    """

    bucket_ops: bool = False
    no_delete: bool = False
    no_overwrite: bool = False
    verbs: Collection[str] = frozenset(VERBS)

    def check_removal(self, name: str) -> None:
        """Refuse unlink(2) and rmdir(2) on a mount that deletes nothing."""
        if self.no_delete:
            raise NotPermitted(f"{name} is not removed: this mount has no-delete")

    def check_replacement(self, target: Node | None, name: str) -> None:
        """Refuse a rename(2) over something."""
        if target is not None and (self.no_delete or self.no_overwrite):
            switch = "no-delete" if self.no_delete else "no-overwrite"
            raise NotPermitted(f"{name} is not replaced: this mount has {switch}")

    def check_writing(self, node: Node) -> None:
        """Refuse to change the content of a file that the cluster has."""
        if self.no_overwrite and isinstance(node, FileNode) and node.identity is not None:
            raise NotPermitted(f"{node.name} keeps its content: this mount has no-overwrite")

    def check_command(self, verb: Verb[Any]) -> None:
        """Refuse what the cluster must not be told here, or what a switch does not let happen."""
        if verb.name not in self.verbs and not verb.local:
            raise NotPermitted(f"{verb.name} is not passed on: this mount's commands leave it out")
        if Effect.BUCKETS in verb.effects and not self.bucket_ops:
            raise NotPermitted(f"{verb.name} is for buckets: mount with bucket-ops")
        if Effect.REMOVES in verb.effects and self.no_delete:
            raise NotPermitted(f"{verb.name} takes names away: this mount has no-delete")
        if Effect.REPLACES in verb.effects and (self.no_delete or self.no_overwrite):
            switch = "no-delete" if self.no_delete else "no-overwrite"
            raise NotPermitted(f"{verb.name} can write over objects: this mount has {switch}")
