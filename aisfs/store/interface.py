"""What the mount needs of an object store, in plain values.

Serves `vfs`, `cache` and `staging`; `store/aistore.py` implements it on the SDK. Every coroutine
raises only `aisfs.errors.FsError` children, ends within the deadlines of its `StoreConfig`, and
after cancellation leaves nothing running that could still change the cluster unknown to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from aisfs.config import BucketName
from aisfs_sdk.checksums import Digest, new_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from aisfs.store.cluster_facts import ClusterFacts
    from aisfs.store.cluster_work import ClusterWork

__all__ = [
    "BodySink",
    "BucketInfo",
    "BucketName",
    "Capacity",
    "Digest",
    "EtlUse",
    "Identity",
    "Listing",
    "NameRules",
    "ObjectInfo",
    "ObjectStore",
    "PartsStore",
    "PartsUpload",
    "Piece",
    "Tail",
    "Upload",
    "is_xxh64",
    "new_digest",
]

ATTRIBUTES_KEY = "aisfs"
"""The one custom-metadata key that aisfs owns on an object."""

MAX_PARTS = 9999
"""Most parts of an upload. AIS: objects.md 4.7."""

MAX_PAGE = 10_000
"""Largest batch of a listing that every AIS release answers in one page."""

LONG_PAGE = 25_000
"""Batch of a listing that is known to be long, of an ais bucket: a page costs the cluster as much
as all pages before it. 100,000 names in pages of 10,000, 30,000 and 100,000 cost a cluster of three
targets 5.4, 2.5 and 1.4 s of CPU; a mount holds two pages, at 0.4 KiB a name."""


# A listing makes one of each per name: a Struct costs a sixth of a frozen dataclass, and nothing to
# the cycle collector.


class Identity(msgspec.Struct, frozen=True, gc=False):
    """Which content an object has: equal identities mean equal bytes.

    A listing tells the checksum's value but not its type, so an unknown type ("") matches any.
    Where one has none, as objects have that only a remote bucket has yet, version and size decide.
    """

    size: int
    checksum: str = ""
    checksum_type: str = ""
    version: str = ""

    def same_content(self, other: Identity) -> bool:
        """Tell whether both name the same bytes."""
        if self is other:
            return True
        if self.size != other.size:
            return False
        if self.checksum and other.checksum:
            types = {self.checksum_type, other.checksum_type} - {""}
            return self.checksum == other.checksum and len({_hash_family(t) for t in types}) < 2
        alike = bool(self.checksum) == bool(other.checksum)
        return self.version == other.version and (alike or bool(self.version))

    def admits(self, found: Identity) -> bool:
        """Tell whether what an answer says of the object may be this content.

        It is the same, or nothing but the size is known of this one: then there is nothing else to
        compare (objects of remote buckets without versions and checksums, which the cluster has no
        copy of yet).
        """
        bare = not (self.checksum or self.version)
        return self.size == found.size if bare else self.same_content(found)

    @property
    def verifiable(self) -> bool:
        """Whether the identity can prove that two reads saw the same content."""
        return bool(self.checksum)


def is_xxh64(checksum_type: str) -> bool:
    """Tell whether checksums of a type are XXH64, as ours.

    AIS: `xxhash` (3.17) and `xxhash2` (5.0) are the same function.
    """
    return checksum_type in {"xxhash", "xxhash2"}


def _hash_family(checksum_type: str) -> str:
    return "xxhash" if is_xxh64(checksum_type) else checksum_type


class ObjectInfo(msgspec.Struct, frozen=True, gc=False):
    """One object: name in its bucket, identity, and our custom key's value ("" if none)."""

    name: str
    identity: Identity
    attributes: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """One batch of a listing, in bytewise order of the entries' names.

    Attributes:
        objects: the objects of the batch.
        directories: names of virtual directories, each ending in "/"; recursive listings have none.
        token: where the next batch starts; "" when this was the last.
        cold: names of the objects that only the remote bucket behind the cluster has; what is told
            of them may be another checksum than that of their copy on the cluster, or none.
        lacking: whether targets left the cluster without notice, with names that belong here; told
            by the last batch, and by each of a recursive listing.
    """

    objects: list[ObjectInfo]
    directories: list[str]
    token: str
    cold: Sequence[str] = ()
    lacking: bool = False


@dataclass(frozen=True, slots=True)
class BucketInfo:
    """A bucket's facts that the mount uses; `created_ns` is since the epoch."""

    name: BucketName
    created_ns: int


@dataclass(frozen=True, slots=True)
class NameRules:
    """What the cluster's release cannot store faithfully.

    Attributes:
        mangled: characters that this release stores under another name (3.17: `# & ' " < >`).
        last_component: longest basename in bytes (3.17: 242).
    """

    mangled: str = ""
    last_component: int = 255


class EtlUse(NamedTuple):
    """A transformer, and what it is told for one read: text of its own kind; "" for nothing."""

    name: str
    argument: str = ""

    def __str__(self) -> str:
        return f"{self.name} with {self.argument!r}" if self.argument else self.name


