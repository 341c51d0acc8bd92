"""What the information files show of answers that an embedded store does not give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast

from aisfs.config import BucketName, Config, Source, StoreConfig
from aisfs.control.files import ControlDirectory, ControlFile, PersonalFile, table
from aisfs.control.information import information
from aisfs.errors import NotFound
from aisfs.running import RunningConfig
from aisfs.store.cluster_facts import EtlFacts, JobFacts, Json
from tests.support.filesystem import ME

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.control.commands import Commands
    from aisfs.control.files import ControlEntry
    from aisfs.store.cluster_facts import ClusterFacts


class Told:
    """Answers of a cluster."""

    async def cluster(self) -> Json:
        return {"uuid": "u"}

    cluster_map = cluster

    async def jobs(self) -> list[Json]:
        job = {"uuid": "", "kind": "lru", "err": "", "end_time": 0, "aborted": False}
        return [
            {**job, "uuid": "runs"},
            {**job, "uuid": "done", "end_time": 5},
            {**job, "uuid": "bad", "end_time": 5, "err": "no\troom\n"},
            {**job, "uuid": "ended", "end_time": 5, "aborted": True, "err": "user abort"},
        ]

    async def job(self, job_id: str) -> JobFacts:
        if job_id != "unlisted":
            raise NotFound(job_id)
        return JobFacts(
            job_id, "archive", "failed", "two\nlines,\tone", "", "", 3, 30, None, {"t1": []}
        )

    async def etls(self) -> list[Json]:
        return [(await self.etl("stopped")).info]

    async def etl(self, name: str) -> EtlFacts:
        counts = {"obj_count": 1, "in_bytes": 2, "out_bytes": 3}
        return EtlFacts({"id": name, "stage": "Aborted", "xaction_id": "etl-1", **counts}, None)

    async def etl_logs(self, name: str) -> dict[str, str]:
        return {"t2": "", "t1": "line 1\nline 2\n"}

    async def buckets(self) -> list[BucketName]:
        return [
            BucketName("a"),
            BucketName("a", "aws"),
            BucketName("a", "ais", "far"),
            BucketName("a", "ais", "far", "ns"),
        ]

    async def bucket_props(self, bucket: BucketName) -> Json:
        return {"provider": bucket.provider}

    bucket_summary = bucket_props


class Control:
    """Gives things their control files."""

    def __getattr__(self, name: str) -> Callable[[object], ControlFile]:
        async def show() -> str:
            return ""

        return lambda _: ControlFile("ctl", show)


CONFIG = Config(
    Source(), Path("/nowhere"), StoreConfig(token="very-secret"), origins={"store.token": "here"}
)


async def entry(path: str) -> ControlEntry:
    """Return what is at a path, as a walk finds it."""
    found: ControlEntry = ControlDirectory(
        "",
        information(
            cast("ClusterFacts", Told()), RunningConfig(CONFIG), cast("Commands", Control())
        ),
    )
    for name in path.split("/"):
        assert isinstance(found, ControlDirectory)
        listed = await found.listed() if found.listed is not None else {}
        entries = {**listed, **{each.name: each for each in found.entries}}
        if name not in entries and found.find is not None:
            other = await found.find(name)
            assert other is not None
            entries[name] = other
        found = entries[name]
    return found


async def text(path: str) -> str:
    file = await entry(path)
    assert isinstance(file, ControlFile | PersonalFile)
    assert file.accept is None
    return await (file.show() if isinstance(file, ControlFile) else file.show(ME))


async def names(path: str) -> list[str]:
    directory = await entry(path)
    assert isinstance(directory, ControlDirectory)
    assert directory.listed is not None
    return sorted(await directory.listed())


def test_a_value_takes_one_line() -> None:
    assert table({"a": 1, "b": " x\n\ty\r", "c": ""}) == "a\t1\nb\tx y\nc\t\n"


async def test_each_state_of_a_job_has_its_word() -> None:
    assert await text("jobs/list") == (
        "runs\tlru running\ndone\tlru finished\nbad\tlru failed\nended\tlru aborted\n"
    )


async def test_a_job_that_is_not_listed_is_found() -> None:
    assert await names("jobs") == ["bad", "done", "ended", "runs"]
    assert "error\ttwo lines, one\n" in await text("jobs/unlisted/status")
    exact = json.loads(await text("jobs/unlisted/status.json"))
    assert exact == {"status": None, "snapshots": {"t1": []}}
    jobs = await entry("jobs")
    assert isinstance(jobs, ControlDirectory)
    assert jobs.find is not None
    assert await jobs.find("none") is None


async def test_a_transformer_that_is_not_described_any_more_is_still_told() -> None:
    assert json.loads(await text("etl/stopped/info.json"))["details"] is None
    assert "stage\tAborted\n" in await text("etl/stopped/status")
    expected = "==> target t1 <==\nline 1\nline 2\n==> target t2 <==\n"
    assert await text("etl/stopped/logs") == expected


async def test_buckets_of_one_name_have_names_of_their_own() -> None:
    assert await names("buckets") == ["ais", "aws"]
    assert await names("buckets/ais") == ["a", "ais@far#ns:a", "ais@far:a"]
    assert await names("buckets/aws") == ["a"]


async def test_of_a_token_only_the_origin_is_told() -> None:
    shown = await text("config.json")
    assert json.loads(shown)["store.token"] == {"value": "(hidden)", "origin": "here"}
    assert "very-secret" not in shown
