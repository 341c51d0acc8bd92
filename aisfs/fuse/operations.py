"""One short method per kernel request: decode, call the filesystem, encode.

The wrapper `_answered` is the one place where failures become errnos: an `FsError` gives its own, a
bug gives EIO with a traceback in the log, and the mount lives (any other exception would leave
`pyfuse3.main` and end it). `forget` and `release` never raise.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import inspect
import logging
import time
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pyfuse3
import trio

from aisfs import kernel_request, metrics
from aisfs.control.files import Caller
from aisfs.errors import FsError, NotFound
from aisfs.fuse.attributes import absent_entry, bare_entry, entry_of, statvfs_of
from aisfs.kernel_request import Handler
from aisfs.metrics import APPLICATIONS
from aisfs.vfs.attributes import Kind
from aisfs.vfs.control_tree import ControlNode
from aisfs.vfs.filesystem import Change
from aisfs.vfs.paths import to_text

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from aisfs.kernel_request import Request
    from aisfs.vfs.filesystem import Filesystem
    from aisfs.vfs.nodes import Node

log = logging.getLogger(__name__)

UNSUPPORTED = frozenset(
    (b"security.selinux", b"system.posix_acl_access", b"system.posix_acl_default")
)
"""What `ls -l` asks of every file while a file system says "none", and never again once it says
"not supported", which is the truth: half of the requests of `ls -l` were these."""

P = ParamSpec("P")
T = TypeVar("T")


_LOOKUP = metrics.operation("lookup")


def _answered(
    handler: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Count and time a handler; let it fail with nothing but `FUSEError` and cancellation."""
    told = Handler(handler.__name__, _word(handler))
    counts = metrics.operation(told.name)
    spans, clock, enter = counts.spans, time.perf_counter_ns, kernel_request.current.set

    @functools.wraps(handler)
    async def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        request = [told, args[0], args[1]]  # no more: background work keeps it
        enter(request)
        begun = clock()
        try:
            return await handler(*args, **kwargs)
        except FsError as error:
            counts.failed(error.errno)
            log.log(error.log_level, "%s", error)
            raise pyfuse3.FUSEError(error.errno) from None
        except pyfuse3.FUSEError as error:
            counts.failed(error.errno)
            raise
        except trio.Cancelled:
            raise
        except Exception as error:
            counts.failed(errno.EIO)
            log.exception("unexpected failure")
            raise pyfuse3.FUSEError(errno.EIO) from error
        finally:
            took = clock() - begun
            spans[took.bit_length()] += 1
            counts.total_ns += took
            if took > counts.slow_ns:
                _tell_slow(request, args, took / 1e9)

    return answer


def _word(handler: Callable[P, Coroutine[Any, Any, T]]) -> str:
    """Return what a handler's first argument is, in the log's words; "" if none of them fits."""
    parameters = [name for name in inspect.signature(handler).parameters if name != "self"]
    words = {"ino": "ino", "parent": "parent", "old_parent": "parent", "fh": "fh"}
    return words.get(parameters[0], "") if parameters else ""


def _caller(ctx: pyfuse3.RequestContext) -> Caller:
    return Caller(ctx.uid, ctx.gid, ctx.pid)


def _tell_slow(started: object, arguments: tuple[object, ...], took_s: float) -> None:
    """Log what took long, and where the time went; many at once are told as such."""
    request, operations = kernel_request.of(started), arguments[0]
    assert request is not None
    assert isinstance(operations, Operations)
    name = operations.name_of(request, arguments[2:])
    if name is None:
        return  # a control file: those wait for work of the cluster, and say so
    waits = [f"{seconds:.1f} s {what.value}" for what, seconds in request.waits().items()]
    spent = ", ".join(waits) or "not waiting for the cluster or a disk"
    log.warning("%s of %s took %.1f s: %s", request.handler.name, name or "-", took_s, spent)


