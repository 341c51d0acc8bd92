"""`aisfs umount`: down, and everything stored; or what keeps it up."""

from pathlib import Path

import pytest

from aisfs.cli import mounts
from aisfs_sdk import Client
from tests.support.mount import Mount, run_aisfs
from tests.support.store import StoreProcess


def test_unmount_needs_a_mount_point() -> None:
    ended = run_aisfs("umount")
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1


def test_what_is_no_mount_is_refused(tmp_path: Path) -> None:
    ended = run_aisfs("umount", tmp_path)
    assert ended.returncode == 1
    assert "not a mount of aisfs" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_bad_limit_is_a_usage_error(tmp_path: Path) -> None:
    ended = run_aisfs("umount", "--wait", "soon", tmp_path)
    assert ended.returncode == 2
    assert "such as 30s" in ended.stderr


@pytest.mark.fuse
def test_unmounted_and_daemon_gone_on_return(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        (mount.path / "f").write_bytes(b"x" * (4 << 20))
        pid = mount.daemon_pid
        ended = run_aisfs("umount", mount.path)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        assert not mount.mounted
        assert mounts.wait_for_exit(pid, 0)


@pytest.mark.fuse
def test_busy_mount_stays_and_the_user_is_told_what_to_do(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        with (mount.path / "f").open("wb"):
            ended = run_aisfs("umount", mount.path)
            assert ended.returncode == 1
            assert len(ended.stderr.splitlines()) == 1
            assert f"fuser -vm {mount.path}" in ended.stderr
            assert mount.mounted
        assert run_aisfs("umount", mount.path).returncode == 0


@pytest.mark.fuse
def test_lazy_takes_the_name_away_and_waits_for_the_last_close(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        with (mount.path / "f").open("wb") as file:
            file.write(b"late")
            ended = run_aisfs("umount", "--lazy", "--wait", "100ms", mount.path)
            assert ended.returncode == 1
            assert str(mount.daemon_pid) in ended.stderr
            assert "has a file of it open still" in ended.stderr
            assert not mount.mounted
        assert mounts.wait_for_exit(mount.daemon_pid, 30)
        mount.mount()
        assert (mount.path / "f").read_bytes() == b"late"


@pytest.mark.fuse
def test_what_is_unsent_is_told_and_stored_by_the_next_mount(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "error"}])
        (mount.path / "f").write_bytes(b"12345")
        pid = mount.daemon_pid
        ended = run_aisfs("umount", mount.path)
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == 1
        assert "not everything is stored: 1 files (5 bytes) (storing b/f" in ended.stderr
        assert str(mount.state) in ended.stderr
        assert not mount.mounted
        assert mounts.wait_for_exit(pid, 0)
        store.clear_faults()
        mount.mount()
        assert bucket.object("f").get().read_all() == b"12345"
        assert run_aisfs("umount", mount.path).returncode == 0


@pytest.mark.fuse
def test_what_waits_is_sent_before_the_command_returns(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 0.3}])
        for number in range(8):
            (mount.path / f"f{number}").write_bytes(b"12345")
        ended = run_aisfs("umount", mount.path)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
        assert len(list(bucket.list_all_objects())) == 8


@pytest.mark.fuse
def test_the_limit_of_the_drain_leaves_the_rest_to_the_next_mount(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    options = ["write-back", "drain-timeout=500ms"]
    with Mount(store.endpoint, "ais://b", options=options) as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 15}])
        (mount.path / "f").write_bytes(b"12345")
        assert run_aisfs("umount", mount.path).returncode == 1
        store.clear_faults()
        mount.mount()
        assert bucket.object("f").get().read_all() == b"12345"


@pytest.mark.fuse
def test_stale_mount_is_taken_down(store: StoreProcess) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        mount.kill()
        assert run_aisfs("umount", mount.path).returncode == 0
        assert not mount.mounted


@pytest.mark.fuse
def test_stale_takes_down_nothing_that_lives(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("b")
    file = tmp_path / "b.toml"
    assert run_aisfs("umount", "--stale", tmp_path).returncode == 0
    with Mount(store.endpoint, "ais://b") as mount:
        file.write_text(f'mountpoint = "{mount.path}"\n')
        assert run_aisfs("umount", "--stale", "--config", file).returncode == 0
        assert mount.mounted
        mount.kill()
        assert run_aisfs("umount", "--stale", "--config", file).returncode == 0
        assert not mount.mounted


@pytest.mark.fuse
def test_any_name_of_the_mount_point_will_do(store: StoreProcess, tmp_path: Path) -> None:
    store.create_bucket("b")
    with Mount(store.endpoint, "ais://b") as mount:
        link = tmp_path / "link"
        link.symlink_to(mount.path)
        ended = run_aisfs("umount", f"{link}/", cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr


def test_processes_are_waited_for_without_reaping() -> None:
    assert mounts.wait_for_exit((1 << 22) + 1, 0)
    assert not mounts.wait_for_exit(1, 0)
