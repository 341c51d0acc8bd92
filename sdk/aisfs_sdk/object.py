"""One object of a bucket: its bytes and what is known of it."""

from __future__ import annotations

import re
from typing import IO, TYPE_CHECKING

import requests

from aisfs_sdk import const
from aisfs_sdk.eras import Feature
from aisfs_sdk.job import text_of
from aisfs_sdk.object_attributes import ObjectAttributes
from aisfs_sdk.object_reader import ObjectReader
from aisfs_sdk.object_writer import ObjectWriter, refuse_mangled_name, refuse_miscopied_name
from aisfs_sdk.request_client import JSON_HEADERS, Call, RequestClient
from aisfs_sdk.types import ActionMsg, encode_message
from aisfs_sdk.urls import object_path, objects_path, query_string

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aisfs_sdk.bucket import Bucket

_RANGE = re.compile(r"bytes=(\d+)-(\d*)|bytes=-(\d+)")


class Object:
    """An object of a bucket. Making one sends nothing.

    Args:
        bucket: that holds it.
        name: as listings show it; may hold "/".
    """

    def __init__(self, bucket: Bucket, name: str) -> None:
        self._bucket = bucket
        self._name = name

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
        return ObjectAttributes(self.client.send(self.call(const.HTTP_METHOD_HEAD)).headers)

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

    def get(
        self,
        archpath: str = "",
        chunk_size: int = const.DEFAULT_CHUNK_SIZE,
        etl_name: str | None = None,
        writer: IO[bytes] | None = None,
        latest: bool = False,
        byte_range: str | None = None,
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

        Returns:
            A reader of the open answer, to be read or closed.

        Raises:
            ErrObjNotFound: there is no such object, or no such member.
            ErrETLNotFound: there is no such transformer.
            InvalidRequestError: the range begins behind the end (status 416), or the object is no
                archive.
            UnsupportedError: this cluster cannot do `latest`.
            IntegrityError: the answer does not fit the request.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: the range is malformed.
        """
        if chunk_size <= 0:
            msg = f"chunks cannot have {chunk_size} bytes"
            raise ValueError(msg)
        call = self.call(const.HTTP_METHOD_GET)
        call.streaming = True
        call.query += self._read_query(archpath, etl_name, latest=latest)
        asked = None
        if byte_range is not None:
            asked = parse_range(byte_range)
            call.headers = {const.HEADER_RANGE: byte_range}
        answer = self.client.send(call)
        reader = ObjectReader(answer.raw, str(call), chunk_size, asked)
        if writer is not None:
            writer.writelines(reader)
        return reader

    def get_reader(
        self,
        *,
        archpath: str = "",
        chunk_size: int = const.DEFAULT_CHUNK_SIZE,
        etl_name: str | None = None,
        writer: IO[bytes] | None = None,
        latest: bool = False,
        byte_range: str | None = None,
    ) -> ObjectReader:
        """Open the object for reading: `get`, by the name that newer releases document."""
        return self.get(archpath, chunk_size, etl_name, writer, latest, byte_range)

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

    def get_writer(self) -> ObjectWriter:
        """Return what writes the object. Sends nothing."""
        return ObjectWriter(self)

    def put_content(self, content: bytes) -> requests.structures.CaseInsensitiveDict[str]:
        """Store bytes as the object, replacing what there is.

        AIS: PUT /v1/objects/BUCKET/NAME.

        Returns:
            The headers of the answer.

        Raises:
            AISError, requests.RequestException, ValueError: see `ObjectWriter.put`.
        """
        return self.get_writer().put_content(content)

    def put_file(
        self, path: str | Path | None = None
    ) -> requests.structures.CaseInsensitiveDict[str]:
        """Store a local file as the object; it is streamed, never held in memory.

        AIS: PUT /v1/objects/BUCKET/NAME.

        Returns:
            The headers of the answer.

        Raises:
            ValueError: there is no path, or it names no file.
            AISError, requests.RequestException: see `ObjectWriter.put`.
        """
        if path is None:
            msg = f"{self.uri}: no path of a file to store"
            raise ValueError(msg)
        return self.get_writer().put_file(path)

    def promote(
        self,
        path: str,
        target_id: str = "",
        recursive: bool = False,
        overwrite_dest: bool = False,
        delete_source: bool = False,
        src_not_file_share: bool = False,
    ) -> requests.structures.CaseInsensitiveDict[str]:
        """Make objects of a file or directory that the cluster's targets can read.

        The files go below this object's name, as below a directory, on every release; a single file
        keeps its own name there. An object whose name is "" stands for the bucket's top.

        AIS: POST /v1/objects/BUCKET, action "promote".

        Args:
            path: absolute, on the machines of the cluster; newer clusters take only paths below
                their promote directory.
            target_id: only what this target has at the path.
            recursive: also what lies in directories below.
            overwrite_dest: replace objects that exist; else they stay, silently.
            delete_source: delete the files afterwards.
            src_not_file_share: the path is not the same on all targets; skips finding that out.

        Returns:
            The headers of the answer. The id of the job, where one was started, is under
            `Ais-Xaction-Id`.

        Raises:
            AISError: there is no such path, or the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        # Newer clusters glue the name and that of a file in the directory together.
        below = f"{self._name.rstrip('/')}/" if self._name else ""
        value = {
            "tid": target_id,
            "src": path,
            "obj": below,
            "rcr": recursive,
            "ovw": overwrite_dest,
            "dls": delete_source,
            "notshr": src_not_file_share,
        }
        bucket = self._bucket
        call = Call(const.HTTP_METHOD_POST, objects_path(bucket.name), bucket.query, self.uri)
        call.headers = JSON_HEADERS
        call.body = encode_message(ActionMsg(const.ACT_PROMOTE, path, value))
        call.slow = True
        answer = self.client.send(call)
        headers = requests.structures.CaseInsensitiveDict(answer.headers)
        if job_id := text_of(answer):
            headers[const.HEADER_XACTION_ID] = job_id
        return headers

    def delete(self) -> None:
        """Delete the object.

        Where an answer was lost, the request is repeated; the object being gone then is success.

        AIS: DELETE /v1/objects/BUCKET/NAME.

        Raises:
            ErrObjNotFound: there is no such object; it is a `requests.HTTPError`, too.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        self.client.send(self.call(const.HTTP_METHOD_DELETE))

    def copy(self, to_obj: Object) -> requests.Response:
        """Copy the object within the cluster, custom metadata included, replacing the target.

        The bytes do not pass through here. The wait for the answer has no limit but the deadline
        (60 s by default, see `retry.deadline`): the cluster is silent while it copies.

        AIS: PUT /v1/objects/BUCKET/NAME?object_to=….

        Args:
            to_obj: what to make; its bucket has to exist.

        Returns:
            The cluster's answer.

        Raises:
            UnsupportedError: the cluster is too old, or would copy to another name; read and
                write instead.
            ErrObjNotFound: there is no such object.
            ErrBckNotFound: there is no such bucket.
            PathCollisionError: other objects stand in the way of the new name.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: the new name cannot be stored as it is.
        """
        call = self.call(const.HTTP_METHOD_PUT)
        call.subject = f"{self.uri} to {to_obj.uri}"
        # Older clusters answer 200 and copy nothing, or cut the source to 0 bytes.
        self.client.era.require(Feature.OBJECT_COPY, str(call))
        object_path(to_obj.bucket.name, to_obj.name)
        refuse_mangled_name(to_obj, str(call))
        refuse_miscopied_name(to_obj, str(call))
        call.query += "&" + query_string({const.QPARAM_OBJECT_TO: to_obj.uname})
        call.slow = True
        return self.client.as_response(call, self.client.send(call))

    def set_custom_props(
        self, custom_metadata: dict[str, str], replace_existing: bool = False
    ) -> None:
        """Set custom metadata: see `ObjectWriter.set_custom_props`."""
        self.get_writer().set_custom_props(custom_metadata, replace_existing)

    def call(self, method: str) -> Call:
        """Return a request about this object, for its verbs to complete.

        Raises:
            ValueError: no cluster can store an object of this name.
        """
        bucket = self._bucket
        path = object_path(bucket.name, self._name)
        return Call(method, path, bucket.query, self.uri, keep_path=True)

    def _read_query(self, archpath: str, etl_name: str | None, *, latest: bool) -> str:
        params = {}
        if archpath:
            params[const.QPARAM_ARCHPATH] = archpath
        if etl_name:
            params[const.QPARAM_ETL_NAME] = etl_name
        if latest:
            self.client.era.require(Feature.LATEST, f"GET {self.uri}")
            params[const.QPARAM_LATEST] = "true"
        return f"&{query_string(params)}" if params else ""


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
