"""What an object is called, what is known of it, and reading it."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

import requests

from aisfs_sdk import const, errors
from aisfs_sdk.archive_config import ArchiveConfig
from aisfs_sdk.calls import Call
from aisfs_sdk.eras import Feature
from aisfs_sdk.object_attributes import ObjectAttributes
from aisfs_sdk.object_reader import ObjectReader
from aisfs_sdk.parallel_read import PART_SIZE, ParallelReader
from aisfs_sdk.urls import object_path, query_string

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aisfs_sdk.blob_download_config import BlobDownloadConfig
    from aisfs_sdk.bucket import Bucket
    from aisfs_sdk.etl_config import ETLConfig
    from aisfs_sdk.request_client import RequestClient

_RANGE = re.compile(r"bytes=(\d+)-(\d*)|bytes=-(\d+)")


class ReadableObject:
    """An object as far as it is read. Making one sends nothing.

    Args:
        bucket: that holds it.
        name: as listings show it; may hold "/".
    """

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket = bucket
        self._name = name
        self._props: ObjectAttributes | None = None

    def __repr__(self) -> str:
        return f"<Object {self.uri}>"

    @property
    def bucket(self) -> Bucket:
        """Bucket that holds the object."""
        return self._bucket

    @property
    def name(self) -> str:
        """Name of the object."""
        return self._name

    @property
    def client(self) -> RequestClient:
        """The client that sends the object's requests."""
        return self._bucket.bound_client

    @property
    def uri(self) -> str:
        """The object in AIS's notation, such as `ais://bucket/name`."""
        return f"{self._bucket.uri}/{self._name}"

    @property
    def uname(self) -> str:
        """The name by which AIS places the object, see `smap.object_uname`."""
        return self._bucket.get_path() + self._name

    @property
    def props(self) -> ObjectAttributes:
        """The object's attributes; asked for on every access.

        AIS: HEAD /v1/objects/BUCKET/NAME.

        Raises:
            ErrObjNotFound: there is no such object.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        answer = self.client.send(self.call(const.HTTP_METHOD_HEAD))
        self._props = ObjectAttributes(answer.headers)
        return self._props

    @property
    def props_now(self) -> ObjectAttributes:
        """The attributes that the target tells where a gateway looks for the object now.

        Unlike `props`, which goes by a cluster map that may be some seconds old.

        AIS: HEAD /v1/objects/BUCKET/NAME.

        Raises:
            ErrObjNotFound, AISError, requests.RequestException: see `props`.
        """
        call = self.call(const.HTTP_METHOD_HEAD)
        call.uname = ""
        return ObjectAttributes(self.client.send(call).headers)

    @property
    def props_cached(self) -> ObjectAttributes | None:
        """The attributes that `props` found last, None before; sends nothing."""
        return self._props

    @property
    def bucket_name(self) -> str:
        """Name of the bucket."""
        return self._bucket.name

    @property
    def bucket_provider(self) -> str:
        """Whose bucket it is."""
        return self._bucket.provider

    @property
    def query_params(self) -> dict[str, str]:
        """Query parameters that say whose bucket it is."""
        return self._bucket.qparam

    def head(self) -> requests.structures.CaseInsensitiveDict[str]:
        """Return the headers that describe the object.

        AIS: HEAD /v1/objects/BUCKET/NAME.

        Raises:
            ErrObjNotFound: there is no such object; it is a `requests.HTTPError`, too.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        answer = self.client.send(self.call(const.HTTP_METHOD_HEAD))
        return requests.structures.CaseInsensitiveDict(answer.headers)

    def head_v2(self, props: str = "") -> ObjectAttributes:
        """Return the object's attributes, or only those that are named.

        AIS: HEAD /v1/objects/BUCKET/NAME?props=….

        Args:
            props: comma-separated, of `checksum,atime,version,custom,last-modified,etag,location,
                copies,ec,chunked`; "" for what `head` tells.

        Raises:
            UnsupportedError: the cluster is too old to choose.
            ErrObjNotFound: there is no such object.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        call = self.call(const.HTTP_METHOD_HEAD)
        if props:
            self.client.era.require(Feature.HEAD_PROPS, str(call))
            call.query += "&" + query_string({const.QPARAM_PROPS: props})
        return ObjectAttributes(self.client.send(call).headers)

    def get(
        self,
        archpath: str = "",
        chunk_size: int = const.DEFAULT_CHUNK_SIZE,
        etl_name: str | None = None,
        writer: IO[bytes] | None = None,
        latest: bool = False,
        byte_range: str | None = None,
        *,
        archive_config: ArchiveConfig | None = None,
        blob_download_config: BlobDownloadConfig | None = None,
        etl: ETLConfig | None = None,
        verify: bool = True,
    ) -> ObjectReader:
        """Open the object for reading.

        AIS: GET /v1/objects/BUCKET/NAME.

        Args:
            archpath: name of a member, if the object is an archive and only that is wanted.
            chunk_size: bytes per item when the reader is iterated.
            etl_name: transformer that the bytes go through.
            writer: receives all bytes at once; the caller closes it.
            latest: ask the remote backend for a newer version first.
            byte_range: `bytes=FIRST-LAST`, `bytes=FIRST-` or `bytes=-COUNT`.
            archive_config: members by name or by pattern, instead of `archpath`.
            blob_download_config: bring a remote object into the cluster in parts.
            etl: transformer with arguments, instead of `etl_name`.
            verify: compare the checksum of a whole object at its end (not of crc32c).

        Returns:
            A reader of the open answer, to be read or closed.

        Raises:
            ErrObjNotFound: there is no such object, or no such member.
            ErrETLNotFound: there is no such transformer.
            InvalidRequestError: the range begins behind the end (status 416), or the object is no
                archive.
            UnsupportedError: this cluster cannot do one of the options.
            IntegrityError: the answer does not fit the request.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: the range is malformed, or goes with a member, or with a blob download.
        """
        if chunk_size <= 0:
            msg = f"chunks cannot have {chunk_size} bytes"
            raise ValueError(msg)
        members = archive_config or ArchiveConfig(archpath)
        asked = None if byte_range is None else parse_range(byte_range)
        if byte_range is not None and (members.archpath or members.regex or blob_download_config):
            msg = f"{self.uri}: a range is of the whole object, and not of a blob download"
            raise ValueError(msg)
        query = self._read_query(members, etl_name, etl, latest=latest)
        whole = not (members.archpath or members.regex or etl_name or etl)

        def open_at(offset: int) -> ObjectReader:
            part = byte_range if not offset else range_behind(asked, offset)
            return self._open(query, chunk_size, part)

        verify = verify and whole
        reader = self._open(query, chunk_size, byte_range, blob_download_config, verify=verify)
        if whole:
            reader.open_at = open_at
        if writer is not None:
            writer.writelines(reader)
        return reader

    def get_reader(  # noqa: PLR0917 - as documented
        self,
        archive_config: ArchiveConfig | None = None,
        blob_download_config: BlobDownloadConfig | None = None,
        chunk_size: int | None = None,
        etl: ETLConfig | None = None,
        writer: IO[bytes] | None = None,
        latest: bool = False,
        byte_range: str | None = None,
        *,
        archpath: str = "",
        etl_name: str | None = None,
        verify: bool = True,
    ) -> ObjectReader:
        """Open the object for reading: `get`, with the arguments that newer releases document.

        The request is sent now: a missing object is told here, not by the first read.
        """
        return self.get(
            archpath,
            const.DEFAULT_CHUNK_SIZE if chunk_size is None else chunk_size,
            etl_name,
            writer,
            latest,
            byte_range,
            archive_config=archive_config,
            blob_download_config=blob_download_config,
            etl=etl,
            verify=verify,
        )

    def get_parallel(
        self, num_workers: int = 4, *, part_size: int = PART_SIZE, verify: bool = True
    ) -> ParallelReader:
        """Return a reader that fetches the whole object by several ranged requests at once.

        AIS: HEAD /v1/objects/BUCKET/NAME now, GET with `Range` when it is read.

        Args:
            num_workers: requests at a time, 2 or more.
            part_size: bytes of one request.
            verify: compare the checksum of the whole at its end (not of crc32c).

        Raises:
            ErrObjNotFound: there is no such object.
            ValueError: fewer than two workers.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        return ParallelReader(
            lambda part: self.get(byte_range=part),
            self.props,
            self.uri,
            num_workers,
            part_size=part_size,
            verify=verify,
        )

    def get_semantic_url(self) -> str:
        """Return the object in AIS's notation, such as `ais://bucket/name`. Sends nothing."""
        return self.uri

    def get_url(self, archpath: str = "", etl_name: str | None = None) -> str:
        """Return the URL of the object's content. Sends nothing.

        Args:
            archpath: name of a member, if the object is an archive.
            etl_name: transformer that the bytes go through.
        """
        params = dict(self._bucket.qparam)
        if archpath:
            params[const.QPARAM_ARCHPATH] = archpath
        if etl_name:
            params[const.QPARAM_ETL_NAME] = etl_name
        path = object_path(self._bucket.name, self._name)
        return f"{self.client.endpoint}{path}?{query_string(params)}"

    def list_urls(self, prefix: str = "", etl_name: str | None = None) -> Iterator[str]:
        """Yield the URL of the object, as buckets and groups yield those of theirs. Sends nothing.

        Args:
            prefix: without effect; it is there because buckets have it.
            etl_name: transformer that the bytes go through when the URL is read.
        """
        del prefix
        yield self.get_url(etl_name=etl_name)

    def call(self, method: str) -> Call:
        """Return a request about this object, for its verbs to complete.

        Raises:
            ValueError: no cluster can store an object of this name.
        """
        bucket = self._bucket
        path = object_path(bucket.name, self._name)
        call = Call(method, path, bucket.query, self.uri, keep_path=True)
        attached = bucket.namespace is not None and bucket.namespace.uuid
        if method in {const.HTTP_METHOD_GET, const.HTTP_METHOD_HEAD} and not attached:
            # Of attached clusters we may know an alias only, and placement is by uuid.
            call.uname = self.uname
        return call

    def _open(
        self,
        query: str,
        chunk_size: int,
        byte_range: str | None,
        blob: BlobDownloadConfig | None = None,
        *,
        verify: bool = False,
    ) -> ObjectReader:
        call = self.call(const.HTTP_METHOD_GET)
        call.streaming = True
        call.query += query
        if const.QPARAM_ETL_NAME in query:
            call.uname = ""
        headers = self._blob_headers(blob, str(call)) if blob else {}
        if byte_range is not None:
            headers[const.HEADER_RANGE] = byte_range
        call.headers = headers
        answer = self.client.send(call)
        asked = None if byte_range is None else parse_range(byte_range)
        traffic = self.client.traffic
        return ObjectReader(
            answer.raw, str(call), chunk_size, asked, verify=verify, traffic=traffic
        )

    def _blob_headers(self, blob: BlobDownloadConfig, request: str) -> dict[str, str]:
        """Return the headers that load a remote object in parts, none if the cluster has it.

        Raises:
            UnsupportedError: the cluster cannot do it, or the bucket is not remote.
        """
        self.client.era.require(Feature.BLOB_DOWNLOAD, request)
        if not self._bucket.is_remote:
            raise errors.UnsupportedError(0, "blob downloads are of remote objects", request)
        if self.props.present:
            # The cluster would answer with an empty success.
            return {}
        headers = {const.HEADER_BLOB_DOWNLOAD: "true"}
        if blob.chunk_size is not None:
            headers[const.HEADER_BLOB_CHUNK] = str(blob.chunk_size)
        if blob.num_workers is not None:
            headers[const.HEADER_BLOB_WORKERS] = str(blob.num_workers)
        return headers

    def _read_query(
        self,
        members: ArchiveConfig,
        etl_name: str | None,
        etl: ETLConfig | None,
        *,
        latest: bool,
    ) -> str:
        params = {}
        era, request = self.client.era, f"GET {self.uri}"
        if members.archpath:
            params[const.QPARAM_ARCHPATH] = members.archpath
        elif members.mode is not None:
            era.require(Feature.ARCHIVE_PATTERN, request)
            if self._name.endswith(".zip"):
                # Clusters cut the connection, or never answer.
                msg = "members of a ZIP are read by name only"
                raise errors.UnsupportedError(0, msg, request)
            params[const.QPARAM_ARCHREGX] = members.regex
            params[const.QPARAM_ARCHMODE] = members.mode.value
        if etl is not None:
            params |= etl_params(self.client, etl, request)
        elif etl_name:
            params[const.QPARAM_ETL_NAME] = etl_name
        if latest:
            era.require(Feature.LATEST, request)
            params[const.QPARAM_LATEST] = "true"
        return f"&{query_string(params)}" if params else ""


