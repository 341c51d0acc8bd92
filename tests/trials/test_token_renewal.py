"""Tokens that expire and are replaced while files are copied: no program sees an error.

`./run long token_renewal` copies for three minutes, with a new token every ten seconds.
"""

from __future__ import annotations

import os
import secrets
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Self

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.fuse

SIZE = 300_000


def put(file: Path, token: str) -> None:
    """Replace a token file at once, as whoever renews tokens does."""
    new = file.with_name(f"{file.name}.new")
    new.touch(mode=0o600)
    new.write_text(token)
    new.replace(file)


class Renewal:
    """Renews the token: the client's file first, then the store's, which ends the old one."""

    def __init__(self, ours: Path, stores: Path, pause_s: float) -> None:
        self._ours, self._stores, self._pause_s = ours, stores, pause_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.renewals = 0

    def _run(self) -> None:
        while not self._over.wait(self._pause_s):
            token = secrets.token_urlsafe(32)
            put(self._ours, token)
            put(self._stores, token)
            self.renewals += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.long
@pytest.mark.parametrize("options", [[], ["write-back"], ["transport=sdk"]], ids=str)
def test_a_copy_outlives_its_tokens(
    tmp_path: Path,
    rounds: Callable[[int, int], int],
    tally: Callable[[str, int], None],
    options: list[str],
) -> None:
    seconds = rounds(6, 180)
    source = tmp_path / "source"
    source.mkdir()
    bodies = {f"f{number}": os.urandom(SIZE) for number in range(20)}
    for name, body in bodies.items():
        (source / name).write_bytes(body)
    with StoreProcess(extra=("--require-token",)) as store:
        ours = tmp_path / "token"
        put(ours, store.token_file.read_text())
        Client(store.endpoint, token=ours.read_text().strip()).bucket("b").create()
        given = [f"token-file={ours}", "cache-memory=8MiB", *options]
        with (
            Mount(store.endpoint, "ais://b", options=given) as mount,
            Renewal(ours, store.token_file, 1 if seconds < 60 else 10) as renewal,
        ):
            end, copies = time.monotonic() + seconds, 0
            while time.monotonic() < end:
                there = mount.path / f"copy{copies}"
                subprocess.run(["cp", "-r", source, there], check=True)
                subprocess.run(["diff", "-r", source, there], check=True)
                copies += 1
    tally("copies", copies)
    tally("renewals", renewal.renewals)
    assert renewal.renewals >= 3
