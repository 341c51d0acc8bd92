"""A call of each documented member that sends a request.

Written as the documented interface of 2023 has it, so that the official clients of that time and
ours can run it; nothing of this project is needed.
"""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from tests.sdk.recording import Recorder


class Scene:
    """What a call finds: a client, a bucket with objects `a` and `b`, another one, files.

    All names have `prefix` in front, so that nothing of others on the cluster is touched.
    """

    prefix: str
    client: Any
    folder: Path

    def __init__(self, recorder: Recorder, make_client: Callable[[str], Any]) -> None:
        self.prefix = f"rec{uuid.uuid4().hex[:10]}-"
        self.client = make_client(recorder.endpoint)
        self.recorder = recorder
        self._folder = tempfile.TemporaryDirectory(prefix=self.prefix)
        self.folder = Path(self._folder.name)
        (self.folder / "f").write_bytes(b"12345")
        recorder.given = {str(self.folder): "<FOLDER>", self.prefix: "rec-"}

    def __enter__(self) -> Self:
        raw = self.recorder.raw
        for name in ("src", "dst"):
            path = f"buckets/{self.prefix}{name}?provider=ais"
            raw("POST", path, {"action": "create-bck", "name": "", "value": None})
        for name in ("a", "b"):
            raw("PUT", f"objects/{self.prefix}src/{name}?provider=ais", b"content")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in ("src", "dst", "new"):
            path = f"buckets/{self.prefix}{name}?provider=ais"
            self.recorder.raw("DELETE", path, {"action": "destroy-bck", "name": "", "value": None})
        self._folder.cleanup()

    def bucket(self, name: str = "src", provider: str = "ais") -> Any:
        """Return a bucket of this scene."""
        return self.client.bucket(self.prefix + name, provider)

    def group(self, provider: str = "ais") -> Any:
        """Return two objects of it."""
        return self.bucket("src" if provider == "ais" else "cloud", provider).objects(["a", "b"])

    def started(self) -> Any:
        """Return a job that was started past the recording."""
        message = {"action": "start", "name": "", "value": {"Kind": "lru"}}
        job_id = self.recorder.raw("PUT", "cluster", message).decode()
        self.recorder.given[job_id] = "<JOB>"
        return self.client.job(job_id)

    def copied(self) -> Any:
        """Return a job that copies a group, started past the recording."""
        value = {"objnames": ["a"], "tobck": {"name": f"{self.prefix}dst", "provider": "ais"}}
        message = {"action": "copy-listrange", "name": "", "value": value}
        path = f"buckets/{self.prefix}src?provider=ais"
        job_id = self.recorder.raw("POST", path, message).decode()
        self.recorder.given[job_id] = "<JOB>"
        return self.client.job(job_id)

    def own(self) -> Any:
        """Return what sends the client's requests."""
        return self.client.cluster().client


class Missing(Scene):
    """The same where nothing is prepared: buckets, objects and jobs do not exist."""

    def __init__(self, client: Any, folder: Path) -> None:
        self.prefix = f"rec{uuid.uuid4().hex[:10]}-"
        self.client = client
        self.folder = folder

    def started(self) -> Any:
        """Return a job that never was."""
        return self.client.job("nosuchjob")

    copied = started


CALLS: dict[str, Callable[[Scene], Any]] = {
    "Cluster.get_info": lambda s: s.client.cluster().get_info(),
    "Cluster.get_primary_url": lambda s: s.client.cluster().get_primary_url(),
    "Cluster.list_buckets": lambda s: s.client.cluster().list_buckets(),
    "Cluster.list_jobs_status": lambda s: s.client.cluster().list_jobs_status("lru"),
    "Cluster.list_running_jobs": lambda s: s.client.cluster().list_running_jobs("lru"),
    "Cluster.is_aistore_running": lambda s: s.client.cluster().is_aistore_running(),
    "Cluster.is_ready": lambda s: s.client.cluster().is_ready(),
    "Bucket.create": lambda s: s.bucket("new").create(),
    "Bucket.delete": lambda s: s.bucket("dst").delete(),
    "Bucket.evict": lambda s: s.bucket("cloud", "aws").evict(),
    "Bucket.head": lambda s: s.bucket().head(),
    "Bucket.summary": lambda s: s.bucket().summary(),
    "Bucket.info": lambda s: s.bucket().info(),
    "Bucket.copy": lambda s: s.bucket().copy(s.bucket("dst"), "a", "x-"),
    "Bucket.list_objects": lambda s: s.bucket().list_objects("a", "name,size", 10),
    "Bucket.list_objects_iter": lambda s: list(s.bucket().list_objects_iter("a")),
    "Bucket.list_all_objects": lambda s: s.bucket().list_all_objects(props="name"),
    "Bucket.list_urls": lambda s: list(s.bucket().list_urls("a")),
    "Bucket.transform": lambda s: s.bucket().transform("md5-etl", s.bucket("dst"), "1m", "a", "x-"),
    "Bucket.put_files": lambda s: s.bucket().put_files(str(s.folder), prepend="p/"),
    "Bucket.make_request": lambda s: s.bucket().make_request(
        "DELETE", "delete-listrange", {"objnames": ["a"]}
    ),
    "Object.head": lambda s: s.bucket().object("a").head(),
    "Object.get": lambda s: s.bucket().object("a").get().read_all(),
    "Object.put_content": lambda s: s.bucket().object("p/f").put_content(b"12345"),
    "Object.put_file": lambda s: s.bucket().object("p/f").put_file(str(s.folder / "f")),
    "Object.promote": lambda s: s.bucket().object("o").promote(str(s.folder / "f")),
    "Object.delete": lambda s: s.bucket().object("a").delete(),
    "ObjectIterator.__next__": lambda s: next(s.bucket().list_objects_iter("a")),
    "ObjectGroup.delete": lambda s: s.group().delete(),
    "ObjectGroup.evict": lambda s: s.group("aws").evict(),
    "ObjectGroup.prefetch": lambda s: s.group("aws").prefetch(),
    "ObjectGroup.copy": lambda s: s.group().copy(s.bucket("dst"), "x-"),
    "ObjectGroup.transform": lambda s: s.group().transform(s.bucket("dst"), "md5-etl", "1m"),
    "ObjectGroup.archive": lambda s: s.group().archive("x.tar"),
    "Job.status": lambda s: s.started().status(),
    "Job.wait": lambda s: s.started().wait(60),
    "Job.wait_for_idle": lambda s: s.copied().wait_for_idle(60),
    "Job.start": lambda s: s.client.job(job_kind="lru").start(buckets=[s.bucket()]),
    "RequestClient.request": lambda s: s.own().request(
        "GET", path="daemon", params={"what": "smap"}
    ),
    "RequestClient.request_deserialize": lambda s: s.own().request_deserialize(
        "GET", path="daemon", res_model=dict, params={"what": "smap"}
    ),
    # Last, because clusters of 2023 refuse much while they rebalance after it.
    "Bucket.rename": lambda s: s.bucket().rename(s.prefix + "new"),
}
"""What needs no transformers and no sorting, which few clusters have."""