def etl_params(client: RequestClient, etl: ETLConfig, request: str) -> dict[str, str]:
    """Return the query parameters that send bytes through a transformer.

    Raises:
        UnsupportedError: the cluster is too old for arguments, or for pipelines.
    """
    params = {const.QPARAM_ETL_NAME: etl.name}
    if text := etl.args_text():
        client.era.require(Feature.ETL_ARGS, request)
        params[const.QPARAM_ETL_ARGS] = text
    if etl.pipeline:
        client.era.require(Feature.ETL_PIPELINE, request)
        params[const.QPARAM_ETL_PIPELINE] = ",".join(etl.pipeline)
    return params


def range_behind(asked: tuple[int | None, int | None] | None, offset: int) -> str:
    """Return the range that is left of another one after that many bytes.

    Args:
        asked: as `parse_range` returns it, None for the whole object.
        offset: bytes that came already.
    """
    first, last = asked or (0, None)
    if first is None:
        return f"bytes=-{(last or 0) - offset}"
    return f"bytes={first + offset}-{'' if last is None else last}"


def parse_range(byte_range: str) -> tuple[int | None, int | None]:
    """Return first and last byte of a range, or (None, count) for the end of the object.

    Some clusters lock an object for ever when they are sent half a range, so only whole ones pass.

    Raises:
        ValueError: the range is malformed, empty, or ends before it begins.
    """
    found = _RANGE.fullmatch(byte_range)
    if found is not None and byte_range.isascii():
        first = int(found[1]) if found[1] else None
        last = int(text) if (text := found[2] or found[3]) else None
        fits = last is None or last >= (1 if first is None else first)
        if fits and max(first or 0, last or 0) < 1 << 63:
            return first, last
    msg = (
        f"no range of bytes: {byte_range!r} (wanted bytes=FIRST-LAST, bytes=FIRST- or bytes=-COUNT)"
    )
    raise ValueError(msg)
