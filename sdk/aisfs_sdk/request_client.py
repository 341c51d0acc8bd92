"""All HTTP of the SDK: redirects, retries, deadlines, and what failures become.

Everything above builds a `Call` and gets back an answer whose status is a success; all else is
raised from here: what the cluster says as `AISError` or a child, what the network does as a
`requests` exception. Texts of both name the method and the bucket or object. The token goes into
the header of requests to the endpoint and nowhere else.

The way of one call:

    send ─▶ attempt ─▶ leg to the gateway ─▶ 301, 307 … ─▶ leg to the target ─▶ answer
      ▲        │
      └─ wait ─┘  a failure of a call that may be repeated, within attempts and deadline
"""

from __future__ import annotations

import http.client
import logging
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode, urljoin

import msgspec
import requests
from urllib3 import exceptions as lib

from aisfs_sdk import const, errors, retry, settings
from aisfs_sdk.eras import UNKNOWN_ERA, Era, parse_version
from aisfs_sdk.network_errors import network_error, never_sent
from aisfs_sdk.placement import Placement
from aisfs_sdk.refusals import ais_error, refusal
from aisfs_sdk.session import Body, Transport
from aisfs_sdk.smap import parse_smap
from aisfs_sdk.types import encode_message

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse, HTTPHeaderDict

T = TypeVar("T")

log = logging.getLogger(__name__)

MAX_REDIRECTS = 5

TWO_STEP_SIZE = 32 << 10
"""Bodies above this many bytes are sent once, to where a first request without body is redirected.

Smaller ones go out twice, to the gateway and to the target: that costs less than the gateway's new
connection, which the other way needs (it closes the one on which the body never came).
"""

_REDIRECTS = frozenset((301, 302, 307, 308))
_RETRY_STATUS = frozenset((429, 502, 503, 504))
_MAX_ERROR_BODY = 64 << 10
_LOCATION = re.compile(r"(https?://[^/?#\s]+)(.*)", re.DOTALL)
_ROUTING = re.compile(rf"[?&]({const.QPARAM_PROXY_ID}|{const.QPARAM_UNIX_TIME})=([^&#]*)")
_SIGNED = re.compile(r"(?=.*[?&]x=)(?=.*[?&]u=)")
_USER_AGENT = "ais/python/aisfs-sdk"
_DATA_PATHS = tuple(
    f"/{const.URL_PATH_VERSION}/{part}"
    for part in (const.URL_PATH_OBJECTS, const.URL_PATH_BUCKETS, "ml/")
)

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


