"""What failures of the network become: exceptions of requests, as AIS documents them."""

from __future__ import annotations

import http.client
import ssl

import requests
from urllib3 import exceptions as lib


def never_sent(error: Exception) -> bool:
    """Tell whether a failure came before any byte of the request left."""
    return isinstance(error, requests.ConnectTimeout) or isinstance(
        error.__cause__, lib.NewConnectionError
    )


def network_error(error: Exception, request: str) -> requests.RequestException:
    """Return the requests exception for a failure below.

    Args:
        error: from urllib3, http.client or a socket.
        request: method and object, for the text.
    """
    kind: type[requests.RequestException] = requests.ConnectionError
    if isinstance(error, lib.NewConnectionError):
        kind = requests.ConnectionError
    elif isinstance(error, lib.ConnectTimeoutError):
        kind = requests.ConnectTimeout
    elif isinstance(error, lib.SSLError) and not _is_cut(error):
        kind = requests.exceptions.SSLError
    elif isinstance(error, lib.ProxyError):
        kind = requests.exceptions.ProxyError
    elif _is_timeout(error):
        kind = requests.ReadTimeout
    elif isinstance(error, lib.LocationValueError):
        kind = requests.exceptions.InvalidURL
    elif isinstance(error, http.client.IncompleteRead | lib.IncompleteRead) or _is_torn(error):
        kind = requests.exceptions.ChunkedEncodingError
    return kind(f"{request}: {error}")


def _is_timeout(error: Exception) -> bool:
    return isinstance(error, lib.TimeoutError | TimeoutError) or any(
        isinstance(argument, TimeoutError) for argument in error.args
    )


def _is_cut(error: Exception) -> bool:
    """Tell whether TLS only says what plain TCP calls a reset connection."""
    cut = ssl.SSLEOFError, ssl.SSLZeroReturnError
    return any(isinstance(argument, cut) for argument in error.args)


def _is_torn(error: Exception) -> bool:
    torn = http.client.IncompleteRead, lib.IncompleteRead, lib.InvalidChunkLength
    return any(isinstance(argument, torn) for argument in error.args)
