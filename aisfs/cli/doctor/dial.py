"""One address of a cluster, tried from the ground up: name, port, TLS, HTTP.

Serves the checks of gateway and targets. The SDK would say that a request failed; here it is to be
told at which step and why, so the steps are taken one by one, without token and without retries.
"""

from __future__ import annotations

import datetime as dt
import http.client
import socket
import ssl
import time
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from aisfs.cli.doctor.findings import within

if TYPE_CHECKING:
    from cryptography import x509

DIAL_S = 3.0
"""Seconds for each step: a mount's own limit for a connection."""

_ALERT = "ALERT"  # in OpenSSL's names of what the other side complained of
_EXPIRED, _NOT_YET = 10, 9  # OpenSSL: X509_V_ERR_CERT_HAS_EXPIRED, …_NOT_YET_VALID
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21}
_OTHER_NAME = {62, 64}  # OpenSSL: X509_V_ERR_HOSTNAME_MISMATCH, …_IP_ADDRESS_MISMATCH


class Trouble(NamedTuple):
    """Why an address cannot be used: for programs, for people, and what to do."""

    cause: str
    words: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def of(cls, url: str) -> Address:
        """Return the address in a node's URL."""
        parts = urlsplit(url)
        usual = 443 if parts.scheme == "https" else 80
        return cls(parts.scheme, parts.hostname or "", parts.port or usual)

    def _connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), DIAL_S)

    def unreachable(self) -> Trouble | None:
        """Say why no connection comes about; None if one does."""
        try:
            # Around it all, because looking up a name has no limit of its own.
            within(2 * DIAL_S, self._connect).close()
        except OSError as error:
            return _unreachable(self, error)
        return None

    def handshake(self, context: ssl.SSLContext) -> bytes:
        """Speak TLS and return the certificate that was shown, as DER.

        Raises:
            OSError: TLS does not come about (ssl.SSLError), or the connection broke.
        """

        def work() -> bytes:
            with (
                self._connect() as plain,
                context.wrap_socket(plain, server_hostname=self.host) as secure,
            ):
                return secure.getpeercert(binary_form=True) or b""

        return within(3 * DIAL_S, work)

    def alert(self, context: ssl.SSLContext) -> str:
        """Return the alert by which a server ends TLS though nothing was sent, "" if none came.

        A request may meet the closed connection before it meets the alert.
        """

        def work() -> None:
            with (
                self._connect() as plain,
                context.wrap_socket(plain, server_hostname=self.host) as secure,
            ):
                secure.recv(1)

        try:
            within(3 * DIAL_S, work)
        except OSError as error:
            reason: str = getattr(error, "reason", None) or ""
            return reason if _ALERT in reason else ""
        return ""

    def health(self, context: ssl.SSLContext | None) -> Greeting:
        """Ask a node whether it is well; by TLS if there is a context. AIS: GET /v1/health.

        Raises:
            OSError: the connection broke, or TLS does not come about (ssl.SSLError).
            http.client.HTTPException: the answer is not HTTP.
        """
        return within(4 * DIAL_S, partial(self._health, context))

    def _health(self, context: ssl.SSLContext | None) -> Greeting:
        connection = (
            http.client.HTTPConnection(self.host, self.port, timeout=DIAL_S)
            if context is None
            else http.client.HTTPSConnection(self.host, self.port, timeout=DIAL_S, context=context)
        )
        try:
            before = time.time()
            connection.request("GET", "/v1/health")
            answer = connection.getresponse()
            middle = (before + time.time()) / 2
            return Greeting(answer.status, _ahead(answer.headers.get("Date", ""), middle))
        finally:
            connection.close()


class Greeting(NamedTuple):
    """The answer of a node.

    Attributes:
        clock: seconds by which its clock is ahead of ours; None if it does not tell the time.
    """

    status: int
    clock: float | None


def _ahead(date: str, now: float) -> float | None:
    """Return how far the clock behind a Date header is ahead; the header knows whole seconds."""
    try:
        return parsedate_to_datetime(date).timestamp() + 0.5 - now
    except ValueError:
        return None


