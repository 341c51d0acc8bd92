"""Views: what can be made of the cluster's objects, as files below the control directory.

Serves `control_parts`, which hands them to the tree. `archive/PROVIDER/BUCKET/…` shows the
directories of a bucket, and each shard in them as a directory of its members. What is in a bucket
is listed, and no shard looked into; only a look into a shard's directory does that.
`etl/NAME/PROVIDER/BUCKET/…` shows all objects, each as the transformer NAME makes it; nothing is
transformed before it is opened, and until then nobody knows its size. `etl/NAME,arg=TEXT/…` is
found by name only: the same, with TEXT for the transformer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from aisfs.archives.formats import format_of
from aisfs.archives.members import Kind as MemberKind
from aisfs.control.files import ControlDirectory, ViewFile
from aisfs.errors import Invalid, Stale, Unsupported
from aisfs.store.cluster_work import Place
from aisfs.store.interface import EtlUse
from aisfs.vfs.making import Making
from aisfs.vfs.outputs import Outputs, Recipe
from aisfs.vfs.shards import Shards
from aisfs.vfs.view_objects import BucketTrees, ViewObjects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aisfs.archives.members import Member
    from aisfs.config import BucketName
    from aisfs.control.files import ControlEntry
    from aisfs.store.interface import Identity, ObjectInfo
    from aisfs.vfs.attributes import Attributes
    from aisfs.vfs.outputs import Output
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.shards import Content
    from aisfs.vfs.workshop import Workshop


ARGUMENT = ",arg="
"""Between a transformer's name, in which there is no comma, and what it is told. All behind it is
one text, whatever is in it: AIS hands it on as it is."""


class Views:
    """All views of a mount.

    Attributes:
        directory: `view`, for the control tree.
    """

    def __init__(self, resolver: Resolver, workshop: Workshop) -> None:
        self._making = Making(resolver.nursery, workshop.unpacked)
        self._objects = ViewObjects(resolver)
        trees = BucketTrees(self._objects)
        self._shards = Shards(self._objects, workshop, self._making)
        archive = ArchiveView(resolver, self._shards)
        self._outputs = Outputs(resolver.store, self._objects, self._making)
        etls = EtlDirectories(resolver, trees, self._outputs)
        self.directory = ControlDirectory(
            "view", (trees.directory("archive", archive), etls.directory)
        )

    def drop(self) -> None:
        """Forget what was unpacked and transformed, but for what is open."""
        for kept in self._making.kept:
            kept.drop_unused()

    def doubt(self, place: Place) -> None:
        """Have an object looked at again, of which the cluster may have made another one."""
        self._objects.doubt(place)

    def figures(self) -> dict[str, int]:
        """Return what views have open, and what they unpacked."""
        counts = {**self._shards.figures(), **self._outputs.figures()}
        return {**counts, "views.spool_bytes": self._making.room.used}


def _mode(shown: Attributes, *, runs: bool) -> int:
    """Return the mode of what is made of an object: who may read the one may read the other."""
    readable = shown.mode & 0o444
    return readable | readable >> 2 if runs else readable


class ArchiveView:
    """Shards as directories of their members."""

    remembered = True

    def __init__(self, resolver: Resolver, shards: Shards) -> None:
        self._resolver = resolver
        self._shards = shards

    @staticmethod
    def shows(name: str) -> bool:
        """Tell whether an object is a shard by its name."""
        return format_of(name) is not None

    async def maker(self) -> Callable[[str, BucketName, ObjectInfo], ControlEntry]:
        """Return what makes the directory of a shard."""
        return self._shard

    def _shard(self, name: str, bucket: BucketName, info: ObjectInfo) -> ControlDirectory:
        shown = self._resolver.answers.shown(bucket, info)
        return self._inside(name, Place(bucket, info.name), "", shown)

    def _inside(self, name: str, place: Place, path: str, shown: Attributes) -> ControlDirectory:
        """Return a directory of a shard; which content it has is looked at each time."""
        return ControlDirectory(
            name,
            listed=partial(self._members, place, path),
            find=partial(self._member, place, path),
            remembered=False,
            mtime_ns=shown.mtime_ns,
            mode=_mode(shown, runs=True),
        )

    async def _members(self, place: Place, path: str) -> Mapping[str, ControlEntry]:
        content = await self._shards.at(place)
        inside = content.shard.children(path)
        return {name: self._entry(name, place, content, each) for name, each in inside.items()}

    async def _member(self, place: Place, path: str, name: str) -> ControlEntry | None:
        content = await self._shards.at(place)
        member = content.shard.members.get(f"{path}/{name}" if path else name)
        return None if member is None else self._entry(name, place, content, member)

    def _entry(self, name: str, place: Place, content: Content, member: Member) -> ControlEntry:
        shown = self._resolver.answers.shown(place.bucket, content.info)
        if member.kind is MemberKind.DIRECTORY:
            mtime_ns = member.mtime_ns or shown.mtime_ns
            return self._inside(name, place, member.path, shown.but(mtime_ns=mtime_ns))
        link = member.kind is MemberKind.LINK
        return MemberFile(
            name,
            member.size,
            member.mtime_ns,
            0o777 if link else _mode(shown, runs=bool(member.mode & 0o111)),
            link,
            self._shards,
            place,
            content.info.identity,
            member,
        )


@dataclass(frozen=True, slots=True, eq=False)
class MemberFile(ViewFile):
    """A file or symbolic link in one content of a shard."""

    shards: Shards
    place: Place
    identity: Identity
    member: Member

    def same_as(self, other: ViewFile) -> bool:
        """Tell whether both are the same member of the same content."""
        return (
            isinstance(other, MemberFile)
            and self.member == other.member
            and self.place == other.place
            and self.identity.same_content(other.identity)
        )

    async def _pin(self) -> OpenMember:
        """Return it opened.

        Raises:
            Stale: the shard has another content by now; whoever looks for the name finds that.
        """
        content = await self.shards.at(self.place)
        if content.retired or not content.info.identity.same_content(self.identity):
            raise Stale(f"{self.member.path} is of an earlier content of {self.place.name}")
        return OpenMember(self, content)

    async def open(self) -> OpenMember:
        """Open it; what its index says against it is known without reading."""
        if self.member.flaw:
            raise Unsupported(f"{self.member.path} cannot be read: {self.member.flaw}")
        return await self._pin()

    async def target(self) -> str:
        """Return where the link leads; that of a zip archive has to be read."""
        if self.member.target is not None:
            return self.member.target
        opened = await self._pin()
        try:
            return await opened.content.shard.target(self.member)
        finally:
            opened.close()


class OpenMember:
    """An open member: it keeps the content that it is of."""

    lasting = True

    def __init__(self, file: MemberFile, content: Content) -> None:
        self.size = file.member.size
        self.content = content
        self._file = file
        content.users += 1

    async def read(self, offset: int, size: int) -> bytes | memoryview:
        """Return up to `size` bytes at `offset`; short only at the end.

        Raises:
            Stale: the shard has another content, and these bytes are not cached (C4).
            FsError: as `Shard.read`.
        """
        shard, file = self.content.shard, self._file
        try:
            return await file.shards.making.with_room(
                partial(shard.read, file.member, offset, size)
            )
        except Stale:
            file.shards.doubt(file.place)
            raise

    def close(self) -> None:
        """Let go of the content."""
        self.content.release()


class EtlDirectories:
    """The transformers of the cluster, each with all buckets as it makes them.

    Attributes:
        directory: `etl`, for the control tree.
    """

    def __init__(self, resolver: Resolver, trees: BucketTrees, outputs: Outputs) -> None:
        self._resolver = resolver
        self._trees = trees
        self._outputs = outputs
        self.directory = ControlDirectory("etl", listed=self._listed, find=self._find)

    async def _listed(self) -> dict[str, ControlEntry]:
        return {name: self._made(name, EtlUse(name)) for name in await self._outputs.jobs()}

    async def _find(self, name: str) -> ControlEntry | None:
        etl, told, argument = name.partition(ARGUMENT)
        known = etl in await self._outputs.jobs()
        # Without a text it would be another name of the same, and be cached twice.
        return self._made(name, EtlUse(etl, argument)) if known and (argument or not told) else None

    def _made(self, name: str, use: EtlUse) -> ControlDirectory:
        return self._trees.directory(name, EtlView(self._resolver, self._outputs, use))


class EtlView:
    """Objects as one transformer makes them, told the same for each."""

    remembered = False  # an entry is of one content, and of one start of the transformer

    def __init__(self, resolver: Resolver, outputs: Outputs, use: EtlUse) -> None:
        self._resolver = resolver
        self._outputs = outputs
        self._use = use

    @staticmethod
    def shows(name: str) -> bool:  # noqa: ARG004 - as of other views
        """Show all objects."""
        return True

    async def maker(self) -> Callable[[str, BucketName, ObjectInfo], ControlEntry]:
        """Return what makes the file of an object; asks which transformer it is now."""
        return partial(self._file, await self._outputs.job_of(self._use.name))

    def _file(self, job: str, name: str, bucket: BucketName, info: ObjectInfo) -> ControlEntry:
        recipe = Recipe.of(self._use, job, Place(bucket, info.name), info.identity)
        shown, size = self._resolver.answers.shown(bucket, info), self._outputs.size_of(recipe)
        mode = _mode(shown, runs=False)
        return EtlFile(name, size, shown.mtime_ns, mode, False, self._outputs, recipe)


@dataclass(frozen=True, slots=True, eq=False)
class EtlFile(ViewFile):
    """One content of an object, as a transformer makes it."""

    outputs: Outputs
    recipe: Recipe

    def same_as(self, other: ViewFile) -> bool:
        """Tell whether both are the same content and the same transformer."""
        return isinstance(other, EtlFile) and self.recipe == other.recipe

    async def open(self) -> OpenOutput:
        """Have it transformed, unless it is there."""
        return OpenOutput(await self.outputs.open(self.recipe))

    async def target(self) -> str:
        """Refuse: it is no link."""
        raise Invalid(f"{self.name} is no symbolic link")


class OpenOutput:
    """An open output."""

    lasting = False  # transformers may make something else of the same content, another time

    def __init__(self, output: Output) -> None:
        self.size = output.spool.size
        self._output = output

    async def read(self, offset: int, size: int) -> bytes:
        """Return up to `size` bytes at `offset`; short only at the end."""
        size = min(size, self.size - offset)
        return await self._output.spool.read(offset, size) if size > 0 else b""

    def close(self) -> None:
        """Let go of the output."""
        self._output.release()
