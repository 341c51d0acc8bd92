"""What nodes tell about themselves."""

import json
import os
from typing import Any

import pytest

from tests.server import wire
from tests.support.store import StoreProcess


def ask(store: StoreProcess, target: str, *, node: str = "", body: str = "") -> Any:
    answer = wire.follow(node or store.endpoint, "GET", target, [], body.encode() or None)
    assert answer.status == 200, answer
    return json.loads(answer.body)


def target_urls(store: StoreProcess) -> dict[str, str]:
    tmap = store.smap()["tmap"]
    return {node_id: node["public_net"]["direct_url"] for node_id, node in tmap.items()}


def test_map_leads_to_nodes_that_answer(store: StoreProcess) -> None:
    smap = store.smap()
    assert smap["proxy_si"]["public_net"]["direct_url"] == store.endpoint
    assert len(smap["tmap"]) == 3
    assert isinstance(smap["version"], str)
    for node_id, url in target_urls(store).items():
        assert ask(store, "/v1/daemon?what=snode", node=url)["daemon_id"] == node_id
        assert ask(store, "/v1/daemon?what=smap", node=url) == smap


def test_bucket_metadata_has_full_props(store: StoreProcess, bucket: str) -> None:
    before = int(ask(store, "/v1/daemon?what=bmd")["version"])
    store.create_bucket(f"{bucket}-2")
    bmd = ask(store, "/v1/cluster?what=bmd")
    props = bmd["providers"]["ais"]["@#"][f"{bucket}-2"]
    head = wire.follow(store.endpoint, "HEAD", f"/v1/buckets/{bucket}-2")
    assert props == json.loads(head.get("Ais-Bucket-Props"))
    assert int(props["created"]) > 10**18
    assert int(props["bid"]) > 2**63
    assert int(bmd["version"]) > before


def test_capacity_of_targets_adds_up_to_the_disk(store: StoreProcess) -> None:
    targets = ask(store, "/v1/cluster?what=sysinfo")["target"]
    total = sum(int(figures["fs_capacity"]) for figures in targets.values())
    used = sum(int(figures["fs_used"]) for figures in targets.values())
    stat = os.statvfs(store.data)
    assert total == pytest.approx(stat.f_blocks * stat.f_frsize, abs=10)
    assert used == pytest.approx(total - stat.f_bavail * stat.f_frsize, rel=0.1)


@pytest.mark.parametrize("what", ["node_status", "node_stats", "sysinfo", "config"])
def test_nodes_answer(store: StoreProcess, what: str) -> None:
    (url, *_) = target_urls(store).values()
    for node in (store.endpoint, url):
        assert ask(store, f"/v1/daemon?what={what}", node=node)
    if what == "node_status":
        assert ask(store, "/v1/daemon?what=node_status")["ais_version"] == "5.0."


def test_software_version_is_plain_text(store: StoreProcess) -> None:
    answer = wire.follow(store.endpoint, "GET", "/v1/daemon?what=software_version")
    assert (answer.body, answer.get("Content-Type")) == (b"5.0.", "text/plain; charset=utf-8")


@pytest.mark.parametrize("what", ["mountpaths", "node_stats", "remote", "backends", "smap"])
def test_cluster_answers(store: StoreProcess, what: str) -> None:
    assert ask(store, f"/v1/cluster?what={what}") is not None


def test_jobs_are_known_and_idle(store: StoreProcess, bucket: str) -> None:
    message = b'{"action":"delete-listrange","value":{"template":"x"}}'
    target = f"/v1/buckets/{bucket}"
    job = wire.follow(store.endpoint, "DELETE", target, [], message).body.decode()
    wire.wait_for_job(store.endpoint, job)
    query = json.dumps({"ID": job})
    snaps = ask(store, "/v1/cluster?what=qryxstats", body=query)
    assert set(snaps) == set(store.smap()["tmap"])
    (snap,) = [snap for found in snaps.values() for snap in found]
    assert (snap["id"], snap["is_idle"], snap["aborted"]) == (job, True, False)
    assert ask(store, "/v1/cluster?what=running_all", body="{}") == []
    every = ask(store, "/v1/cluster?what=status_all", body="{}")
    assert job in [status["uuid"] for status in every]
    missing = b'{"ID":"nosuchjob"}'
    answer = wire.follow(store.endpoint, "GET", "/v1/cluster?what=status", [], missing)
    assert answer.status == 404
