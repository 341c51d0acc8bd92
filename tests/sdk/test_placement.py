"""Reads go to the owner of an object, and to a gateway wherever that does not work."""

import itertools
import json
import logging
import pickle
import threading
import time
from collections.abc import Iterable, Iterator

import pytest
import requests

from aisfs_sdk import Client, RetryConfig, errors
from aisfs_sdk.placement import Placement
from aisfs_sdk.smap import NetInfo, Smap, Snode, hrw, object_uname
from tests.sdk.wire import Reply, Request, Wire, http
from tests.support.store import StoreProcess, free_port

LEAVING = 8
QUICK = RetryConfig(attempts=3, first_wait_s=0.01, max_wait_s=0.01)


def smap(targets: list[str], gateways: list[str], version: int = 1) -> bytes:
    def node(name: str, url: str) -> dict[str, object]:
        return {"daemon_id": name, "public_net": {"direct_url": url}}

    return json.dumps(
        {
            "tmap": {f"t{i}": node(f"t{i}", url) for i, url in enumerate(targets)},
            "pmap": {f"p{i}": node(f"p{i}", url) for i, url in enumerate(gateways)},
            "proxy_si": node("p0", gateways[0]),
            "version": str(version),
        }
    ).encode()


class Cluster:
    """A gateway and one target, each of which answers to order."""

    def __init__(self) -> None:
        self.at_target = http(200, b"from target", "Ais-Version: 1")
        self.map = b""

    def target(self, request: Request) -> Reply:
        return self.at_target

    def gateway(self, request: Request) -> Reply:
        if "what=smap" in request.target:
            return http(200, self.map)
        return http(200, b"from gateway", "Ais-Version: 1")


@pytest.fixture
def cluster() -> Iterator[tuple[Cluster, Wire, Wire]]:
    made = Cluster()
    with Wire(made.gateway) as gateway, Wire(made.target) as target:
        made.map = smap([target.endpoint], [gateway.endpoint])
        yield made, gateway, target


def read(client: Client) -> bytes:
    return client.bucket("b").object("o").get().read_all()


def test_reads_skip_the_gateway_once_the_map_is_known(
    cluster: tuple[Cluster, Wire, Wire],
) -> None:
    _, gateway, target = cluster
    client = Client(gateway.endpoint, token="secret-token")
    assert read(client) == b"from gateway"
    client.cluster().get_info()
    assert read(client) == b"from target"
    for _ in range(2):  # the gateway is asked whether the token may do that, too
        client.bucket("b").object("o").head()
    assert [request.method for request in target.requests] == ["GET", "HEAD"]
    assert all("authorization" not in request.headers for request in target.requests)
    # All else goes by the gateway.
    before = len(gateway.requests)
    client.bucket("b").head()
    client.bucket("b").object("o").delete()
    client.bucket("b").object("o").put_content(b"x")
    client.bucket("b").object("o").get(etl_name="md5-etl").read_all()
    assert len(gateway.requests) == before + 4
    assert len(target.requests) == 2


def test_a_token_reads_at_targets_only_what_a_gateway_let_it_read(
    cluster: tuple[Cluster, Wire, Wire],
) -> None:
    _, gateway, target = cluster
    client = Client(gateway.endpoint, token="secret-token")
    client.cluster().get_info()
    assert read(client) == b"from gateway"
    assert read(client) == b"from target"
    other = client.bucket("b2").object("o")
    assert other.get().read_all() == b"from gateway"
    assert other.get().read_all() == b"from target"
    assert all("authorization" not in request.headers for request in target.requests)


def test_direct_reads_can_be_switched_off(cluster: tuple[Cluster, Wire, Wire]) -> None:
    _, gateway, target = cluster
    client = pickle.loads(pickle.dumps(Client(gateway.endpoint, direct_reads=False)))
    client.cluster().get_info()
    assert read(client) == b"from gateway"
    assert target.requests == []


@pytest.mark.parametrize(
    "reply",
    [
        http(404, b'{"message":"ais://b/o does not exist","status":404}'),
        http(403, b'{"message":"direct target access denied","status":403}'),
        http(500),
        http(503),
        Reply(b"", "close"),
        Reply(b"not http\r\n\r\n", "close"),
    ],
)
def test_what_a_target_refuses_is_asked_of_the_gateway(
    cluster: tuple[Cluster, Wire, Wire], reply: Reply
) -> None:
    made, gateway, target = cluster
    client = Client(gateway.endpoint)
    client.cluster().get_info()
    made.at_target = reply
    assert read(client) == b"from gateway"
    assert len(target.requests) == 1


def test_an_unreachable_target_is_found_out_once(
    cluster: tuple[Cluster, Wire, Wire], caplog: pytest.LogCaptureFixture
) -> None:
    made, gateway, _ = cluster
    gone = f"http://127.0.0.1:{free_port()}"
    made.map = smap([gone], [gateway.endpoint])
    client = Client(gateway.endpoint)
    client.cluster().get_info()
    assert [read(client), read(client)] == [b"from gateway"] * 2
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1
    assert gone in warnings[0].getMessage()


