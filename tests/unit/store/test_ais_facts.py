"""What a cluster tells of itself, asked through the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from aisfs.config import BucketName
from aisfs.errors import NotFound, TimedOut
from aisfs.store import ais_facts
from aisfs.store.cluster_facts import Health

if TYPE_CHECKING:
    from aisfs.store.aistore import AISStore
    from aisfs_sdk import Bucket
    from tests.support.store import StoreProcess


async def test_the_wait_for_a_thread_has_an_end_too(
    aistore: AISStore, cluster: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    await aistore.facts.jobs()
    monkeypatch.setattr(ais_facts, "LONGEST_S", 0.3)
    ended = 0

    async def ask() -> None:
        nonlocal ended
        with pytest.raises(TimedOut, match="asking for the cluster's jobs: no answer"):
            await aistore.facts.jobs()
        ended += 1

    with cluster.holding(path="^/v1/cluster$"), trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            for _ in range(3 * ais_facts.THREADS):
                nursery.start_soon(ask)
    assert ended == 3 * ais_facts.THREADS


async def test_a_gateway_that_is_silent_is_not_ready(
    aistore: AISStore, cluster: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await aistore.facts.health() == Health(ready=True, primary_ready=True)
    monkeypatch.setattr(ais_facts, "HEALTH_S", 0.5)
    cluster.faults([{"path": "^/v1/health$", "action": "delay", "seconds": 2, "times": 1}])
    assert await aistore.facts.health() == Health(ready=False, primary_ready=True)


@pytest.mark.parametrize("job_id", ["none", "a,b", "", "a b", "\udcff", "x" * 200])
async def test_no_job_has_a_name_that_the_cluster_does_not_know(
    aistore: AISStore, cluster: StoreProcess, job_id: str
) -> None:
    with pytest.raises(NotFound):
        await aistore.facts.job(job_id)
    asked = [e for e in cluster.requests() if e["path"] == "/v1/cluster"]
    assert bool(asked) is (job_id == "none")


async def test_what_is_not_there_is_not_found(aistore: AISStore, other: Bucket) -> None:
    facts = aistore.facts
    with pytest.raises(NotFound, match="node none"):
        await facts.node("none")
    with pytest.raises(NotFound, match="properties of bucket none"):
        await facts.bucket_props(BucketName("none"))
    with pytest.raises(NotFound, match="summary of bucket none"):
        await facts.bucket_summary(BucketName("none"))
    with pytest.raises(NotFound, match="ETL none"):
        await facts.etl("none-etl")
    with pytest.raises(NotFound, match=f"{other.name}/none"):
        await aistore.describe(BucketName(other.name), "none")
