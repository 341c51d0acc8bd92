"""How many files may be open at once: what the daemon takes, and what happens beyond it."""

from __future__ import annotations

import errno
import os
import resource
from typing import TYPE_CHECKING

import pytest

from tests.support.mount import Mount

if TYPE_CHECKING:
    from pathlib import Path

    from aisfs_sdk.bucket import Bucket

pytestmark = pytest.mark.fuse


def test_the_daemon_takes_all_that_it_may_have(endpoint: str, bucket: Bucket) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, soft), hard))
    try:
        with Mount(endpoint, f"ais://{bucket.name}") as mount:
            assert resource.prlimit(mount.daemon_pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_until_refused(directory: Path) -> tuple[list[int], OSError]:
    """Open one file after the other and write to it; return the descriptors, and what ended it."""
    opened: list[int] = []
    while True:
        try:
            fd = os.open(directory / f"f{len(opened)}", os.O_CREAT | os.O_WRONLY)
        except OSError as error:
            return opened, error
        os.write(fd, b"%d" % len(opened))
        opened.append(fd)


def test_too_many_files_that_are_written_leave_the_mount_working(
    mount: Mount, bucket: Bucket
) -> None:
    """POSIX: ENFILE of open(2) is a limit that is not the caller's own."""
    bucket.object("other").put_content(b"bytes")
    resource.prlimit(mount.daemon_pid, resource.RLIMIT_NOFILE, (160, 160))
    opened, refused = open_until_refused(mount.path)
    assert refused.errno == errno.ENFILE
    assert "prlimit" in mount.log
    assert not (mount.path / f"f{len(opened)}").exists()
    assert (mount.path / "other").read_bytes() == b"bytes"
    for fd in opened:
        os.close(fd)
    (mount.path / "last").write_bytes(b"fits again")
    names = {f"f{number}" for number in range(len(opened))}
    assert {entry.name for entry in bucket.list_all_objects()} == {"other", "last", *names}
    assert not list(mount.state.rglob("staging/*.data"))
