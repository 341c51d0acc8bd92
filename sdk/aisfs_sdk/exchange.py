"""One try of one request: straight to the owner of an object, or along a gateway's redirects.

    attempt ─▶ leg to the owner ─▶ answer
       │            └─ refused, unreachable ─┐
       └─▶ leg to the gateway ◀──────────────┘ ─▶ 301, 307 … ─▶ leg to the target ─▶ answer

The token goes into the header of requests to gateways and nowhere else.
"""

from __future__ import annotations

import http.client
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import requests
from urllib3 import exceptions as lib

from aisfs_sdk import const, errors
from aisfs_sdk.calls import Answer, Call
from aisfs_sdk.network_errors import network_error
from aisfs_sdk.refusals import refusal
from aisfs_sdk.session import Body, Transport

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

    from aisfs_sdk import retry
    from aisfs_sdk.placement import Placement
    from aisfs_sdk.tokens import TokenSource

MAX_REDIRECTS = 5

DIRECT_REFUSED = frozenset((401, 403))
"""What a target answers that takes nothing but what gateways send it."""

TWO_STEP_SIZE = 32 << 10
"""Bodies above this many bytes are sent once, to where a first request without body is redirected.

Smaller ones go out twice, to the gateway and to the target: that costs less than the gateway's new
connection, which the other way needs (it closes the one on which the body never came).
"""

REDIRECTS = frozenset((301, 302, 307, 308))
_MAX_ERROR_BODY = 64 << 10
_LOCATION = re.compile(r"(https?://[^/?#\s]+)(.*)", re.DOTALL)
_ROUTING = re.compile(rf"[?&]({const.QPARAM_PROXY_ID}|{const.QPARAM_UNIX_TIME})=([^&#]*)")
_SIGNED = re.compile(r"(?=.*[?&]x=)(?=.*[?&]u=)")
_TOKEN = re.compile(rb"eyJ[\w-]{8,}(\.[\w-]+){1,2}")


