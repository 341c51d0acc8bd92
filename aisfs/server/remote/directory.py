"""A directory that plays a cloud bucket: each file below it is an object.

Names cannot lead out of it: a name is walked part by part with `openat` and O_NOFOLLOW, so neither
`..` nor a symbolic link, nor one that appears meanwhile, is ever followed; links are no objects.
Writes appear by rename and whole. What is being written lies in `.aisfs-incoming` at the top.

Others may change the files at any time; a version is made of inode, size and time of change, so
replaced and edited files get new ones.
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from email.utils import formatdate
from itertools import islice
from pathlib import Path

from aisfs.server.http.errors import AisError, no_space
from aisfs.server.naming import SCHEMES, BucketName, encode_name, is_valid_object_name
from aisfs.server.remote.origin import Attributes, Listed, Page, PageRequest

INCOMING = ".aisfs-incoming"
PIECE = 1 << 20
_TRIES = 3
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR}
_FULL = {errno.ENOSPC, errno.EDQUOT}


class DirectoryOrigin:
    """A bucket's directory. `path` is resolved once; what it names later does not matter."""

    def __init__(self, name: BucketName, path: Path) -> None:
        self._name = name
        self._provider = name.provider
        self._path = path
        self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._sweep()

    def _sweep(self) -> None:
        """Delete what an earlier run did not finish writing."""
        with contextlib.ExitStack() as opened:
            opened.enter_context(contextlib.suppress(FileNotFoundError))
            incoming = opened.enter_context(self._open_directory(INCOMING))
            for entry in opened.enter_context(os.scandir(incoming)):
                os.unlink(entry.name, dir_fd=incoming)

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._root)

    def check(self) -> None:
        """Raise 404 when the directory was deleted."""
        if not os.fstat(self._root).st_nlink:
            shown = f'{self._provider} bucket "{self._name.uri}" does not exist'
            raise AisError(404, shown, "ErrRemoteBckNotFound")

    # ---- objects ----------------------------------------------------------------------------

    def stat(self, name: str) -> Attributes:
        """Return what the file system says of an object."""
        with self._open_file(name) as fd:
            return self._attributes(os.fstat(fd))

    @contextlib.contextmanager
    def read(self, name: str) -> Iterator[tuple[Attributes, Iterator[bytes]]]:
        """Open an object; a file that changes while it is read ends in an error."""
        with self._open_file(name) as fd:
            before = self._attributes(os.fstat(fd))
            yield before, self._pieces(fd, before, name)

    def _pieces(self, fd: int, before: Attributes, name: str) -> Iterator[bytes]:
        while piece := os.read(fd, PIECE):
            yield piece
        if self._attributes(os.fstat(fd)) != before:
            raise AisError(409, f"{self._uri(name)} changed at its origin while it was read")

    def write(self, name: str, source: Path) -> Attributes:
        """Copy a file in under a name.

        The bytes are copied, not linked: others may edit files in place, and blobs never change.
        """
        parts = self._parts(name)
        if parts is None or not is_valid_object_name(name):
            raise AisError(400, f'invalid object name "{name}"', "errInvalidPath")
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(INCOMING, 0o700, dir_fd=self._root)
            with self._open_directory(INCOMING) as incoming:
                return self._write(incoming, parts, source)
        except OSError as error:
            raise self._refusal(error, name) from error

    def _write(self, incoming: int, parts: list[str], source: Path) -> Attributes:
        temporary = secrets.token_hex(16)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o644, dir_fd=incoming)
        try:
            _copy(source, fd)
            for attempt in range(_TRIES):
                try:
                    with self._parent(parts, create=True) as parent:
                        os.rename(temporary, parts[-1], src_dir_fd=incoming, dst_dir_fd=parent)
                except FileNotFoundError:  # a DELETE took the emptied directory away
                    if attempt == _TRIES - 1:
                        raise
                else:
                    break
            return self._attributes(os.fstat(fd))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=incoming)
            raise
        finally:
            os.close(fd)

    def delete(self, name: str) -> None:
        """Delete an object, and the directories that hold nothing after it."""
        with self._open_file(name):
            pass  # refuses directories, links and special files
        parts = self._parts(name) or []
        try:
            with self._parent(parts) as parent:
                os.unlink(parts[-1], dir_fd=parent)
            while len(parts) > 1:
                parts.pop()
                with self._parent(parts) as parent:
                    os.rmdir(parts[-1], dir_fd=parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise self._refusal(error, name) from error

    def _attributes(self, status: os.stat_result) -> Attributes:
        version = f"{status.st_mtime_ns:x}.{status.st_size:x}.{status.st_ino:x}"
        custom = {
            "source": self._provider,
            "version": version,
            "ETag": version,
            "LastModified": formatdate(status.st_mtime_ns // 10**9, usegmt=True),
        }
        return Attributes(status.st_size, version, custom)

    # ---- from names to files ----------------------------------------------------------------

    def _uri(self, name: str) -> str:
        return f"{SCHEMES[self._provider]}://{self._name.name}/{name}"

    def _missing(self, name: str) -> AisError:
        return AisError(404, f"{{node}}: {self._uri(name)} does not exist", "ErrNotFound")

    def _refusal(self, error: OSError, name: str) -> AisError:
        if error.errno in _FULL:
            return no_space(f"{self._uri(name)}: {error.strerror}")
        if error.errno in {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY}:
            kind = "contains an object in its path"
            if error.errno != errno.ENOTDIR:
                kind = "exists and is a virtual directory"
            return AisError(400, f"{self._uri(name)}: destination {kind}", "ErrMv")
        status = 403 if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS} else 400
        return AisError(status, f"{self._uri(name)}: {error.strerror}", type(error).__name__)

    def _parts(self, name: str) -> list[str] | None:
        """Split a name; None for one that no file can have."""
        parts = name.split("/")
        odd = any(part in {"", ".", ".."} or "\0" in part for part in parts)
        return None if odd or parts[0] == INCOMING else parts

    @contextlib.contextmanager
    def _open_directory(self, name: str, parent: int | None = None) -> Iterator[int]:
        fd = os.open(name, _DIRECTORY, dir_fd=self._root if parent is None else parent)
        try:
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _parent(self, parts: list[str], *, create: bool = False) -> Iterator[int]:
        """Open the directory of a name, following no link on the way."""
        fd = os.dup(self._root)
        try:
            for part in parts[:-1]:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=fd)
                below = os.open(part, _DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def _open_file(self, name: str) -> Iterator[int]:
        parts = self._parts(name)
        if parts is None:
            raise self._missing(name)
        try:
            with self._parent(parts) as parent:
                fd = os.open(parts[-1], _FILE, dir_fd=parent)
        except OSError as error:
            raise (
                self._missing(name) if error.errno in _GONE else self._refusal(error, name)
            ) from error
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise self._missing(name)
            yield fd
        finally:
            os.close(fd)

    # ---- listing ----------------------------------------------------------------------------

    def page(self, request: PageRequest) -> Page:
        """List one page; costs what the directories on its way hold."""
        try:
            with self._open_directory(".") as root:
                found = list(islice(self._walk(root, b"", request), request.limit + 1))
        except OSError as error:
            raise self._refusal(error, request.prefix) from error
        return Page(found[: request.limit], len(found) > request.limit)

    def _walk(self, directory: int, base: bytes, request: PageRequest) -> Iterator[Listed]:
        """Yield what is below a directory, in bytewise order of whole names."""
        prefix, after = encode_name(request.prefix), encode_name(request.after)
        for key in self._names(directory, base):
            full = base + key
            if not key.endswith(b"/"):
                if full.startswith(prefix) and full > after:
                    yield from self._entry(directory, full, key)
                continue
            inside = full.startswith(prefix)
            # All names of the directory are below `dir0`; "0" follows "/" in ASCII.
            if not (inside or prefix.startswith(full)) or after >= full[:-1] + b"0":
                continue
            name = os.fsdecode(key[:-1])
            # Gone or replaced meanwhile; one that cannot be read is no reason to list less.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                yield from self._below(directory, (name, full), request, inside=inside)

    def _below(
        self, directory: int, names: tuple[str, bytes], request: PageRequest, *, inside: bool
    ) -> Iterator[Listed]:
        """Yield what a subdirectory holds, or without recursion only that it holds something."""
        name, full = names
        prefix, after = encode_name(request.prefix), encode_name(request.after)
        with self._open_directory(name, directory) as below:
            if request.recursive or full == prefix or not inside:
                yield from self._walk(below, full, request)
            elif full > after and next(self._walk(below, full, _ANY), None):
                yield Listed(os.fsdecode(full), -1)

    def _names(self, directory: int, base: bytes) -> list[bytes]:
        """Return names of files, and of directories with a slash, in the order of listings."""
        with os.scandir(directory) as entries:
            found = []
            for entry in entries:
                if not base and entry.name == INCOMING:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found.append(os.fsencode(entry.name) + b"/")
                elif entry.is_file(follow_symlinks=False):
                    found.append(os.fsencode(entry.name))
        return sorted(found)

    def _entry(self, directory: int, full: bytes, key: bytes) -> Iterator[Listed]:
        name = os.fsdecode(full)
        if not is_valid_object_name(name):
            return
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(key, dir_fd=directory, follow_symlinks=False)
            yield Listed(name, status.st_size, self._attributes(status).version)


_ANY = PageRequest()


def _copy(source: Path, fd: int) -> None:
    with source.open("rb", buffering=0) as file:
        offset = 0
        while sent := os.sendfile(fd, file.fileno(), offset, 64 << 20):
            offset += sent
