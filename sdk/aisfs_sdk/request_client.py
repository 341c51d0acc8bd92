"""All HTTP of the SDK: retries, deadlines, tokens, and what failures become.

Everything above builds a `Call` and gets back an answer whose status is a success; all else is
raised from here: what the cluster says as `AISError` or a child, what the network does as a
`requests` exception. Texts of both name the method and the bucket or object.

The way of one call:

    send ─▶ Exchange.attempt ─▶ answer
      ▲        │
      └─ wait ─┘  a failure of a call that may be repeated, within attempts and deadline
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec
import requests

from aisfs_sdk import const, errors, retry, settings
from aisfs_sdk.calls import Answer, Call
from aisfs_sdk.eras import UNKNOWN_ERA, Era, parse_version
from aisfs_sdk.exchange import Exchange
from aisfs_sdk.network_errors import never_sent
from aisfs_sdk.placement import Doubt, Placement
from aisfs_sdk.refusals import ais_error
from aisfs_sdk.session import Body, Transport
from aisfs_sdk.smap import parse_smap
from aisfs_sdk.types import encode_message

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse

    from aisfs_sdk.traffic import Traffic

T = TypeVar("T")

log = logging.getLogger(__name__)

_DATA_PATHS = tuple(
    f"/{const.URL_PATH_VERSION}/{part}"
    for part in (const.URL_PATH_OBJECTS, const.URL_PATH_BUCKETS, "ml/")
)


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
        token_file: file that holds the token, read again when it changes; `token` goes before it.

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
        token_file: str | None = None,
    ) -> None:
        self._arguments = (
            endpoint, skip_verify, ca_cert, client_cert, timeout, retry_config, token,
            max_pool_size, direct_reads, target_address_map, token_file,
        )  # fmt: skip
        self._endpoint = settings.checked_endpoint(endpoint)
        self._retry = retry_config or retry.RetryConfig()
        self._timeout = settings.timeouts(timeout)
        self._tokens = settings.token_source(token, token_file)
        self._transport = Transport(
            max_pool_size or settings.pool_size(),
            settings.context(skip_verify=skip_verify, ca_cert=ca_cert, client_cert=client_cert),
        )
        self.placement = Placement(
            self._endpoint, direct=direct_reads, address_map=target_address_map
        )
        self._exchange = Exchange(self._transport, self.placement, self._tokens, self._timeout)
        self._map_lock = threading.Lock()
        self._map_asked = 0.0
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

    @property
    def known_era(self) -> Era | None:
        """The release if it is known already; sends nothing."""
        return self._era

    @property
    def traffic(self) -> Traffic:
        """Counts what was sent and received."""
        return self._transport.traffic

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a request."""
        return self._transport.idle_connections

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
        if call.uname and not call.base and self.placement.stale:
            self.refresh_map()
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
                doubt = self._doubt(call, error)
                if doubt is None:
                    raise
                failure = _node_away(call, error, doubt)
                again, wait_s = doubt.wait_s > 0, doubt.wait_s
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
            self.traffic.repeated()
            log.warning("%s failed, trying again: %s", call, failure)

    def _attempt_with_token(self, call: Call, deadline: retry.Deadline) -> Answer:
        while True:
            token = self._tokens.get()
            try:
                return self._exchange.attempt(call, deadline)
            except errors.AuthError as error:
                # Refused, so not done: every call may be sent again, with another token.
                unknown_yet = error.status_code == 401 and self._tokens.spreads
                if self._tokens.renewed(token):
                    log.info("%s: the token was refused, going on with a newer one", call)
                elif not unknown_yet or not deadline.pause(_SPREADING_PAUSE_S):
                    raise

    def _doubt(self, call: Call, error: errors.AISError) -> Doubt | None:
        """Return why an object may exist though a node denied it.

        If that node owns it by our map, the map is good enough; else there is a newer one.
        """
        if not call.uname:
            return None
        url = error.response.url if error.response is not None else ""
        owner = self.placement.owner_of(call.uname)
        if not owner or not url.startswith(f"{owner}/"):
            self._renew_map(time.monotonic())
        return self.placement.doubt(call.uname)

    def misses_targets(self) -> bool:
        """Tell whether targets left without notice or came just now: listings lack their objects.

        AIS: GET /v1/daemon?what=smap. Clients that never asked for the map cannot tell: False.
        """
        self._renew_map(time.monotonic())
        return self.placement.misses_targets

    def _renew_map(self, since: float) -> None:
        """Have a cluster map that was asked for since a moment, if one was ever asked for."""
        if self.placement.knows_members and self._map_lock.acquire(timeout=_MAP_S):
            try:
                if self._map_asked < since:
                    self._ask_for_map()
            finally:
                self._map_lock.release()

    def refresh_map(self) -> None:
        """Ask for the cluster map again; one thread does, others go on with what there is.

        AIS: GET /v1/daemon?what=smap. Never raises: without a map all goes by the gateway.
        """
        if self._map_lock.acquire(blocking=False):
            try:
                self._ask_for_map()
            finally:
                self._map_lock.release()

    def _ask_for_map(self) -> None:
        self._map_asked = time.monotonic()
        path = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_DAEMON}"
        call = Call("GET", path, f"what={const.WHAT_SMAP}", "cluster map")
        try:
            with retry.deadline(_MAP_S):  # most of its caller's time is for what it is wanted for
                found = self._send(call)
            self.placement.learn(parse_smap(found.content))
        except (errors.AISError, requests.RequestException, ValueError, msgspec.MsgspecError):
            self.placement.forget()

    # ---- what the cluster is ----

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

_SPREADING_PAUSE_S = 0.1

_MAP_S = 6.0
"""Seconds for asking for the cluster map: two gateways may take 3 s each to not be reached."""


def _node_away(call: Call, error: errors.AISError, doubt: Doubt) -> errors.NodeAwayError:
    text = f"{error.message} [{doubt.why}]"
    return errors.NodeAwayError(error.status_code, text, str(call), error.tcode, error.response)


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
