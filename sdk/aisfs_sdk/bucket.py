"""One bucket: the bucket itself, its listings and its objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aisfs_sdk import const, errors
from aisfs_sdk.object import Object
from aisfs_sdk.object_iterator import ObjectIterator
from aisfs_sdk.request_client import JSON_HEADERS, Answer, Call, RequestClient
from aisfs_sdk.types import (
    ActionMsg,
    BucketEntry,
    BucketList,
    BucketModel,
    decode_listing,
    encode_message,
)
from aisfs_sdk.urls import bucket_path, query_string

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import requests

    from aisfs_sdk.list_object_flag import ListObjectFlag
    from aisfs_sdk.namespace import Namespace

_LIST_HEADERS = {**JSON_HEADERS, const.HEADER_ACCEPT: const.MSGPACK_CONTENT_TYPE}


class Bucket:
    """A bucket. Making one sends nothing.

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
        self._provider = provider
        self._namespace = namespace
        self._qparam = {const.QPARAM_PROVIDER: provider}
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
        space = "@#" if self._namespace is None else self._namespace.get_path()
        provider = const.PROVIDER_ALIASES.get(self._provider, self._provider)
        return f"{provider}/{space}/{self._name}/"

    def as_model(self) -> BucketModel:
        """Return the bucket's identity."""
        return BucketModel(self._name, self._provider, self._namespace)

    def object(self, obj_name: str) -> Object:
        """Return an object of this bucket. Sends nothing.

        Args:
            obj_name: name of the object, which need not exist.
        """
        return Object(self, obj_name)

    def create(self, exist_ok: bool = False) -> Bucket:
        """Create the bucket.

        AIS: POST /v1/buckets/NAME, action "create-bck".

        Args:
            exist_ok: a bucket of this name is no error.

        Returns:
            The bucket itself.

        Raises:
            InvalidBckProvider: it is not an AIS bucket.
            ErrBckAlreadyExists: the name is taken.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        self._require_ais()
        try:
            self._act(const.HTTP_METHOD_POST, const.ACT_CREATE_BCK)
        except errors.ErrBckAlreadyExists:
            if not exist_ok:
                raise
        return self

    def delete(self, missing_ok: bool = False) -> None:
        """Destroy the bucket and everything in it.

        AIS: DELETE /v1/buckets/NAME, action "destroy-bck".

        Args:
            missing_ok: no such bucket is no error.

        Raises:
            InvalidBckProvider: it is not an AIS bucket.
            ErrBckNotFound: there is no such bucket.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        self._require_ais()
        try:
            self._act(const.HTTP_METHOD_DELETE, const.ACT_DESTROY_BCK)
        except errors.ErrBckNotFound:
            if not missing_ok:
                raise

    def head(self) -> requests.structures.CaseInsensitiveDict[str]:
        """Return the headers that describe the bucket; `Ais-Bucket-Props` holds JSON.

        AIS: HEAD /v1/buckets/NAME.

        Raises:
            ErrBckNotFound: there is no such bucket; it is a `requests.HTTPError`, too.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        call = self._call(const.HTTP_METHOD_HEAD)
        return self.bound_client.as_response(call, self.bound_client.send(call)).headers

    def list_objects(  # noqa: PLR0917 - as documented
        self,
        prefix: str = "",
        props: str = "",
        page_size: int = 0,
        uuid: str = "",
        continuation_token: str = "",
        flags: Iterable[ListObjectFlag] | None = None,
        target: str = "",
        *,
        start_after: str = "",
    ) -> BucketList:
        """Return one page of the bucket's objects, in bytewise order of their names.

        Pages below 1,000 entries lose names on some clusters if `uuid` is handed on: leave it empty
        for AIS buckets. A prefix should be "" or end in "/": others hide names on some clusters.

        AIS: GET /v1/buckets/NAME, action "list".

        Args:
            prefix: list only names that begin with it.
            props: comma-separated, of `name,size,version,checksum,atime,cached,status,copies,
                custom,location`; "" means names and sizes.
            page_size: most entries to return, 0 for the cluster's default (10,000 for AIS buckets).
            uuid: of the page before, for remote buckets.
            continuation_token: of the page before.
            flags: what to include.
            target: list only what this node holds.
            start_after: list only names behind this one (AIS buckets).

        Returns:
            The page. An empty `continuation_token` marks the last one.

        Raises:
            ErrBckNotFound: there is no such bucket.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: the page size is negative.
        """
        if page_size < 0:
            # Kills every target of some clusters.
            msg = f"a page cannot have {page_size} entries"
            raise ValueError(msg)
        client = self.bound_client
        value: dict[str, Any] = {
            "prefix": prefix,
            "pagesize": page_size,
            "uuid": uuid,
            "props": props,
            "continuation_token": continuation_token,
            "flags": str(client.era.list_flags(flags or ())),
            "target": target,
        }
        if start_after:
            value["start_after"] = start_after
        call = self._call(const.HTTP_METHOD_GET)
        call.headers = _LIST_HEADERS
        call.body = encode_message(ActionMsg(const.ACT_LIST, "", value))
        answer = client.send(call)
        content_type = answer.headers.get(const.HEADER_CONTENT_TYPE, "")
        try:
            return decode_listing(answer.content, content_type)
        except ValueError as error:
            raise errors.IntegrityError(
                answer.status, f"not a listing: {error}", str(call)
            ) from error

    def list_objects_iter(
        self,
        prefix: str = "",
        props: str = "",
        page_size: int = 0,
        flags: Iterable[ListObjectFlag] | None = None,
        target: str = "",
        *,
        start_after: str = "",
    ) -> ObjectIterator:
        """Return an iterator over all of the bucket's objects, which fetches page after page.

        Arguments and errors are those of `list_objects`; errors come up while iterating.
        """
        wanted = tuple(flags or ())

        def list_page(uuid: str, continuation_token: str) -> BucketList:
            # Handing the job's id on makes AIS buckets lose names at the borders of small pages.
            uuid = "" if self._provider == const.PROVIDER_AIS else uuid
            after = "" if continuation_token else start_after
            return self.list_objects(
                prefix,
                props,
                page_size,
                uuid,
                continuation_token,
                wanted,
                target,
                start_after=after,
            )

        return ObjectIterator(list_page)

    def list_all_objects(
        self,
        prefix: str = "",
        props: str = "",
        page_size: int = 0,
        flags: Iterable[ListObjectFlag] | None = None,
        target: str = "",
        *,
        start_after: str = "",
    ) -> list[BucketEntry]:
        """Return all of the bucket's objects; arguments and errors are those of `list_objects`."""
        return list(
            self.list_objects_iter(prefix, props, page_size, flags, target, start_after=start_after)
        )

    def make_request(
        self,
        method: str,
        action: str,
        value: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send a control message about the bucket.

        AIS: METHOD /v1/buckets/NAME.

        Args:
            method: HTTP method.
            action: what to do.
            value: its arguments.
            params: query parameters instead of `qparam`.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
            ValueError: the bucket has no client.
        """
        call = self._call(method, action, value, params)
        return self.bound_client.as_response(call, self.bound_client.send(call))

    def verify_cloud_bucket(self) -> None:
        """Check that the bucket lies behind the cluster.

        Raises:
            InvalidBckProvider: it is an AIS bucket.
        """
        if self._provider == const.PROVIDER_AIS:
            raise errors.InvalidBckProvider(self._provider)

    def _require_ais(self) -> None:
        if self._provider != const.PROVIDER_AIS:
            raise errors.InvalidBckProvider(self._provider)

    def _call(
        self,
        method: str,
        action: str = "",
        value: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> Call:
        query = query_string(params) if params else self._query
        call = Call(method, bucket_path(self._name), query, self.uri)
        if action:
            call.headers = JSON_HEADERS
            call.body = encode_message(ActionMsg(action, "", value))
            # Only these two may be sent again: the other actions start jobs.
            call.repeatable = action in {const.ACT_LIST, const.ACT_DESTROY_BCK}
        return call

    def _act(self, method: str, action: str) -> Answer:
        return self.bound_client.send(self._call(method, action))
