"""A token is nowhere to be seen: not in processes, logs, control files, attributes, or errors."""

from __future__ import annotations

import os
import subprocess
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from aisfs.control.xattrs import FACTS, is_fact
from tests.support.mount import Mount, run_aisfs
from tests.support.store import StoreProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.fuse

WRONG = "wrong-but-secret-0123456789abcdef"
STREAM = "events"
"""The control file that does not end."""


TOLD = (
    "object", "state", "checksum", "version", "checksum-type", "etag", "last-modified", "atime",
    "cached", "location", "copies", "chunks",
)  # fmt: skip


@pytest.fixture(scope="module")
def store() -> Iterator[StoreProcess]:
    """Return a store that serves nobody without its token."""
    with StoreProcess(extra=("--require-token",)) as process:
        secret = process.token_file.read_text().strip()
        ended = run_aisfs(
            "bucket", "create", "ais://b", "--endpoint", process.endpoint,
            environment={"AIS_AUTHN_TOKEN": secret},
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        yield process


def texts_of(mount: Mount, port: int) -> Iterator[tuple[str, bytes]]:
    """Yield everything that a mount shows to anybody, with where it is shown."""
    process = Path(f"/proc/{mount.daemon_pid}")
    for each in ("cmdline", "environ", "comm", "mountinfo"):
        yield each, (process / each).read_bytes()
    yield "ps", subprocess.run(["ps", "auxwwe"], capture_output=True, check=True).stdout
    yield "log", mount.log_file.read_bytes()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        yield "scrape", answer.read()
    yield from files_below(mount.path / ".aisfs")
    yield from files_below(mount.state)
    for name in ("a", "refused", "."):
        for fact in TOLD:
            assert is_fact(FACTS + fact)
            with suppress(OSError):
                yield f"{FACTS}{fact}", os.getxattr(mount.path / name, FACTS + fact)
    for words in (["status"], ["status", "--json"], ["recover", "list", "--json"]):
        ended = run_aisfs(*words)
        yield " ".join(words), (ended.stdout + ended.stderr).encode()


def files_below(top: Path) -> Iterator[tuple[str, bytes]]:
    for directory, _, names in os.walk(top):
        for name in names:
            path = Path(directory) / name
            if name == STREAM:
                words = ["timeout", "1", "cat", os.fspath(path)]
                yield name, subprocess.run(words, capture_output=True, check=False).stdout
                continue
            with suppress(OSError):  # what the cluster refuses to tell
                yield str(path), path.read_bytes()


def work(mount: Mount, store: StoreProcess) -> list[bytes]:
    """Do what works, what fails and what is refused; return the words that came of it."""
    (mount.path / "a").write_bytes(b"content")
    assert (mount.path / "a").read_bytes() == b"content"
    (mount.path / ".aisfs" / "ctl").write_text("copy /a /b\n")
    words = []
    store.faults([{"method": "PUT", "path": "refused$", "action": "error"}])
    with pytest.raises(OSError, match="Input/output") as failed:
        (mount.path / "refused").write_bytes(b"12345")
    words.append(str(failed.value).encode())
    store.clear_faults()
    with suppress(OSError):
        (mount.path / ".aisfs" / "ctl").write_text("copy /absent /c\n")
    words.append((mount.path / ".aisfs" / "last").read_bytes())
    return words


@pytest.mark.parametrize("way", ["file", "environment"])
def test_a_token_that_works_is_shown_nowhere(store: StoreProcess, tmp_path: Path, way: str) -> None:
    secret = store.token_file.read_text().strip()
    own, environment = tmp_path / "own-token", {"AIS_AUTHN_TOKEN": secret}
    own.write_text(f"{secret}\n")
    port = free_port()
    options = [f"metrics-listen={port}"]
    if way == "file":
        options, environment = [*options, f"token-file={own}"], {}
    with Mount(store.endpoint, "ais://b", options=options, environment=environment) as mount:
        words = work(mount, store)
        if way == "file":  # somebody puts another one there, which the cluster refuses
            own.write_text(WRONG)
            with suppress(OSError):
                os.listxattr(mount.path / "another")
            with suppress(OSError):
                (mount.path / "another").write_bytes(b"x")
        places = 0
        for where, text in [*texts_of(mount, port), *(("words", each) for each in words)]:
            assert secret.encode() not in text, f"the token is in {where}"
            assert WRONG.encode() not in text, f"the wrong token is in {where}"
            places += 1
        assert places > 30
        assert b"hidden" in (mount.path / ".aisfs" / "config.json").read_bytes() or way == "file"
        log = mount.log
    assert secret not in log
    assert "DEBUG" in log


@pytest.mark.parametrize("way", ["file", "environment"])
def test_a_token_that_is_refused_is_not_repeated(
    store: StoreProcess, tmp_path: Path, way: str
) -> None:
    own, environment = tmp_path / "own-token", {"AIS_AUTHN_TOKEN": WRONG}
    own.write_text(WRONG)
    options = [f"token-file={own}"] if way == "file" else []
    given = environment if way == "environment" else {}
    mount = Mount(store.endpoint, "ais://b", options=options, environment=given)
    ended = mount.try_mount()
    log = mount.log
    state = list(files_below(mount.state)) if mount.state.exists() else []
    mount._clean_up()
    assert ended.returncode == 32
    assert "give a token that may" in ended.stderr
    for text in (ended.stdout, ended.stderr, log, *map(str, state)):
        assert WRONG not in text


def test_a_token_on_the_command_line_is_refused_without_being_repeated(store: StoreProcess) -> None:
    mount = Mount(store.endpoint, "ais://b", options=[f"token={WRONG}"])
    ended = mount.try_mount()
    mount._clean_up()
    assert ended.returncode == 32
    assert "token-file=FILE" in ended.stderr
    assert WRONG not in ended.stderr


def test_a_token_that_were_shown_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_text(WRONG)
    assert [where for where, text in files_below(tmp_path) if WRONG.encode() in text]
