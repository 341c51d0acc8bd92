"""What a cluster does by itself when it is told to: jobs, and copies that pass nobody by.

Serves `control/verbs`, which gives each of these a word; `ais_work.py` implements it on the SDK.
Nothing here waits for a job to end: what returns an id has only begun. Every coroutine raises only
`aisfs.errors.FsError` children.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs.config import BucketName


class Place(NamedTuple):
    """A bucket, or what is in it at a name: what a command is about, or a view or walk shows.

    Attributes:
        name: of an object; of all objects with a prefix, if it ends in "/"; "" for the bucket.
    """

    bucket: BucketName
    name: str

    def __str__(self) -> str:
        return self.bucket.url_of(self.name)

    def holds(self, bucket: BucketName | None, name: str) -> bool:
        """Tell whether an object or directory is at the place."""
        if self.name and not self.name.endswith("/"):
            return (bucket, name) == self
        return bucket == self.bucket and name.startswith(self.name)


class EtlSource(NamedTuple):
    """What a transformer is made of: the text of a Python file, or of a pod's specification."""

    place: Place
    is_code: bool


class ClusterWork(Protocol):
    """Starts work on the cluster."""

    async def create_bucket(self, name: BucketName) -> None:
        """Create a bucket; `Exists` when the name is taken."""

    async def destroy_bucket(self, name: BucketName) -> None:
        """Destroy a bucket and all objects in it."""

    async def rename_bucket(self, old: BucketName, new: BucketName) -> str:
        """Give a bucket another name, which must be free; return the job's id.

        Until it has ended, objects may be found under either name.
        """

    async def set_props(self, bucket: BucketName, texts: Mapping[str, str]) -> str:
        """Change a bucket's properties; return the id of the job that this needs, "" for none.

        Args:
            bucket: whose.
            texts: values by name, with dots between the levels: `mirror.enabled`.

        Raises:
            Invalid: the bucket has no such property, or a value is not of its kind.
        """

    async def make_copies(self, bucket: BucketName, copies: int) -> str:
        """Keep so many copies of each object, on different disks; return the job's id."""

    async def evict(self, what: Place, *, keep_md: bool) -> str:
        """Remove what a remote bucket has from the cluster; the remote ones stay.

        Returns:
            The job's id; "" for a whole bucket, which is evicted at once.
        """

    async def prefetch(self, what: Place) -> str:
        """Bring objects of a remote bucket into the cluster; return the job's id."""

    async def copy(self, source: Place, target: Place, etl: str) -> None:
        """Copy one object, through a transformer if one is named; it is there then."""

    async def copy_bucket(
        self, source: BucketName, target: BucketName, prefix: str, prepend: str, *, dry_run: bool
    ) -> str:
        """Copy a bucket's objects into another one; return the job's id."""

    async def transform_bucket(
        self,
        source: BucketName,
        target: BucketName,
        etl: str,
        prefix: str,
        ext: Mapping[str, str] | None,
    ) -> str:
        """Send a bucket's objects through a transformer into another one; return the job's id.

        `ext` has new endings of names by old ones.
        """

    async def promote(
        self, path: str, target: Place, *, recursive: bool, overwrite: bool, delete_source: bool
    ) -> str:
        """Make objects of files that the targets can read; return the job's id, "" for none."""

    async def archive(self, shard: Place, members: Place, template: str) -> str:
        """Put objects into a new archive; return the job's id.

        Args:
            shard: the archive's object.
            members: an object, or all with a prefix; their bucket, where there is a template.
            template: that their names follow; "" for none.
        """

    async def append(self, shard: Place, file: Place, member: str) -> None:
        """Add an object to an archive that exists; it is there then, behind all others.

        The archive is replaced whole, by what was made of a local copy of it: it has its old
        content or the new one, whatever happens.

        Args:
            shard: the archive's object.
            file: the object that is added.
            member: its name in the archive.

        Raises:
            Unsupported: it is no archive to which members can be added so that all else stays.
            Exists: it has a member of that name.
            Invalid: it has no place for a member of that name.
            Corrupt: it is not sound.
            Stale: somebody replaced it meanwhile.
        """

    async def start(self, kind: str, bucket: BucketName | None) -> str:
        """Start a job of a kind; return its id."""

    async def abort(self, job_id: str) -> None:
        """Stop a job; what it did stays. `NotFound` if there is none."""

    async def etl_init(self, name: str, source: EtlSource, comm: str, timeout: str) -> str:
        """Start a new transformer; return its job's id once it runs.

        Args:
            name: of at least 6 characters.
            source: the object that holds what it is made of.
            comm: how targets speak to it, such as `hpush`; "" for the usual way.
            timeout: for its start, such as "5m"; "" for a minute.

        Raises:
            Invalid: the object is no Python file with a function `transform(data)`.
        """

    async def etl_start(self, name: str) -> None:
        """Start a transformer again that was stopped."""

    async def etl_stop(self, name: str) -> None:
        """Stop a transformer; what it is made of stays."""

    async def etl_delete(self, name: str) -> None:
        """Delete a transformer that was stopped."""
