"""What was answered survives a restart and a crash; nothing half written ever shows."""

import hashlib
import json
import threading
from pathlib import Path

import pytest

from tests.server import wire
from tests.support.store import StoreProcess


def put(store: StoreProcess, path: str, body: bytes, *custom: str) -> wire.Answer:
    headers = [("Ais-Custom-Md", pair) for pair in custom]
    return wire.follow(store.endpoint, "PUT", f"/v1/objects/{path}?provider=ais", headers, body)


def get(store: StoreProcess, path: str) -> wire.Answer:
    return wire.follow(store.endpoint, "GET", f"/v1/objects/{path}?provider=ais")


def names(store: StoreProcess, bucket: str) -> list[str]:
    message = b'{"action":"list","value":{"props":"name"}}'
    answer = wire.follow(store.endpoint, "GET", f"/v1/buckets/{bucket}", [], message)
    return [entry["name"] for entry in json.loads(answer.body)["entries"] or []]


def test_restart_keeps_everything(tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "data") as store:
        store.create_bucket("b")
        put(store, "b/dir/x", b"bytes", "color=red")
        before = get(store, "b/dir/x")
        smap = store.smap()
        assert store.stop() == 0
        store.restart()
        after = get(store, "b/dir/x")
        assert (after.body, after.get("Ais-Custom-Md")) == (b"bytes", "color=red")
        assert after.get("Ais-Version") == before.get("Ais-Version")
        assert store.smap() == smap


def test_cluster_uuid_differs_between_stores(tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "one") as one, StoreProcess(tmp_path / "two") as two:
        assert one.smap()["uuid"] != two.smap()["uuid"]
        assert one.smap()["tmap"].keys() == two.smap()["tmap"].keys()


def test_access_time_of_a_read_survives_a_stop(tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "data") as store:
        store.create_bucket("b")
        put(store, "b/x", b"1")
        get(store, "b/x")
        seen = get(store, "b/x").get("Ais-Atime")
        store.restart()
        assert int(get(store, "b/x").get("Ais-Atime")) > int(seen)


def test_unfinished_uploads_end_with_the_process(tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "data") as store:
        store.create_bucket("b")
        target = "/v1/objects/b/x?provider=ais"
        message = b'{"action":"mpt-upload"}'
        upload = wire.follow(store.endpoint, "POST", target, [], message).body.decode()
        part = f"{target}&uploadId={upload}&partNumber=1"
        assert wire.follow(store.endpoint, "PUT", part, [], b"part").status == 200
        assert list((store.data / "work").iterdir())
        store.kill()
        store.restart()
        assert not list((store.data / "work").iterdir())
        assert wire.follow(store.endpoint, "PUT", part, [], b"part").status == 404


def test_blob_without_record_is_swept_and_record_without_move_is_finished(tmp_path: Path) -> None:
    """The two states that a crash between writing, committing and moving leaves behind."""
    with StoreProcess(tmp_path / "data") as store:
        store.create_bucket("b")
        put(store, "b/x", b"whole")
        store.kill()
        (blob,) = (path for path in (store.data / "blobs").rglob("*") if path.is_file())
        blob.rename(store.data / "new" / blob.name)
        orphan = store.data / "new" / ("0" * 32)
        orphan.write_bytes(b"half")
        store.restart()
        assert get(store, "b/x").body == b"whole"
        assert not orphan.exists()


class Writer(threading.Thread):
    """Overwrites a few objects again and again with bodies that tell if they are whole."""

    def __init__(self, store: StoreProcess, number: int) -> None:
        super().__init__()
        self.store = store
        self.number = number
        self.acknowledged: dict[str, int] = {}
        self.started_round = 0

    def run(self) -> None:
        try:
            for turn in range(10_000):
                self.started_round = turn
                name = f"b/{self.number}-{turn % 4}"
                if put(self.store, name, body_of(self.number, turn)).status == 200:
                    self.acknowledged[name] = turn
        except OSError:
            pass


def body_of(number: int, turn: int) -> bytes:
    head = f"{number} {turn} ".encode()
    filling = hashlib.sha256(head).digest() * (200 + turn % 50 * 40)
    return head + hashlib.sha256(filling).hexdigest().encode() + b" " + filling


def turn_of(body: bytes) -> int:
    """Return which write a body came from; fails unless it is whole."""
    _, turn, digest, filling = body.split(b" ", 3)
    assert hashlib.sha256(filling).hexdigest().encode() == digest
    return int(turn)


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(3))
def test_kill_during_writes_leaves_whole_objects(attempt: int, tmp_path: Path) -> None:
    with StoreProcess(tmp_path / "data") as store:
        store.create_bucket("b")
        writers = [Writer(store, number) for number in range(3)]
        for writer in writers:
            writer.start()
        enough = 30 + 17 * attempt
        while min(writer.started_round for writer in writers) < enough:
            assert all(writer.is_alive() for writer in writers)
        store.kill()
        for writer in writers:
            writer.join()
        store.restart()
        listed = names(store, "b")
        for writer in writers:
            for name, acknowledged in writer.acknowledged.items():
                assert name.removeprefix("b/") in listed
                answer = get(store, name)
                assert turn_of(answer.body) >= acknowledged
        assert not list((store.data / "new").iterdir())
        files = [path for path in (store.data / "blobs").rglob("*") if path.is_file()]
        assert len(files) == len(listed)