@dataclass(frozen=True, slots=True)
class Capacity:
    """The cluster's storage in bytes."""

    total: int
    used: int


def reader_of(fd: int) -> IO[bytes]:
    """Open a descriptor's file anew, though it may have no name any more, to read it.

    A duplicate would share its position, which another thread that sends the same file moves.
    """
    return Path(f"/proc/self/fd/{fd}").open("rb")


@dataclass(frozen=True, slots=True)
class Upload:
    """A whole body to store: `size` bytes of the open file `fd` from offset 0.

    Attributes:
        checksum: XXH64 (seed 0) of the body, 16 lower-case hex digits.
        attributes: value for our custom key.
    """

    fd: int
    size: int
    checksum: str
    attributes: str


@dataclass(frozen=True, slots=True)
class Tail:
    """Bytes [start, end) of the open file `fd`, to go behind `start` bytes that the cluster has."""

    fd: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PartsUpload:
    """An upload in parts that was begun: of which object, and what the cluster calls it."""

    bucket: BucketName
    name: str
    id: str


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Bytes of an object that are wanted, and the buffer where they go: the whole, or a range."""

    bucket: BucketName
    info: ObjectInfo
    buffer: memoryview


class BodySink(Protocol):
    """Receives a streamed body; called in the store's network thread."""

    def buffer(self) -> memoryview | None:
        """Return where the next bytes go (may wait for room), or None to end the stream."""

    def filled(self, size: int) -> None:
        """Take note that `size` bytes were put into the last buffer."""

    def opened(self, identity: Identity, abort: Callable[[], None]) -> None:
        """Learn what the reply's headers say, and how to end the stream from another thread.

        `abort()` shuts the socket down, so that a blocked receive returns.
        """


