"""Archives beyond the recording: all formats, appending that never corrupts, listings inside."""

import json
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.server import samples, wire
from tests.support.store import StoreProcess

SUFFIXES = [".tar", ".tgz", ".tar.gz", ".zip", ".tar.lz4"]


def url(bucket: str, name: str, *query: str) -> str:
    return "?".join((f"/v1/objects/{bucket}/{name}", "&".join(("provider=ais", *query))))


def put(store: StoreProcess, target: str, body: bytes, pine: str = "0") -> wire.Answer:
    return wire.follow(store.endpoint, "PUT", target, [("Ais-Pine", pine)], body)


def get(store: StoreProcess, target: str) -> wire.Answer:
    return wire.follow(store.endpoint, "GET", target)


def list_all(store: StoreProcess, bucket: str, **value: Any) -> list[dict[str, Any]]:
    """List with arch-dir, page by page."""
    entries: list[dict[str, Any]] = []
    token = ""
    while True:
        fields = {"flags": "8", **value, "continuation_token": token}
        message = json.dumps({"action": "list", "value": fields}).encode()
        answer = wire.follow(store.endpoint, "GET", f"/v1/buckets/{bucket}", [], message)
        assert answer.status == 200, answer
        page = json.loads(answer.body)
        entries += page["entries"] or []
        token = page["continuation_token"]
        if not token:
            return entries


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_member_of_every_format_is_read(
    store: StoreProcess, bucket: str, suffix: str
) -> None:
    put(store, url(bucket, f"s{suffix}"), samples.archive_of(suffix))
    for name, body in samples.MEMBERS:
        answer = get(store, url(bucket, f"s{suffix}", f"archpath={name}"))
        assert (answer.status, answer.body) == (200, body)
        assert answer.get("Content-Length") == str(len(body))
    missing = get(store, url(bucket, f"s{suffix}", "archpath=nope"))
    assert missing.status == 404


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_matching_members_come_as_tar(store: StoreProcess, bucket: str, suffix: str) -> None:
    put(store, url(bucket, f"s{suffix}"), samples.archive_of(suffix))
    target = url(bucket, f"s{suffix}", "archmode=regexp", "archregx=%5Eimg%2F.*g%24")
    answer = get(store, target)
    assert (answer.status, answer.get("Content-Type")) == (200, "application/x-tar")
    expected = [samples.MEMBERS[0], samples.MEMBERS[2]]
    assert samples.members_of(answer.body) == expected


def test_a_hostile_expression_holds_nobody_up(store: StoreProcess, bucket: str) -> None:
    shard = samples.tar_of([("a" * 90 + "!", b"x")])
    put(store, url(bucket, "s.tar"), shard)
    target = url(bucket, "s.tar", "archmode=regexp", "archregx=%28a%2B%29%2B%24")
    assert wire.follow(store.endpoint, "GET", target).status == 404


def test_bad_regular_expression_is_refused(store: StoreProcess, bucket: str) -> None:
    put(store, url(bucket, "s.tar"), samples.tar_of())
    answer = get(store, url(bucket, "s.tar", "archmode=regexp", "archregx=%28"))
    assert (answer.status, json.loads(answer.body)["tcode"]) == (400, "ErrFailedTo")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_appending_again_and_again_keeps_all_members(
    store: StoreProcess, bucket: str, suffix: str
) -> None:
    name = f"s{suffix}"
    put(store, url(bucket, name), samples.archive_of(suffix))
    added = [(f"new/{number}", os.urandom(700 * number)) for number in range(4)]
    for member, body in added:
        assert put(store, url(bucket, name, f"archpath={member}"), body, "1").status == 200
    answer = get(store, url(bucket, name))
    assert samples.members_of(answer.body) == samples.MEMBERS + added
    assert answer.get("Content-Length") == str(len(answer.body))


def test_concurrent_appends_are_all_kept(store: StoreProcess, bucket: str) -> None:
    def append(number: int) -> int:
        target = url(bucket, "s.tgz", f"archpath=m{number}")
        return put(store, target, b"%d" % number, "2").status

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(append, range(24))) == {200}
    members = dict(samples.members_of(get(store, url(bucket, "s.tgz")).body))
    assert members == {f"m{number}": b"%d" % number for number in range(24)}


