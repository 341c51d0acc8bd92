"""`--update-fstab`: one line comes, changes or goes; every other byte stays."""

import os
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aisfs.cli import Failure
from aisfs.cli.fstab import line_of, update, with_line, without_line
from aisfs.settings import load, split_options
from tests.support.mount import run_aisfs

OTHERS = (
    b"# /etc/fstab: static\n\n"
    b"UUID=1-2 /               ext4    errors=remount-ro 0       1\n"
    b"\tproc\t/proc\tproc\tdefaults\t0\t0\n"
    b"//nas/a\\040b /mnt/nas cifs guest 0 0"
)
PLACE = Path("/mnt/my data")
LINE = r"ais://b /mnt/my\040data aisfs _netdev,ro 0 0"
TEXT = LINE.encode() + b"\n"


def added(*words: str | Path, **variables: str) -> CompletedProcess[str]:
    return run_aisfs("mount", *words, "--update-fstab", environment=variables)


@pytest.fixture
def fstab(tmp_path: Path) -> Path:
    path = tmp_path / "fstab"
    path.write_bytes(OTHERS)
    return path


def test_line_comes_behind_all_others_which_stay() -> None:
    assert with_line(OTHERS, LINE, PLACE) == OTHERS + b"\n" + TEXT
    assert with_line(b"", LINE, PLACE) == TEXT


def test_line_takes_the_place_of_an_older_one() -> None:
    old = b"s3://c /mnt/my\\040data/ fuse.aisfs defaults 0 0\n"
    assert with_line(old + OTHERS, LINE, PLACE) == TEXT + OTHERS
    assert with_line(old + OTHERS + b"\n" + old, LINE, PLACE) == TEXT + OTHERS + b"\n"


def test_line_of_something_else_at_the_place_is_left_and_told() -> None:
    other = b"/dev/sdb1 /mnt/my\\040data ext4 defaults 0 2\n"
    with pytest.raises(Failure, match="line 1 of fstab mounts something else"):
        with_line(other + OTHERS, LINE, PLACE)
    assert without_line(other + OTHERS, PLACE) == other + OTHERS


def test_comments_are_no_lines() -> None:
    comment = b"#ais://b /mnt/my\\040data aisfs ro 0 0\n"
    assert with_line(comment, LINE, PLACE) == comment + TEXT
    assert without_line(comment, PLACE) == comment


@given(st.lists(st.sampled_from([b"# a\n", b"\n", b" \t\n", b"x /x y z 0 0\r\n", b"\xff\n"])))
def test_coming_and_going_leaves_what_was_there(lines: list[bytes]) -> None:
    text = b"".join(lines)
    assert without_line(with_line(text, LINE, PLACE), PLACE) == text


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1))
def test_any_option_value_survives_the_file(value: str) -> None:
    assume(not value.startswith("~"))  # somebody's home
    config = load("ais://b", PLACE, flags={"log-file": value}, file="/dev/null", environment={})
    fields = line_of(config, []).split(" ")
    assert len(fields) == 6
    unescaped = (
        fields[3].replace(r"\040", " ").replace(r"\011", "\t").replace(r"\012", "\n")
        .replace(r"\043", "#").replace(r"\134", "\\")
    )  # fmt: skip
    assert dict(split_options(unescaped))["log-file"] == config.log.file


def test_command_says_what_it_did_and_mounts_nothing(fstab: Path, tmp_path: Path) -> None:
    ended = added("--fstab", fstab, "ais://b/p", tmp_path / "my mnt", "-o", "ro,noauto,nofail")
    assert ended.returncode == 0, ended.stderr
    place = str(tmp_path / "my mnt").replace(" ", r"\040")
    line = f"ais://b/p {place} aisfs _netdev,nofail,x-systemd.automount,noauto,no-ais-cli,ro 0 0"
    assert fstab.read_bytes() == OTHERS + b"\n" + line.encode() + b"\n"
    assert f"{fstab} has now the line\n{line}\n" in ended.stdout
    again = added("--fstab", fstab, "ais://b/p", tmp_path / "my mnt", "-o", "ro,noauto")
    assert f"{fstab} already has the line" in again.stdout
    gone = run_aisfs("umount", "--update-fstab", "--fstab", fstab, tmp_path / "my mnt")
    assert gone.returncode == 0, gone.stderr
    assert "has no line any more" in gone.stdout
    assert fstab.read_bytes() == OTHERS + b"\n"


def test_line_has_what_boot_would_not_know(fstab: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[cache]\nmemory = "16MiB"\n[mount]\nuid = 7\n')
    ended = run_aisfs(
        "mount", "--update-fstab", "--fstab", "fstab", "--config", "c.toml", "--cache-dir", "c,d",
        "--allow-other", "ais://b", "mnt",
        environment={"AIS_ENDPOINT": "http://gw:1", "AISFS_MOUNT_GID": "8"}, cwd=tmp_path,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    line = fstab.read_text().splitlines()[-1]
    options = dict(split_options(line.split()[3].replace(r"\134", "\\")))
    assert options == {
        "config": str(tmp_path / "c.toml"),
        "endpoint": "http://gw:1",
        "cache-dir": str(tmp_path / "c,d"),
        "gid": "8",
        "allow-other": "yes",
        "no-ais-cli": "yes",  # as all tests have it
    }
    assert line.split()[1] == str(tmp_path / "mnt")


@pytest.mark.parametrize("name", ["AIS_AUTHN_TOKEN", "AISFS_STORE_TOKEN"])
def test_secrets_are_refused(fstab: Path, tmp_path: Path, name: str) -> None:
    for ended in (
        added("--fstab", fstab, "ais://b", tmp_path / "mnt", **{name: "hush"}),
        added("--fstab", fstab, "ais://b", tmp_path / "mnt", "-o", "token=hush"),
    ):
        assert ended.returncode != 0
        assert "token-file=FILE" in ended.stderr
        assert "hush" not in ended.stderr
        assert fstab.read_bytes() == OTHERS


def test_owner_mode_and_links_stay(fstab: Path, tmp_path: Path) -> None:
    fstab.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to("fstab")
    assert update(link, PLACE, LINE)
    assert link.is_symlink()
    assert fstab.stat().st_mode & 0o777 == 0o640
    assert fstab.read_bytes().endswith(TEXT)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fstab", "link"]


def test_file_that_cannot_be_changed_is_told(tmp_path: Path) -> None:
    missing = tmp_path / "none" / "fstab"
    with pytest.raises(Failure, match="cannot be changed"):
        update(missing, PLACE, LINE)
    with pytest.raises(Failure, match="cannot be changed"):
        update(missing, PLACE, None)


def test_new_file_is_readable_by_all(tmp_path: Path) -> None:
    assert update(tmp_path / "fstab", PLACE, LINE)
    assert (tmp_path / "fstab").stat().st_mode & 0o777 == 0o644
    assert os.listdir(tmp_path) == ["fstab"]  # noqa: PTH208
