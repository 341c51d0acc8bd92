import json

import msgspec
import pytest

from aisfs_sdk.types import (
    ActionMsg,
    BucketEntry,
    BucketModel,
    Namespace,
    decode_buckets,
    decode_listing,
    encode_message,
    parse_custom,
)

MSGPACK = "application/msgpack"
JSON = "application/json; charset=utf-8"


def page(*entries: dict[str, object], token: str = "") -> dict[str, object]:
    return {"UUID": "u", "ContinuationToken": token, "Entries": list(entries), "Flags": 1}


def test_a_page_of_msgpack() -> None:
    entry = {
        "n": "d/a",
        "s": 11,
        "cs": "45ab",
        "a": "t",
        "v": "3",
        "t": "t1:mp",
        "m": "[k:v]",
        "c": 1,
    }
    data = msgspec.msgpack.encode(page({**entry, "f": 64}, {"n": "d/"}, token="d/"))
    found = decode_listing(data, MSGPACK)
    assert (found.uuid, found.continuation_token, found.flags) == ("u", "d/", 1)
    first, second = found.entries
    assert first == BucketEntry("d/a", "45ab", "t", "3", "t1:mp", "[k:v]", 11, 1, 64)
    assert first.is_cached()
    assert first.is_ok()
    assert first.custom_metadata == {"k": "v"}
    assert first.target_url == "t1:mp"
    assert (second.size, second.checksum, second.is_dir()) == (0, "", False)


@pytest.mark.parametrize("length", [1, 31, 32, 255, 256, 65535, 65536])
def test_names_that_are_no_utf8_do_not_spoil_the_page(length: int) -> None:
    name = "x" * (length - 1) + "Z"
    data = msgspec.msgpack.encode(page({"n": name, "m": "[k:Z]", "s": 7}, {"n": "good"}, token="Z"))
    found = decode_listing(data.replace(b"Z", b"\xff"), MSGPACK)
    assert [entry.name for entry in found.entries] == ["x" * (length - 1) + "\udcff", "good"]
    assert found.entries[0].custom_metadata == {"k": "\udcff"}
    assert found.entries[0].size == 7
    assert found.continuation_token == "\udcff"


@pytest.mark.parametrize("entries", [None, []])
def test_pages_without_entries(entries: list[object] | None) -> None:
    packed = msgspec.msgpack.encode({**page(), "Entries": entries})
    assert decode_listing(packed, MSGPACK).entries == []
    assert decode_listing(json.dumps({"entries": entries}).encode(), JSON).entries == []


def test_a_page_of_json() -> None:
    text = {
        "uuid": "u",
        "continuation_token": "",
        "entries": [{"name": "a?", "size": "11", "custom-md": "[k:v]", "flags": 256}],
        "flags": 0,
    }
    found = decode_listing(json.dumps(text).encode().replace(b"?", b"\xff"), JSON)
    assert found.entries == [BucketEntry("a\udcff", size=11, custom="[k:v]", flags=256)]
    assert found.entries[0].is_dir()


@pytest.mark.parametrize(
    ("data", "kind"),
    [(b"<html>", JSON), (b"[]", JSON), (b"<html>", MSGPACK), (b"\x81\xa7Entries", MSGPACK)],
)
def test_what_is_no_listing_is_said_so(data: bytes, kind: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the decoders' texts are theirs
        decode_listing(data, kind)


@pytest.mark.parametrize(
    ("display", "expected"),
    [
        ("", {}),
        ("[]", {}),
        ("[color:red source:web]", {"color": "red", "source": "web"}),
        ("map[color:red]", {"color": "red"}),
        ("[a:b:c]", {"a": "b:c"}),
        ("[junk]", {}),
    ],
)
def test_custom_metadata_of_listings(display: str, expected: dict[str, str]) -> None:
    assert parse_custom(display) == expected


def test_messages_carry_any_bytes() -> None:
    assert encode_message(ActionMsg("list")) == b'{"action":"list","name":"","value":null}'
    message = encode_message(ActionMsg("list", "", {"continuation_token": "a\udcff\u00e9"}))
    assert b'"continuation_token":"a\xff\xc3\xa9"' in message


def test_buckets() -> None:
    data = (
        b'[{"name":"b","provider":"ais","namespace":{"uuid":"","name":""}},'
        b'{"name":"c","provider":"aws","namespace":{"uuid":"","name":"n"}}]'
    )
    assert decode_buckets(data) == [BucketModel("b"), BucketModel("c", "aws", Namespace("", "n"))]
    assert decode_buckets(b"null") == []
    assert BucketModel("b").as_dict() == {"name": "b", "provider": "ais"}
    assert Namespace.from_path("@u#n") == Namespace("u", "n")
    assert Namespace("u", "n").get_path() == "@u#n"
