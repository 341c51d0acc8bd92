"""Object bytes on disk: immutable files under opaque names.

A blob is written once, in `new/`, and never changed afterwards; replacing an object means a new
blob and a new record. A blob's name is random and says nothing of the object, so no object name
can lead out of the data directory.

How a crash at any moment leaves whole old or whole new bytes: the blob is complete in `new/`, the
record is committed (catalog.py), the blob moves to `blobs/`. `recover` finishes a move whose
record exists and deletes every other file of `new/` and `work/`. A reader that has a blob open
keeps its bytes although the name is gone.

Nothing is fsynced: what was answered survives the death of this process (`kill -9`), which is
what an embedded store promises, but not the death of the machine. An fsync per object would make
small writes a hundred times slower.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from aisfs.server.storage.checksums import Hasher

COPY_PIECE = 4 << 20
"""Bytes per step when a blob is copied; larger steps were not faster on tmpfs or ext4."""

RESERVE = 8 << 20
"""Bytes of the disk that new blobs leave free: deleting needs room for the records' journal, which
grows to 4 MiB, and a disk without it could never be emptied again."""

MAX_VECTORS = 512
"""Pieces handed to one writev; Linux takes at most 1024."""


class BlobWriter:
    """A blob being written. Use `write` until done, then `size`, then hand over or `discard`."""

    def __init__(self, path: Path, hashers: Sequence[Hasher]) -> None:
        self.path = path
        self.name = path.name
        self.size = 0
        self._hashers = hashers
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, pieces: list[bytes]) -> None:
        """Append the pieces and feed them to the hashers.

        Raises:
            OSError: the disk is full or broken; the blob is then unusable.
        """
        for piece in pieces:
            for hasher in self._hashers:
                hasher.update(piece)
        for start in range(0, len(pieces), MAX_VECTORS):
            self._write_all(pieces[start : start + MAX_VECTORS])

    def _write_all(self, pieces: list[bytes]) -> None:
        expected = sum(map(len, pieces))
        written = os.writev(self._fd, pieces)
        if written < expected:
            rest = memoryview(b"".join(pieces))[written:]
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        self.size += expected

    def close(self) -> None:
        """Close the file; the blob stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Close and delete, for an upload that failed."""
        self.close()
        self.path.unlink(missing_ok=True)


class Blobs:
    """The three directories of blob files below the data directory."""

    def __init__(self, root: Path) -> None:
        self.root = root / "blobs"
        self._new = root / "new"
        self._work = root / "work"
        self.mirror = root / "mirror"
        for directory in (self.root, self._new, self._work):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(256):
            (self.root / f"{number:02x}").mkdir(mode=0o700, exist_ok=True)

    def path(self, blob: str) -> Path:
        """Return where a committed blob lies."""
        return self.root / blob[:2] / blob

    def create(self, hashers: Sequence[Hasher] = ()) -> BlobWriter:
        """Start a blob that is to become an object."""
        return BlobWriter(self._new / secrets.token_hex(16), hashers)

    def create_work(self, hashers: Sequence[Hasher] = ()) -> BlobWriter:
        """Start a file of an unfinished append or multipart upload; gone after a restart."""
        return BlobWriter(self._work / secrets.token_hex(16), hashers)

    def settle(self, blob: str) -> None:
        """Move a blob whose record is committed to its final place.

        A disk that is too full for the directory entry leaves it in `new/`, where it is found,
        too; the next start moves it.
        """
        with contextlib.suppress(OSError):
            (self._new / blob).rename(self.path(blob))

    def find(self, blob: str) -> Path:
        """Return where a committed or finished blob lies now."""
        path = self.path(blob)
        return path if path.exists() else self._new / blob

    def open(self, blob: str) -> int:
        """Open a committed blob for reading and return the file descriptor.

        Raises:
            FileNotFoundError: the record was replaced and the blob deleted meanwhile.
        """
        try:
            return os.open(self.path(blob), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            pass
        try:
            return os.open(self._new / blob, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return os.open(self.copy_path(blob), os.O_RDONLY | os.O_CLOEXEC)

    def link(self, blob: str) -> str:
        """Return the name of a new blob with the same bytes; costs no space, as blobs never change.

        Raises:
            OSError: the file system refuses the link.
        """
        name = secrets.token_hex(16)
        os.link(self.find(blob), self._new / name)
        return name

    def link_work(self, blob: str) -> Path:
        """Return a second path to a committed blob's bytes, for the caller to delete."""
        path = self._work / secrets.token_hex(16)
        os.link(self.find(blob), path)
        return path

    # ---- second copies ----------------------------------------------------------------------

    def copy_path(self, blob: str) -> Path:
        """Return where the second copy of a blob lies, if it has one."""
        return self.mirror / blob[:2] / blob

    def add_copy(self, blob: str) -> None:
        """Make a second copy, in blocks of its own; an existing one is kept. Blocking.

        Raises:
            OSError: the disk is full, or the blob is gone.
        """
        if not self.copy_path(blob).exists():
            self._copy_over(self.find(blob), self.copy_path(blob))

    def restore(self, blob: str) -> None:
        """Put the second copy in the place of a broken or lost blob. Blocking."""
        self._copy_over(self.copy_path(blob), self.path(blob))

    def _copy_over(self, source: Path, target: Path) -> None:
        """Copy a file; it appears under its name when it is whole."""
        temporary = self._work / secrets.token_hex(16)
        try:
            with source.open("rb", buffering=0) as file:
                temporary.touch(mode=0o600)
                with temporary.open("wb", buffering=0) as output:
                    shutil.copyfileobj(file, output, COPY_PIECE)
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)

    def drop_copy(self, blob: str) -> None:
        """Delete the second copy, if there is one."""
        self.copy_path(blob).unlink(missing_ok=True)

    def delete(self, blobs: Iterable[str]) -> None:
        """Delete committed blobs that no record names any more, and their copies."""
        for blob in blobs:
            self.drop_copy(blob)
            self.find(blob).unlink(missing_ok=True)

    def pending(self) -> list[str]:
        """Return the blobs in `new/`, in no order."""
        return [entry.name for entry in os.scandir(self._new)]

    def recover(self, committed: set[str]) -> None:
        """Finish or undo what a crash interrupted.

        `committed` names the pending blobs that have a record.
        """
        for blob in self.pending():
            if blob in committed:
                self.settle(blob)
            else:
                (self._new / blob).unlink()
        shutil.rmtree(self._work)
        self._work.mkdir(mode=0o700)

    def free_space(self) -> tuple[int, int]:
        """Return used and total bytes of the disk, as an unprivileged user may use it."""
        stat = os.statvfs(self.root)
        total = stat.f_blocks * stat.f_frsize
        return total - stat.f_bavail * stat.f_frsize, total


def copy_into(writer: BlobWriter, source: Path) -> None:
    """Append a whole file to a blob being written, hashing it on the way.

    Raises:
        OSError: reading or writing failed.
    """
    with source.open("rb", buffering=0) as file:
        while piece := file.read(COPY_PIECE):
            writer.write([piece])


def unlink_quietly(path: Path) -> None:
    """Delete a file that may be gone or not deletable; leftovers are swept at the next start."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