class RequestClient:
    """Sends requests to one cluster. Thread-safe; can be pickled.

    Args:
        endpoint: URL of any gateway, `http://host:port` or `https://host:port`.
        skip_verify: trust any certificate.
        ca_cert: file of authorities to trust instead of the system's.
        client_cert: file of our own certificate and key, or a pair of files.
        timeout: seconds to connect and seconds without a byte, as a pair, or one number for both;
            0 switches a limit off.
        retry_config: how requests are repeated.
        token: proves who we are.
        max_pool_size: connections kept per node.
        direct_reads: once the cluster map is known, read objects at their owners.
        target_address_map: addresses of nodes as the cluster tells them, and as they are reached
            from here; see `placement`.

    What is None is taken from the environment (`AIS_CLIENT_CA`, `AIS_CRT`, `AIS_CRT_KEY`,
    `AIS_SKIP_VERIFY_CRT`, `AIS_CONNECT_TIMEOUT`, `AIS_READ_TIMEOUT`, `AIS_AUTHN_TOKEN`,
    `AIS_AUTHN_TOKEN_FILE`, `AIS_MAX_CONN_POOL`), else from the defaults in `const`.

    Raises:
        ValueError: the endpoint is no such URL.
        OSError: a certificate or token file cannot be read.
    """

    def __init__(  # noqa: PLR0917 - as documented
        self,
        endpoint: str,
        skip_verify: bool = False,
        ca_cert: str | None = None,
        client_cert: str | tuple[str, str] | None = None,
        timeout: float | tuple[float | None, float | None] | None = None,
        retry_config: retry.RetryConfig | None = None,
        token: str | None = None,
        max_pool_size: int | None = None,
        direct_reads: bool = True,
        target_address_map: Mapping[str, str] | None = None,
    ) -> None:
        self._arguments = (
            endpoint, skip_verify, ca_cert, client_cert, timeout, retry_config, token,
            max_pool_size, direct_reads, target_address_map,
        )  # fmt: skip
        self._endpoint = settings.checked_endpoint(endpoint)
        self._retry = retry_config or retry.RetryConfig()
        self._timeout = settings.timeouts(timeout)
        self._tokens = settings.token_source(token)
        self._transport = Transport(
            max_pool_size or settings.pool_size(),
            settings.context(skip_verify=skip_verify, ca_cert=ca_cert, client_cert=client_cert),
        )
        self.placement = Placement(
            self._endpoint, direct=direct_reads, address_map=target_address_map
        )
        self._map_lock = threading.Lock()
        self._era: Era | None = None
        self._era_lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RequestClient], tuple[Any, ...]]:
        return RequestClient, self._arguments

    def __repr__(self) -> str:
        return f"<RequestClient {self._endpoint}>"

    @property
    def endpoint(self) -> str:
        """URL of the gateway."""
        return self._endpoint

    @property
    def base_url(self) -> str:
        """URL below which all requests go."""
        return f"{self._endpoint}/{const.URL_PATH_VERSION}"

    @property
    def session(self) -> requests.Session:
        """The session that owns the connections; its `proxies` are honoured."""
        return self._transport.session

    @property
    def timeout(self) -> tuple[float | None, float | None]:
        """Seconds to connect, and seconds without a byte from the peer; None is no limit."""
        return self._timeout

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """The context of all TLS connections."""
        return self._transport.context

    @property
    def token(self) -> str:
        """The token of the moment, "" without one."""
        return self._tokens.get()

    @property
    def era(self) -> Era:
        """The release that the cluster runs; asked for once.

        Raises:
            NotAISError: what answers at the endpoint is not AIS.
        """
        if self._era is None:
            self._find_era()
            assert self._era is not None
        return self._era

    def close(self) -> None:
        """Close idle connections."""
        self._transport.close()

    # ---- the documented face ----

    def get_full_url(self, path: str, params: Mapping[str, Any] | None = None) -> str:
        """Return the URL of a path below `base_url`, with encoded query."""
        query = f"?{urlencode(dict(params), quote_via=quote)}" if params else ""
        return f"{self.base_url}/{path.lstrip('/')}{query}"

    def request(  # noqa: PLR0917 - as documented
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send a request and return its successful answer.

        Args:
            method: HTTP method.
            path: encoded, below `base_url`.
            params: query parameters.
            json: message to send as JSON.
            data: body to send instead.
            headers: beside the usual ones.
            stream: leave the body of the answer to the caller.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        sent = dict(headers or {})
        body = data
        if json is not None:
            sent.setdefault(const.HEADER_CONTENT_TYPE, const.JSON_CONTENT_TYPE)
            body = encode_message(json)
        target = f"/{const.URL_PATH_VERSION}/{path.lstrip('/')}"
        query = urlencode(dict(params), quote_via=quote) if params else ""
        call = Call(method, target, query, headers=sent, body=body, streaming=stream)
        return self.as_response(call, self.send(call))

    def request_deserialize(self, method: str, path: str, res_model: type[T], **kwargs: Any) -> T:
        """Send a request and return its answer as a model.

        Args:
            method: HTTP method.
            path: below `base_url`.
            res_model: what the JSON of the answer is read as.
            kwargs: further arguments of `request`.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
            msgspec.ValidationError: the answer is no such model.
        """
        content = self.request(method, path, **kwargs).content
        return msgspec.json.decode(content, type=res_model, strict=False)

    def as_response(self, call: Call, answer: Answer) -> requests.Response:
        """Return an answer in the form that requests hands out."""
        content = None if call.streaming else answer.content
        return self._transport.as_response(call.method, answer.url, answer.raw, content)

    # ---- sending ----

    def send(self, call: Call) -> Answer:
        """Send a call, following redirects and repeating it as far as that is allowed.

        Raises:
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        if self._era is None and call.path.startswith(_DATA_PATHS):
            _ = self.era
        return self._send(call)

    def _send(self, call: Call) -> Answer:
        # An upload has no limit on its total time; nor have answers that the caller reads himself,
        # but the wait for their headers has.
        deadline = retry.current(None if isinstance(call.body, Body) else call.deadline_s)
        maybe_done = False
        failures = 0
        while True:
            wait_s = 0.0
            if deadline.over:
                msg = f"{call}: the deadline was over before it could be sent"
                raise requests.Timeout(msg)
            try:
                return self._attempt_with_token(call, deadline)
            except errors.UnavailableError as error:
                failure: Exception = error
                again = call.may_repeat
                wait_s = _retry_after(error)
                maybe_done = maybe_done or error.status_code in {502, 504}
            except (errors.ErrObjNotFound, errors.ErrBckNotFound) as error:
                if maybe_done and call.method == const.HTTP_METHOD_DELETE:
                    # The first try did it, and only its answer was lost.
                    return Answer(_raw_of(error), b"", call.path)
                raise
            except (requests.ConnectionError, requests.Timeout, _TORN) as error:
                failure = error
                unsent = never_sent(error)
                timed_out = call.slow and isinstance(error, requests.ReadTimeout)
                again = unsent or (call.may_repeat and not timed_out)
                again = again and not isinstance(error, requests.exceptions.SSLError)
                maybe_done = maybe_done or not unsent
            failures += 1
            if not again or failures >= self._retry.attempts:
                raise failure
            wait_s = max(wait_s, self._retry.wait_s(failures))
            if not deadline.pause(wait_s):
                raise failure
            log.warning("%s failed, trying again: %s", call, failure)

    def _attempt_with_token(self, call: Call, deadline: retry.Deadline) -> Answer:
        token = self._tokens.get()
        try:
            return self._attempt(call, deadline)
        except errors.AuthError:
            # Refused, so not done: every call may be sent again, with another token.
            if not self._tokens.renewed(token):
                raise
        log.info("%s: the token was refused, going on with a newer one", call)
        return self._attempt(call, deadline)

    def _attempt(self, call: Call, deadline: retry.Deadline) -> Answer:
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
        if self.placement.stale:
            self._learn_map()
        base = self.placement.target_of(call.uname)
        if not base:
            return None
        target = f"{call.path}?{call.query}" if call.query else call.path
        try:
            raw = self._leg(call, base, target, deadline, hold_back=False)
        except (lib.HTTPError, http.client.HTTPException, OSError) as error:
            if isinstance(error, lib.ConnectTimeoutError | lib.NewConnectionError):
                self.placement.target_failed(base, error)
            return None
        if 200 <= raw.status < 300:
            return raw, base + target
        _discard(raw)
        return None

    def _learn_map(self) -> None:
        """Ask for the cluster map again; one thread does, others go on with what there is."""
        if not self._map_lock.acquire(blocking=False):
            return
        try:
            path = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_DAEMON}"
            found = self._send(Call("GET", path, f"what={const.WHAT_SMAP}", "cluster map"))
            self.placement.learn(parse_smap(found.content))
        except (errors.AISError, requests.RequestException, ValueError, msgspec.MsgspecError):
            self.placement.forget()
        finally:
            self._map_lock.release()

    def _follow(self, call: Call, deadline: retry.Deadline) -> tuple[BaseHTTPResponse, str]:
        base, target = call.base or self.placement.gateway, call.path
        if call.query:
            target = f"{target}?{call.query}"
        upload = call.body if isinstance(call.body, Body) else None
        # The first leg of a large upload shows its headers only.
        hold_back = upload is not None and upload.size > TWO_STEP_SIZE
        for _ in range(MAX_REDIRECTS + 1):
            raw = self._leg(call, base, target, deadline, hold_back=hold_back)
            if raw.status not in _REDIRECTS:
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
            base, target = _redirected(call, base, target, location)
            base = self.placement.rewrite(base)
        msg = f"{call}: more than {MAX_REDIRECTS} redirects, the last one to {base}"
        raise requests.TooManyRedirects(msg)

    def _leg(
        self, call: Call, base: str, target: str, deadline: retry.Deadline, *, hold_back: bool
    ) -> BaseHTTPResponse:
        headers: Any = call.headers.copy()  # type: ignore[attr-defined]
        headers[const.HEADER_USER_AGENT] = _USER_AGENT
        if self.placement.is_gateway(base) and (token := self._tokens.get()):
            headers[const.HEADER_AUTHORIZATION] = f"Bearer {token}"
        connect_s, read_s = self._timeout
        timeout = deadline.limit(connect_s), deadline.limit(None if call.slow else read_s)
        body: Any = call.body
        if isinstance(body, Body):
            headers[const.HEADER_CONTENT_LENGTH] = str(body.size)
            if hold_back:
                headers[const.HEADER_CONNECTION] = "close"
            body = None if hold_back else body.part(read_s, deadline)
        try:
            return self._transport.exchange(call.method, base, target, headers, body, timeout)
        except (lib.NewConnectionError, lib.ConnectTimeoutError) as error:
            if self.placement.is_gateway(base):
                self.placement.gateway_failed(base)
                raise
            if call.uname and not call.base and base == self.placement.target_of(call.uname):
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
        return content

    # ---- failures ----

    def _refusal(self, call: Call, raw: BaseHTTPResponse, url: str) -> errors.AISError:
        text = raw.headers.get(const.HEADER_ERROR, "").encode("latin-1")
        text = _error_body(raw) or text
        response = self._transport.as_response(call.method, url, raw, text)
        return refusal(call.method, url, raw.status, text, response, str(call))

    def _find_era(self) -> None:
        """Set `_era`; who waits for another thread's question does so within his deadline."""
        left = retry.current().remaining_s()
        if not self._era_lock.acquire(timeout=-1 if left is None else left):
            msg = f"the deadline was over before {self._endpoint} told its release"
            raise requests.Timeout(msg)
        try:
            if self._era is None:
                self._era = self._detect_era()
        finally:
            self._era_lock.release()

    def _detect_era(self) -> Era:
        for what in (const.WHAT_NODE_STATUS, const.WHAT_STATUS):
            path = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_DAEMON}"
            try:
                found = self._send(Call("GET", path, f"what={what}"))
            except errors.UnavailableError:
                raise
            except errors.AISError as error:
                answer = error.response
                if answer is None or ais_error(answer.content) is None:
                    raise _not_ais(self._endpoint, error.status_code) from error
                if isinstance(error, errors.AuthError):
                    # This token may not ask; what works on every release is all that is used.
                    return UNKNOWN_ERA
                continue
            try:
                return parse_version(msgspec.json.decode(found.content)["ais_version"])
            except (msgspec.DecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
                raise _not_ais(self._endpoint, found.status) from error
        return UNKNOWN_ERA


_TORN = requests.exceptions.ChunkedEncodingError


def _redirected(call: Call, base: str, target: str, location: str) -> tuple[str, str]:
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


def _raw_of(error: errors.AISError) -> BaseHTTPResponse:
    assert error.response is not None  # every refusal has one
    return error.response.raw


def _retry_after(error: errors.AISError) -> float:
    text = (
        error.response.headers.get(const.HEADER_RETRY_AFTER, "")
        if error.response is not None
        else ""
    )
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _not_ais(endpoint: str, status: int) -> errors.NotAISError:
    return errors.NotAISError(status, f"{endpoint} answers, but it is no AIS gateway")
