"""AIS's token service: who may do what, and the tokens that prove it.

A token made here goes to `Client(token=…)`. The service is a server of its own, by default on port
52001; the environment variable `AIS_AUTHN_URL` names it for other tools.
"""

from __future__ import annotations

from enum import IntFlag
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import msgspec

from aisfs_sdk import const
from aisfs_sdk.calls import JSON_HEADERS, Call
from aisfs_sdk.errors import ErrObjNotFound, InvalidRequestError
from aisfs_sdk.request_client import RequestClient
from aisfs_sdk.smap import parse_smap
from aisfs_sdk.types import BucketModel

if TYPE_CHECKING:
    from collections.abc import Iterable

    from aisfs_sdk.retry import RetryConfig

T = TypeVar("T")

_NANOSECONDS = 1_000_000_000
_SMAP = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_DAEMON}"


class AccessAttr(IntFlag):
    """What a role may do. AIS: `api/apc/access.go`."""

    GET = 1 << 0
    OBJ_HEAD = 1 << 1
    PUT = 1 << 2
    APPEND = 1 << 3
    OBJ_DELETE = 1 << 4
    OBJ_MOVE = 1 << 5
    PROMOTE = 1 << 6
    OBJ_UPDATE = 1 << 7
    BCK_HEAD = 1 << 8
    OBJ_LIST = 1 << 9
    PATCH = 1 << 10
    BCK_SET_ACL = 1 << 11
    LIST_BUCKETS = 1 << 12
    SHOW_CLUSTER = 1 << 13
    CREATE_BUCKET = 1 << 14
    DESTROY_BUCKET = 1 << 15
    MOVE_BUCKET = 1 << 16
    ADMIN = 1 << 17

    ACCESS_RO = GET | OBJ_HEAD | BCK_HEAD | OBJ_LIST
    ACCESS_RW = ACCESS_RO | PUT | APPEND | OBJ_DELETE | OBJ_MOVE
    CLUSTER_ACCESS_RO = LIST_BUCKETS | SHOW_CLUSTER
    CLUSTER_ACCESS_RW = CLUSTER_ACCESS_RO | CREATE_BUCKET | DESTROY_BUCKET | MOVE_BUCKET

    @staticmethod
    def describe(perms: int) -> str:
        """Return the names of the single permissions, with commas."""
        return ",".join(one.name or "" for one in AccessAttr if one & perms)


class ClusterInfo(msgspec.Struct):
    """A cluster that the service makes tokens for: uuid, short name, URLs of its gateways."""

    id: str
    alias: str = ""
    urls: list[str] = []


class ClusterPermission(msgspec.Struct):
    """What a role may do on a cluster: `perm` is a number as text, see `AccessAttr`."""

    id: str
    perm: str


class BucketPermission(msgspec.Struct):
    """What a role may do on a bucket; its namespace's uuid says of which cluster."""

    bck: BucketModel
    perm: str


class RoleInfo(msgspec.Struct):
    """A role."""

    name: str
    desc: str = ""
    clusters: list[ClusterPermission] | None = None
    buckets: list[BucketPermission] | None = None
    admin: bool = False


class UserInfo(msgspec.Struct, omit_defaults=True):
    """A user; the password is sent, never received."""

    id: str
    roles: list[RoleInfo] | None = None
    password: str = msgspec.field(name="pass", default="")

    def __repr__(self) -> str:
        return f"<UserInfo {self.id}>"


class _Service:
    """Requests to the token service, and the token that allows them."""

    def __init__(self, client: RequestClient) -> None:
        self._client = client

    def _send(self, method: str, path: str, message: Any = None) -> bytes:
        call = Call(method, f"/{const.URL_PATH_VERSION}/{path}", subject=path)
        call.repeatable = method == const.HTTP_METHOD_GET
        if message is not None:
            call.headers, call.body = JSON_HEADERS, msgspec.json.encode(message)
        return self._client.send(call).content

    def _get(self, path: str, kind: type[T]) -> T:
        content = self._send(const.HTTP_METHOD_GET, path)
        return msgspec.json.decode(content or b"null", type=kind, strict=False)

    def _delete(self, path: str, *, missing_ok: bool) -> None:
        try:
            self._send(const.HTTP_METHOD_DELETE, path)
        except (ErrObjNotFound, InvalidRequestError) as error:
            if not (missing_ok and error.status_code == 404):
                raise


