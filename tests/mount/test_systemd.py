"""Mounts under a real systemd, booted for the test: services, fstab with its automounter.

Where none can be booted these are NOT RUN; `test_service` plays the manager then.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aisfs.cli import mounts
from aisfs.cli.helper_link import program
from aisfs.cli.systemd import units
from aisfs_sdk import Client
from tests.docs.blocks import blocks_of
from tests.support.machine import Impossible, Machine
from tests.support.not_run import leave_out
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.fuse, pytest.mark.timeout(300)]

AISFS = program("aisfs")
LIMIT_S = 120.0
SERVICE = "aisfs@data.service"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path.resolve() / "data"
    path.mkdir()
    return path


@pytest.fixture
def machine() -> Iterator[Machine]:
    """Return a machine that systemd runs, with our units and our helper."""
    try:
        with Machine(systemd=True) as machine:
            machine.must(AISFS, "systemd", "install")
            machine.must("systemctl", "daemon-reload")
            yield machine
    except Impossible as error:
        leave_out(str(error))


def configure(machine: Machine, store: StoreProcess, place: Path, settings: str = "") -> None:
    """Write what aisfs@data is to mount."""
    machine.path("/etc/aisfs").mkdir()
    machine.path("/etc/aisfs/data.toml").write_text(
        f'source = "ais://b"\nmountpoint = "{place}"\n[store]\nendpoint = "{store.endpoint}"\n'
        + settings
    )


def change(machine: Machine, *settings: str) -> None:
    """Give the service other settings, as a drop-in does."""
    drop_in = machine.path("/etc/systemd/system/aisfs@.service.d")
    drop_in.mkdir()
    (drop_in / "changed.conf").write_text("\n".join(["[Service]", *settings, ""]))
    machine.must("systemctl", "daemon-reload")


def until(state: Callable[[], bool], machine: Machine) -> None:
    what = "the machine is as it has to be"
    wait_until(state, what, LIMIT_S, pause_s=0.1, told=lambda: machine.log)


def shown(machine: Machine, unit: str, name: str) -> str:
    """Return a property of a unit."""
    return machine.must("systemctl", "show", "--value", "-p", name, unit).strip()


def tree_of(machine: Machine, unit: str) -> str:
    """Return what a unit depends on."""
    return machine.must("systemctl", "list-dependencies", "--full", "--plain", unit)


def test_service_is_started_when_everybody_sees_the_mount(
    store: StoreProcess, place: Path, machine: Machine
) -> None:
    store.create_bucket("b")
    configure(machine, store, place, '[cache]\ndir = "/var/cache/aisfs"\n')
    machine.must("systemctl", "start", SERVICE)
    assert machine.mounted(place) == ["fuse.aisfs"]
    (machine.path(place) / "f").write_text("content")
    assert machine.must("cat", place / "f") == "content"
    assert shown(machine, SERVICE, "StatusText") == f"ais://b is mounted at {place}"
    assert shown(machine, SERVICE, "MainPID") != "0"
    for directory in ("/var/lib/aisfs", "/var/cache/aisfs"):
        assert list(machine.path(directory).iterdir()), f"{directory} is not used"
    machine.must("systemctl", "stop", SERVICE)
    assert machine.mounted(place) == []
    assert shown(machine, SERVICE, "Result") == "success"


def test_service_that_cannot_mount_says_why_and_tries_again(
    store: StoreProcess, place: Path, machine: Machine
) -> None:
    configure(machine, store, place)
    change(machine, "RestartSec=100ms")
    ended = machine.run("systemctl", "start", SERVICE)
    assert ended.returncode != 0
    assert "there is no bucket ais://b" in machine.log
    until(lambda: int(shown(machine, SERVICE, "NRestarts")) > 5, machine)  # systemd's own limit
    store.create_bucket("b")
    until(lambda: shown(machine, SERVICE, "ActiveState") == "active", machine)
    assert machine.mounted(place) == ["fuse.aisfs"]


def test_killed_service_comes_back_by_itself(
    store: StoreProcess, place: Path, machine: Machine
) -> None:
    store.create_bucket("b")
    configure(machine, store, place)
    place.chmod(0)
    machine.must("systemctl", "start", SERVICE)
    (machine.path(place) / "f").write_text("content")
    (first,) = machine.daemons(place)
    os.kill(first, signal.SIGKILL)
    until(lambda: machine.run("cat", place / "f").stdout == "content", machine)
    assert machine.daemons(place) != [first]
    assert machine.mounted(place) == ["fuse.aisfs"]
    assert shown(machine, SERVICE, "NRestarts") == "1"
    machine.must("systemctl", "stop", SERVICE)
    assert machine.mounted(place) == []


def test_service_whose_loop_stands_still_is_replaced(
    store: StoreProcess, place: Path, machine: Machine
) -> None:
    store.create_bucket("b")
    configure(machine, store, place)
    change(machine, "WatchdogSec=5", "TimeoutAbortSec=1")
    machine.must("systemctl", "start", SERVICE)
    time.sleep(7)
    (first,) = machine.daemons(place)
    assert shown(machine, SERVICE, "NRestarts") == "0", "it lives, and was killed"
    os.kill(first, signal.SIGSTOP)
    until(lambda: machine.daemons(place) not in ([], [first]), machine)
    until(lambda: shown(machine, SERVICE, "ActiveState") == "active", machine)
    assert machine.must("ls", place) == ""


def test_stop_stores_what_is_left_however_long_that_takes(
    store: StoreProcess, place: Path, machine: Machine
) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    configure(machine, store, place, '[staging]\nwrite_back = true\ndrain_timeout = "10m"\n')
    change(machine, "TimeoutStopSec=4")
    machine.must("systemctl", "start", SERVICE)
    store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 4}])
    for number in range(8):
        (machine.path(place) / f"f{number}").write_bytes(bytes([number]) * (4 << 20))
    began = time.monotonic()
    machine.must("systemctl", "stop", SERVICE)
    assert time.monotonic() - began > 4, "nothing was left to be stored"
    assert shown(machine, SERVICE, "Result") == "success"
    for number in range(8):
        assert bucket.object(f"f{number}").get().read_all() == bytes([number]) * (4 << 20)


def test_shutdown_stores_what_is_left(
    store: StoreProcess, place: Path, tmp_path: Path, machine: Machine
) -> None:
    """One mount is a service, the other one a line of fstab; both owe the cluster something."""
    bucket = Client(store.endpoint).bucket("b").create()
    configure(machine, store, place, "[staging]\nwrite_back = true\n")
    machine.must("systemctl", "start", SERVICE)
    line = tmp_path.resolve() / "line"
    line.mkdir()
    words = ["-o", f"endpoint={store.endpoint},write-back", "--update-fstab"]
    machine.must(AISFS, "mount", "ais://b/line", line, *words)
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "remote-fs.target")
    machine.must("ls", line)
    store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 2}])
    wanted = {}
    for prefix, directory in (("", place), ("line/", line)):
        for number in range(8):
            wanted[f"{prefix}f{number}"] = content = bytes([number]) * (1 << 20)
            (machine.path(directory) / f"f{number}").write_bytes(content)
    assert len(list(bucket.list_all_objects())) < len(wanted), "nothing is left to be stored"
    machine.power_off()
    assert {name: bucket.object(name).get().read_all() for name in wanted} == wanted


def test_token_comes_as_a_credential(place: Path, machine: Machine) -> None:
    with StoreProcess(extra=("--require-token",)) as strict:
        configure(machine, strict, place)
        change(machine, (units() / "examples/token.conf").read_text())
        assert machine.run("systemctl", "start", SERVICE).returncode != 0, "there is no token yet"
        token = strict.token_file.read_text()
        machine.path("/etc/aisfs/data.token").write_text(token)
        Client(strict.endpoint, token=token.strip()).bucket("b").create()
        machine.run("systemctl", "reset-failed", SERVICE)
        machine.must("systemctl", "start", SERVICE)
        assert machine.must("ls", place) == ""
        assert machine.mounted(place) == ["fuse.aisfs"], "seen by the service only"


def test_line_of_fstab_mounts_at_the_first_look_and_again_after_everything(
    store: StoreProcess, place: Path, machine: Machine
) -> None:
    """Life of an automounted line: looked at, unmounted, killed; each look finds it mounted."""
    store.create_bucket("b")
    words = ["-o", f"endpoint={store.endpoint}", "--update-fstab"]
    machine.must(AISFS, "mount", "ais://b", place, *words)
    machine.must("systemctl", "daemon-reload")
    unit = machine.must("systemd-escape", "-p", "--suffix=automount", place).strip()
    tree = {target: tree_of(machine, target) for target in ("remote-fs.target", "local-fs.target")}
    assert unit in tree["remote-fs.target"], "systemd takes it for a local file system"
    assert unit not in tree["local-fs.target"]
    machine.must("systemctl", "restart", "remote-fs.target")
    assert machine.mounted(place) == ["autofs"], "mounted before anybody looked"
    assert machine.must("ls", place) == ""
    assert machine.mounted(place) == ["autofs", "fuse.aisfs"]
    (machine.path(place) / "f").write_text("content")

    machine.must("umount", place)
    assert machine.mounted(place) == ["autofs"]
    assert machine.must("cat", place / "f") == "content"

    pid = machine.daemons(place)[-1]
    os.kill(pid, signal.SIGKILL)
    assert mounts.wait_for_exit(pid, LIMIT_S)
    until(lambda: machine.mounted(place) == ["autofs"], machine)
    assert machine.must("cat", place / "f") == "content"

    machine.must("umount", place)
    machine.must("mount", place)  # looks itself, which mounts
    assert machine.mounted(place) == ["autofs", "fuse.aisfs"]
    machine.must("systemctl", "stop", unit)
    assert machine.mounted(place) == []


def test_line_of_a_store_that_is_away_neither_hangs_nor_stays_broken(
    store: StoreProcess, place: Path, machine: Machine
) -> None:
    store.create_bucket("b")
    words = ["-o", f"endpoint={store.endpoint},connect-timeout=1s,timeout=1s", "--update-fstab"]
    machine.must(AISFS, "mount", "ais://b", place, *words)
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "restart", "remote-fs.target")
    store.stop()
    assert machine.run("ls", place).returncode != 0
    assert machine.mounted(place) == ["autofs"]
    assert "mount.aisfs: " in machine.log
    store.start()
    until(lambda: machine.run("ls", place).returncode == 0, machine)
    assert machine.mounted(place) == ["autofs", "fuse.aisfs"]


def test_units_of_the_examples_mount(store: StoreProcess, machine: Machine) -> None:
    store.create_bucket("data")
    for example in ("mnt-data.mount", "mnt-data.automount"):
        text = (units() / "examples" / example).read_text()
        text = text.replace("http://gateway:51080", store.endpoint)
        machine.path(f"/etc/systemd/system/{example}").write_text(text)
    machine.must("mount", "-t", "tmpfs", "tmpfs", "/mnt")  # where systemd makes the directory
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "start", "mnt-data.automount")
    assert machine.must("ls", "/mnt/data") == ""
    assert machine.mounted(Path("/mnt/data")) == ["autofs", "fuse.aisfs"]


USER_MANAGER = """
[Service]
Type=notify
User=nobody
Environment=HOME=/var/home XDG_RUNTIME_DIR=/run/nobody
RuntimeDirectory=nobody
ExecStart=/lib/systemd/systemd --user
Delegate=yes
KillMode=mixed
"""


def test_service_of_an_ordinary_user(store: StoreProcess, machine: Machine) -> None:
    store.create_bucket("b")
    home = Path("/var/home")
    place = home / "data"
    config = home / ".config/aisfs"
    machine.must("install", "-d", "-o", "nobody", home, place, home / ".config", config)
    machine.path(config / "token").write_text(store.token_file.read_text())  # it knows root only
    machine.path(config / "data.toml").write_text(
        f'source = "ais://b"\nmountpoint = "{place}"\n[store]\nendpoint = "{store.endpoint}"\n'
        'token_file = "token"\n'
    )
    machine.path("/etc/systemd/system/manager.service").write_text(USER_MANAGER)
    machine.must("systemctl", "daemon-reload")
    machine.must("systemctl", "start", "manager")
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env"]
    as_nobody += [f"HOME={home}", "XDG_RUNTIME_DIR=/run/nobody"]
    machine.must(*as_nobody, AISFS, "systemd", "install", "--user")
    machine.must(*as_nobody, "systemctl", "--user", "daemon-reload")
    machine.must(*as_nobody, "systemctl", "--user", "start", SERVICE)
    assert machine.mounted(place) == ["fuse.aisfs"]
    assert machine.must(*as_nobody, "ls", place) == ""
    assert machine.run("ls", place).returncode != 0, "root may look into it"
    machine.must(*as_nobody, "systemctl", "--user", "stop", SERVICE)
    assert machine.mounted(place) == []


def test_blocks_of_the_page(machine: Machine) -> None:
    """Run each block of docs/mounting.md, one after the other, as root types them."""
    with StoreProcess(extra=("--require-token",)) as store:
        token = store.token_file.read_text().strip()
        Client(store.endpoint, token=token).bucket("data").create()
        machine.must("mount", "-t", "tmpfs", "tmpfs", "/mnt")
        machine.must("mkdir", "/mnt/data")
        machine.path("/etc/aisfs-token").write_text(token)
        path = f"{AISFS.parent}:{os.environ['PATH']}"
        ran = 0
        for block in blocks_of("docs/mounting.md"):
            text = block.text.replace("http://gateway:51080", store.endpoint)
            # What the page leaves out for the simple case: this store wants its token.
            text = text.replace("-o allow_other", "-o token-file=/etc/aisfs-token,allow_other")
            text = text.replace("\n[mount]", 'token_file = "/etc/aisfs-token"\n\n[mount]')
            machine.must("bash", "-euo", "pipefail", "-c", text, PATH=path, TOKEN=token)
            ran += 1
            shown = machine.mounted(Path("/mnt/data"))
            assert ("fuse.aisfs" in shown) == ("uninstall" not in text and "umount" not in text)
    assert ran == 5
