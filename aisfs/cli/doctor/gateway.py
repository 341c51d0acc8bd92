"""The gateway: whether it is reached, trusted, is one, lets us in, and tells the same time."""

from __future__ import annotations

import base64
import datetime as dt
import http.client
import json
import ssl
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import requests

from aisfs.cli.doctor import dial
from aisfs.cli.doctor.findings import (
    STEP_S,
    Case,
    Fact,
    Finding,
    broken,
    not_checked,
    ok,
    warning,
    within,
)
from aisfs.errors import Invalid
from aisfs.store.buckets import Buckets
from aisfs.store.client import client_of
from aisfs_sdk import RetryConfig, deadline, errors

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_FIRST_BYTE_S = 5.0
_WANTS_US = ("CERTIFICATE", "HANDSHAKE_FAILURE", "UNKNOWN_CA", "ACCESS_DENIED")
"""Alerts of a server that got no certificate, or one that it does not accept."""

_SOON = dt.timedelta(days=14)
_CLOCKS_AGREE_S = 5.0
"""Off by less is no trouble; and a Date header is only good for a second or two."""

_CLOCK_BROKEN_S = 300.0
"""What token services and Kerberos usually bear."""


def ask(work: Callable[[], T]) -> T:
    """Ask the cluster something, and wait for no longer than a step may take.

    Raises:
        TimeoutError: it took longer.
        Exception: whatever the SDK raises.
    """

    def bounded() -> T:
        with deadline(STEP_S):
            return work()

    return within(STEP_S + 1, bounded)


def endpoint(case: Case) -> Finding:
    """Connect to the gateway's port."""
    url = case.store.endpoint
    origin = case.config.origins.get("store.endpoint", "") if case.config else ""
    if trouble := dial.Address.of(url).unreachable():
        where = f"{origin} says {url}" if origin else f"none was given, so {url} was tried"
        remedy = f"{trouble.remedy}; AIS_ENDPOINT or -o endpoint=URL sets it"
        return broken("endpoint", trouble.cause, f"{trouble.words} ({where})", remedy, endpoint=url)
    return ok("endpoint", f"{url} takes connections", endpoint=url)


def tls(case: Case) -> Finding:
    """See that the scheme is right, and the certificate good."""
    quick = replace(
        case.store,
        connect_timeout_s=min(case.store.connect_timeout_s, dial.DIAL_S),
        first_byte_timeout_s=min(case.store.first_byte_timeout_s, _FIRST_BYTE_S),
    )
    try:
        client = client_of(quick, RetryConfig(attempts=1))
    except Invalid as error:
        remedy = "see the files that ca-file, cert, key and token-file name"
        return broken("tls", "connection-files", str(error), remedy)
    address = dial.Address.of(case.store.endpoint)
    if address.scheme == "http":
        finding = _in_plain(case, address)
    else:
        finding = _encrypted(case, address, client.request_client.ssl_context)
    case.client = client
    return finding


def _in_plain(case: Case, address: dial.Address) -> Finding:
    problem: Exception | None = None
    try:
        greeting = address.health(None)
    except (OSError, http.client.HTTPException) as error:
        greeting, problem = None, error
    odd = greeting is None or greeting.status == http.client.BAD_REQUEST
    if odd and dial.speaks_tls(address):
        words = f"{address} speaks HTTPS, but the endpoint begins with http://"
        return broken("tls", "wrong-scheme", words, f"write the endpoint as https://{address}")
    if isinstance(problem, TimeoutError):
        return _silent(address)
    if greeting is None:
        said = dial.said(problem or OSError())
        words = f"{address} takes connections, but speaks neither HTTP nor TLS ({said})"
        return broken("tls", "not-http", words, "is this the port of a gateway? correct it")
    case.clock = greeting.clock
    return ok("tls", "plain HTTP: nothing is encrypted on the way", encrypted=False)


def _silent(address: dial.Address) -> Finding:
    words = f"{address} takes connections, but says nothing for {dial.DIAL_S:g} s"
    remedy = "is this the port of a gateway? if so, see its log, and its machine's load"
    return broken("tls", "no-answer", words, remedy)


def _encrypted(case: Case, address: dial.Address, context: ssl.SSLContext) -> Finding:
    try:
        shown = dial.read_certificate(address.handshake(context))
        case.clock = address.health(context).clock
    except ssl.SSLCertVerificationError as error:
        case.clock = _clock_untrusted(address)
        trouble = dial.untrusted(address, error, case.clock)
        return broken("tls", trouble.cause, trouble.words, trouble.remedy)
    except (OSError, http.client.HTTPException) as error:
        return _no_tls(address, error, context)
    if case.store.skip_verify:
        words = "encrypted, but any certificate is accepted: anybody can play the cluster"
        return warning("tls", "not-verified", words, "use ca-file=FILE instead of insecure")
    until = f"{shown.ends:%Y-%m-%d %H:%M} UTC"
    facts: dict[str, Fact] = {"encrypted": True, "expires": f"{shown.ends:%Y-%m-%dT%H:%M:%SZ}"}
    if shown.ends - dt.datetime.now(dt.UTC) < _SOON:
        words = f"the gateway's certificate expires on {until}"
        remedy = "whoever runs the cluster has to renew it before"
        return warning("tls", "certificate-expires-soon", words, remedy, **facts)
    return ok("tls", f"encrypted, and the gateway's certificate is good until {until}", **facts)


def _clock_untrusted(address: dial.Address) -> float | None:
    try:
        return address.health(dial.unverified()).clock
    except (OSError, http.client.HTTPException):
        return None


