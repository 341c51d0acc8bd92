from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

import pyfuse3
import pytest
import trio

from aisfs.errors import FsError, IoFailure, NotFound, Stale
from aisfs.fuse.operations import Operations, _answered
from aisfs.vfs.nodes import ROOT
from tests.support.filesystem import ME, filesystem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from aisfs.config import BucketName
    from tests.support.store import StoreProcess


def kinds(root: type[FsError] = FsError) -> Iterator[type[FsError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.fixture
async def operations(
    cluster: StoreProcess, bucket: BucketName, tmp_path: Path
) -> AsyncIterator[Operations]:
    async with filesystem(cluster.endpoint, bucket, tmp_path) as shell:
        yield Operations(shell.fs, lambda: None)


@pytest.mark.parametrize("kind", list(kinds()), ids=lambda kind: kind.__name__)
async def test_every_error_becomes_its_errno(
    kind: type[FsError], caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(operations: None, ino: int) -> None:
        raise kind("words")

    caplog.set_level(logging.DEBUG)
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await _answered(handler)(None, 1)
    assert caught.value.errno == kind.errno
    assert [record.levelno for record in caplog.records] == [kind.log_level]


async def test_a_bug_is_eio_with_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(operations: None, ino: int) -> None:
        raise KeyError("a bug")

    with pytest.raises(pyfuse3.FUSEError) as caught:
        await _answered(handler)(None, 1)
    assert caught.value.errno == errno.EIO
    assert caplog.records[0].exc_info is not None


async def test_cancellation_passes() -> None:
    async def handler(operations: None, ino: int) -> None:
        await trio.sleep_forever()

    with trio.move_on_after(0) as scope:
        await _answered(handler)(None, 1)
    assert scope.cancelled_caught


def test_levels_tell_danger_from_everyday() -> None:
    assert IoFailure.log_level == logging.ERROR
    assert Stale.log_level == logging.WARNING
    assert NotFound.log_level == logging.DEBUG


async def test_an_absent_name_is_an_answer(operations: Operations) -> None:
    """The kernel may remember it."""
    entry = await operations.lookup(ROOT, b"absent", None)
    assert (entry.st_ino, entry.entry_timeout) == (0, 1.0)


async def test_forget_and_release_never_raise(operations: Operations) -> None:
    await operations.forget([(12345, 1), (ROOT, 1)])
    await operations.release(12345)


async def test_readiness_never_raises(operations: Operations) -> None:
    def fail() -> None:
        raise OSError("nobody waits")

    Operations(operations._fs, fail).init()


async def test_a_file_through_the_operations(operations: Operations) -> None:
    fs = operations._fs
    fh, node = await fs.create(ROOT, b"f", 0o600, os.O_RDWR, ME)
    assert await operations.write(fh, 0, b"bytes") == 5
    await operations.flush(fh)
    await operations.fsync(fh, False)
    assert bytes(await operations.read(fh, 1, 100)) == b"ytes"
    assert bytes(await operations.read(fh, 5, 100)) == b""
    await operations.release(fh)
    entry = await operations.getattr(node.ino, None)
    assert (entry.st_size, entry.st_mode & 0o777) == (5, 0o600)
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await operations.link(node.ino, ROOT, b"g", None)
    assert caught.value.errno == errno.EPERM