def test_without_pine_the_shard_is_replaced(store: StoreProcess, bucket: str) -> None:
    put(store, url(bucket, "s.zip"), samples.zip_of())
    assert put(store, url(bucket, "s.zip", "archpath=only"), b"x").status == 200
    assert samples.members_of(get(store, url(bucket, "s.zip")).body) == [("only", b"x")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_append_to_a_broken_archive_leaves_it_alone(
    store: StoreProcess, bucket: str, suffix: str
) -> None:
    name, broken = f"s{suffix}", b"no archive" * 200
    put(store, url(bucket, name), broken)
    assert put(store, url(bucket, name, "archpath=x"), b"x", "1").status == 400
    assert get(store, url(bucket, name)).body == broken


def test_append_never_cuts_off_what_follows_a_bad_header(store: StoreProcess, bucket: str) -> None:
    raw = samples.tar_of()
    broken = raw[:1024] + b"?" * 512 + raw[1536:]
    put(store, url(bucket, "s.tar"), broken)
    assert put(store, url(bucket, "s.tar", "archpath=x"), b"x", "1").status == 400
    assert get(store, url(bucket, "s.tar")).body == broken
    assert get(store, url(bucket, "s.tar", "archpath=img/1.jpg")).body == b"JPEG1"
    assert get(store, url(bucket, "s.tar", "archpath=top")).status == 400


def test_extended_headers_survive_an_append(store: StoreProcess, bucket: str) -> None:
    long_name = "d/" * 200 + "ü"
    put(store, url(bucket, "s.tar", "archpath=a"), b"1")
    target = url(bucket, "s.tar", f"archpath={'d%2F' * 200}%C3%BC")
    assert put(store, target, b"2", "1").status == 200
    put(store, url(bucket, "s.tar", "archpath=z"), b"3", "1")
    members = samples.members_of(get(store, url(bucket, "s.tar")).body)
    assert members == [("a", b"1"), (long_name, b"2"), ("z", b"3")]
    assert get(store, target).body == b"2"


@pytest.mark.parametrize("suffix", [".tar", ".tgz", ".zip"])
def test_a_large_member_is_streamed(store: StoreProcess, bucket: str, suffix: str) -> None:
    big = os.urandom(1 << 20) * 40
    name = f"big{suffix}"
    assert put(store, url(bucket, name, "archpath=small"), b"s").status == 200
    assert put(store, url(bucket, name, "archpath=big"), big, "1").status == 200
    assert get(store, url(bucket, name, "archpath=big")).body == big
    whole = get(store, url(bucket, name, "archmode=prefix", "archregx=b"))
    assert samples.members_of(whole.body) == [("big", big)]


def test_a_truncated_shard_cuts_the_connection(store: StoreProcess, bucket: str) -> None:
    body = samples.archive_of(".tgz", [("a", os.urandom(3 << 20))])
    put(store, url(bucket, "s.tgz"), body[: len(body) // 2])
    answer = get(store, url(bucket, "s.tgz", "archpath=a"))
    assert answer.short or answer.status in {0, 400}
    assert get(store, url(bucket, "s.tgz")).status == 200


@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("flags", ["8", "2056"])
def test_pages_of_members_are_complete_and_in_order(
    store: StoreProcess, bucket: str, page_size: int, flags: str
) -> None:
    plain = ["a", "s", "s.tar-x", "s.tar.gzip", "s.tar0", "t/u"]
    for name in plain:
        put(store, url(bucket, name), b"x")
    for suffix in SUFFIXES:
        put(store, url(bucket, f"s{suffix}"), samples.archive_of(suffix))
    put(store, url(bucket, "bad.tar"), b"x" * 2000)
    entries = list_all(store, bucket, pagesize=page_size, flags=flags)
    names = [entry["name"] for entry in entries]
    shards = {f"s{suffix}" for suffix in SUFFIXES}
    members = {f"{shard}/{name}" for shard in shards for name, _ in samples.MEMBERS}
    shown = {name if flags == "8" else name.replace("/u", "/") for name in plain}
    assert set(names) == shown | shards | members | {"bad.tar"}
    assert names == sorted(names)
    kinds = {entry["name"]: entry["flags"] for entry in entries}
    assert {kinds[name] for name in shards} == {576}
    assert {kinds[name] for name in members} == {192}
    assert kinds["bad.tar"] == 64


def test_members_of_a_prefix_are_those_of_its_shards(store: StoreProcess, bucket: str) -> None:
    put(store, url(bucket, "p/s.tar"), samples.tar_of())
    put(store, url(bucket, "q/s.tar"), samples.tar_of())
    names = [entry["name"] for entry in list_all(store, bucket, prefix="p/", pagesize=2)]
    assert names == ["p/s.tar", *sorted(f"p/s.tar/{name}" for name, _ in samples.MEMBERS)]
    assert list_all(store, bucket, prefix="p/s.tar/img", pagesize=2) == []


def test_members_by_header_only_are_what_tar_sees(store: StoreProcess, bucket: str) -> None:
    put(store, url(bucket, "s.tar", "archpath=x"), b"hello")
    body = get(store, url(bucket, "s.tar")).body
    info = tarfile.TarInfo.frombuf(body[:512], "utf-8", "strict")
    assert (info.name, info.size, info.mode, body[257:265]) == ("x", 5, 0o644, b"ustar\x0000")
