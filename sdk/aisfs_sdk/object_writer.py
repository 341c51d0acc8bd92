"""Storing objects: whole bodies, and their custom metadata.

A large body is shown to the gateway by its headers only, and sent once to the target that the
gateway names. AIS replaces objects whole: readers see the old content or the new one.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import requests
from urllib3 import HTTPHeaderDict

from aisfs_sdk import const, errors
from aisfs_sdk.calls import JSON_HEADERS, Answer, Call
from aisfs_sdk.eras import Feature
from aisfs_sdk.object_attributes import ObjectAttributes, encode_header
from aisfs_sdk.object_file import ObjectFileWriter
from aisfs_sdk.session import Body, GrowingBody
from aisfs_sdk.types import ActionMsg, encode_message
from aisfs_sdk.urls import query_string
from aisfs_sdk.utils import validate_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aisfs_sdk.object_read import ReadableObject

_XXHASH = "xxhash"
_SAME_HASH = frozenset(("xxhash", "xxhash2"))
"""Names of one function: releases of 2023 say `xxhash`, later ones `xxhash2` and know both."""

_RESERVED_KEY = "source"
"""A key of the cluster's own: an object that has it loses its version."""

_MANGLED_BY_2023 = re.compile(r"[&'\"<>#]")
_NOT_IN_HEADER = re.compile(r"[\0\n\r\x01]|^[ \t]|[ \t]$")


