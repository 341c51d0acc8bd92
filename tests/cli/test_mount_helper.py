"""`mount.aisfs`: what mount(8) calls, first alone, then by mount(8) itself."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from aisfs.cli import guard, mounts
from aisfs.cli.helper_link import program
from tests.support.machine import Impossible, Machine
from tests.support.mount import clean_environment, run_aisfs
from tests.support.not_run import leave_out
from tests.support.store import StoreProcess, free_port
from tests.support.waiting import wait_until

LIMIT_S = 120.0
AISFS = program("aisfs")


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """Return an empty directory to mount at; whatever is left there is taken down."""
    path = tmp_path.resolve() / "mnt"
    path.mkdir()
    yield path
    serving = mounts.daemons(path)
    while mounts.mounted_at(path):
        assert not mounts.unmount(path, lazy=True)
    for pid in serving:
        assert mounts.wait_for_exit(pid, LIMIT_S), "the daemon did not end"


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Return a machine with an /sbin and an /etc/fstab of its own, in which mount(8) knows us."""
    try:
        with Machine() as machine:
            machine.must(AISFS, "mount", "--install-helper")
            yield machine
    except Impossible as error:
        leave_out(str(error))


def helped(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the helper, without HOME, as a mount unit does."""
    environment = clean_environment(**variables)
    del environment["HOME"]
    return subprocess.run(
        [program("mount.aisfs"), *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=environment,
        timeout=LIMIT_S,
        check=False,
    )


def options(store: StoreProcess, directory: Path, *more: str) -> str:
    return ",".join((f"endpoint={store.endpoint}", f"state-dir={directory / 'state'}", *more))


def refused(ended: subprocess.CompletedProcess[str], code: int = 32) -> str:
    assert ended.returncode == code, ended
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    assert ended.stderr.startswith("mount.aisfs: ")
    return ended.stderr


# -- alone


@pytest.mark.parametrize(
    "words",
    [[], ["ais://b"], ["ais://b", "/x", "/y"], ["ais://b", "/x", "-q"], ["-N", "1", "a", "b"]],
)
def test_words_that_mount_never_gives_are_refused(words: list[str]) -> None:
    assert "mount.aisfs SOURCE MOUNTPOINT" in refused(helped(*words), 1)


@pytest.mark.parametrize(
    ("source", "listed", "advice"),
    [
        ("ftp://b", "rw", "write ais://BUCKET"),
        ("ais://b", "cach-memory=1G", "nearest: cache-memory"),
        ("ais://b", "token=hush", "token-file=FILE"),
        ("ais://b", "config=/none", "name one that exists"),
        ("ais://b", "remount,ro", "cannot be changed: 'aisfs umount"),
    ],
)
def test_what_cannot_be_mounted_is_one_line(
    place: Path, source: str, listed: str, advice: str
) -> None:
    said = refused(helped(source, place, "-o", listed))
    assert advice in said
    assert "hush" not in said


def test_place_that_is_not_there_is_refused(place: Path) -> None:
    assert "mkdir -p" in refused(helped("ais://b", place / "x", "-o", "rw"))


@pytest.mark.fuse
def test_store_that_is_not_there_is_refused(place: Path) -> None:
    listed = f"endpoint=http://127.0.0.1:{free_port()},state-dir={place.parent / 'state'}"
    assert "is http://" in refused(helped("ais://b", place, "-o", listed))
    assert mounts.mounted_at(place) is None


def test_fake_mounts_nothing_but_checks(place: Path) -> None:
    ended = helped("ais://b", place, "-fv", "-o", "rw")
    assert (ended.returncode, mounts.mounted_at(place)) == (0, None), ended.stderr
    assert f"ais://b could be mounted on {place}" in ended.stdout
    refused(helped("ais://b", place, "-f", "-o", "frobnicate"))


def test_sloppy_ignores_what_nobody_knows(place: Path) -> None:
    assert helped("ais://b", place, "-sf", "-o", "frobnicate,context=x,allow_other").returncode == 0
    refused(helped("ais://b", place, "-sf", "-o", "frobnicate,cache_memory=3Q"))


@pytest.mark.fuse
def test_mount_answers_on_return_with_all_that_fstab_may_hold(
    place: Path, store: StoreProcess
) -> None:
    store.create_bucket("b")
    words = "rw,noauto,user,nofail,_netdev,defaults,dev,suid,relatime,x-systemd.automount"
    listed = options(store, place.parent, words, "x-systemd.idle-timeout=1min,comment=a")
    ended = helped("ais://b", place, "-v", "-n", "-o", listed)
    assert ended.returncode == 0, ended.stderr
    assert f"ais://b is mounted on {place}" in ended.stdout
    (place / "f").write_text("content")
    assert "already shows ais://b" in refused(helped("ais://b", place, "-o", listed))


@pytest.mark.fuse
def test_source_none_is_all_buckets_and_the_file_is_read(place: Path, store: StoreProcess) -> None:
    store.create_bucket("b")
    file = place.parent / "c.toml"
    file.write_text(f'[store]\nendpoint = "{store.endpoint}"\n[staging]\nstate_dir = "state"\n')
    ended = helped("none", place, "-o", f"config={file}")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert [path.name for path in place.iterdir()] == ["b"]


@pytest.mark.fuse
def test_stale_mount_is_replaced(place: Path, store: StoreProcess) -> None:
    store.create_bucket("b")
    listed = options(store, place.parent)
    assert helped("ais://b", place, "-o", listed).returncode == 0
    (place / "f").write_text("content")
    (pid,) = mounts.daemons(place)
    os.kill(pid, signal.SIGKILL)
    assert mounts.wait_for_exit(pid, LIMIT_S)
    ended = helped("ais://b", place, "-o", listed)
    assert ended.returncode == 0, ended.stderr
    assert (place / "f").read_text() == "content"
    assert [each.path for each in mounts.mounted()].count(place) == 1


@pytest.mark.fuse
def test_mount_after_an_unmount_waits_for_what_is_still_stored(
    place: Path, store: StoreProcess
) -> None:
    store.create_bucket("b")
    listed = options(store, place.parent, "write-back")
    assert helped("ais://b", place, "-o", listed).returncode == 0
    store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 3}])
    (place / "f").write_text("content")
    assert not mounts.unmount(place)
    assert mounts.daemons(place)
    ended = helped("ais://b", place, "-o", listed)
    assert ended.returncode == 0, ended.stderr
    assert (place / "f").read_text() == "content"


@pytest.mark.fuse
def test_guard_takes_down_what_died_and_nothing_else(place: Path, store: StoreProcess) -> None:
    store.create_bucket("b")
    listed = options(store, place.parent)

    def mount_and_guard() -> int:
        assert helped("ais://b", place, "-o", listed).returncode == 0
        (pid,) = mounts.daemons(place)
        guard.start(pid, str(place))
        wait_until(lambda: len(guards(place)) == 1, "the guard is there")
        return pid

    pid = mount_and_guard()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not guards(place), "the guard is gone")
    assert mounts.mounted_at(place) is None, "died, and still there"

    pid = mount_and_guard()
    held = os.open(place / "f", os.O_CREAT | os.O_WRONLY)  # so the daemon stays a while
    assert not mounts.unmount(place, lazy=True)
    listed = options(store, place.parent / "other")
    assert run_aisfs("mount", "ais://b", place, "-o", listed).returncode == 0
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not guards(place), "the guard is gone")
    with suppress(OSError):  # nobody serves it any more
        os.close(held)
    assert mounts.mounted_at(place) is not None, "another daemon's mount was taken down"


def guards(place: Path) -> list[Path]:
    """Return the guards of a mount, which have opened what they wait for."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            ours = guard.__file__.encode() in words and os.fsencode(place) in words
            if ours and any("pidfd" in os.readlink(fd) for fd in (entry / "fd").iterdir()):  # noqa: PTH115
                found.append(entry)
    return found


@pytest.mark.fuse
def test_interrupt_leaves_nothing(place: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        listed = f"timeout=1h,state-dir={place.parent / 'state'}"
        with subprocess.Popen(
            [program("mount.aisfs"), endpoint, place, "-o", listed],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=clean_environment(),
            start_new_session=True,
            text=True,
        ) as process:
            silent.settimeout(LIMIT_S)
            asked, _ = silent.accept()  # the daemon has begun to wait for an answer
            with asked:
                os.killpg(process.pid, signal.SIGINT)
                _, said = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, said) == (8, "mount.aisfs: interrupted\n")
    assert not mounts.daemons(place)


# -- by mount(8)


@pytest.mark.fuse
def test_mount_by_type_and_umount(place: Path, machine: Machine, store: StoreProcess) -> None:
    store.create_bucket("b")
    listed = options(store, place.parent, "nofail,_netdev")
    machine.must("mount", "-t", "aisfs", "ais://b", place, "-o", listed)
    assert machine.mounted(place) == ["fuse.aisfs"]
    (machine.path(place) / "f").write_text("content")
    assert machine.must("cat", place / "f") == "content"
    assert machine.must("findmnt", "-no", "SOURCE", place) == "ais://b\n"
    said = machine.run("mount", "-o", "remount,ro", "-t", "aisfs", "ais://b", place)
    assert said.returncode == 32
    assert "cannot be changed" in said.stderr
    machine.must("umount", place)
    assert machine.mounted(place) == []


@pytest.mark.fuse
def test_mount_by_the_type_of_fuse(place: Path, machine: Machine, store: StoreProcess) -> None:
    store.create_bucket("b")
    machine.must("ln", "-s", AISFS, "/usr/sbin/aisfs")  # in the PATH that mount(8) gives
    words: list[str | Path] = [
        "-t",
        "fuse.aisfs",
        "ais://b",
        place,
        "-o",
        options(store, place.parent, "ro"),
    ]
    machine.must("mount", *words)
    assert machine.mounted(place) == ["fuse.aisfs"]
    said = machine.run("mount", *words)
    assert "already shows ais://b" in said.stderr


@pytest.mark.fuse
@pytest.mark.parametrize("own", [False, True], ids=["/etc/fstab", "-T FILE"])
def test_mount_by_fstab(place: Path, machine: Machine, store: StoreProcess, own: bool) -> None:
    """Whole life of a line: written, mounted by its place, killed, mounted again, removed."""
    store.create_bucket("b")
    strange = place / "a b,c\\d#"
    strange.mkdir()
    file = machine.path("/etc/fstab")
    file.write_text("# mine\n")
    which: list[str | Path] = []
    if own:
        file = place.parent / "fstab"
        which = ["-T", file]
    place_of: list[str | Path] = ["--fstab", file] if own else []
    words: list[str | Path] = [
        "-o",
        options(store, place.parent / "with, comma".replace(",", "\\,"), "noatime"),
    ]
    machine.must(AISFS, "mount", "ais://b", strange, *words, "--update-fstab", *place_of)
    machine.must("mount", *which, strange)
    (machine.path(strange) / "f").write_text("content")
    assert (place.parent / "with, comma" / "state").is_dir()
    machine.must("mount", *which, "-a")
    assert machine.mounted(strange) == ["fuse.aisfs"], "mounted twice, or not at all"
    (pid,) = machine.daemons(strange)
    os.kill(pid, signal.SIGKILL)
    assert mounts.wait_for_exit(pid, LIMIT_S)
    assert machine.run("cat", strange / "f").returncode == 1
    assert machine.mounted(strange) == ["fuse.aisfs"], "whom it hid is seen by nobody"
    machine.must("mount", *which, strange)
    assert machine.must("cat", strange / "f") == "content"
    machine.must(AISFS, "umount", "--update-fstab", *place_of, strange)
    assert machine.mounted(strange) == []
    assert file.read_text() == ("" if own else "# mine\n")


@pytest.mark.fuse
def test_user_may_mount_and_unmount_what_fstab_lets_him(
    machine: Machine, store: StoreProcess
) -> None:
    store.create_bucket("b")
    home = Path("/var/aisfs-test")
    machine.must("install", "-d", "-o", "nobody", home, home / "mnt")
    machine.path(home / "token").write_text(store.token_file.read_text())  # it knows root only
    listed = options(store, home, f"token-file={home}/token")
    line = f"ais://b {home}/mnt aisfs noauto,user,{listed} 0 0\n"
    machine.path("/etc/fstab").write_text(line)
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    machine.must(*as_nobody, "mount", home / "mnt")
    assert machine.mounted(home / "mnt") == ["fuse.aisfs"]
    machine.must(*as_nobody, "umount", home / "mnt")
    assert machine.mounted(home / "mnt") == []


def test_helper_is_linked_once_and_nothing_foreign_is_replaced(machine: Machine) -> None:
    link = machine.path("/sbin/mount.aisfs")
    assert os.readlink(link) == str(program("mount.aisfs"))  # noqa: PTH115
    assert "is there already" in machine.must(AISFS, "mount", "--install-helper")
    machine.must("ln", "-sf", "/old/mount.aisfs", "/sbin/mount.aisfs")
    assert "→" in machine.must(AISFS, "mount", "--install-helper")
    machine.must("sh", "-c", "rm /sbin/mount.aisfs; echo theirs >/sbin/mount.aisfs")
    ended = machine.run(AISFS, "mount", "--install-helper")
    assert ended.returncode == 1
    assert "none of ours" in ended.stderr
