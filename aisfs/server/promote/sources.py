"""Opening the files that are to be promoted; blocking.

What a name leads to is decided by the open file, not by the name: it is opened without effect
(O_PATH), its real path is asked of the kernel and must lie below a root, and that same file is then
read. So no symbolic link, moved directory or swapped file leads out of the roots, however timed.
Below a source directory every part of a name is opened by its parent's descriptor.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from aisfs.server.http.errors import AisError

PIECE = 1 << 20
_LOOK = os.O_PATH | os.O_CLOEXEC
_LOOK_DIRECTORY = _LOOK | os.O_DIRECTORY | os.O_NOFOLLOW
_INVALID = "errInvalidPromoteSource"


@dataclass(frozen=True, slots=True)
class Roots:
    """The directories below which files may be promoted, as given and resolved."""

    given: tuple[Path, ...] = ()
    resolved: tuple[Path, ...] = ()

    @classmethod
    def of(cls, paths: tuple[Path, ...]) -> "Roots":
        """Resolve the roots once, at the start.

        Raises:
            OSError: one of them does not exist.
        """
        return cls(
            tuple(Path(os.path.abspath(path)) for path in paths),  # noqa: PTH100 -- not resolved
            tuple(path.resolve(strict=True) for path in paths),
        )

    def check_text(self, source: str) -> None:
        """Refuse a path that cannot be below a root, by its text.

        Raises:
            AisError: 400.
        """
        if not source:
            raise AisError(400, "invalid promote source: pathname is empty", _INVALID)
        head = f'invalid promote source "{source}": '
        if not source.startswith("/"):
            raise AisError(400, f"{head}must be an absolute path", _INVALID)
        if any(part in {".", ".."} for part in source.split("/")):
            raise AisError(400, f"{head}must not contain '.' or '..' path elements", _INVALID)
        allowed = (*self.given, *self.resolved)
        if "\0" in source or not any(Path(source).is_relative_to(root) for root in allowed):
            raise self.outside(source)

    def outside(self, source: str) -> AisError:
        """Return the refusal of what is not below a root."""
        shown = " or ".join(str(root) for root in self.given)
        return AisError(400, f'invalid promote source "{source}": must be under {shown}', _INVALID)

    def holds(self, fd: int) -> bool:
        """Tell whether an open file lies below a root now."""
        real = Path(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 -- not a path of ours
        return any(real.is_relative_to(root) for root in self.resolved)


@dataclass(frozen=True, slots=True)
class Source:
    """A file or directory to promote, open; `close` it. `paths` are relative, `""` for a file."""

    roots: Roots
    text: str
    fd: int
    is_directory: bool

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)

    def paths(self, *, recursive: bool, links: bool) -> list[str]:
        """Return the files there are.

        Args:
            recursive: Descend into directories, never into links to them.
            links: Whether links to files count.
        """
        if not self.is_directory:
            return [""]
        return sorted(self._walk(self.fd, "", recursive=recursive, links=links))

    def _walk(self, fd: int, base: str, *, recursive: bool, links: bool) -> Iterator[str]:
        with _readable(fd) as directory, os.scandir(directory) as entries:
            for entry in entries:
                path = base + entry.name
                if entry.is_file(follow_symlinks=False) or (links and entry.is_symlink()):
                    yield path
                elif recursive and entry.is_dir(follow_symlinks=False):
                    below = os.open(entry.name, _LOOK_DIRECTORY, dir_fd=fd)
                    try:
                        yield from self._walk(below, f"{path}/", recursive=True, links=links)
                    finally:
                        os.close(below)

    def read(self, path: str, sink: Callable[[bytes], None]) -> os.stat_result | None:
        """Hand a file's bytes to `sink`; None for what is no file.

        Raises:
            AisError: it is not below a root, or changes while it is read.
            OSError: it cannot be read.
        """
        with self._look(path) as found:
            if not self.roots.holds(found):
                raise self.roots.outside(self._shown(path))
            before = os.fstat(found)
            if not stat.S_ISREG(before.st_mode):
                return None
            with _readable(found) as fd:
                while piece := os.read(fd, PIECE):
                    sink(piece)
            if _moment(os.fstat(found)) != _moment(before):
                raise AisError(409, f"{self._shown(path)} changed while it was read")
            return before

    def remove(self, path: str, read: os.stat_result) -> None:
        """Delete a file that was read, unless another took its place or it changed since.

        Raises:
            AisError: it did.
            OSError: it cannot be deleted.
        """
        with self._parent(path) as (parent, name):
            now = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if _moment(now) != _moment(read):
                raise AisError(409, f"{self._shown(path)} changed since it was read: not deleted")
            os.unlink(name, dir_fd=parent)

    def _shown(self, path: str) -> str:
        return f"{self.text.rstrip('/')}/{path}" if path else self.text

    @contextlib.contextmanager
    def _look(self, path: str) -> Iterator[int]:
        if not path:
            yield self.fd
            return
        with self._parent(path) as (parent, name):
            fd = os.open(name, _LOOK, dir_fd=parent)
            try:
                yield fd
            finally:
                os.close(fd)

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the directory of a file, following no link on the way."""
        if not path:
            directory, name = os.path.split(self.text)
            fd = os.open(directory, _LOOK | os.O_DIRECTORY)
        else:
            *parts, name = path.split("/")
            fd = os.dup(self.fd)
            for part in parts:
                below = os.open(part, _LOOK_DIRECTORY, dir_fd=fd)
                os.close(fd)
                fd = below
        try:
            if not self.roots.holds(fd):
                raise self.roots.outside(self._shown(path))
            yield fd, name
        finally:
            os.close(fd)


def open_source(roots: Roots, text: str) -> Source:
    """Open what a path names.

    Raises:
        AisError: 404 it does not exist; 400 it is not below a root, or neither file nor directory.
    """
    roots.check_text(text)
    path = text.rstrip("/")
    try:
        fd = os.open(path, _LOOK)
    except OSError as error:
        status = 404 if isinstance(error, FileNotFoundError | NotADirectoryError) else 403
        reason = (error.strerror or "").lower()
        raise AisError(status, f"stat {text}: {reason}", "PathError", at_target=True) from error
    try:
        if not roots.holds(fd):
            raise roots.outside(text)
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode) and Path(path).is_symlink():
            raise AisError(400, f"cannot Walk non-directory: {text}", at_target=True)
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise AisError(400, f'invalid promote source "{text}": no file or directory', _INVALID)
    except BaseException:
        os.close(fd)
        raise
    return Source(roots, path, fd, stat.S_ISDIR(mode))


@contextlib.contextmanager
def _readable(fd: int) -> Iterator[int]:
    """Open for reading what is open by O_PATH."""
    opened = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield opened
    finally:
        os.close(opened)


def _moment(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
