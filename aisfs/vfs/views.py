"""Views: what lies in the cluster's objects, as directories and files below the control directory.

Serves `filesystem`, which hands them to the control tree. `archive/PROVIDER/BUCKET/…` shows the
directories of a bucket, and each shard in them as a directory of its members. What is in a bucket
is listed, and no shard looked into; only a look into a shard's directory does that. A mount of a
bucket or of a prefix shows what is in it and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import cachetools
import trio

from aisfs.archives.formats import format_of
from aisfs.archives.members import Kind as MemberKind
from aisfs.control.files import ControlDirectory, ViewFile
from aisfs.control.information import bucket_below_provider
from aisfs.errors import Invalid, IoFailure, NotFound, Stale, Unsupported
from aisfs.store.interface import MAX_PAGE
from aisfs.vfs.attributes import Kind
from aisfs.vfs.inodes import ROOT
from aisfs.vfs.paths import SHADOWED, shadowed_name, split
from aisfs.vfs.shards import Shards

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs.archives.members import Member
    from aisfs.config import BucketName
    from aisfs.control.files import ControlEntry
    from aisfs.store.interface import Identity, ObjectInfo
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.shards import Content, Place
    from aisfs.vfs.workshop import Workshop

FEWEST = 1000
"""Names that a look-up asks for to learn whether there is a directory: no cluster lists fewer."""

DIRECTORIES = 10_000
DIRECTORY_S = 10.0
"""Directories that were looked up are believed so long, as other names of control files."""


class Views:
    """All views of a mount.

    Attributes:
        directory: `view`, for the control tree.
    """

    def __init__(self, resolver: Resolver, workshop: Workshop) -> None:
        self._resolver = resolver
        self._store = resolver.store
        self._shards = Shards(resolver, workshop)
        root = resolver.table.get(ROOT)
        assert root is not None
        self._mounted, self._prefix = root.bucket, root.name
        self._known: cachetools.TTLCache[Place, bool] = cachetools.TTLCache(
            DIRECTORIES, DIRECTORY_S, trio.current_time
        )
        self.directory = ControlDirectory(
            "view", (ControlDirectory("archive", listed=self._providers),)
        )

    def figures(self) -> dict[str, int]:
        """Return what views have open."""
        return self._shards.figures()

    # -- buckets and their directories

    async def _buckets(self) -> list[BucketName]:
        if self._mounted is not None:
            return [self._mounted]
        return await self._store.facts.buckets()

    async def _providers(self) -> dict[str, ControlEntry]:
        return {
            provider: ControlDirectory(provider, listed=partial(self._buckets_of, provider))
            for provider in {bucket.provider for bucket in await self._buckets()}
        }

    async def _buckets_of(self, provider: str) -> dict[str, ControlEntry]:
        made = (
            self._directory(bucket_below_provider(bucket), bucket, "")
            for bucket in await self._buckets()
            if bucket.provider == provider
        )
        return {directory.name: directory for directory in made}

    def _directory(self, name: str, bucket: BucketName, prefix: str) -> ControlDirectory:
        return ControlDirectory(
            name,
            listed=partial(self._listed, bucket, prefix),
            find=partial(self._find, bucket, prefix),
        )

    def _above_mounted(self, bucket: BucketName, prefix: str) -> dict[str, ControlEntry] | None:
        """Return the one name that leads to what is mounted; None below its top."""
        if prefix.startswith(self._prefix):
            return None
        name, _, _ = self._prefix[len(prefix) :].partition("/")
        return {name: self._directory(name, bucket, f"{prefix}{name}/")}

    async def _listed(self, bucket: BucketName, prefix: str) -> Mapping[str, ControlEntry]:
        """Return the directories and shards of a directory."""
        above = self._above_mounted(bucket, prefix)
        if above is not None:
            return above
        found: dict[str, ControlEntry] = {}
        shards: dict[str, ObjectInfo] = {}
        token = ""
        while True:
            asked_at = trio.current_time()
            listing = await self._store.list(bucket, prefix, token, MAX_PAGE, recursive=False)
            for directory in listing.directories:
                _, name = split(directory)
                found[name] = self._directory(name, bucket, directory)
            for info in listing.objects:
                if self._is_shard(bucket, info):
                    self._shards.learn((bucket, info.name), info, asked_at)
                    shards[info.name[len(prefix) :]] = info
            if not listing.token:
                break
            if listing.token <= token:
                raise IoFailure(
                    f"listing {bucket.url_of(prefix)}: the cluster's continuation token "
                    f"{listing.token!r} does not advance"
                )
            token = listing.token
        for basename, info in shards.items():
            name = basename + SHADOWED if basename in found else basename
            found[name] = self._shard(name, bucket, info)
        return found

    def _is_shard(self, bucket: BucketName, info: ObjectInfo) -> bool:
        kind = format_of(info.name)
        return kind is not None and self._resolver.shown(bucket, info).kind is Kind.FILE

    async def _find(self, bucket: BucketName, prefix: str, name: str) -> ControlEntry | None:
        """Return a directory, or else a shard. C28: a directory takes the name that both have."""
        above = self._above_mounted(bucket, prefix)
        if above is not None:
            return above.get(name)
        try:
            if await self._is_directory(bucket, f"{prefix}{name}/"):
                return self._directory(name, bucket, f"{prefix}{name}/")
            shadowed = shadowed_name(name)
            if shadowed is not None and await self._is_directory(bucket, f"{prefix}{shadowed}/"):
                return await self._find_shard(name, bucket, prefix + shadowed)
            return await self._find_shard(name, bucket, prefix + name)
        except (NotFound, Invalid):  # Invalid: the protocol cannot even ask for it
            return None

    async def _find_shard(self, name: str, bucket: BucketName, path: str) -> ControlEntry | None:
        if format_of(path) is None:
            return None
        info = await self._shards.look((bucket, path))
        return self._shard(name, bucket, info) if self._is_shard(bucket, info) else None

    async def _is_directory(self, bucket: BucketName, prefix: str) -> bool:
        known = self._known.get((bucket, prefix))
        if known is None:
            listing = await self._store.list(bucket, prefix, "", FEWEST, recursive=False)
            known = bool(listing.objects or listing.directories)
            if known or format_of(prefix[:-1]) is not None:
                self._known[bucket, prefix] = known
        return known

    # -- shards

    def _shard(self, name: str, bucket: BucketName, info: ObjectInfo) -> ControlDirectory:
        mtime_ns = self._resolver.shown(bucket, info).mtime_ns
        return self._inside(name, (bucket, info.name), "", mtime_ns)

    def _inside(self, name: str, place: Place, path: str, mtime_ns: int) -> ControlDirectory:
        """Return a directory of a shard; which content it has is looked at each time."""
        return ControlDirectory(
            name,
            listed=partial(self._members, place, path),
            find=partial(self._member, place, path),
            remembered=False,
            mtime_ns=mtime_ns,
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
        if member.kind is MemberKind.DIRECTORY:
            bucket, _ = place
            mtime_ns = member.mtime_ns or self._resolver.shown(bucket, content.info).mtime_ns
            return self._inside(name, place, member.path, mtime_ns)
        # Whoever may read the object may read what is in it, whatever its owner was elsewhere.
        return MemberFile(
            name,
            member.size,
            member.mtime_ns,
            0o777 if member.kind is MemberKind.LINK else 0o555 if member.mode & 0o111 else 0o444,
            member.kind is MemberKind.LINK,
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
            raise Stale(f"{self.member.path} is of an earlier content of {self.place[1]}")
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
            return await file.shards.with_room(partial(shard.read, file.member, offset, size))
        except Stale:
            file.shards.doubt(file.place)
            raise

    def close(self) -> None:
        """Let go of the content."""
        self.content.release()
