"""The token service's client: what it sends, and a real service where AIS_AUTHN_URL names one."""

import json
import os
import uuid
from collections.abc import Iterator

import pytest

from aisfs_sdk import Client, errors
from aisfs_sdk.authn import AccessAttr, AuthNClient, RoleInfo
from tests.sdk.conftest import AIS_ENDPOINT
from tests.sdk.wire import Reply, Request, Wire, http

URL, NAME, PASSWORD = (
    os.environ.get(f"AIS_AUTHN_{word}", "") for word in ("URL", "SU_NAME", "SU_PASS")
)
CLUSTERS = b'{"clusters":{"C1":{"id":"C1","alias":"main","urls":["http://g:1"]}}}'
ROLE = b'{"name":"r","desc":"d","clusters":[{"id":"C1","perm":"3"}],"buckets":null,"admin":false}'
ADMIN = "first-token"


class Service:
    """Answers as the protocol says, and keeps what it was told."""

    def __init__(self) -> None:
        self.revoked = False

    def answer(self, request: Request) -> Reply:
        if request.target == "/v1/users/admin" and request.method == "POST":
            if json.loads(request.body)["password"] == "right":
                return http(200, b'{"token": "first-token"}')
            return http(401, b'{"message":"invalid credentials","status":401}')
        if self.revoked or request.headers.get("authorization") != f"Bearer {ADMIN}":
            return http(401, b'{"message":"no token","status":401}')
        if request.method == "GET":
            smap = b'{"uuid":"C2","tmap":{},"pmap":{},"proxy_si":{}}'
            answers = {"clusters": CLUSTERS, "roles": b"[%s]" % ROLE, "roles/r": ROLE,
                       "users": b'{"u":{"id":"u","roles":[%s]}}' % ROLE, "users/u": b'{"id":"u"}',
                       "daemon?what=smap": smap}  # fmt: skip
            body = answers.get(request.target.removeprefix("/v1/"))
            return http(200, body) if body else http(404, b'{"message":"none","status":404}')
        self.revoked = request.target == "/v1/tokens"
        return http(200)


@pytest.fixture
def wire() -> Iterator[Wire]:
    with Wire(Service().answer, release=None) as made:
        yield made


def told(wire: Wire) -> tuple[str, str, object]:
    """Return the last request that changes something."""
    last = [one for one in wire.requests if one.method != "GET"][-1]
    return last.method, last.target, json.loads(last.body) if last.body else None


def test_login_and_logout(wire: Wire) -> None:
    authn = AuthNClient(wire.endpoint)
    with pytest.raises(ValueError, match="a name and a password"):
        authn.login("admin", " ")
    with pytest.raises(errors.AuthError) as caught:
        authn.login("admin", "wrong-secret")
    assert "wrong-secret" not in str(caught.value)
    assert authn.login("admin", "right", expires_in=1.5) == ADMIN
    sent = {"password": "right", "expires_in": 1_500_000_000}
    assert told(wire) == ("POST", "/v1/users/admin", sent)
    assert authn.cluster_manager().get(cluster_alias="main").id == "C1"
    authn.logout()
    assert told(wire) == ("DELETE", "/v1/tokens", {"token": ADMIN})
    with pytest.raises(errors.AuthError):
        authn.role_manager().list()


def test_a_refused_token_is_not_repeated() -> None:
    token = f"eyJ{'a' * 30}.{'b' * 50}.{'c' * 40}"
    refusal = b'{"message":"token revoked: %s","status":401}' % token.encode()
    with Wire(lambda request: http(401, refusal), release=None) as wire:
        with pytest.raises(errors.AuthError, match="token revoked: <token>") as caught:
            AuthNClient(wire.endpoint, token=token).user_manager().list()
        assert "aaaa" not in repr(caught.value.__dict__)


def test_roles_users_and_clusters(wire: Wire) -> None:
    authn = AuthNClient(wire.endpoint, token=ADMIN)
    roles, users, clusters = authn.role_manager(), authn.user_manager(), authn.cluster_manager()
    assert roles.list() == [roles.get("r")]
    roles.create("new", "reads", "main", [AccessAttr.GET, AccessAttr.OBJ_HEAD])
    perm = [{"id": "C1", "perm": "3"}]
    new = {"name": "new", "desc": "reads", "clusters": perm, "buckets": None, "admin": False}
    assert told(wire) == ("POST", "/v1/roles", new)
    roles.create("one", "", "main", [AccessAttr.ACCESS_RO], bucket_name="b")
    (bucket,) = told(wire)[2]["buckets"]  # type: ignore[index]
    assert bucket["bck"] == {
        "name": "b",
        "provider": "ais",
        "namespace": {"uuid": "C1", "name": ""},
    }
    assert AccessAttr.describe(int(bucket["perm"])).split(",")[:3] == [
        "GET",
        "OBJ_HEAD",
        "BCK_HEAD",
    ]
    roles.update(RoleInfo("r", "changed"))
    assert told(wire)[:2] == ("PUT", "/v1/roles/r")
    roles.delete("r")
    with pytest.raises(KeyError):
        roles.create("x", "", "unknown", [])

    assert list(users.list()) == ["u"]
    users.create("u", ["r"], "pass-word")
    method, path, user = told(wire)
    assert (method, path) == ("POST", "/v1/users")
    assert user == {"id": "u", "roles": [json.loads(ROLE)], "pass": "pass-word"}
    users.update("u", password="other")
    assert told(wire) == ("PUT", "/v1/users/u", {"id": "u", "pass": "other"})
    users.delete("u", missing_ok=True)
    assert "pass" not in repr(users.get("u"))

    info = clusters.register("second", [wire.endpoint])
    assert told(wire)[2] == {"id": "C2", "alias": "second", "urls": [wire.endpoint]}
    assert info.id == "C2"
    clusters.delete("C2")
    assert told(wire) == ("DELETE", "/v1/clusters/C2", None)


@pytest.mark.skipif(not URL, reason="AIS_AUTHN_URL names no token service")
def test_tokens_of_a_real_service() -> None:
    authn = AuthNClient(URL)
    with pytest.raises(errors.AuthError):
        authn.login(NAME, "wrong")
    token = authn.login(NAME, PASSWORD, expires_in=600)
    assert NAME in authn.user_manager().list()
    assert authn.user_manager().get(NAME).id == NAME
    assert authn.role_manager().list()
    assert isinstance(authn.cluster_manager().list(), dict)
    authn.logout()
    with pytest.raises(errors.AuthError):
        AuthNClient(URL, token=token).user_manager().list()


@pytest.mark.skipif(not (URL and AIS_ENDPOINT), reason="no token service and cluster are named")
def test_roles_and_users_of_a_real_service() -> None:
    authn = AuthNClient(URL)
    authn.login(NAME, PASSWORD, expires_in=600)
    name = f"user-{uuid.uuid4().hex[:8]}"
    if Client(AIS_ENDPOINT).cluster().get_uuid() not in authn.cluster_manager().list():
        try:
            authn.cluster_manager().register("main", [AIS_ENDPOINT])
        except errors.AISError as error:
            pytest.skip(f"the cluster does not trust this service: {error}")
    role = authn.role_manager().create(f"{name}-role", "reads", "main", [AccessAttr.ACCESS_RO])
    assert authn.role_manager().get(role.name).clusters == role.clusters
    assert authn.user_manager().create(name, [role.name], "pass-word-1").id == name
    assert AuthNClient(URL).login(name, "pass-word-1")
    authn.user_manager().delete(name)
    authn.role_manager().delete(role.name)
    with pytest.raises(errors.AuthError):
        AuthNClient(URL).login(name, "pass-word-1")
