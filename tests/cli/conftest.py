"""Machines that cannot do everything, for tests of what is said there."""

import os
import subprocess
import sys

import pytest

from tests.support.not_run import give_up

WITHOUT_FUSE = """
mount -t tmpfs none /mnt &&
for name in null zero urandom; do : >/mnt/$name && mount --bind /dev/$name /mnt/$name; done &&
mount --rbind /mnt /dev && exec "$@"
"""


@pytest.fixture
def without_fuse() -> list[str]:
    """Return words that run the command behind them on a machine without /dev/fuse."""
    become = ["--user", "--map-root-user"] if os.geteuid() else []
    prefix = ["unshare", *become, "--mount", "sh", "-c", WITHOUT_FUSE, "sh"]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        give_up(f"/dev/fuse cannot be taken away here: {tried.stderr.strip()}")
    return [*prefix, sys.executable, "-m", "aisfs"]
