"""How a cluster is reached, from arguments, the environment and defaults; arguments win.

Serves `request_client.py`. The only place of the SDK that reads the environment.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aisfs_sdk import const
from aisfs_sdk.session import tls_context
from aisfs_sdk.tokens import TokenSource

if TYPE_CHECKING:
    import ssl

log = logging.getLogger(__name__)


def checked_endpoint(endpoint: str) -> str:
    """Return the endpoint as scheme, host and port.

    Raises:
        ValueError: it is something else.
    """
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/"):
        msg = f"the endpoint has to be http://HOST:PORT or https://HOST:PORT, not {endpoint!r}"
        raise ValueError(msg)
    if "@" in parts.netloc:
        msg = "the endpoint must not hold a user name or password: use a token"
        raise ValueError(msg)
    return f"{parts.scheme}://{parts.netloc}"


def number_from_environment(name: str) -> float | None:
    """Return a number of the environment, None if it is not set or of no use."""
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else None
    except ValueError:
        value = -1.0
    if value is not None and not 0 <= value < float("inf"):
        log.warning("%s=%r is no number of use here; the default holds", name, text)
        return None
    return value


def pool_size() -> int:
    """Return how many connections to keep per node."""
    return int(number_from_environment(const.AIS_MAX_CONN_POOL) or const.DEFAULT_MAX_POOL_SIZE)


def timeouts(
    timeout: float | tuple[float | None, float | None] | None,
) -> tuple[float | None, float | None]:
    """Return seconds to connect and seconds without a byte; None is no limit."""
    pair: tuple[float | None, float | None]
    if timeout is None:
        connect_s = number_from_environment(const.AIS_CONNECT_TIMEOUT)
        read_s = number_from_environment(const.AIS_READ_TIMEOUT)
        pair = (
            const.DEFAULT_CONNECT_TIMEOUT_S if connect_s is None else connect_s,
            const.DEFAULT_READ_TIMEOUT_S if read_s is None else read_s,
        )
    elif isinstance(timeout, tuple):
        pair = timeout
    else:
        pair = timeout, timeout
    return pair[0] or None, pair[1] or None


def token_source(token: str | None, file: str | None = None) -> TokenSource:
    """Return where the token comes from: an argument, else the environment.

    Raises:
        OSError: the file, or that of `AIS_AUTHN_TOKEN_FILE`, cannot be read.
        ValueError: it holds no token.
    """
    if token or file:
        return TokenSource(token or "", file or "")
    environment = os.environ.get
    return TokenSource(
        environment(const.AIS_AUTHN_TOKEN, ""), environment(const.AIS_AUTHN_TOKEN_FILE, "")
    )


def context(
    *,
    skip_verify: bool,
    ca_cert: str | None,
    client_cert: str | tuple[str, str] | None,
) -> ssl.SSLContext:
    """Return the context of all TLS connections.

    Raises:
        OSError: a file cannot be read or does not hold what it should.
    """
    environment = os.environ.get
    if not skip_verify and ca_cert is None:
        skip_verify = environment(const.AIS_SKIP_VERIFY_CRT, "").lower() in _TRUE
    ca_cert = ca_cert or environment(const.AIS_CLIENT_CA) or environment(const.AIS_SERVER_CRT)
    pair: tuple[str, str | None] | None = None
    if isinstance(client_cert, tuple):
        pair = client_cert
    elif client_cert:
        pair = client_cert, None
    elif certificate := environment(const.AIS_CLIENT_CRT):
        pair = certificate, environment(const.AIS_CLIENT_KEY) or None
    return tls_context(skip_verify=skip_verify, ca_cert=ca_cert or None, client_cert=pair)


_TRUE = frozenset(("1", "t", "true", "y", "yes", "on"))
