"""What commands name: `ais://BUCKET/NAME`, or a path below a mount's root, as bucket and name.

Serves `filesystem` and the command line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs.config import ConfigError, Source
from aisfs.errors import Invalid
from aisfs.store.cluster_work import Place
from aisfs.vfs.nodes import ROOT, DirectoryNode
from aisfs.vfs.paths import SHADOWED, bucket_directory, bucket_of_directory

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.config import BucketName
    from aisfs.vfs.nodes import Node
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.syncing import Syncing


def place_of_url(text: str) -> Place:
    """Read `PROVIDER://[@UUID][#NS/]BUCKET[/NAME]`; a NAME that ends in "/" is a directory.

    Raises:
        Invalid: the text is none, or names no bucket.
    """
    scheme, _, rest = text.partition("://")
    space, slash, below = "", "", rest
    if rest[:1] in {"@", "#"}:
        space, slash, below = rest.partition("/")
    name, _, within = below.partition("/")
    try:
        bucket = Source.parse(f"{scheme}://{space}{slash}{name}").bucket
    except ConfigError as error:
        raise Invalid(str(error)) from None
    if bucket is None:
        raise Invalid(f"{text} names no bucket")
    _check(text, within)
    return Place(bucket, within)


class Places:
    """Finds what the operands of a mount's commands name.

    The cluster works on what it has: what was written at a place is stored before it is told.

    Args:
        resolver, syncing: of the mount.
        doubt: has views look again at an object that may be another one.
    """

    def __init__(
        self, resolver: Resolver, syncing: Syncing, doubt: Callable[[Place], None]
    ) -> None:
        self._resolver = resolver
        self._syncing = syncing
        self._doubt = doubt

    async def __call__(self, operand: str) -> Place:
        """Return what a URL, or a path below the mount's root, names.

        Raises:
            Invalid: it names nothing that a cluster can have.
            FsError: what was written there could not be stored.
        """
        place = place_of_url(operand) if "://" in operand else self._below_root(operand)
        for _, store in await self._syncing.unsent(place):
            await store()
        return place

    def _below_root(self, operand: str) -> Place:
        root = self._resolver.table.root
        path = operand.removeprefix("./").lstrip("/")
        if root.bucket is not None:
            bucket, prefix, within = root.bucket, root.name, path
        else:
            directory, _, within = path.partition("/")
            if not directory:
                raise Invalid(f"{operand!r} names no bucket")
            bucket, prefix = bucket_of_directory(directory), ""
        _check(operand, within)
        return Place(bucket, prefix + within.removesuffix(SHADOWED))

    @staticmethod
    def of(node: Node) -> Place:
        """Return what a file or directory of the mount is.

        Raises:
            Invalid: it is the directory of all buckets.
        """
        if node.bucket is None:
            raise Invalid("all buckets together are no place: name one of them")
        return Place(node.bucket, node.name)

    async def changed(self, place: Place) -> None:
        """Have a place looked at again, of which the cluster may have made something else."""
        self._doubt(place)
        table = self._resolver.table
        directory = table.find(place.bucket, place.name)
        if isinstance(directory, DirectoryNode):
            directory.note_all_doubtful()
        if not place.name:
            await self._bucket_changed(place.bucket)
            return
        parent, basename = table.parent_of(*place)
        if parent is not None:
            self._resolver.doubt(parent, basename)
            await self._resolver.forgotten(parent.ino, basename)

    async def _bucket_changed(self, bucket: BucketName) -> None:
        """Have all buckets asked for again, if the mount shows them."""
        if self._resolver.table.root.bucket is None:
            self._resolver.buckets.forget()
            await self._resolver.forgotten(ROOT, bucket_directory(bucket))


def _check(text: str, name: str) -> None:
    if name and any(each in {"", ".", ".."} for each in name.removesuffix("/").split("/")):
        raise Invalid(f"{text!r} has an empty component, '.' or '..'")