class ClusterManager(_Service):
    """The clusters that the service knows. AIS: /v1/clusters of AuthN."""

    def list(self) -> dict[str, ClusterInfo]:
        """Return the clusters by uuid."""
        found = self._get("clusters", dict[str, dict[str, ClusterInfo]])
        return found.get("clusters") or {}

    def get(self, cluster_id: str = "", cluster_alias: str = "") -> ClusterInfo:
        """Return a cluster, by uuid or short name.

        Raises:
            KeyError: there is none.
        """
        for found in self.list().values():
            if found.id == cluster_id or (cluster_alias and found.alias == cluster_alias):
                return found
        raise KeyError(cluster_id or cluster_alias)

    def register(self, cluster_alias: str, urls: Iterable[str]) -> ClusterInfo:
        """Make a cluster known; its first gateway is asked for its uuid."""
        addresses = [*urls]
        gateway = RequestClient(addresses[0], token=self._client.token)
        smap = gateway.send(Call(const.HTTP_METHOD_GET, _SMAP, f"what={const.WHAT_SMAP}", "map"))
        info = ClusterInfo(parse_smap(smap.content).uuid, cluster_alias, addresses)
        self._send(const.HTTP_METHOD_POST, "clusters", info)
        return info

    def update(self, cluster_id: str, cluster_alias: str = "", urls: Iterable[str] = ()) -> None:
        """Change short name and URLs."""
        info = ClusterInfo(cluster_id, cluster_alias, [*urls])
        self._send(const.HTTP_METHOD_PUT, f"clusters/{quote(cluster_id, safe='')}", info)

    def delete(self, cluster_id: str) -> None:
        """Forget a cluster."""
        self._delete(f"clusters/{quote(cluster_id, safe='')}", missing_ok=False)


class RoleManager(_Service):
    """Roles. AIS: /v1/roles of AuthN."""

    def list(self) -> list[RoleInfo]:
        """Return all roles."""
        return self._get("roles", list[RoleInfo] | None) or []  # type: ignore[arg-type]

    def get(self, role_name: str) -> RoleInfo:
        """Return a role."""
        return self._get(f"roles/{quote(role_name, safe='')}", RoleInfo)

    def create(
        self,
        name: str,
        desc: str,
        cluster_alias: str,
        perms: Iterable[AccessAttr],
        bucket_name: str = "",
    ) -> RoleInfo:
        """Make a role for a cluster, or for one AIS bucket of it.

        Args:
            name: of the role.
            desc: what it is for.
            cluster_alias: short name of the cluster.
            perms: what it may do.
            bucket_name: of the bucket; "" for the whole cluster.

        Raises:
            KeyError: the service knows no such cluster.
        """
        cluster = ClusterManager(self._client).get(cluster_alias=cluster_alias)
        perm = str(int(_joined(perms)))
        role = RoleInfo(name, desc)
        if bucket_name:
            from aisfs_sdk.namespace import Namespace  # noqa: PLC0415 - only here

            model = BucketModel(bucket_name, const.PROVIDER_AIS, Namespace(uuid=cluster.id))
            role.buckets = [BucketPermission(model, perm)]
        else:
            role.clusters = [ClusterPermission(cluster.id, perm)]
        self._send(const.HTTP_METHOD_POST, "roles", role)
        return role

    def update(self, role: RoleInfo) -> None:
        """Replace a role by what `get` returned, changed."""
        self._send(const.HTTP_METHOD_PUT, f"roles/{quote(role.name, safe='')}", role)

    def delete(self, name: str, missing_ok: bool = False) -> None:
        """Remove a role."""
        self._delete(f"roles/{quote(name, safe='')}", missing_ok=missing_ok)


