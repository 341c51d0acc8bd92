"""Commands to the cluster through a mount: by the control file, and by an attribute."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aisfs_sdk import Client
from tests.support.mount import Mount
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisfs_sdk import Bucket

pytestmark = pytest.mark.fuse

WAIT_S = 30.0

SCRIPT = Path(__file__).with_name("cluster_work.sh")

ENDS = ("finished", "failed", "aborted", "idle")
"""Archives idle for a minute after their work: others could join them."""


class Place:
    """A mount of all buckets of a store that has one of each kind."""

    def __init__(self, store: StoreProcess, mount: Mount, files: Path) -> None:
        self.store = store
        self.path = mount.path
        self.files = files
        self.client = Client(store.endpoint)
        self.bucket: Bucket = self.client.bucket("b")
        self.control = mount.path / ".aisfs"

    def command(self, line: str, of: str = "") -> str:
        """Write a command to a control file and return its answer from the same handle."""
        fd = os.open(self.control / of / "ctl", os.O_RDWR)
        try:
            assert os.write(fd, line.encode()) == len(line.encode())
            return os.read(fd, 1 << 16).decode()
        finally:
            os.close(fd)

    def job_of(self, answer: str) -> str:
        """Wait until the job that an answer names has ended, and return how it did."""
        ok, job, job_id = answer.strip().split("\t")
        assert (ok, job) == ("ok", "job")
        return self.ended((self.control / "jobs" / job_id / "status").read_text)

    def ended(self, told: Callable[[], str]) -> str:
        """Wait until what tells of a job tells that it has ended, and return it."""
        limit = time.monotonic() + WAIT_S
        while not any(word in (text := told()) for word in ENDS):
            assert time.monotonic() < limit, text
            time.sleep(0.05)
        return text

    def props(self, bucket: str) -> Any:
        """Return a bucket's properties, as its control file tells them."""
        return json.loads((self.control / "buckets/ais" / bucket / "props.json").read_text())

    def cached(self, name: str) -> bool:
        """Tell whether the cluster itself has an object of the cloud."""
        return self.client.bucket("cloud", provider="aws").object(name).head_v2().present


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the files of a cloud, and files that may be promoted."""
    cloud, files = tmp_path_factory.mktemp("cloud"), tmp_path_factory.mktemp("files")
    for number in range(3):
        (cloud / f"c{number}").write_text(f"cloud {number}")
    (files / "sub").mkdir()
    (files / "one").write_text("one")
    (files / "sub" / "two").write_text("two")
    return cloud, files


@pytest.fixture
def place(folders: tuple[Path, Path]) -> Iterator[Place]:
    cloud, files = folders
    extra = ("--allow-etl", "--remote", f"aws://cloud={cloud}", "--promote-root", str(files))
    with StoreProcess(extra=extra) as store:
        store.create_bucket("b")
        Client(store.endpoint).bucket("cloud", provider="aws").head()  # from now on it is known
        options = [f"token-file={store.token_file}", "bucket-ops"]
        with Mount(store.endpoint, options=options) as mount:
            yield Place(store, mount, files)


def test_an_object_is_copied_and_is_there(place: Place) -> None:
    place.bucket.object("d/a b").put_content(b"bytes")
    assert not (place.path / "b/e f").exists()  # and the mount knows it
    assert place.command("copy '/b/d/a b' 'ais://b/e f'\n") == "ok\n"
    assert (place.path / "b/e f").read_bytes() == b"bytes"
    place.bucket.object("g").put_content(b"old, and longer")
    assert (place.path / "b/g").read_bytes() == b"old, and longer"
    os.setxattr(place.path / "b/d/a b", "user.ais.do", b"copy /b/g")
    assert (place.path / "b/g").read_bytes() == b"bytes"
    with pytest.raises(OSError, match="No data"):
        os.getxattr(place.path / "b/d/a b", "user.ais.do")


def test_the_cluster_works_on_what_was_written(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    with Mount(store.endpoint, "ais://b", options=["write-back"]) as mount:
        store.faults([{"method": "PUT", "role": "target", "action": "delay", "seconds": 1}])
        (mount.path / "f").write_bytes(b"just written")
        os.setxattr(mount.path / "f", "user.ais.do", b"copy ais://b/g")
        assert bucket.object("g").get().read_all() == b"just written"


def test_a_directory_becomes_an_archive(place: Place) -> None:
    for name in ("d/x", "d/y", "other"):
        place.bucket.object(name).put_content(name.encode())
    assert "failed" not in place.job_of(place.command("archive /b/all.tar from=/b/d/\n"))
    with tarfile.open(fileobj=io.BytesIO((place.path / "b/all.tar").read_bytes())) as tar:
        assert sorted(tar.getnames()) == ["d/x", "d/y"]
    os.setxattr(place.path / "b/d", "user.ais.do", b"archive /b/too.tar")
    told = place.ended(lambda: os.getxattr(place.path / "b/d", "user.ais.job").decode())
    assert told.split()[1] in {"finished", "idle"}
    with tarfile.open(fileobj=io.BytesIO((place.path / "b/too.tar").read_bytes())) as tar:
        assert sorted(tar.getnames()) == ["d/x", "d/y"]


def test_a_written_file_becomes_a_member_of_a_shard(place: Place) -> None:
    with tarfile.open(place.path / "b/s.tar", "w") as tar:  # through the mount, padded
        tar.add(place.files / "one", "one")
    view = place.control / "view/archive/ais/b/s.tar"
    assert os.listdir(view) == ["one"]  # noqa: PTH208
    (place.path / "b/d").mkdir()
    (place.path / "b/d/new").write_bytes(b"just written")
    assert place.command("append /b/s.tar /b/d/new\n") == "ok\n"
    os.setxattr(place.path / "b/s.tar", "user.ais.do", b"append ais://b/d/new as=d/again")
    with tarfile.open(place.path / "b/s.tar") as tar:
        assert tar.getnames() == ["one", "new", "d/again"]
    assert (view / "one").read_bytes() == b"one"
    assert (view / "d/again").read_bytes() == b"just written"
    with pytest.raises(OSError, match=os.strerror(errno.EEXIST)):
        place.command("append /b/s.tar /b/d/new\n")
    assert "it has a member new already" in (place.control / "last").read_text()
    with pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)):
        place.command("append /b/d/new /b/s.tar\n")


def test_a_shard_of_an_old_cluster_gets_a_member() -> None:
    with StoreProcess(extra=("--compat", "3.17")) as store:
        bucket = Client(store.endpoint).bucket("b").create()
        bucket.object("f").put_content(b"new")
        with Mount(store.endpoint, "ais://b") as mount:
            for suffix in ("tar", "tgz"):
                shard = mount.path / f"s.{suffix}"
                subprocess.run(["tar", "-C", mount.path, "-caf", shard, "f"], check=True)
                os.setxattr(shard, "user.ais.do", b"append /f as=g")
                with tarfile.open(shard) as tar:
                    assert tar.getnames() == ["f", "g"]


def test_files_of_the_cluster_are_promoted(place: Place) -> None:
    (place.path / "b/in").mkdir()
    os.setxattr(place.path / "b/in", "user.ais.do", f"promote {place.files}/one".encode())
    assert (place.path / "b/in/one").read_text() == "one"
    place.command(f"promote {place.files} /b/all/ recursive=yes\n")
    wanted = {"all/one", "all/sub/two"}
    wait_until(
        lambda: {e.name for e in place.bucket.list_all_objects(prefix="all/")} == wanted,
        "all are promoted",
    )


def test_what_a_cloud_has_is_evicted_and_prefetched(place: Place) -> None:
    directory = place.path / "aws:cloud"
    assert (directory / "c0").read_text() == "cloud 0"
    assert place.cached("c0")
    os.setxattr(directory / "c0", "user.ais.do", b"evict")
    assert "finished" in place.ended(lambda: os.getxattr(directory / "c0", "user.ais.job").decode())
    assert not place.cached("c0")
    assert "finished" in place.job_of(place.command("prefetch aws://cloud/c1\n"))
    assert place.cached("c1")
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        place.command("evict ais://b/o\n")  # there is no other copy of it


def test_jobs_are_stopped_and_unknown_ones_refused(place: Place) -> None:
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        place.command("abort nojob\n")
    answer = place.command("start lru\n")
    place.command(f"abort {answer.split()[2]}\n")
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
        os.setxattr(place.path / "b", "user.ais.do", b"abort")


def test_a_shell_gets_the_errno_of_its_write(place: Place) -> None:
    place.bucket.object("a").put_content(b"a")
    script = f"""
        cd {place.path}
        echo 'copy /b/a /b/c1' > .aisfs/ctl && cat .aisfs/last
        printf 'copy /b/a /b/c2\\ncopy /b/no /b/c3\\n' 2>&1 >> .aisfs/ctl || cat .aisfs/last
        exec 3<> .aisfs/ctl; echo 'copy /b/a /b/c4' >&3; cat <&3
        echo nonsense > .aisfs/ctl; cat .aisfs/last
        grep -c . .aisfs/ctl
    """
    ended = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    lines = ended.stdout.splitlines()
    assert lines[0] == "ok\tcopy /b/a /b/c1\t"
    failure = next(line for line in lines if line.startswith("error\tENOENT\tcopy /b/no /b/c3\t"))
    assert "b/no" in failure
    assert "ok" in lines
    assert any(line.startswith("error\tEINVAL\tnonsense\tthere is no verb") for line in lines)
    assert int(lines[-1]) > 5
    assert {"c1", "c2", "c4"} <= {entry.name for entry in place.bucket.list_all_objects()}


def test_a_mount_that_replaces_nothing_tells_the_cluster_to_replace_nothing(
    store: StoreProcess,
) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    bucket.object("a").put_content(b"a")
    with Mount(store.endpoint, "ais://b", options=["no-overwrite"]) as mount:
        with pytest.raises(PermissionError):
            os.setxattr(mount.path / "a", "user.ais.do", b"copy /c")
        with pytest.raises(PermissionError):
            (mount.path / ".aisfs/ctl").write_text("copy /a /c\n")
    assert [entry.name for entry in bucket.list_all_objects()] == ["a"]


def test_a_mount_passes_on_what_it_is_told_to(store: StoreProcess) -> None:
    bucket = Client(store.endpoint).bucket("b").create()
    bucket.object("a").put_content(b"a")
    with Mount(store.endpoint, "ais://b", options=["commands=copy:archive"]) as mount:
        os.setxattr(mount.path / "a", "user.ais.do", b"copy /c")
        with pytest.raises(PermissionError):
            (mount.path / ".aisfs/ctl").write_text("start lru\n")
    refused = Mount(store.endpoint, "ais://b", options=["commands=copy:archiv"])
    ended = refused.try_mount()
    refused._clean_up()
    assert ended.returncode == 32
    assert "there is no verb 'archiv' (nearest: archive)" in ended.stderr


def test_buckets_are_made_renamed_and_destroyed(place: Place) -> None:
    assert "new" not in os.listdir(place.path)  # noqa: PTH208
    assert place.command("create ais://new\n") == "ok\n"
    (place.path / "new/f").write_bytes(b"kept")
    with pytest.raises(FileExistsError):
        place.command("create ais://new\n")
    assert "finished" in place.job_of(place.command("rename /new /newer\n"))
    assert (place.path / "newer/f").read_bytes() == b"kept"
    assert "new" not in os.listdir(place.path)  # noqa: PTH208
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        place.command("destroy /newer\n")
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        place.command("destroy confirm=b\n", of="buckets/ais/newer")
    assert (place.path / "newer/f").read_bytes() == b"kept"
    place.command("destroy confirm=newer\n", of="buckets/ais/newer")
    assert not (place.path / "newer").exists()
    with pytest.raises(FileNotFoundError):
        place.command("destroy ais://newer confirm=newer\n")
    assert "b" in os.listdir(place.path)  # noqa: PTH208


def test_a_bucket_is_set_up_by_the_kinds_of_its_properties(place: Place) -> None:
    assert not place.props("b")["mirror"]["enabled"]
    place.command("set mirror.copies=2 mirror.enabled=yes checksum.type=md5\n", of="buckets/ais/b")
    shown = place.props("b")
    assert (shown["mirror"]["copies"], shown["mirror"]["enabled"]) == (2, True)
    assert shown["checksum"]["type"] == "md5"
    (place.path / "b/f").write_bytes(b"with another checksum")
    assert os.getxattr(place.path / "b/f", "user.ais.checksum-type") == b"md5"
    for bad in ("mirror.copis=2", "mirror=2", "mirror.copies=two", "mirror.enabled=2"):
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            place.command(f"set {bad}\n", of="buckets/ais/b")
    assert place.props("b") == shown
    os.setxattr(place.path / "b", "user.ais.do", b"set versioning.enabled=no")
    assert not place.props("b")["versioning"]["enabled"]
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        place.command("make-copies n=9\n", of="buckets/ais/b")
    assert "copies" in (place.control / "last").read_text()


def test_jobs_and_transformers_have_control_files(place: Place) -> None:
    place.bucket.object("upper.py").put_content(b"def transform(data): return data.upper()\n")
    answer = place.command("etl-init upper-it code=/b/upper.py\n")
    job = f"jobs/{answer.split()[2]}"
    place.command("stop\n", of="etl/upper-it")
    place.command("start\n", of="etl/upper-it")
    assert (place.control / "last").read_text() == "ok\tstart (upper-it)\t\n"
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        place.command("abort\n", of="etl/upper-it")
    place.command("stop\ndelete\n", of="etl/upper-it")
    with pytest.raises(FileNotFoundError):
        (place.control / "etl/upper-it/status").read_text()
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        place.command("stop\n", of=job)
    running = place.command("start lru\n", of="buckets/ais/b").split()[2]
    place.command("abort\n", of=f"jobs/{running}")
    for each in ("buckets/ais/b", "cache", f"jobs/{running}", ""):
        assert (place.control / each / "ctl").stat().st_mode & 0o777 == 0o600


def test_others_give_no_commands(place: Place) -> None:
    shown = (place.control / "ctl").stat()
    assert shown.st_mode & 0o777 == 0o600


def test_a_job_is_waited_for_until_somebody_has_enough(place: Place) -> None:
    place.bucket.object("d/x").put_content(b"x")
    job_id = place.command("archive /b/w.tar from=/b/d/\n").split()[2]
    assert (place.control / f"jobs/{job_id}/wait").read_text() in {"idle\n", "finished\n"}
    assert "wait" not in os.listdir(place.control / f"jobs/{job_id}")  # noqa: PTH208
    place.bucket.object("upper.py").put_content(b"def transform(data): return data\n")
    place.command("etl-init forever code=/b/upper.py\n")  # its job runs while it does
    job_id = (place.control / "last").read_text().split()[-1]
    try:
        waiting = subprocess.Popen(["cat", place.control / f"jobs/{job_id}/wait"])
        time.sleep(0.5)
        assert waiting.poll() is None
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(5) != 0
    finally:
        place.command("etl-stop forever\netl-delete forever\n")


def test_who_is_interrupted_leaves_the_command_to_itself(place: Place) -> None:
    place.bucket.object("o").put_content(b"o")
    last = place.control / "last"
    with place.store.holding(method="PUT", role="target", path="/b/o$"):
        giver = subprocess.Popen(["sh", "-c", f"echo 'copy /b/o /b/p' > {place.control}/ctl"])
        wait_until(place.store.held, "the copy is asked for")
        giver.send_signal(signal.SIGTERM)
        assert giver.wait(WAIT_S) == -signal.SIGTERM
        assert last.read_text() == "ok\tcopy /b/o /b/p\tgoes on\n"
    wait_until(lambda: last.read_text() == "ok\tcopy /b/o /b/p\t\n", "the copy has ended")
    assert place.bucket.object("p").get().read_all() == b"o"


def test_walking_over_the_mount_starts_nothing(place: Place) -> None:
    for name in ("d/x", "d/y"):
        place.bucket.object(name).put_content(b"x")
    place.store.clear_requests()
    subprocess.run(["find", place.path, "-type", "f"], check=True, capture_output=True)
    subprocess.run(["grep", "-r", "x", place.path / "b"], check=True, capture_output=True)
    subprocess.run(["du", "-a", place.path], check=True, capture_output=True)
    asked = place.store.requests()
    assert not [r for r in asked if r["method"] in {"POST", "PUT", "PATCH", "DELETE"}]
    reads = [r for r in asked if r["method"] == "GET" and "/objects/b/d/" in r["path"]]
    assert len([r for r in reads if r["node"].startswith("t")]) == 2


def test_a_shell_script_does_all_of_it(folders: tuple[Path, Path]) -> None:
    cloud, files = folders
    extra = ("--allow-etl", "--remote", f"aws://cloud={cloud}", "--promote-root", str(files))
    with StoreProcess(extra=extra) as store:
        store.create_bucket("b")
        Client(store.endpoint).bucket("cloud", provider="aws").head()
        with Mount(store.endpoint, options=[f"token-file={store.token_file}"]) as mount:
            said = run_script(mount, str(files))
    assert [line for line in said if not line.startswith("done: ")] == []
    assert len(said) == 10


def run_script(mount: Mount, files: str) -> list[str]:
    """Run the script and return its lines."""
    ended = subprocess.run(
        ["sh", SCRIPT, mount.path, mount.endpoint, files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, f"{ended.stdout}{ended.stderr}{mount.log_tail()}"
    return ended.stdout.splitlines()
