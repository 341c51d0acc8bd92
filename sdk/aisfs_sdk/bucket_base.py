"""Which bucket, and how requests about it are made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aisfs_sdk import const, errors
from aisfs_sdk.calls import JSON_HEADERS, Answer, Call
from aisfs_sdk.types import ActionMsg, BucketModel, encode_message
from aisfs_sdk.urls import bucket_path, query_string

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from aisfs_sdk.namespace import Namespace
    from aisfs_sdk.request_client import RequestClient

_REPEATABLE = frozenset((const.ACT_LIST, const.ACT_DESTROY_BCK, const.ACT_SUMMARY_BCK))
"""Actions that may be sent again: the others start jobs."""


class BucketBase:
    """A bucket's identity. Making one sends nothing.

    Args:
        name: of the bucket.
        client: sends its requests.
        provider: whose it is: `ais`, `aws`, `gcp`, `azure`, `oci` or an alias (`s3`, `gs` …).
        namespace: of the bucket, None for the global one.
    """

    def __init__(
        self,
        name: str,
        client: RequestClient | None = None,
        provider: str = const.PROVIDER_AIS,
        namespace: Namespace | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._provider = str(provider)
        self._namespace = namespace
        self._qparam = {const.QPARAM_PROVIDER: self._provider}
        if namespace is not None:
            self._qparam[const.QPARAM_NAMESPACE] = namespace.get_path()
        self._query = query_string(self._qparam)

    def __repr__(self) -> str:
        return f"<Bucket {self.uri}>"

    @property
    def client(self) -> RequestClient | None:
        """The client bound to this bucket."""
        return self._client

    @property
    def bound_client(self) -> RequestClient:
        """The client bound to this bucket.

        Raises:
            ValueError: there is none.
        """
        if self._client is None:
            msg = f"bucket {self._name} has no client to send requests with"
            raise ValueError(msg)
        return self._client

    @property
    def qparam(self) -> dict[str, str]:
        """Query parameters that say whose bucket it is."""
        return dict(self._qparam)

    @property
    def query(self) -> str:
        """The same, encoded."""
        return self._query

    @property
    def provider(self) -> str:
        """Whose bucket it is."""
        return self._provider

    @property
    def name(self) -> str:
        """Name of the bucket."""
        return self._name

    @property
    def namespace(self) -> Namespace | None:
        """Namespace of the bucket, None for the global one."""
        return self._namespace

    @property
    def is_remote(self) -> bool:
        """Whether the bucket lies behind the cluster: in a cloud, or in an attached AIS cluster."""
        attached = self._namespace is not None and bool(self._namespace.uuid)
        return self._provider != const.PROVIDER_AIS or attached

    @property
    def uri(self) -> str:
        """The bucket in AIS's notation, such as `ais://#space/bucket`."""
        space = ""
        if self._namespace is not None and (self._namespace.uuid or self._namespace.name):
            uuid = f"@{self._namespace.uuid}" if self._namespace.uuid else ""
            name = f"#{self._namespace.name}" if self._namespace.name else ""
            space = f"{uuid}{name}/"
        return f"{self._provider}://{space}{self._name}"

    def get_path(self) -> str:
        """Return the bucket in the form of message texts: `provider/@uuid#namespace/name/`."""
        return self._path_of(self._name)

    def as_model(self) -> BucketModel:
        """Return the bucket's identity."""
        return BucketModel(self._name, self._provider, self._namespace)

    def make_request(
        self,
        method: str,
        action: str,
        value: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
        *,
        name: str = "",
    ) -> requests.Response:
        """Send a control message about the bucket.

        AIS: METHOD /v1/buckets/NAME.

        Args:
            method: HTTP method.
            action: what to do.
            value: its arguments.
            params: query parameters instead of `qparam`.
            name: in the message, for actions that take one.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
            ValueError: the bucket has no client.
        """
        call = self._call(method, action, value, params, name)
        return self.bound_client.as_response(call, self.bound_client.send(call))

    def verify_cloud_bucket(self) -> None:
        """Check that the bucket lies behind the cluster.

        Raises:
            InvalidBckProvider: it is one of the cluster's own.
        """
        if not self.is_remote:
            raise errors.InvalidBckProvider(self._provider)

    def _require_ais(self) -> None:
        if self._provider != const.PROVIDER_AIS:
            raise errors.InvalidBckProvider(self._provider)

    def _path_of(self, name: str) -> str:
        space = "@#" if self._namespace is None else self._namespace.get_path()
        provider = const.PROVIDER_ALIASES.get(self._provider, self._provider)
        return f"{provider}/{space}/{name}/"

    def _call(
        self,
        method: str,
        action: str = "",
        value: Any = None,
        params: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Call:
        query = query_string(params) if params else self._query
        call = Call(method, bucket_path(self._name), query, self.uri)
        if action:
            call.headers = JSON_HEADERS
            call.body = encode_message(ActionMsg(action, name, value))
            call.repeatable = action in _REPEATABLE
        return call

    def _act(
        self,
        method: str,
        action: str,
        value: Any = None,
        params: Mapping[str, str] | None = None,
    ) -> Answer:
        extra = {**self._qparam, **params} if params else None
        return self.bound_client.send(self._call(method, action, value, extra))