class ChunkSource(Protocol):
    """Where small pieces of objects come from; bulk reads are `ObjectStore.stream`."""

    async def fill(
        self,
        bucket: BucketName,
        name: str,
        start: int,
        identity: Identity,
        buffer: memoryview,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """Fill `buffer` with the object's bytes from `start` on: at most 1 MiB, at least one byte.

        The buffer of a whole content is compared with the checksum that the cluster keeps.

        Sources that can tell call `progress` in the loop with how many bytes are there.

        Returns:
            What the reply told of the object.

        Raises:
            Stale: the object is not `identity` (any more).
            Corrupt: the bytes are not those that were stored.
            FsError: the cluster's failure, after resuming did not help.
        """

    async def fill_many(
        self, pieces: Sequence[Piece], filled: Callable[[Piece, ObjectInfo], None]
    ) -> None:
        """Fill the buffers of many small objects, with fewer round-trips than objects.

        Calls `filled` (in the loop) for each one that came whole and right, with what its reply
        told, and passes over the others: who reads them learns what is wrong.
        """


class PartsStore(Protocol):
    """Stores objects in parts, of files that are not here whole; may raise `FsError` children."""

    def takes(self, bucket: BucketName) -> bool:
        """Tell whether objects of a bucket can be stored in parts and compared afterwards."""

    async def begin(self, bucket: BucketName, name: str) -> PartsUpload:
        """Begin to store an object in parts; nothing is visible before `complete`."""

    async def send(self, upload: PartsUpload, number: int, part: Tail) -> None:
        """Send a part, once: the first is number 1, the last at most `MAX_PARTS`.

        Nobody knows whether a part that failed is there, so the upload cannot be completed then.
        """

    async def complete(self, upload: PartsUpload, parts: int, size: int) -> None:
        """Make an object of `size` bytes of all parts; after a failure it may be there.

        The object has no attributes, and bytes can never be appended to it.

        Raises:
            NotFound: the cluster does not know the upload, maybe because it was completed.
        """

    async def abort(self, upload: PartsUpload) -> None:
        """Drop an upload and its parts; `NotFound` if the cluster does not know it."""


class ObjectStore(ChunkSource, Protocol):
    """An object store. All methods may raise `FsError` children."""

    @property
    def facts(self) -> ClusterFacts:
        """What the cluster tells of itself."""

    @property
    def work(self) -> ClusterWork:
        """What the cluster can be told to do."""

    @property
    def parts(self) -> PartsStore:
        """How objects are stored in parts."""

    def figures(self) -> dict[str, int]:
        """Return what is counted of the connections, for statistics."""

    def requests(self) -> Sequence[tuple[str, str, str, int]]:
        """Return how many requests were sent: method, about what, status class, times."""

    async def prepare(self) -> None:
        """Make what the first reads would wait for otherwise; never fails."""

    async def cluster_uuid(self) -> str:
        """Return the cluster's uuid, fixed for its life."""

    async def name_rules(self) -> NameRules:
        """Return which names the cluster's release cannot store."""

    async def buckets(self) -> list[BucketInfo]:
        """Return all buckets that this cluster knows."""

    async def bucket(self, name: BucketName) -> BucketInfo:
        """Return one bucket's facts; `NotFound` if there is none."""

    async def capacity(self) -> Capacity:
        """Return what statfs(2) shows."""

    async def head(self, bucket: BucketName, name: str) -> ObjectInfo:
        """Return one object's facts; `NotFound` if there is none."""

    async def list(
        self, bucket: BucketName, prefix: str, token: str, size: int, *, recursive: bool
    ) -> Listing:
        """Return one batch of the objects below `prefix` ("" or ending in "/"); `size` >= 1000.

        Raises:
            IoFailure: the next batch would not start behind this one, and the listing never end.
        """

    async def prefetch(
        self, bucket: BucketName, names: Sequence[str], progress: Callable[[int, int], None]
    ) -> str:
        """Have the cluster fetch objects from the remote bucket behind it; return when it did.

        Calls `progress` in the loop with how many objects and bytes it has fetched so far.
        Cancellation stops what is not fetched yet.

        Returns:
            What the cluster says went wrong, "" if nothing: some of them are not there then.

        Raises:
            Invalid: there is no other bucket behind this one.
            TimedOut: nothing more was fetched for too long; the cluster may go on.
        """

    async def stream(
        self,
        bucket: BucketName,
        name: str,
        start: int,
        end: int,
        identity: Identity,
        sink: BodySink,
    ) -> None:
        """Feed bytes [start, end) of the object into `sink`, in order.

        Returns early when the sink has no further buffer. `Stale` if the object is not `identity`,
        `Torn` if the body ended early (what was filled before is right).
        """

    async def get(self, bucket: BucketName, name: str, limit: int) -> bytes:
        """Return a small object whole; `TooLarge` above `limit` bytes."""

    async def transform(
        self, bucket: BucketName, name: str, use: EtlUse, take: Callable[[bytes], None]
    ) -> None:
        """Give an object as a transformer of the cluster makes it, from its start to its end.

        Args:
            bucket: where the object is.
            name: which it is.
            use: the transformer, and what it is told.
            take: called in the network thread with what comes next; what it raises ends the
                request, and comes out here.

        Raises:
            NotFound: there is no such object or transformer.
            Unsupported: the cluster is too old to tell a transformer anything.
            IoFailure: the transformer failed, or its output broke off.
        """

    async def put(self, bucket: BucketName, name: str, upload: Upload) -> ObjectInfo:
        """Store a whole object with its attributes and return it as stored."""

    def compares(self, bucket: BucketName) -> bool:
        """Tell whether the checksums that a bucket keeps are known to be XXH64, as ours."""

    async def put_growing(
        self,
        bucket: BucketName,
        name: str,
        source: IO[bytes],
        available: Callable[[int], int | None],
    ) -> ObjectInfo:
        """Store a whole object from a file that is still being written; sends no attributes.

        Whether it lies where readers look, `head_now` tells: the cluster may have changed since.

        Args:
            bucket: where.
            name: under which name.
            source: the file, which is sent from its start.
            available: called in the network thread with how many bytes went out; waits until there
                are more, and returns how many there are from the start, or None if that was all.
                What it raises ends the request, changes nothing, and comes out here.

        Returns:
            What the reply told.
        """

    def appends(self, bucket: BucketName) -> bool:
        """Tell whether objects of a bucket can be appended to, as far as its kind decides."""

    async def append(self, bucket: BucketName, name: str, tail: Tail) -> str:
        """Send bytes that are to go behind an object, and return the handle to flush them with.

        Nothing is visible before the flush. The handle is for one flush.

        Raises:
            Unsupported: the cluster would lose bytes of this object; nothing was sent.
        """

    async def flush_append(self, bucket: BucketName, name: str, handle: str, size: int) -> None:
        """Make an appended object visible, of `size` bytes then; after a failure it may be so."""

    async def head_now(self, bucket: BucketName, name: str) -> ObjectInfo:
        """Return one object's facts from where the cluster looks for it now, as `head`.

        Whose map of the cluster is old may be told of a former place by `head`.
        """

    async def describe(self, bucket: BucketName, name: str) -> dict[str, str]:
        """Return what the cluster tells of an object besides its content; `NotFound` if none.

        Returns:
            Of these, what it tells: `atime` (nanoseconds since the epoch), `cached` (whether the
            cluster itself has it: yes or no), `checksum-type`, `chunks` (in how many it is stored),
            `copies` (within its target), `etag`, `last-modified`, `location` (target and disk).
        """

    async def put_bytes(
        self, bucket: BucketName, name: str, body: bytes, attributes: str
    ) -> ObjectInfo:
        """Store a small body with its attributes and return it as stored."""

    async def copy(self, bucket: BucketName, source: str, target: str) -> None:
        """Copy an object within its bucket, attributes included, replacing `target`."""

    async def delete(self, bucket: BucketName, name: str) -> None:
        """Delete one object; `NotFound` if there is none."""

    async def set_attributes(self, bucket: BucketName, name: str, attributes: str) -> None:
        """Replace the value of our custom key; other keys stay."""

    async def close(self) -> None:
        """Release connections."""
