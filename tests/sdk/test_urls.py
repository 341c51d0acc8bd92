from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisfs_sdk.urls import bucket_path, check_object_name, object_path, query_string, quote_name

NAMES = st.binary(min_size=1, max_size=40).map(lambda name: name.decode("utf-8", "surrogateescape"))


@given(NAMES)
def test_a_quoted_name_is_its_bytes_again(name: str) -> None:
    quoted = quote_name(name)
    assert unquote_to_bytes(quoted) == name.encode("utf-8", "surrogateescape")
    assert quoted.isascii()
    assert not set(quoted) & set(" ?#\"<>&'\r\n\t\0")


def test_a_path_of_a_plain_name_stays_as_it_is() -> None:
    assert object_path("b", "a/b-c_d.e~f+g=h@i") == "/v1/objects/b/a/b-c_d.e~f+g=h@i"
    assert object_path("b", "dir/a b#1%.txt") == "/v1/objects/b/dir/a%20b%231%25.txt"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/.",
        "../a",
        "a/../b",
        "./a",
        "~/a",
        "a\0",
        "a\nb",
        "\r",
    ],
)
def test_names_that_clusters_mangle_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot store"):
        check_object_name(name)


@pytest.mark.parametrize("name", ["..a", "a..", "...", ".hidden", "a~/b", "~", "~x", " a ", "a\tb"])
def test_names_that_only_look_odd_are_not(name: str) -> None:
    check_object_name(name)


@pytest.mark.parametrize("bucket", ["", "a/b", "a?b", "a#b", "a b", "%61", "a\n"])
def test_a_bucket_name_cannot_become_another_path(bucket: str) -> None:
    with pytest.raises(ValueError, match="bucket"):
        bucket_path(bucket)
    with pytest.raises(ValueError, match="bucket"):
        object_path(bucket, "o")


def test_query_values_are_encoded_whole() -> None:
    assert query_string({"namespace": "@#ns1", "a": "b/c d"}) == "namespace=%40%23ns1&a=b%2Fc%20d"
