"""Where each value comes from, what it may be, and what is said when it may not."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisfs.config import CacheConfig, Config, ConfigError
from aisfs.setting_table import SETTINGS
from aisfs.setting_values import Kind, parse_duration
from aisfs.settings import describe, joined_options, load, mount_words, places_of, split_options


def loaded(
    source: str = "ais://b",
    options: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    file: str = "/dev/null",
) -> Config:
    return load(
        source,
        Path("/mnt/x"),
        options=options,
        flags=flags,
        file=file,
        environment=environment or {},
    )


def refusal(**arguments: object) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(**arguments)  # type: ignore[arg-type]
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    return text


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_every_field_of_the_configuration_can_be_set() -> None:
    config = Config(loaded().source, Path("/"))
    settable = {(setting.section, setting.key) for setting in SETTINGS}
    sections = ("store", "cache", "readahead", "staging", "views", "mount", "log", "metrics")
    exist = {(s, field.name) for s in sections for field in fields(getattr(config, s))}
    assert settable == exist


def test_no_two_settings_share_a_name() -> None:
    for names in (
        [s.flag for s in SETTINGS if s.flag],
        [s.name for s in SETTINGS],
        [v for s in SETTINGS for v in (s.own_variable, s.variable) if v],
    ):
        assert len(names) == len(set(names))


def test_nothing_set_gives_the_defaults() -> None:
    assert loaded() == Config(loaded().source, Path("/mnt/x"))
    assert loaded().origins == {}


def test_later_origins_win(toml: Path) -> None:
    toml.write_text('[cache]\nmemory = "16MiB"\n[mount]\nuid = 1\ngid = 1\n[log]\nlevel = "error"')
    config = loaded(
        file=str(toml),
        environment={"AISFS_MOUNT_UID": "2", "AISFS_MOUNT_GID": "2", "AISFS_LOG_LEVEL": "debug"},
        options=["uid=3,gid=3"],
        flags={"gid": "4"},
    )
    assert config.cache.memory == 16 << 20
    assert config.log.level == "debug"
    assert (config.mount.uid, config.mount.gid) == (3, 4)
    assert config.origins == {
        "cache.memory": str(toml),
        "log.level": "AISFS_LOG_LEVEL",
        "mount.uid": "-o",
        "mount.gid": "--gid",
    }


def test_connection_is_taken_from_the_variables_of_other_ais_clients(tmp_path: Path) -> None:
    token, authority, certificate, key = (
        str(tmp_path / name) for name in ("token", "ca", "crt", "key")
    )
    for name in (token, authority, certificate, key):
        Path(name).touch()
    store = loaded(
        environment={
            "AIS_ENDPOINT": "https://h:1/",
            "AIS_AUTHN_TOKEN": "t",
            "AIS_AUTHN_TOKEN_FILE": token,
            "AIS_CLIENT_CA": authority,
            "AIS_CRT": certificate,
            "AIS_CRT_KEY": key,
            "AIS_SKIP_VERIFY_CRT": "true",
            "AIS_UNRELATED": "x",
        }
    ).store
    assert (store.endpoint, store.token, store.token_file) == ("https://h:1", "t", token)
    assert (store.ca_file, store.client_cert, store.client_key) == (
        authority,
        certificate,
        key,
    )
    assert store.skip_verify


def test_own_variable_wins_over_the_shared_one() -> None:
    environment = {"AIS_ENDPOINT": "http://a:1", "AISFS_STORE_ENDPOINT": "http://b:1"}
    assert loaded(environment=environment).store.endpoint == "http://b:1"


def test_endpoint_as_source_wins_over_the_environment() -> None:
    config = loaded("http://a:1", environment={"AIS_ENDPOINT": "http://b:1"})
    assert config.store.endpoint == "http://a:1"
    assert config.origins["store.endpoint"] == "SOURCE"


def test_two_different_endpoints_on_one_command_line_are_refused() -> None:
    assert "give only one" in refusal(source="http://a:1", flags={"endpoint": "http://b:1"})


def test_dashes_and_underscores_are_equal() -> None:
    config = loaded(options=["allow_other,file_mode=0600"], flags={"dir-mode": "0700"})
    assert config.mount.allow_other
    assert (config.mount.file_mode, config.mount.dir_mode) == (0o600, 0o700)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("16777216", 16 << 20),
        ("16384k", 16 << 20),
        ("16384K", 16 << 20),
        ("16MiB", 16 << 20),
        ("16MB", 16 << 20),
        ("16 mib", 16 << 20),
        ("1G", 1 << 30),
        ("1.5G", 3 << 29),
        ("1TiB", 1 << 40),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert loaded(options=[f"cache-memory={text}"]).cache.memory == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1", 1), ("1s", 1), ("500ms", 0.5), ("2m", 120), ("2min", 120), ("0", 0), ("1.5s", 1.5)],
)
def test_durations(text: str, seconds: float) -> None:
    assert loaded(options=[f"attribute-ttl={text}"]).mount.attribute_ttl_s == seconds
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("cache-memory=3Q", "'3Q' is not a size such as 256MiB"),
        ("cache-memory=", "is not a size"),
        ("cache-memory", "'yes' is not a size"),
        ("cache-memory=-1", "is not a size"),
        ("cache-memory=1MiB", "give 8MiB to"),
        ("cache-memory=9999999999T", "out of range"),
        ("attribute-ttl=1d", "is not a duration such as 1s"),
        ("attribute-ttl=2000m", "give 0s to 86400s"),
        ("connect-timeout=0", "give 0.1s to 3600s"),
        ("connections=0", "give 1 to 1024"),
        ("connections=many", "is not a whole number"),
        ("umask=8", "octal"),
        ("umask=01777", "octal"),
        ("umask=-1", "octal"),
        ("ro=maybe", "yes or no"),
        ("uid=-1", "give 0 to"),
        ("log-level=loud", "debug, info"),
        ("control=seen", "hidden, visible or off"),
        ("endpoint=host:80", "write http://HOST:PORT"),
        ("cach-memory=1G", "nearest: cache-memory"),
        ("frobnicate", "aisfs mount --help"),
        ("token=x", "AIS_AUTHN_TOKEN"),
        ("cert=/dev/null", "both cert and key"),
        ("ca-file=/none", "cannot be read: No such file"),
    ],
)
def test_bad_option_is_refused_with_advice(option: str, said: str) -> None:
    assert said in refusal(options=[option])


def test_bad_variable_is_named() -> None:
    said = refusal(environment={"AISFS_CACHE_MEMORY": "3Q"})
    assert "AISFS_CACHE_MEMORY" in said


def test_unknown_variable_of_ours_is_refused() -> None:
    said = refusal(environment={"AISFS_CACHE_MEMROY": "1G"})
    assert "nearest: AISFS_CACHE_MEMORY" in said


def test_empty_variables_count_as_unset() -> None:
    environment = {"AIS_ENDPOINT": "", "AISFS_MOUNT_UID": ""}
    assert loaded(environment=environment).origins == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[cache]\nmemroy = 1", "nearest: cache.memory"),
        ("[cash]\nmemory = 1", "nearest: cache.memory"),
        ("memory = 1", "outside of a section"),
        ("[mount]\numask = 22", "in quotes"),
        ("[cache]\nmemory = [1]", "must be a size"),
        ("[cache", "is not TOML"),
        ("[mount]\nattribute_ttl = '1x'", "is not a duration"),
    ],
)
def test_bad_file_is_refused_with_advice(toml: Path, text: str, said: str) -> None:
    toml.write_text(text)
    assert said in refusal(file=str(toml))


def test_file_takes_toml_values_and_our_texts(toml: Path) -> None:
    toml.write_text(
        '[mount]\nread_only = true\nattribute-ttl = 0.5\numask = "077"\n'
        '[staging]\nstate_dir = "st"\nquota = 1024\n'
    )
    config = loaded(file=str(toml))
    assert config.mount.read_only
    assert (config.mount.attribute_ttl_s, config.mount.umask) == (0.5, 0o077)
    assert config.staging.state_dir == str(toml.parent / "st")
    assert config.staging.quota == 1024


def test_file_that_is_named_must_exist(tmp_path: Path) -> None:
    assert "no configuration file" in refusal(file=str(tmp_path / "none"))
    assert "no configuration file" in refusal(file="", environment={"AISFS_CONFIG": "/none"})


def test_file_of_the_environment_is_read(toml: Path) -> None:
    toml.write_text("[mount]\nuid = 7")
    assert loaded(file="", environment={"AISFS_CONFIG": str(toml)}).mount.uid == 7


def test_what_mount_keeps_for_itself_is_dropped() -> None:
    words = (
        "defaults,rw,_netdev,nofail,noauto,auto,user,nouser,users,x-systemd.automount,relatime,"
        "noatime,nodev,nosuid,dev,suid,exec,user=alice,comment=x,async"
    )
    assert loaded(options=[words]).origins == {"mount.read_only": "-o"}
    assert not loaded(options=[words]).mount.read_only


def test_of_ro_and_rw_the_last_counts() -> None:
    assert loaded(options=["rw,ro"]).mount.read_only
    assert not loaded(options=["ro,rw"]).mount.read_only
    assert not loaded(options=["ro", "rw"]).mount.read_only


def test_noexec_of_user_mounts_is_kept() -> None:
    assert loaded(options=["user,noexec,nosuid,nodev"]).mount.noexec


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_value_can_be_written_in_an_option_list(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace(",", "\\,")
    assert split_options(f"ro,state-dir={escaped},uid=1") == [
        ("ro", "yes"),
        ("state-dir", value),
        ("uid", "1"),
    ]


def test_description_tells_values_and_origins_but_no_secrets() -> None:
    config = loaded(
        options=["cache-memory=64MiB,umask=077"], environment={"AIS_AUTHN_TOKEN": "hush"}
    )
    rows = {name: (value, origin) for name, value, origin in describe(config)}
    assert rows["cache.memory"] == ("64MiB", "-o")
    assert rows["mount.umask"] == ("0077", "-o")
    assert rows["mount.file_mode"] == ("", "default")
    assert rows["store.connect_timeout"] == ("3s", "default")
    assert rows["store.token"] == ("(hidden)", "AIS_AUTHN_TOKEN")
    assert "hush" not in str(rows)
    assert len(rows) == len(SETTINGS) + 1


def test_every_shown_value_can_be_given_again() -> None:
    rows = {name: value for name, value, _ in describe(loaded())}
    flags = {
        s.flag: rows[s.name] for s in SETTINGS if s.flag and (rows[s.name] or s.kind is Kind.SIZE)
    }
    again = loaded(flags=flags)
    assert again == loaded()


def test_cache_size_is_the_quota_of_the_directory_where_there_is_one() -> None:
    cache = loaded(options=["cache-size=1GiB,cache-dir=/var/cache/a,cache-free=2GiB"]).cache
    assert cache == CacheConfig(dir="/var/cache/a", size=1 << 30, free=2 << 30)


@pytest.mark.parametrize("directory", [{}, {"cache-dir": ""}])
def test_cache_size_is_the_memory_where_nothing_is_kept_on_disk(directory: dict[str, str]) -> None:
    config = loaded(flags={"cache-size": "16MiB"} | directory)
    rows = {name: (value, origin) for name, value, origin in describe(config)}
    assert rows["cache.memory"] == ("16MiB", "--cache-size")
    assert rows["cache.size"] == ("0", "default")


def test_memory_given_by_both_names_is_refused(toml: Path) -> None:
    toml.write_text('[cache]\nmemory = "16MiB"')
    said = refusal(file=str(toml), options=["cache-size=1GiB"])
    assert "give only one, or cache-dir" in said
    assert str(toml) in said
    assert loaded(file=str(toml), options=["cache-size=1GiB,cache-dir=/c"]).cache.size == 1 << 30


def test_an_empty_path_is_none_rather_than_the_working_directory() -> None:
    config = loaded(options=["state-dir=,cache-dir="])
    assert (config.staging.state_dir, config.cache.dir) == ("", "")


@pytest.mark.parametrize("text", ["1MiB", "1"])
def test_a_quota_that_holds_no_page_is_refused(text: str) -> None:
    assert "give 8MiB to" in refusal(options=[f"cache-dir=/c,cache-size={text}"])


def test_home_of_nobody_is_refused() -> None:
    assert "name of a file" in refusal(flags={"log-file": "~no-such-user/log"})


def test_options_may_name_the_file(toml: Path) -> None:
    toml.write_text("[mount]\nuid = 7\n")
    assert loaded(options=["ro", f"config={toml}"], file="").mount.uid == 7


def test_file_may_have_both_names_above_its_sections(toml: Path) -> None:
    toml.write_text('source = "ais://b"\nmountpoint = "mnt"\n[mount]\nuid = 7\n')
    assert places_of(str(toml)) == ("ais://b", str(toml.parent / "mnt"))
    assert places_of("", [f"config={toml}"]) == ("ais://b", str(toml.parent / "mnt"))
    assert loaded(file=str(toml)).mount.uid == 7


def test_names_of_the_file_must_be_texts(toml: Path) -> None:
    toml.write_text("source = 7\n")
    with pytest.raises(ConfigError, match='as in source = "ais://BUCKET"'):
        places_of(str(toml))


def test_words_of_mount_are_told_apart() -> None:
    text = r"_netdev,ro,x-systemd.idle-timeout=1\,5min,cache-dir=/a\,b"
    assert mount_words(text) == ["_netdev", "x-systemd.idle-timeout=1,5min"]
    assert split_options(text) == [("ro", "yes"), ("cache-dir", "/a,b")]


@given(st.lists(st.tuples(st.sampled_from(["ro", "cache-dir"]), st.text(min_size=1))))
def test_joined_options_are_split_as_they_were(pairs: list[tuple[str, str]]) -> None:
    assert split_options(joined_options(pairs)) == pairs