def test_an_old_map_is_asked_for_again(
    cluster: tuple[Cluster, Wire, Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, gateway, target = cluster
    client = Client(gateway.endpoint)
    client.cluster().get_info()
    monkeypatch.setattr("aisfs_sdk.placement._MAP_AGE_S", 0.0)
    with Wire(lambda request: http(200, b"from another")) as another:
        made.map = smap([another.endpoint], [gateway.endpoint], version=2)
        assert read(client) == b"from another"
    made.map = b"no map"
    assert read(client) == b"from gateway"
    assert target.requests == []


def test_another_gateway_takes_over(cluster: tuple[Cluster, Wire, Wire]) -> None:
    made, gateway, _ = cluster
    with Wire(made.gateway) as second:
        made.map = smap([], [gateway.endpoint, second.endpoint])
        client = Client(gateway.endpoint, token="secret-token", retry_config=QUICK)
        assert read(client) == b"from gateway"
        client.cluster().get_info()
        gateway.__exit__(None, None, None)
        client.close()
        assert read(client) == b"from gateway"
        client.bucket("b").create()
        assert second.requests[-1].headers["authorization"] == "Bearer secret-token"
        gateway.__enter__()


class Membership:
    """A gateway of targets that come and go, which sends every read to the first one."""

    def __init__(self, target: Wire) -> None:
        self.target = target
        self.reply = http(404, b'{"message":"ais://b/o does not exist","status":404}')
        self.members: dict[str, int] = {}
        self.version = 0
        self.endpoint = ""

    def gateway(self, request: Request) -> Reply:
        if "what=smap" not in request.target:
            return self.reply
        node = {"public_net": {"direct_url": self.target.endpoint}}
        targets = {name: node | {"flags": flags} for name, flags in self.members.items()}
        gateway = {"p": {"public_net": {"direct_url": self.endpoint}}}
        self.version += 1
        told = {"tmap": targets, "pmap": gateway, "proxy_si": gateway["p"], "version": self.version}
        return http(200, json.dumps(told).encode())


@pytest.fixture
def membership() -> Iterator[Membership]:
    with Wire(lambda request: http(404)) as target:
        made = Membership(target)
        with Wire(made.gateway) as gateway:
            made.endpoint = gateway.endpoint
            yield made


def names_of(target: str, members: Iterable[str]) -> Iterator[str]:
    """Yield names of objects that one of some targets owns."""
    everybody = list(members)
    for number in itertools.count():
        if hrw(object_uname("ais", "b", f"o{number}"), everybody) == target:
            yield f"o{number}"


def test_what_a_lost_target_held_is_not_said_to_be_missing(
    membership: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    membership.members = {"a": 0, "b": 0, "c": 0}
    client = Client(membership.endpoint, retry_config=QUICK)
    bucket = client.bucket("b")
    client.cluster().get_info()
    at_a, at_b = (next(names_of(each, "abc")) for each in "ab")
    for name in (at_a, at_b):
        with pytest.raises(errors.ErrObjNotFound):
            bucket.object(name).get()
    assert not client.request_client.misses_targets()
    del membership.members["a"]
    with pytest.raises(errors.NodeAwayError, match=r"does not exist.*target a left"):
        bucket.object(at_a).get()
    assert client.request_client.misses_targets()
    with pytest.raises(errors.ErrObjNotFound):  # its target is there and has always been
        bucket.object(at_b).head()
    membership.members["a"] = 0
    assert client.request_client.misses_targets()  # what others got meanwhile has to move
    monkeypatch.setattr("aisfs_sdk.placement._MOVED_S", 0.0)
    assert not client.request_client.misses_targets()


def test_a_target_that_was_lost_for_long_is_given_up(
    membership: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisfs_sdk.placement._MISSED_S", 0.0)
    monkeypatch.setattr("aisfs_sdk.placement._MOVED_S", 0.0)
    membership.members = {"a": 0, "b": 0}
    client = Client(membership.endpoint, retry_config=QUICK)
    client.cluster().get_info()
    del membership.members["a"]
    with pytest.raises(errors.ErrObjNotFound):
        client.bucket("b").object(next(names_of("a", "ab"))).get()


def test_a_target_that_left_in_order_is_not_missed(
    membership: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisfs_sdk.placement._MOVED_S", 0.0)
    membership.members = {"a": 0, "b": 0}
    client = Client(membership.endpoint, retry_config=QUICK)
    name = next(names_of("a", "ab"))
    client.cluster().get_info()
    for members in ({"a": LEAVING, "b": 0}, {"b": 0}):
        membership.members = members
        with pytest.raises(errors.ErrObjNotFound):
            client.bucket("b").object(name).get()
    assert not client.request_client.misses_targets()


def test_an_object_on_its_way_to_a_new_target_is_waited_for(
    membership: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisfs_sdk.placement._MOVED_S", 1.0)
    membership.members = {"a": 0, "b": 0}
    client = Client(membership.endpoint, retry_config=QUICK)
    client.cluster().get_info()
    membership.members["new"] = 0
    moving = client.bucket("b").object(next(names_of("new", ["a", "b", "new"])))
    arrival = threading.Timer(
        0.3, lambda: setattr(membership, "reply", http(200, b"moved", "Ais-Version: 1"))
    )
    arrival.start()
    assert moving.get().read_all() == b"moved"
    arrival.join()


def test_a_new_target_is_believed_in_the_end(
    membership: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aisfs_sdk.placement._MOVED_S", 0.2)
    membership.members = {"a": 0, "b": 0}
    client = Client(membership.endpoint, retry_config=QUICK)
    client.cluster().get_info()
    membership.members["new"] = 0
    began = time.monotonic()
    with pytest.raises(errors.ErrObjNotFound):
        client.bucket("b").object(next(names_of("new", ["a", "b", "new"]))).get()
    assert time.monotonic() - began > 0.19


def test_a_client_without_a_map_has_no_doubts(membership: Membership) -> None:
    client = Client(membership.endpoint, retry_config=QUICK)
    with pytest.raises(errors.ErrObjNotFound):
        client.bucket("b").object("o").get()
    assert membership.version == 0
    assert not client.request_client.misses_targets()


def test_the_map_is_asked_for_again_after_nobody_told_it(
    cluster: tuple[Cluster, Wire, Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, gateway, _ = cluster
    client = Client(gateway.endpoint, retry_config=QUICK)
    client.cluster().get_info()
    good, made.map = made.map, b"no map"
    monkeypatch.setattr("aisfs_sdk.placement._MAP_AGE_S", 0.0)
    assert read(client) == b"from gateway"
    made.map = good
    assert read(client) == b"from target"


def test_a_redirect_that_leads_nowhere_names_the_address() -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    redirect = http(301, b"", f"Location: {gone}/v1/objects/b/o?pid=p&utm=1")
    with Wire(lambda request: redirect) as gateway:
        client = Client(gateway.endpoint, retry_config=QUICK)
        with pytest.raises(requests.ConnectionError, match=f"redirects to {gone}.*address_map"):
            read(client)


def test_addresses_of_the_cluster_are_rewritten(cluster: tuple[Cluster, Wire, Wire]) -> None:
    _, gateway, target = cluster
    inside = "http://target-0.cluster.invalid:51081"
    location = f"Location: {inside}/v1/objects/b/o?pid=p&utm=1"

    def answer(request: Request) -> Reply:
        if "what=smap" in request.target:
            return http(200, smap([inside], ["http://proxy.cluster.invalid:51080"]))
        return http(301, b"", location)

    addresses = {
        "target-0.cluster.invalid:51081": target.endpoint.removeprefix("http://"),
        "http://proxy.cluster.invalid:51080": gateway.endpoint,
    }
    with Wire(answer) as front:
        client = Client(front.endpoint, target_address_map=addresses)
        assert read(client) == b"from target"
        assert client.cluster().get_primary_url() == gateway.endpoint
        client.cluster().get_info()
        before = len(front.requests)
        assert read(client) == b"from target"
        assert len(front.requests) == before


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ({}, "http://10.0.0.5:51081"),
        ({"http://10.0.0.5:51081": "https://front:9"}, "https://front:9"),
        ({"10.0.0.5:51081": "front:9"}, "http://front:9"),
        ({"10.0.0.5": "front"}, "http://front:51081"),
        ({"10.0.0.6": "front"}, "http://10.0.0.5:51081"),
    ],
)
def test_ways_to_name_addresses(addresses: dict[str, str], expected: str) -> None:
    placement = Placement("http://gateway:8080", address_map=addresses)
    assert placement.rewrite("http://10.0.0.5:51081/") == expected


def test_a_map_without_targets_has_no_owners() -> None:
    placement = Placement("http://gateway:8080")
    node = Snode("p0", public_net=NetInfo(direct_url="http://gateway:8080"))
    placement.learn(Smap({}, {"p0": node}, node))
    assert placement.target_of("ais/@#/b/o") == ""
    assert placement.is_gateway("http://gateway:8080")
    assert not placement.is_gateway("http://elsewhere:8080")


def test_against_a_store_every_read_finds_its_object(store: StoreProcess) -> None:
    client = Client(store.endpoint)
    bucket = client.bucket("placed").create(exist_ok=True)
    names = [f"d/{i} ü" for i in range(20)]
    for name in names:
        bucket.object(name).put_content(name.encode())
    client.cluster().get_info()
    store.clear_requests()
    for name in names:
        assert bucket.object(name).get().read_all() == name.encode()
        assert bucket.object(name).props.size == len(name.encode())
    with pytest.raises(errors.ErrObjNotFound):
        bucket.object("none").head()
    gateways = set(client.cluster().get_info().pmap)
    seen = [entry for entry in store.requests() if "/v1/objects/" in entry["path"]]
    assert sum(entry["node"] in gateways for entry in seen) == 1
    bucket.delete()
