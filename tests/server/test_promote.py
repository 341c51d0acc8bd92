"""Promotion: what becomes an object, what is refused, and that nothing outside a root is read."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server import wire
from tests.support.store import StoreProcess


class Promoter:
    """A store that may promote what is below a directory."""

    def __init__(self, store: StoreProcess, root: Path) -> None:
        self.store = store
        self.root = root
        self.token = (store.data / "token").read_text().strip()

    def post(self, source: Path | str, *, token: bool = True, **value: Any) -> wire.Answer:
        message = {"action": "promote", "name": str(source), "value": value}
        headers = [("Authorization", f"Bearer {self.token}")] if token else []
        target = "/v1/objects/b?provider=ais"
        body = json.dumps(message).encode()
        return wire.follow(self.store.endpoint, "POST", target, headers, body)

    def promote(self, source: Path | str, **value: Any) -> str:
        """Promote and return the job's error, if there was a job."""
        answer = self.post(source, **value)
        assert answer.status == 200, answer
        if not answer.body:
            return ""
        return str(wire.wait_for_job(self.store.endpoint, answer.body.decode())["err"])

    def names(self) -> list[str]:
        message = b'{"action":"list","value":{}}'
        answer = wire.follow(self.store.endpoint, "GET", "/v1/buckets/b?provider=ais", [], message)
        return [entry["name"] for entry in json.loads(answer.body)["entries"] or []]

    def body(self, name: str) -> bytes:
        return wire.follow(self.store.endpoint, "GET", f"/v1/objects/b/{name}?provider=ais").body


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Promoter]:
    root = tmp_path_factory.mktemp("root")
    with StoreProcess(extra=("--promote-root", str(root))) as store:
        yield Promoter(store, root)


@pytest.fixture
def promoter(started: Promoter, tmp_path: Path) -> Promoter:
    """The store with an empty bucket `b`, and a directory of its own below the root."""
    message = b'{"action":"destroy-bck"}'
    wire.follow(started.store.endpoint, "DELETE", "/v1/buckets/b?provider=ais", [], message)
    started.store.create_bucket("b")
    root = started.root / tmp_path.name
    (root / "sub").mkdir(parents=True)
    (root / "f").write_bytes(b"file")
    (root / "sub/g").write_bytes(b"below")
    return Promoter(started.store, root)


def test_it_needs_the_token(promoter: Promoter) -> None:
    assert promoter.post(promoter.root / "f", token=False).status == 401
    assert promoter.names() == []


def test_it_is_off_without_a_root() -> None:
    with StoreProcess() as store:
        answer = Promoter(store, Path("/")).post("/etc/hostname")
        assert answer.status == 501
        assert b"--promote-root" in answer.body


def test_files_and_directories(promoter: Promoter) -> None:
    root = promoter.root
    assert promoter.promote(root / "f", obj="named") == ""
    assert promoter.promote(root / "f", obj="pre/") == ""
    assert promoter.promote(root, obj="top-") == ""
    assert promoter.promote(root, obj="all/", rcr=True) == ""
    assert promoter.names() == ["all/f", "all/sub/g", "named", "pre/f", "top-f"]
    assert promoter.body("all/sub/g") == b"below"


def test_overwriting_and_deleting(promoter: Promoter) -> None:
    file = promoter.root / "f"
    assert promoter.promote(file) == ""
    file.write_bytes(b"changed")
    assert promoter.promote(file) == ""
    assert promoter.body("f") == b"file"
    assert promoter.promote(file, ovw=True) == ""
    assert promoter.body("f") == b"changed"
    assert promoter.promote(promoter.root, rcr=True, dls=True, ovw=True) == ""
    assert [path.name for path in promoter.root.rglob("*")] == ["sub"]
    assert promoter.body("sub/g") == b"below"


def test_a_skipped_file_is_not_deleted(promoter: Promoter) -> None:
    file = promoter.root / "f"
    promoter.promote(file)
    file.write_bytes(b"not promoted")
    promoter.promote(file, dls=True)
    assert file.read_bytes() == b"not promoted"


def test_links_do_not_lead_out(promoter: Promoter, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    root = promoter.root
    (root / "link").symlink_to(secret)
    (root / "inside").symlink_to(root / "f")
    (root / "dir").symlink_to(tmp_path)
    for source in (root / "link", root / "dir/secret", root / "dir", secret, f"{root}/../secret"):
        answer = promoter.post(source)
        assert answer.status == 400, source
        assert b"errInvalidPromoteSource" in answer.body
    assert "must be under" in promoter.promote(root, rcr=True)
    assert promoter.names() == ["f", "inside", "sub/g"]
    assert promoter.body("inside") == b"file"


def test_a_swapped_directory_does_not_lead_out(promoter: Promoter, tmp_path: Path) -> None:
    """Swap a directory for a link to elsewhere, over and over, while it is promoted."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "g").write_bytes(b"secret")
    real, link = promoter.root / "real", promoter.root / "swap"
    real.mkdir()
    (real / "g").write_bytes(b"mine")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            for target in (real, elsewhere):
                temporary = promoter.root / "temporary"
                temporary.symlink_to(target)
                temporary.rename(link)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = set()
        for _ in range(60):
            answer = promoter.post(link / "g", ovw=True)
            assert answer.status in {200, 400, 404}, answer
            if "g" in promoter.names():
                seen.add(promoter.body("g"))
    finally:
        stop.set()
        swapper.join()
    assert seen <= {b"mine"}


def test_odd_files_are_passed_over(promoter: Promoter) -> None:
    os.mkfifo(promoter.root / "fifo")
    assert promoter.post(promoter.root / "fifo").status == 400
    assert promoter.promote(promoter.root) == ""
    assert promoter.names() == ["f"]


def test_a_killed_promotion_leaves_whole_objects_and_all_sources(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number in range(400):
        (root / f"f{number:03}").write_bytes(bytes([number % 256]) * 20_000)
    with StoreProcess(extra=("--promote-root", str(root))) as store:
        store.create_bucket("b")
        promoter = Promoter(store, root)
        assert promoter.post(root, dls=True).status == 200
        while len(list(root.iterdir())) > 300:
            pass
        store.kill()
        store.start()
        names = promoter.names()
        left = {path.name for path in root.iterdir()}
        assert left | set(names) == {f"f{number:03}" for number in range(400)}
        for name in names:
            assert promoter.body(name) == bytes([int(name[1:]) % 256]) * 20_000
        assert not list((store.data / "new").iterdir())