def _no_tls(address: dial.Address, error: Exception, context: ssl.SSLContext) -> Finding:
    if dial.speaks_http(address):
        words = f"{address} speaks HTTP, but the endpoint begins with https://"
        return broken("tls", "wrong-scheme", words, f"write the endpoint as http://{address}")
    alert = address.alert(context)
    if any(word in alert for word in _WANTS_US):
        words = f"{address} breaks TLS off ({alert}): it may want a certificate of ours"
        remedy = "name one that the cluster accepts: -o cert=FILE,key=FILE"
        return broken("tls", "client-certificate", words, remedy)
    if isinstance(error, TimeoutError):
        return _silent(address)
    said = alert or getattr(error, "reason", None) or dial.said(error)
    words = f"{address} takes connections, but TLS does not come about ({said})"
    return broken("tls", "no-tls", words, "is this the port of a gateway? correct it")


def gateway(case: Case) -> Finding:
    """See that what answers is an AIS gateway."""
    url = case.store.endpoint
    try:
        ask(lambda: case.sdk.era)
    except errors.NotAISError:
        words = f"{url} answers, but it is no AIS gateway"
        return broken(
            "gateway", "not-ais", words, "correct the address: AIS_ENDPOINT or endpoint=URL"
        )
    except errors.UnavailableError as error:
        words = (
            f"the gateway does not serve yet, or no longer ({error.status_code}: {error.message})"
        )
        remedy = "wait until the cluster has started, or see its gateways' logs"
        return broken("gateway", "cluster-not-ready", words, remedy)
    return ok("gateway", f"{url} is an AIS gateway")


def token(case: Case) -> Finding:
    """See that the cluster lets us in, and read its map."""
    given = case.sdk.request_client.token
    if (left_s := _left(given, case.clock)) is not None and left_s <= 0:
        words = f"the token ({_origin(case)}) expired {_span(-left_s)} ago"
        return broken("token", "token-expired", words, _NEW_TOKEN)
    try:
        case.smap = ask(case.sdk.cluster().get_info)
    except errors.AuthError as error:
        return _refused(case, error, given)
    if not given:
        return ok("token", "none was given, and the cluster asks for none", given=False)
    words = f"the cluster accepts the token ({_origin(case)})"
    if left_s is not None:
        words += f", which expires in {_span(left_s)}"
    file = case.store.token_file
    if file and not case.store.token and Path(file).stat().st_mode & 0o077:
        words += "; other users of this machine may read its file"
        return warning("token", "token-readable", words, f"'chmod 600 {file}'", given=True)
    return ok("token", words, given=True)


_NEW_TOKEN = "get a new one ('ais auth login'): AIS_AUTHN_TOKEN, or -o token-file=FILE to renew it"  # noqa: S105 - advice


def _origin(case: Case) -> str:
    assert case.config is not None  # a client was made of it
    origins = case.config.origins
    file = case.store.token_file
    if file and not case.store.token:
        return f"of {file}, by {origins.get('store.token_file', '?')}"
    return f"by {origins.get('store.token', '?')}"


def _refused(case: Case, error: errors.AuthError, given: str) -> Finding:
    said = f"{error.status_code}: {error.message}"
    if not given:
        words = f"the cluster wants a token, and none was given ({said})"
        remedy = "set AIS_AUTHN_TOKEN, or -o token-file=FILE"
        if case.there is not None:
            remedy += " (nobody is told a mount's own token: give the same one here)"
        return broken("token", "no-token", words, remedy)
    if error.status_code == 403 and _opens_source(case):
        words = f"the token ({_origin(case)}) opens the source, but not the cluster map ({said})"
        remedy = "reads go by way of a gateway, which is slower; grant SHOW-CLUSTER to change that"
        return warning("token", "token-without-map", words, remedy, given=True)
    words = f"the cluster refuses the token ({_origin(case)}): {said}"
    return broken("token", "bad-token", words, _NEW_TOKEN, status=error.status_code)


def _opens_source(case: Case) -> bool:
    try:
        if case.what.bucket is None:
            ask(case.sdk.cluster().list_buckets)
        else:
            ask(Buckets(case.sdk).of(case.what.bucket).head)
    except errors.ErrBckNotFound:
        return True
    except (errors.AISError, requests.RequestException, TimeoutError):
        return False
    return True


def _left(given: str, clock: float | None) -> float | None:
    """Return for how many seconds a token is still good by the cluster's clock; None: not told.

    JWT: RFC 7519, claim `exp`. Nothing is verified: that is the cluster's part.
    """
    try:
        body = given.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return float(claims["exp"]) - time.time() - (clock or 0)
    except (IndexError, ValueError, TypeError, KeyError):
        return None


def clock(case: Case) -> Finding:
    """Compare this machine's clock with the cluster's."""
    ahead = case.clock
    if ahead is None:
        return not_checked("clock", "the gateway did not tell its time")
    off = abs(ahead)
    facts = {"cluster_ahead_s": round(ahead, 1)}
    if off < _CLOCKS_AGREE_S:
        return ok("clock", "this machine and the cluster tell the same time", **facts)
    words = (
        f"this machine's clock is {_span(off)} {'behind' if ahead > 0 else 'ahead of'} the "
        "cluster's: modification times of files that are written here are off by as much (make and "
        "rsync go by them), and tokens and certificates seem to expire too early or too late"
    )
    remedy = "let both follow a time server: 'timedatectl set-ntp true'"
    kind = broken if off >= _CLOCK_BROKEN_S else warning
    return kind("clock", "clock-off", words, remedy, **facts)


def _span(seconds: float) -> str:
    """Return a time span in words, in its largest unit.

    >>> _span(7300)
    '2 hours'
    """
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