def _unreachable(address: Address, error: OSError) -> Trouble:
    if isinstance(error, socket.gaierror):
        words = f"the name {address.host} has no address ({error.strerror})"
        return Trouble("unknown-host", words, "correct the name, or the machine's DNS")
    if isinstance(error, ConnectionRefusedError):
        words = f"nobody listens at {address}: the connection is refused"
        return Trouble("refused-port", words, "correct the port, or start what should listen there")
    if isinstance(error, TimeoutError):
        words = f"{address} does not answer within {DIAL_S:g} s"
        remedy = "see that the machine is up and no firewall drops the packets"
        return Trouble("no-answer", words, remedy)
    words = f"{address} cannot be reached: {error.strerror or error}"
    return Trouble("no-route", words, "correct the address, or this machine's routes")


def said(error: Exception) -> str:
    """Return what an error says, or what it is if it says nothing."""
    return str(error) or type(error).__name__


def unverified() -> ssl.SSLContext:
    """Return a context that takes any certificate: to look at one, never to send anything by it."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def speaks_tls(address: Address) -> bool:
    """Tell whether TLS is spoken at an address."""
    try:
        address.handshake(unverified())
    except OSError as error:
        # An alert is TLS, too: the server may want a certificate of ours.
        return _ALERT in (getattr(error, "reason", None) or "")
    return True


def speaks_http(address: Address) -> bool:
    """Tell whether HTTP without TLS is spoken at an address."""
    try:
        # A server of TLS written in Go answers plain requests with 400.
        return address.health(None).status != http.client.BAD_REQUEST
    except (OSError, http.client.HTTPException):
        return False


@dataclass(frozen=True, slots=True)
class Shown:
    """What stands in a certificate."""

    names: list[str]
    issuer: str
    begins: dt.datetime
    ends: dt.datetime


def read_certificate(data: bytes) -> Shown:
    """Return what stands in a certificate.

    Args:
        data: DER.
    """
    from cryptography import x509  # noqa: PLC0415 - late: costs 0.1 s

    found = x509.load_der_x509_certificate(data)
    return Shown(
        _names(found),
        found.issuer.rfc4514_string(),
        found.not_valid_before_utc,
        found.not_valid_after_utc,
    )


def _names(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509  # noqa: PLC0415

    try:
        kind = x509.SubjectAlternativeName
        found = certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return []
    return [str(name.value) for name in found]


def untrusted(
    address: Address, error: ssl.SSLCertVerificationError, clock: float | None
) -> Trouble:
    """Say why a certificate was refused.

    Args:
        address: who showed it.
        error: what OpenSSL says.
        clock: as in `Greeting`: what looks expired may look so by our clock only.
    """
    try:
        shown = read_certificate(address.handshake(unverified()))
    except (OSError, ValueError):
        return Trouble(
            "certificate",
            f"the certificate of {address} is refused: {error.verify_message}",
            "give the node a certificate that is good, or its authority with -o ca-file=FILE",
        )
    if error.verify_code in {_EXPIRED, _NOT_YET}:
        return _out_of_date(address, shown, clock)
    if error.verify_code in _OTHER_NAME:
        named = ", ".join(shown.names) or "nobody"
        return Trouble(
            "certificate-names",
            f"the certificate of {address} does not name {address.host}: it names {named}",
            f"give the node a certificate that names {address.host} (subject alternative name), "
            "or use an address that it names",
        )
    if error.verify_code in _UNKNOWN_ISSUER:
        return Trouble(
            "unknown-authority",
            f"the certificate of {address} is signed by {shown.issuer}, which is not trusted here",
            "name the file with that authority's certificate: -o ca-file=FILE or AIS_CLIENT_CA",
        )
    return Trouble(
        "certificate",
        f"the certificate of {address} is refused: {error.verify_message}",
        "give the node a certificate that is good",
    )


def _out_of_date(address: Address, shown: Shown, clock: float | None) -> Trouble:
    theirs = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=clock or 0)
    if shown.begins <= theirs <= shown.ends:
        return Trouble(
            "clock-off",
            f"the certificate of {address} is valid by the cluster's clock, but not by that of "
            f"this machine: {theirs:%Y-%m-%d %H:%M} there, {_now():%Y-%m-%d %H:%M} here (UTC)",
            "set this machine's clock: 'timedatectl set-ntp true'",
        )
    if theirs > shown.ends:
        return Trouble(
            "certificate-expired",
            f"the certificate of {address} expired on {shown.ends:%Y-%m-%d %H:%M} UTC",
            "whoever runs the cluster has to renew it",
        )
    return Trouble(
        "certificate-not-yet-valid",
        f"the certificate of {address} is valid from {shown.begins:%Y-%m-%d %H:%M} UTC on",
        "see that the clocks of this machine and of the cluster are right",
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
