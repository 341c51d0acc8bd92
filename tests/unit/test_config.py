"""What a SOURCE means, and that a configuration survives the way to the daemon."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisfs.config import (
    PROVIDERS,
    BucketName,
    Config,
    ConfigError,
    MountConfig,
    Source,
    StoreConfig,
    parse_endpoint,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Source()),
        ("ais://b", Source(BucketName("b"))),
        ("ais://b/", Source(BucketName("b"))),
        ("ais://b/p", Source(BucketName("b"), "p/")),
        ("ais://b/p/q/", Source(BucketName("b"), "p/q/")),
        ("ais://b/with space #x/100%", Source(BucketName("b"), "with space #x/100%/")),
        ("ais://b/x/~", Source(BucketName("b"), "x/~/")),
        ("s3://b", Source(BucketName("b", "aws"))),
        ("aws://b", Source(BucketName("b", "aws"))),
        ("gs://b/p", Source(BucketName("b", "gcp"), "p/")),
        ("az://b", Source(BucketName("b", "azure"))),
        ("oc://b", Source(BucketName("b", "oci"))),
        ("ais://@Xy-1/b", Source(BucketName("b", uuid="Xy-1"))),
        ("ais://#ns/b", Source(BucketName("b", namespace="ns"))),
        ("ais://@u#ns/b/p", Source(BucketName("b", uuid="u", namespace="ns"), "p/")),
        ("http://host:8080", Source(endpoint="http://host:8080")),
        ("https://[::1]:51080/", Source(endpoint="https://[::1]:51080")),
        ("ais://" + "x" * 255, Source(BucketName("x" * 255))),
    ],
)
def test_source_is_read(text: str, expected: Source) -> None:
    assert Source.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("bucket", "write ais://bucket"),
        ("/bucket/p", "write ais://bucket/p"),
        ("AIS://b", "nearest: ais"),
        ("ftp://b", "write ais://BUCKET"),
        ("htpp://h:1", "nearest: http"),
        ("ais://", "names no bucket"),
        ("ais:///p", "names no bucket"),
        ("ais://@u", "names no bucket"),
        ("ais://a b", "no bucket name"),
        ("ais://a..b", "no bucket name"),
        ("ais://.", "no bucket name"),
        ("ais://bücket", "no bucket name"),
        ("ais://" + "x" * 256, "at most 255"),
        ("ais://#/b", "no namespace"),
        ("ais://#n@u/b", "no namespace"),
        ("ais://b/../c", "plain name"),
        ("ais://b/./c", "plain name"),
        ("ais://b//c", "plain name"),
        ("ais://b//", "plain name"),
        ("ais://b/~/c", "'~/' at the start"),
        ("ais://b/a\nb", "control characters"),
        ("ais://b/\udcff", "not UTF-8"),
        ("http://", "no endpoint"),
        ("http://h:99999", "no endpoint"),
        ("http://h:0", "no endpoint"),
        ("http://h/path", "more than a host"),
        ("http://user@h:1", "more than a host"),
        ("http://h:1?x=1", "more than a host"),
        ("http://[::1", "no endpoint"),
    ],
)
def test_source_that_cannot_be_used_is_refused_with_advice(text: str, advice: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Source.parse(text)
    assert advice in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


names = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
components = st.text(
    st.characters(codec="utf-8", exclude_characters="/\x7f", min_codepoint=32), min_size=1
).filter(lambda text: text not in {".", "..", "~"})


@given(
    st.builds(
        Source,
        st.builds(
            BucketName, names, st.sampled_from(sorted(set(PROVIDERS.values()))), names, names
        ),
        st.lists(components, max_size=4).map(lambda parts: "".join(f"{p}/" for p in parts)),
    )
)
def test_source_printed_is_read_as_the_same(source: Source) -> None:
    assert Source.parse(str(source)) == source


def test_endpoint_loses_its_last_slash() -> None:
    assert parse_endpoint("http://localhost:8080/") == "http://localhost:8080"


def test_config_survives_json_with_any_mount_point() -> None:
    config = Config(
        Source(BucketName("b", namespace="n"), "p/"),
        Path(os.fsdecode(b"/mnt/\xff name\n")),
        store=StoreConfig(token="secret", connect_timeout_s=0.5),
        mount=MountConfig(read_only=True, umask=0o077),
        origins={"mount.read_only": "-o"},
    )
    again = Config.from_json(config.to_json())
    assert again == config
    assert again.origins == config.origins


def test_token_is_not_in_the_text_of_a_config() -> None:
    config = Config(Source(), Path("/mnt"), store=StoreConfig(token="secret"))
    assert "secret" not in f"{config} {config!r}"


def test_log_of_a_mount_is_named_after_its_path(tmp_path: Path) -> None:
    config = Config(Source(), Path("/mnt/data/x"))
    assert config.log_file.name == "mnt-data-x.log"
    assert Config(Source(), Path("/")).log_file.name == "root.log"
    assert len(Config(Source(), Path("/" + "y" * 255)).log_file.name) < 255
