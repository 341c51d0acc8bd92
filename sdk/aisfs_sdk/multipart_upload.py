"""Storing an object in parts that are sent one by one, in any order and from several threads."""

from __future__ import annotations

from pathlib import Path
from typing import IO, TYPE_CHECKING

from aisfs_sdk import const
from aisfs_sdk.calls import JSON_HEADERS, Answer
from aisfs_sdk.eras import Feature
from aisfs_sdk.object_writer import refuse_mangled_name
from aisfs_sdk.session import Body
from aisfs_sdk.types import ActionMsg, encode_message
from aisfs_sdk.urls import query_string
from aisfs_sdk.utils import validate_file

if TYPE_CHECKING:
    from typing import Any

    import requests

    from aisfs_sdk.object_read import ReadableObject

_MAX_PART = 9999


class PartWriter:
    """Writes one part of an upload. Made by `MultipartUpload.add_part`."""

    def __init__(self, upload: MultipartUpload, part_number: int) -> None:
        """Bind to a part."""
        self._upload = upload
        self._part_number = part_number

    def put_content(self, content: bytes | bytearray | memoryview) -> requests.Response:
        """Send the part, once: it is not repeated by itself either when the network fails.

        AIS: PUT /v1/objects/BUCKET/NAME?uploadId=…&partNumber=….

        Raises:
            ValueError: it is empty, which no cluster takes, or was sent before, which spoils the
                upload (seen on 5.0: completing it fails, or the object is cut short).
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        return self._put(content, memoryview(content).nbytes)

    def put_file(self, path: str | Path) -> requests.Response:
        """Send the content of a file as the part; it is streamed.

        Raises:
            ValueError: the path names no file, or it is empty.
            AISError, requests.RequestException: see `put_content`.
        """
        validate_file(path)
        with Path(path).open("rb") as file:
            return self._put(file, Path(path).stat().st_size)

    def put_range(self, file: IO[bytes], size: int) -> requests.Response:
        """Send `size` bytes of an open file, from where it stands, as the part.

        Raises:
            ValueError, AISError, requests.RequestException: see `put_content`.
        """
        return self._put(file, size)

    def _put(
        self, source: bytes | bytearray | memoryview | IO[bytes], size: int
    ) -> requests.Response:
        if not size:
            msg = f"part {self._part_number} is empty"
            raise ValueError(msg)
        self._upload._begin_part(self._part_number)
        query = {const.QPARAM_PART_NUMBER: str(self._part_number)}
        return self._upload._send(const.HTTP_METHOD_PUT, Body(source, size), query)


class MultipartUpload:
    """An upload in parts: `create`, then `add_part` and write for each, then `complete`.

    Nothing is visible before `complete`. The cluster drops the object's custom metadata.
    Made by `Object.multipart_upload`.
    """

    def __init__(self, obj: ReadableObject, upload_id: str = "", parts: int = 0) -> None:
        """Bind to an object, which need not exist, and to an upload that was begun before."""
        self._object = obj
        self._upload_id = upload_id
        self._parts = list(range(1, parts + 1))
        self._begun = set(self._parts)

    @property
    def upload_id(self) -> str:
        """The cluster's id of the upload, "" before `create`."""
        return self._upload_id

    def create(self) -> MultipartUpload:
        """Begin the upload.

        AIS: POST /v1/objects/BUCKET/NAME, action "mpt-upload".

        Returns:
            The upload itself.

        Raises:
            UnsupportedError: the cluster is too old: it would take a part for the whole object.
            ErrBckNotFound: there is no such bucket.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: the object's name cannot be stored as it is.
        """
        refuse_mangled_name(self._object, f"multipart upload to {self._object.uri}")
        answer = self._exchange(const.HTTP_METHOD_POST, ActionMsg(const.ACT_MPT_UPLOAD), {})
        self._upload_id = answer.content.decode(const.UTF_ENCODING).strip().strip('"')
        self._parts, self._begun = [], set()
        return self

    def add_part(self, part_number: int) -> PartWriter:
        """Return what writes a part. Sends nothing.

        Args:
            part_number: place of the part in the object, 1 to 9999, without gaps in the end.

        Raises:
            ValueError: the upload is not begun, or there is no such number.
        """
        self._require_begun()
        if not 1 <= part_number <= _MAX_PART:
            problem = "a positive integer" if part_number < 1 else f"at most {_MAX_PART}"
            msg = f"Part number must be {problem}"
            raise ValueError(msg)
        if part_number not in self._parts:
            self._parts.append(part_number)
        return PartWriter(self, part_number)

    def _begin_part(self, part_number: int) -> None:
        if part_number in self._begun:
            msg = f"part {part_number} was sent before: abort this upload and begin another one"
            raise ValueError(msg)
        self._begun.add(part_number)

    def complete(self) -> requests.Response:
        """Put the parts together; the object is there then.

        AIS: POST /v1/objects/BUCKET/NAME?uploadId=…, action "mpt-complete".

        Raises:
            ValueError: the upload is not begun, has no parts, or one is missing in between.
            AISError: a part is missing, or the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        self._require_begun()
        if not self._parts:
            msg = f"the upload to {self._object.uri} has no parts"
            raise ValueError(msg)
        if sorted(self._parts) != list(range(1, len(self._parts) + 1)):
            msg = f"the parts of {self._object.uri} are not 1 to {len(self._parts)}"
            raise ValueError(msg)
        value = [{"part-number": number, "etag": ""} for number in sorted(self._parts)]
        message = ActionMsg(const.ACT_MPT_COMPLETE, "", value)
        return self._send(const.HTTP_METHOD_POST, message, {})

    def abort(self) -> requests.Response:
        """Drop the upload and its parts.

        AIS: DELETE /v1/objects/BUCKET/NAME?uploadId=…, action "mpt-abort".

        Raises:
            ValueError: the upload is not begun.
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        self._require_begun()
        return self._send(const.HTTP_METHOD_DELETE, ActionMsg(const.ACT_MPT_ABORT), {})

    def _require_begun(self) -> None:
        if not self._upload_id:
            msg = "Multipart upload not created"
            raise ValueError(msg)

    def _send(
        self, method: str, content: ActionMsg | Body, query: dict[str, str]
    ) -> requests.Response:
        query = {const.QPARAM_UPLOAD_ID: self._upload_id, **query}
        call = self._object.call(method)
        return self._object.client.as_response(call, self._exchange(method, content, query))

    def _exchange(self, method: str, content: ActionMsg | Body, query: dict[str, Any]) -> Answer:
        # Clusters of 2023 take a part for the object, and delete the object instead of aborting.
        request = f"multipart upload to {self._object.uri}"
        self._object.client.era.require(Feature.MULTIPART, request)
        call = self._object.call(method)
        if query:
            call.query += f"&{query_string(query)}"
        if isinstance(content, Body):
            call.body = content
        else:
            call.headers, call.body = JSON_HEADERS, encode_message(content)
            call.slow = True
        # An abort or completion that was done already is refused; a second part spoils the upload.
        call.repeatable = False
        return self._object.client.send(call)
