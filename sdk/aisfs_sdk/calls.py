"""One request as its maker sees it, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aisfs_sdk import const

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse, HTTPHeaderDict

    from aisfs_sdk.session import Body

JSON_HEADERS = {const.HEADER_CONTENT_TYPE: const.JSON_CONTENT_TYPE}


@dataclass(slots=True)
class Call:
    """One request as its maker sees it.

    Attributes:
        method: HTTP method.
        path: encoded, from "/v1/" on.
        query: encoded, without "?".
        subject: bucket or object in words, for error texts; the path if empty.
        headers: beside those that every request has; a `dict` or `HTTPHeaderDict`.
        body: bytes of a control message, or a `Body` to upload.
        repeatable: sending it twice does no harm. None: decided by the method.
        slow: the cluster may work on it silently: only the deadline bounds the wait for an answer.
        keep_path: the path stays as it is on redirects; only node and routing keys are taken.
        streaming: the caller reads the body of the answer.
        deadline_s: longest time in all, where the caller set no deadline and uploads no body.
        base: node to ask instead of the endpoint.
        uname: of the object, where its owner may answer as well as a gateway.
    """

    method: str
    path: str
    query: str = ""
    subject: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body | None = None
    repeatable: bool | None = None
    slow: bool = False
    keep_path: bool = False
    streaming: bool = False
    deadline_s: float = const.DEFAULT_DEADLINE_S
    base: str = ""
    uname: str = ""

    def __str__(self) -> str:
        return f"{self.method} {self.subject or self.path}"

    @property
    def may_repeat(self) -> bool:
        """Whether a failure may be answered by sending the call again."""
        if self.repeatable is None:
            return self.method != const.HTTP_METHOD_POST
        return self.repeatable


@dataclass(slots=True)
class Answer:
    """A successful answer.

    Attributes:
        raw: status, headers, and the body if the caller is to read it.
        content: the body otherwise.
        url: where it came from.
    """

    raw: BaseHTTPResponse
    content: bytes
    url: str

    @property
    def headers(self) -> HTTPHeaderDict:
        """Headers, by names in any case; repeated ones by `getlist`."""
        return self.raw.headers

    @property
    def status(self) -> int:
        """HTTP status."""
        return self.raw.status