class Exchange:
    """Sends one request at a time to where it belongs. Thread-safe.

    Args:
        transport: the connections.
        placement: which node a request goes to.
        tokens: what proves who we are.
        timeout: seconds to connect, and seconds without a byte; None is no limit.
    """

    def __init__(
        self,
        transport: Transport,
        placement: Placement,
        tokens: TokenSource,
        timeout: tuple[float | None, float | None],
    ) -> None:
        self._transport = transport
        self._placement = placement
        self._tokens = tokens
        self._timeout = timeout

    def attempt(self, call: Call, deadline: retry.Deadline) -> Answer:
        """Send a call once.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        try:
            raw, url = self._at_owner(call, deadline) or self._follow(call, deadline)
            if not 200 <= raw.status < 300:
                raise self._refusal(call, raw, url)
            if call.streaming:
                return Answer(raw, b"", url)
            return Answer(raw, self._content(call, raw), url)
        except (lib.HTTPError, http.client.HTTPException, OSError) as error:
            if isinstance(error, requests.RequestException):
                raise
            raise network_error(error, str(call)) from error

    def _at_owner(
        self, call: Call, deadline: retry.Deadline
    ) -> tuple[BaseHTTPResponse, str] | None:
        """Ask the target that owns the object; None where a gateway has to be asked."""
        if not call.uname or call.base:
            return None
        base = self._placement.straight_to(self._tokens.get(), call.method, call.uname)
        if not base:
            return None
        target = f"{call.path}?{call.query}" if call.query else call.path
        try:
            raw = self._leg(call, base, target, deadline, hold_back=False)
        except (lib.HTTPError, http.client.HTTPException, OSError) as error:
            if isinstance(error, lib.ConnectTimeoutError | lib.NewConnectionError):
                self._placement.target_failed(base, error)
            return None
        if 200 <= raw.status < 300:
            return raw, base + target
        if raw.status in DIRECT_REFUSED:
            self._placement.target_refused(base)
        _discard(raw)
        return None

    def _follow(self, call: Call, deadline: retry.Deadline) -> tuple[BaseHTTPResponse, str]:
        base, target = call.base or self._placement.gateway, call.path
        if call.query:
            target = f"{target}?{call.query}"
        upload = call.body if isinstance(call.body, Body) else None
        # The first leg of a large upload shows its headers only.
        hold_back = upload is not None and (upload.size is None or upload.size > TWO_STEP_SIZE)
        for _ in range(MAX_REDIRECTS + 1):
            raw = self._leg(call, base, target, deadline, hold_back=hold_back)
            if call.uname and raw.status < 400 and self._placement.is_gateway(base):
                self._placement.grants.note(self._tokens.get(), call.method, call.uname)
            if raw.status not in REDIRECTS:
                if hold_back and 200 <= raw.status < 300:
                    # A store that is its own gateway may be content with the headers; it still has
                    # to get the bytes.
                    raw.close()
                    hold_back = False
                    continue
                return raw, base + target
            location = raw.headers.get(const.HEADER_LOCATION, "")
            if hold_back:
                raw.close()  # the gateway closes this connection, whether it says so or not
                hold_back = False
            else:
                _discard(raw)
            base, target = redirected(call, base, target, location)
            base = self._placement.rewrite(base)
        msg = f"{call}: more than {MAX_REDIRECTS} redirects, the last one to {base}"
        raise requests.TooManyRedirects(msg)

    def _leg(
        self, call: Call, base: str, target: str, deadline: retry.Deadline, *, hold_back: bool
    ) -> BaseHTTPResponse:
        headers: Any = call.headers.copy()  # type: ignore[attr-defined]
        headers[const.HEADER_USER_AGENT] = const.USER_AGENT
        if self._placement.is_gateway(base) and (token := self._tokens.get()):
            headers[const.HEADER_AUTHORIZATION] = f"Bearer {token}"
        connect_s, read_s = self._timeout
        timeout = deadline.limit(connect_s), deadline.limit(None if call.slow else read_s)
        body: Any = call.body
        if isinstance(body, Body):
            headers[const.HEADER_CONTENT_LENGTH] = body.length
            if hold_back:
                headers[const.HEADER_CONNECTION] = "close"
            body = None if hold_back else body.part(read_s, deadline)
        try:
            return self._transport.exchange(call.method, base, target, headers, body, timeout)
        except (lib.NewConnectionError, lib.ConnectTimeoutError) as error:
            if self._placement.is_gateway(base):
                self._placement.gateway_failed(base)
                raise
            if call.uname and not call.base and base == self._placement.target_of(call.uname):
                raise
            raise self._unreachable(call, base, error) from error

    @staticmethod
    def _unreachable(call: Call, base: str, error: Exception) -> requests.ConnectionError:
        """Return the error of a redirect that leads nowhere, with what can be done."""
        kind = requests.ConnectionError
        if isinstance(error, lib.ConnectTimeoutError) and not isinstance(
            error, lib.NewConnectionError
        ):
            kind = requests.ConnectTimeout
        return kind(
            f"{call}: the cluster redirects to {base}, which cannot be reached from here "
            f"({error}); target_address_map can name another address for it"
        )

    def _content(self, call: Call, raw: BaseHTTPResponse) -> bytes:
        if isinstance(call.body, Body) and raw.headers.get(const.HEADER_CONTENT_LENGTH, "0") != "0":
            # Clusters of 2023 announce the object's size here, send nothing and close.
            raw.close()
            return b""
        content = raw.read()
        raw.release_conn()
        self._transport.traffic.received(len(content))
        return content

    def _refusal(self, call: Call, raw: BaseHTTPResponse, url: str) -> errors.AISError:
        text = raw.headers.get(const.HEADER_ERROR, "").encode("latin-1")
        # The token service repeats the token that it refuses.
        text = _TOKEN.sub(b"<token>", _error_body(raw) or text)
        response = self._transport.as_response(call.method, url, raw, text)
        return refusal(call.method, url, raw.status, text, response, str(call))


def redirected(call: Call, base: str, target: str, location: str) -> tuple[str, str]:
    """Return node and request target after a redirect.

    Objects keep the path and query that we made: gateways of 2023 write the path in an encoding of
    their own, in which "?" and "%" mean another object. Only where the request was signed, or goes
    to a transformer that fetches the object itself, does the location count as it stands.
    """
    found = _LOCATION.match(urljoin(base + target, location))
    if not location or found is None:
        msg = f"{call}: redirected to {location!r}"
        raise requests.exceptions.InvalidURL(msg)
    new_base, new_target = found.groups()
    elsewhere = not new_target.startswith(f"/{const.URL_PATH_VERSION}/")  # to a transformer
    if not call.keep_path or elsewhere or _SIGNED.search(new_target):
        return new_base, new_target
    # From the end of the text: the name itself may hold what looks like a query.
    routing = dict(_ROUTING.findall(new_target))
    if not routing and f"{const.QPARAM_ETL_NAME}=" in call.query:
        # From a target to a transformer that fetches objects by itself: it has names of its own.
        return new_base, new_target
    query = "&".join(
        ([call.query] if call.query else []) + [f"{key}={value}" for key, value in routing.items()]
    )
    return new_base, f"{call.path}?{query}" if query else call.path


def _discard(raw: BaseHTTPResponse) -> None:
    """Be done with the few bytes of a redirect, so that the connection can be used again."""
    length = raw.headers.get(const.HEADER_CONTENT_LENGTH, "0")
    if length.isdigit() and int(length) < _MAX_ERROR_BODY:
        raw.drain_conn()
        raw.release_conn()
    else:
        raw.close()


def _error_body(raw: BaseHTTPResponse) -> bytes:
    """Return what there is of an error's body: some servers announce more than they send."""
    text = b""
    try:
        while len(text) < _MAX_ERROR_BODY:
            block = raw.read1(_MAX_ERROR_BODY)
            if not block:
                raw.release_conn()
                return text
            text += block
    except (lib.HTTPError, http.client.HTTPException, OSError):
        pass  # what came has to do
    raw.close()
    return text