class Operations(pyfuse3.Operations):
    """The mount as pyfuse3 sees it.

    Args:
        filesystem: what is mounted.
        ready: called when the kernel has taken the mount into service.
        slow_s: requests that take longer get a line in the log; 0 for none.

    Attributes:
        initialised: set when the kernel takes the mount into service.
    """

    supports_dot_lookup = False
    enable_writeback_cache = False
    enable_acl = False

    def __init__(
        self, filesystem: Filesystem, ready: Callable[[], None], slow_s: float = 0.0
    ) -> None:
        super().__init__()
        for counts in metrics.OPERATIONS.values():
            counts.slow_ns = round(slow_s * 1e9) or 1 << 62
        self._fs = filesystem
        self._ready = ready
        self.initialised = trio.Event()
        self._bare = {kind: entry for kind in Kind if (entry := bare_entry(kind)) is not None}
        filesystem.directories.leaves_out = len(self._bare) == len(Kind)

    def init(self) -> None:
        """Tell the starter that the kernel has initialised the mount. Never raises."""
        self.initialised.set()
        try:
            self._ready()
        except Exception:
            log.exception("reporting readiness")

    def name_of(self, request: Request, further: tuple[object, ...]) -> str | None:
        """Return the name that a request is about, "" for none; None for a control file's.

        Args:
            request: what is asked.
            further: the arguments behind the inode or handle.
        """
        number, word = request.first, request.handler.word
        node: Node | None = None
        if word == "fh":
            node = self._fs.handles.node(number)
        elif word:
            with contextlib.suppress(FsError):
                node = self._fs.node(number)
        if isinstance(node, ControlNode):
            return None
        name = node.name if node is not None else ""
        if word == "parent" and further and isinstance(further[0], bytes):
            return name + to_text(further[0])
        return name

    def inode_of(self, handle: int) -> int:
        """Return the inode of a handle; 0 if there is no such handle."""
        node = self._fs.handles.node(handle)
        return node.ino if node is not None else 0

    def _entry(self, node: Node) -> pyfuse3.EntryAttributes:
        return entry_of(node, self._fs.remaining(node))

    @_answered
    async def lookup(self, parent: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        try:
            return self._entry(await self._fs.lookup(parent, name))
        except NotFound:
            _LOOKUP.failed(errno.ENOENT)
            return absent_entry(self._fs.absence_lifetime)

    @_answered
    async def forget(self, inodes: Sequence[tuple[int, int]]) -> None:
        for ino, count in inodes:
            try:
                self._fs.forget(ino, count)
            except Exception:
                log.exception("forget of inode %d", ino)

    @_answered
    async def getattr(self, ino: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._entry(await self._fs.getattr(ino))

    @_answered
    async def setattr(
        self, ino: int, attr: Any, fields: Any, fh: int | None, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        change = Change(
            mode=attr.st_mode & 0o7777 if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
            mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
            size=attr.st_size if fields.update_size else None,
        )
        return self._entry(await self._fs.setattr(ino, change, fh))

    @_answered
    async def readlink(self, ino: int, ctx: Any) -> bytes:
        return await self._fs.readlink(ino)

    @_answered
    async def mknod(
        self, parent: int, name: bytes, mode: int, rdev: int, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        return self._entry(await self._fs.mknod(parent, name, mode, _caller(ctx)))

    @_answered
    async def mkdir(self, parent: int, name: bytes, mode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._entry(await self._fs.mkdir(parent, name, mode, _caller(ctx)))

    @_answered
    async def symlink(
        self, parent: int, name: bytes, target: bytes, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        return self._entry(await self._fs.symlink(parent, name, target, _caller(ctx)))

    @_answered
    async def link(self, ino: int, parent: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        raise pyfuse3.FUSEError(errno.EPERM)  # C33: an object has one name

    @_answered
    async def unlink(self, parent: int, name: bytes, ctx: Any) -> None:
        await self._fs.unlink(parent, name)

    @_answered
    async def rmdir(self, parent: int, name: bytes, ctx: Any) -> None:
        await self._fs.rmdir(parent, name)

    @_answered
    async def rename(
        self, old_parent: int, old: bytes, new_parent: int, new: bytes, flags: int, ctx: Any
    ) -> None:
        await self._fs.rename(old_parent, old, new_parent, new, flags)

    @_answered
    async def opendir(self, ino: int, ctx: Any) -> int:
        return await self._fs.opendir(ino)

    @_answered
    async def readdir(self, fh: int, start: int, token: Any) -> None:
        fs, position = self._fs, -1
        while position != start:
            position = start
            for name, node, following in await fs.readdir(fh, position):
                if isinstance(node, Kind):
                    if not pyfuse3.readdir_reply(token, name, self._bare[node], following):
                        return
                elif pyfuse3.readdir_reply(token, name, self._entry(node), following):
                    fs.accept(node)
                else:
                    fs.reject(node)
                    return
                start = following

    @_answered
    async def releasedir(self, fh: int) -> None:
        self._fs.releasedir(fh)

    @_answered
    async def open(self, ino: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        control = await self._fs.open_control(ino, flags, _caller(ctx))
        if control is not None:
            fh, cached, lasting, stream = control
            return pyfuse3.FileInfo(
                fh=fh, direct_io=not cached, keep_cache=lasting, nonseekable=stream
            )
        fh, keep_cache = await self._fs.open(ino, flags)
        return pyfuse3.FileInfo(fh=fh, keep_cache=keep_cache)

    @_answered
    async def create(
        self, parent: int, name: bytes, mode: int, flags: int, ctx: Any
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        fh, node = await self._fs.create(parent, name, mode, flags, _caller(ctx))
        return pyfuse3.FileInfo(fh=fh, keep_cache=False), self._entry(node)

    @_answered
    async def read(self, fh: int, offset: int, size: int) -> bytes:
        view: bytes | memoryview | None = self._fs.read_now(fh, offset, size)
        if view is None:
            APPLICATIONS.waited += 1
            view = await self._fs.read(fh, offset, size)
        APPLICATIONS.read_bytes += len(view)
        return view  # type: ignore[return-value]  # any buffer will do, and a view saves a copy

    @_answered
    async def write(self, fh: int, offset: int, data: bytes) -> int:
        written = await self._fs.write(fh, offset, data)
        APPLICATIONS.written_bytes += written
        return written

    @_answered
    async def flush(self, fh: int) -> None:
        await self._fs.flush(fh)

    @_answered
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._fs.fsync(fh)

    @_answered
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Names are on the cluster before the call that made them returns."""

    @_answered
    async def release(self, fh: int) -> None:
        try:
            await self._fs.release(fh)
        except Exception:
            log.exception("release of handle %d", fh)

    @_answered
    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        return statvfs_of(await self._fs.statfs())

    @_answered
    async def getxattr(self, ino: int, name: bytes, ctx: Any) -> bytes:
        if name in UNSUPPORTED:
            raise pyfuse3.FUSEError(errno.EOPNOTSUPP)
        if not name.startswith(b"user."):
            raise pyfuse3.FUSEError(errno.ENODATA)  # security.capability: before every write
        return await self._fs.getxattr(ino, name)

    @_answered
    async def listxattr(self, ino: int, ctx: Any) -> Sequence[bytes]:
        return await self._fs.listxattr(ino)

    @_answered
    async def setxattr(self, ino: int, name: bytes, value: bytes, ctx: Any) -> None:
        await self._fs.setxattr(ino, name, value, _caller(ctx))

    @_answered
    async def removexattr(self, ino: int, name: bytes, ctx: Any) -> None:
        await self._fs.removexattr(ino, name)
