"""Machines that cannot do everything, for tests of what is said there."""

import os
import subprocess

import pytest

from tests.support.not_run import give_up

WITHOUT_FUSE = """
mount -t tmpfs none /dev && cd /dev &&
mknod -m 666 null c 1 3 && mknod -m 666 zero c 1 5 && mknod -m 666 urandom c 1 9 &&
cd / && exec "$0" -m aisfs "$@"
"""


@pytest.fixture
def no_fuse(request: pytest.FixtureRequest) -> str:
    """Return a script for `unshare --mount sh -c`: runs aisfs on a machine without /dev/fuse."""
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    if os.geteuid() != 0 or subprocess.run(probe, capture_output=True, check=False).returncode:
        give_up(request.node, "only root can take /dev/fuse away from a process")
    return WITHOUT_FUSE