class UserManager(_Service):
    """Users. AIS: /v1/users of AuthN."""

    def list(self) -> dict[str, UserInfo]:
        """Return all users by name."""
        found = self._get("users", dict[str, UserInfo] | None)  # type: ignore[arg-type]
        return found or {}

    def get(self, username: str) -> UserInfo:
        """Return a user."""
        return self._get(f"users/{quote(username, safe='')}", UserInfo)

    def create(self, username: str, roles: Iterable[str], password: str) -> UserInfo:
        """Make a user who has some roles."""
        user = UserInfo(username, self._roles(roles), password)
        self._send(const.HTTP_METHOD_POST, "users", user)
        return self.get(username)

    def update(self, username: str, password: str = "", roles: Iterable[str] = ()) -> UserInfo:
        """Change a user's password, or roles, or both."""
        wanted = [*roles]
        user = UserInfo(username, self._roles(wanted) if wanted else None, password)
        self._send(const.HTTP_METHOD_PUT, f"users/{quote(username, safe='')}", user)
        return self.get(username)

    def delete(self, username: str, missing_ok: bool = False) -> None:
        """Remove a user."""
        self._delete(f"users/{quote(username, safe='')}", missing_ok=missing_ok)

    def _roles(self, names: Iterable[str]) -> list[RoleInfo]:  # type: ignore[valid-type]
        roles = RoleManager(self._client)
        return [roles.get(name) for name in names]


class TokenManager(_Service):
    """Tokens. AIS: /v1/tokens of AuthN."""

    def revoke(self, token: str) -> None:
        """Make a token worthless."""
        self._send(const.HTTP_METHOD_DELETE, "tokens", {"token": token})


class AuthNClient:
    """The token service.

    Args:
        endpoint: its URL.
        skip_verify: trust any certificate.
        ca_cert: file of authorities to trust.
        timeout: as of `Client`.
        retry_config: as of `Client`.
        token: of an administrator, for all but `login`.

    All methods of it and of its managers raise:
        AISError: the service refused; `AuthError` for a wrong password or token.
        requests.RequestException: the network failed.
    """

    def __init__(
        self,
        endpoint: str,
        skip_verify: bool = False,
        ca_cert: str | None = None,
        timeout: float | tuple[float | None, float | None] | None = None,
        retry_config: RetryConfig | None = None,
        token: str | None = None,
    ) -> None:
        self._arguments = (endpoint, skip_verify, ca_cert, None, timeout, retry_config)
        self._client = RequestClient(*self._arguments, token=token or None)

    def __repr__(self) -> str:
        return f"<AuthNClient {self._client.endpoint}>"

    @property
    def client(self) -> RequestClient:
        """What sends the requests."""
        return self._client

    def login(self, username: str, password: str, expires_in: float | None = None) -> str:
        """Return a token for a user; this client goes on with it.

        Args:
            username: who.
            password: of him.
            expires_in: seconds; None for the service's own time, 0 for ever.

        Raises:
            ValueError: the name or the password is empty.
        """
        if not username.strip() or not password.strip():
            msg = "a login has a name and a password"
            raise ValueError(msg)
        message: dict[str, Any] = {"password": password}
        if expires_in is not None:
            message["expires_in"] = int(expires_in * _NANOSECONDS)
        call = Call(
            const.HTTP_METHOD_POST, f"/{const.URL_PATH_VERSION}/users/{quote(username, safe='')}"
        )
        call.headers, call.body, call.repeatable = JSON_HEADERS, msgspec.json.encode(message), True
        found = msgspec.json.decode(self._client.send(call).content, type=dict[str, str])
        self._client = RequestClient(*self._arguments, token=found["token"])
        return found["token"]

    def logout(self) -> None:
        """Revoke the token of this client."""
        self.token_manager().revoke(self._client.token)
        self._client = RequestClient(*self._arguments)

    def cluster_manager(self) -> ClusterManager:
        """Return what manages clusters."""
        return ClusterManager(self._client)

    def role_manager(self) -> RoleManager:
        """Return what manages roles."""
        return RoleManager(self._client)

    def user_manager(self) -> UserManager:
        """Return what manages users."""
        return UserManager(self._client)

    def token_manager(self) -> TokenManager:
        """Return what manages tokens."""
        return TokenManager(self._client)


def _joined(perms: Iterable[AccessAttr]) -> AccessAttr:
    total = AccessAttr(0)
    for one in perms:
        total |= one
    return total