class ObjectWriter:
    """Writes one object. Made by `Object.get_writer`."""

    def __init__(self, obj: ReadableObject) -> None:
        """Bind to an object, which need not exist."""
        self._object = obj

    def put(
        self,
        source: bytes | bytearray | memoryview | IO[bytes],
        size: int | None = None,
        checksum: str | tuple[str, str] | None = None,
        custom: Mapping[str, str] | None = None,
    ) -> ObjectAttributes:
        """Store a whole object, replacing what there is.

        Custom keys that the object had are kept beside the new ones.

        AIS: PUT /v1/objects/BUCKET/NAME.

        Args:
            source: the body, or a seekable binary file that holds it from its current position on.
            size: of the body in bytes; needed with a file.
            checksum: of the body; a text is its XXH64 (seed 0) in 16 lower-case hexadecimal digits,
                a pair is (type, value) of another type that AIS knows. The cluster refuses a body
                that does not fit. A body whose checksum equals the stored one is not even looked
                at, and `custom` keys are not stored with it (they may show until the object leaves
                the target's memory). The result then has no checksum: set them afterwards.
            custom: custom metadata to store with it.

        Returns:
            The attributes as stored.

        Raises:
            IntegrityError: the bytes that arrived are not those of the checksum, or a file ended
                before `size`.
            ErrBckNotFound: there is no such bucket.
            PathCollisionError: other objects stand in the way of the name.
            NoSpaceError: the cluster is full.
            TooLargeError: there is too much custom metadata.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: the name or the metadata cannot be stored as they are.
        """
        answer = self._put(source, size, checksum, custom)
        return ObjectAttributes(answer.headers, size=_size_of(source, size))

    def put_growing(
        self, source: IO[bytes], available: Callable[[int], int | None]
    ) -> ObjectAttributes:
        """Store a whole object from a file that is still being written, while it grows.

        Nothing is sent twice, nothing is held in memory, and nothing is visible before the end: a
        body that is cut leaves what there was. Custom keys that the object had are kept.

        The gateway is asked for the object's target at the beginning. If the cluster has changed
        when the body ends, it may lie where nobody looks: ask a gateway for it (`props_now`).

        AIS: PUT /v1/objects/BUCKET/NAME with `Transfer-Encoding: chunked`.

        Args:
            source: a seekable file; it is sent from its start.
            available: called with how many bytes went out; waits until there are more, and returns
                how many there are from the start, or None if that was all. What it raises ends the
                request without its last chunk, and comes out here.

        Returns:
            The attributes as stored, with the checksum of what arrived.

        Raises:
            IntegrityError: the file has less than was said.
            ErrBckNotFound: there is no such bucket.
            PathCollisionError: other objects stand in the way of the name.
            NoSpaceError: the cluster is full.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed. Once the body is on its way that is not
                repeated.
            ValueError: the name cannot be stored as it is.
        """
        obj = self._object
        call = obj.call(const.HTTP_METHOD_PUT)
        refuse_mangled_name(obj, str(call))
        body = GrowingBody(source, available)
        call.body, call.repeatable = body, False
        answer = obj.client.send(call)
        return ObjectAttributes(answer.headers, size=body.sent)

    def put_content(self, content: bytes) -> requests.structures.CaseInsensitiveDict[str]:
        """Store bytes as the object.

        AIS: PUT /v1/objects/BUCKET/NAME.

        Returns:
            The headers of the answer.

        Raises:
            AISError, requests.RequestException, ValueError: see `put`.
        """
        answer = self._put(content, None, None, None)
        return requests.structures.CaseInsensitiveDict(answer.headers)

    def put_file(self, path: str | Path) -> requests.structures.CaseInsensitiveDict[str]:
        """Store a local file as the object; it is streamed, never held in memory.

        AIS: PUT /v1/objects/BUCKET/NAME.

        Returns:
            The headers of the answer.

        Raises:
            ValueError: the path names no file.
            AISError, requests.RequestException: see `put`.
        """
        validate_file(path)
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            answer = self._put(file, size, None, None)
        return requests.structures.CaseInsensitiveDict(answer.headers)

    def append_content(self, content: bytes, handle: str = "", flush: bool = False) -> str:
        """Send bytes that go behind what the object holds; readers see them after a flush.

        The object is copied by the cluster when appending begins.

        AIS: PUT /v1/objects/BUCKET/NAME?append_type=….

        Args:
            content: the bytes; none if only to flush.
            handle: what the call before returned; "" to begin.
            flush: make visible what was appended, and end.

        Returns:
            The handle for the next call, "" after a flush.

        Raises:
            UnsupportedError: the cluster would lose what the object holds: it is of 2023, or the
                object was stored in parts.
            ValueError: there is nothing to flush, or the name cannot be stored as it is.
            ErrBckNotFound: there is no such bucket.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        if not handle:
            if flush and not content:
                msg = "nothing was appended that could be flushed"
                raise ValueError(msg)
            refuse_losing_append(self._object)
        if content or not flush:
            handle = self._append(Body(content, len(content)), const.APPEND_APPEND, handle)
        if flush:
            self._append(Body(b"", 0), const.APPEND_FLUSH, handle)
            return ""
        return handle

    def append_file(self, source: IO[bytes], size: int) -> str:
        """Send a part of a file that goes behind what the object holds; begins an append.

        AIS: PUT /v1/objects/BUCKET/NAME?append_type=append.

        Args:
            source: a seekable binary file; it is sent from its current position, not held in
                memory.
            size: how many bytes.

        Returns:
            The handle for `append_content`, by which it goes on or is flushed. It holds for one
            flush only: a second one with it stores what the cluster then takes for wrong.

        Raises:
            IntegrityError: the file ended before `size`.
            UnsupportedError, ErrBckNotFound, AISError, requests.RequestException, ValueError: see
                `append_content`.
        """
        refuse_losing_append(self._object)
        return self._append(Body(source, _size_of(source, size)), const.APPEND_APPEND, "")

    def _append(self, body: Body, kind: str, handle: str) -> str:
        obj = self._object
        call = obj.call(const.HTTP_METHOD_PUT)
        refuse_mangled_name(obj, str(call))
        query = {const.QPARAM_APPEND_TYPE: kind, const.QPARAM_APPEND_HANDLE: handle}
        call.query += "&" + query_string(query)
        call.body = body
        # Twice would append twice. The first and the last call copy the object in silence.
        call.repeatable, call.slow = False, True
        return obj.client.send(call).headers.get(const.HEADER_APPEND_HANDLE, "")

    def as_file(self, mode: Literal["a", "w"] = "a") -> ObjectFileWriter:
        """Return the object as a binary file to write.

        Args:
            mode: "a" goes on after what the object holds, "w" empties it first.

        Raises:
            ValueError, AISError, requests.RequestException: see `ObjectFileWriter`.
        """
        return ObjectFileWriter(self, mode)

    def set_custom_props(
        self, custom_metadata: Mapping[str, str], replace_existing: bool = False
    ) -> None:
        """Set custom metadata of an object that exists. Its content and version stay.

        AIS: PATCH /v1/objects/BUCKET/NAME.

        Args:
            custom_metadata: texts by key.
            replace_existing: drop keys that are not named; else they stay.

        Raises:
            ErrObjNotFound: there is no such object.
            TooLargeError: there is too much of it.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: a key or value cannot be stored as it is.
        """
        self._object.client.send(self.call_to_set_custom_props(custom_metadata, replace_existing))

    def call_to_set_custom_props(
        self, custom_metadata: Mapping[str, str], replace_existing: bool = False
    ) -> Call:
        """Return the request of `set_custom_props`, for who sends it by other means.

        Raises:
            TooLargeError, ValueError: see `set_custom_props`.
        """
        call = self._object.call(const.HTTP_METHOD_PATCH)
        self._check_custom(custom_metadata, str(call))
        if replace_existing:
            call.query += f"&{const.QPARAM_NEW_CUSTOM}=true"
        call.headers = JSON_HEADERS
        call.body = encode_message(ActionMsg("", "", dict(custom_metadata)))
        return call

    def call_to_put(
        self,
        source: bytes | bytearray | memoryview | IO[bytes],
        size: int | None = None,
        checksum: str | tuple[str, str] | None = None,
        custom: Mapping[str, str] | None = None,
    ) -> Call:
        """Return the request of `put`, for who sends it by other means. Sends nothing.

        Raises:
            TooLargeError, ValueError: see `put`.
        """
        obj = self._object
        call = obj.call(const.HTTP_METHOD_PUT)
        refuse_mangled_name(obj, str(call))
        call.body = Body(source, _size_of(source, size))
        headers = HTTPHeaderDict()
        expected = _typed(checksum)
        if expected is not None:
            headers[const.HEADER_CHECKSUM_TYPE], headers[const.HEADER_CHECKSUM_VALUE] = expected
        if custom:
            self._check_custom(custom, str(call))
            for key, value in custom.items():
                if _NOT_IN_HEADER.search(value):
                    msg = f"the value {value!r} of {key!r} cannot be stored together with a body"
                    raise ValueError(msg)
                headers.add(const.HEADER_CUSTOM_MD, encode_header(f"{key}={value}"))
        call.headers = headers
        return call

    # ---- inside ----

    def _put(
        self,
        source: bytes | bytearray | memoryview | IO[bytes],
        size: int | None,
        checksum: str | tuple[str, str] | None,
        custom: Mapping[str, str] | None,
    ) -> Answer:
        call = self.call_to_put(source, size, checksum, custom)
        answer = self._object.client.send(call)
        expected = _typed(checksum)
        if expected is not None:
            _compare(expected, answer, str(call))
        return answer

    def _check_custom(self, custom: Mapping[str, str], request: str) -> None:
        total = 0
        for key, value in custom.items():
            if not key or "=" in key or key == _RESERVED_KEY or _NOT_IN_HEADER.search(key):
                msg = f"{key!r} cannot be a key of custom metadata"
                raise ValueError(msg)
            total += sum(
                len(text.encode(const.UTF_ENCODING, "surrogateescape")) for text in (key, value)
            )
        limit = self._object.client.era.max_custom_bytes
        if total > limit:
            raise errors.TooLargeError(
                0, f"custom metadata has {total} bytes, the cluster keeps {limit}", request
            )


def refuse_losing_append(obj: ReadableObject) -> None:
    """Refuse to append where the cluster would drop what the object holds.

    Clusters of 2023 begin with nothing. Newer ones keep, of an object that was stored in parts,
    only the first.

    Raises:
        UnsupportedError: the object holds bytes that would be lost.
    """
    era = obj.client.era
    request = f"append to {obj.uri}"
    try:
        if era.has(Feature.APPEND_CONTINUES):
            lost = (obj.head_v2("chunked").chunks or 1) > 1
        else:
            lost = obj.props.size > 0
    except errors.ErrObjNotFound:
        return
    if lost:
        msg = f"{era} would drop bytes of the object: read and write it whole"
        raise errors.UnsupportedError(0, msg, request)


def refuse_mangled_name(obj: ReadableObject, request: str) -> None:
    """Refuse to make an object that the cluster at hand would store under another name.

    Raises:
        ValueError: the cluster is of 2023, and HTML-escapes or cuts the name.
    """
    if _MANGLED_BY_2023.search(obj.name) and not obj.client.era.has(Feature.SPECIAL_NAMES):
        msg = f"{request}: {obj.client.era} cannot store the name {obj.name!r} as it is"
        raise ValueError(msg)


def refuse_miscopied_name(obj: ReadableObject, request: str) -> None:
    """Refuse to copy to a name that the cluster would not keep on the way between its nodes.

    Seen on 5.0: a copy to `a?b` answers 200 and, when the new name belongs to another node,
    replaces the object `a`; `#` cuts the name as well, `%` fails.

    Raises:
        UnsupportedError: the name holds one of them.
    """
    if any(character in obj.name for character in "%?#"):
        raise errors.UnsupportedError(
            0, f"a copy to {obj.name!r} would be made under another name by the cluster", request
        )


def _typed(checksum: str | tuple[str, str] | None) -> tuple[str, str] | None:
    """Return type and value of a checksum."""
    return (_XXHASH, checksum) if isinstance(checksum, str) else checksum


def _size_of(source: bytes | bytearray | memoryview | IO[bytes], size: int | None) -> int:
    if size is None:
        if not isinstance(source, bytes | bytearray | memoryview):
            msg = "the size of a file's body has to be told"
            raise ValueError(msg)
        return memoryview(source).nbytes
    if size < 0:
        msg = f"a body cannot have {size} bytes"
        raise ValueError(msg)
    return size


def _compare(expected: tuple[str, str], answer: Answer, request: str) -> None:
    """Compare what was stored with what was to be stored, where both are of one kind."""
    kind = answer.headers.get(const.HEADER_CHECKSUM_TYPE, "")
    value = answer.headers.get(const.HEADER_CHECKSUM_VALUE, "")
    if (
        value
        and (kind == expected[0] or {kind, expected[0]} <= _SAME_HASH)
        and value != expected[1]
    ):
        message = f"stored with checksum {kind} {value}, sent was {expected[1]}"
        raise errors.IntegrityError(answer.status, message, request)
