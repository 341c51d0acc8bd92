"""What an answer that is no success means: status, text and request → one class of `errors`.

Serves `request_client.py`, and those who hold such an answer of requests. Chosen by the status, by
the cluster's own name of the error, and by what was asked for; words of the message count only
where they stand outside of names, so that no object's name can change its error.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from aisfs_sdk import const, errors

if TYPE_CHECKING:
    import requests


class ErrorBody(msgspec.Struct):
    """AIS: the JSON of an error."""

    message: str
    status: int
    tcode: str = ""


def ais_error(text: bytes) -> ErrorBody | None:
    """Return an AIS error, or None if the text is something else.

    Clusters of 2023 write two objects in a row for some errors; the first one counts.
    """
    try:
        found, _ = json.JSONDecoder().raw_decode(text.decode(const.UTF_ENCODING, "surrogateescape"))
        return msgspec.convert(found, ErrorBody)
    except (ValueError, msgspec.ValidationError):
        return None


_BUCKET_GONE = re.compile(r'(?:^|: )(?P<kind>\w+ )?bucket "[^"]*" does not exist')
_REMOTE_GONE = re.compile(r'remote-cluster\[|remote cluster "|failed to lookup (?:Cloud )?bucket ')
_BUCKET_TAKEN = re.compile(r'(?:^|: )bucket "[^"]*" already exists')

_BY_TCODE: dict[str, type[errors.AISError]] = {
    "ErrBckNotFound": errors.ErrBckNotFound,
    "ErrRemoteBckNotFound": errors.ErrRemoteBckNotFound,
    "ErrBucketAlreadyExists": errors.ErrBckAlreadyExists,
    "ErrBucketAccessDenied": errors.AuthError,
    "ErrBadCksum": errors.IntegrityError,
    "ErrUnsupp": errors.UnsupportedError,
    "ErrNotImpl": errors.UnsupportedError,
    "ErrNotRemoteBck": errors.UnsupportedError,
    "ErrMv": errors.PathCollisionError,
    "ErrCapExceeded": errors.NoSpaceError,
    "ErrLimitedCoexistence": errors.ConflictError,
    "ErrXactUsePrev": errors.ConflictError,
    "ErrRemoteMetadataMismatch": errors.PreconditionError,
}

_BY_STATUS: dict[int, type[errors.AISError]] = {
    400: errors.InvalidRequestError,
    401: errors.AuthError,
    403: errors.AuthError,
    405: errors.UnsupportedError,
    409: errors.ConflictError,
    412: errors.PreconditionError,
    413: errors.TooLargeError,
    416: errors.InvalidRequestError,
    423: errors.ConflictError,
    429: errors.UnavailableError,
    431: errors.TooLargeError,
    501: errors.UnsupportedError,
    502: errors.UnavailableError,
    503: errors.UnavailableError,
    504: errors.UnavailableError,
    507: errors.NoSpaceError,
}

_NO_ETL = re.compile(
    r"^the operation requires Kubernetes$|^k8s client is not initialized"
    r"|in a build without ETL support"
)
"""A cluster that runs no transformers says so with 400, 404 or 501, by request and release."""

_NODE_AWAY = re.compile(r"^[pt]\[[^]]*\]: (failed to call [pt]\[|cannot handle \w+ request: Smap )")
"""How 5.0 says, with status 400, that a node does not answer, or has no map yet."""

_BY_MESSAGE: tuple[tuple[int, re.Pattern[str], type[errors.AISError]], ...] = (
    (400, _NO_ETL, errors.UnsupportedError),
    (404, _NO_ETL, errors.UnsupportedError),
    (400, _NODE_AWAY, errors.NodeAwayError),
    (400, re.compile(r"^custom metadata: total size "), errors.TooLargeError),
    (400, re.compile(r": no space left on device$"), errors.NoSpaceError),
    (400, re.compile(r"^failed to rename .*: (not a directory|file exists)$"),
     errors.PathCollisionError),
    (400, re.compile(r" is currently running, cannot run | is already running$"),
     errors.ConflictError),
)  # fmt: skip


def refusal(
    method: str, url: str, status: int, text: bytes, response: requests.Response, request: str = ""
) -> errors.AISError:
    """Return the exception for an answer that is no success.

    It is chosen by the status, by the cluster's own name of the error, and by what was asked for;
    words of the message count only where they stand outside of names.

    Args:
        method: HTTP method of the request.
        status: HTTP status of the answer.
        url: where the answer came from; its path tells what was asked for.
        text: body of the answer, or the header that stands for it after HEAD.
        response: goes into the exception.
        request: method and object, for the text.
    """
    found = ais_error(text)
    if found is None:
        plain = " ".join(text.decode(const.UTF_ENCODING, "replace").split())[:300]
        found = ErrorBody(plain, status)
    kind = _kind(method, url, status, found)
    message = found.message or response.reason or ""
    return kind(status, message, request or f"{method} {urlsplit(url).path}", found.tcode, response)


def _kind(method: str, url: str, status: int, found: ErrorBody) -> type[errors.AISError]:
    # 501 says it all, whatever else is the matter (creating a cloud bucket: "not found").
    kind = None if status == 501 else _BY_TCODE.get(found.tcode)
    if kind is errors.ErrBckNotFound and _REMOTE_GONE.search(found.message):
        return errors.ErrRemoteBckNotFound
    if kind is None and status in {404, 410}:
        kind = _by_message(status, found.message) or _missing(url, found)
    if kind is None and status in {400, 409}:
        kind = _taken(url, found.message) or _by_message(status, found.message)
    if kind is None and status == 409 and method == const.HTTP_METHOD_GET:
        kind = errors.ErrGETConflict
    return kind or _BY_STATUS.get(status, errors.AISError)


def _by_message(status: int, message: str) -> type[errors.AISError] | None:
    for code, pattern, kind in _BY_MESSAGE:
        if code == status and pattern.search(message):
            return kind
    return None


def _taken(url: str, message: str) -> type[errors.AISError] | None:
    """Return the error of a name that is taken, if the message says so."""
    if urlsplit(url).path.startswith("/v1/etl") and message.endswith(" already exists"):
        return errors.ErrETLAlreadyExists
    return errors.ErrBckAlreadyExists if _BUCKET_TAKEN.search(message) else None


def _missing(url: str, found: ErrorBody) -> type[errors.AISError]:
    """Return the kind of thing that is missing."""
    parts = urlsplit(url)
    path = parts.path.removeprefix(f"/{const.URL_PATH_VERSION}/")
    if found.tcode != "ErrNotFound":
        if gone := _BUCKET_GONE.search(found.message):
            remote = gone["kind"] or _REMOTE_GONE.search(found.message)
            return errors.ErrRemoteBckNotFound if remote else errors.ErrBckNotFound
        if _REMOTE_GONE.search(found.message):
            return errors.ErrRemoteBckNotFound
    if path.startswith(f"{const.URL_PATH_OBJECTS}/"):
        names_object = "://" in found.message.partition(" does")[0]
        etl = f"{const.QPARAM_ETL_NAME}=" in parts.query and not names_object
        return errors.ErrETLNotFound if etl else errors.ErrObjNotFound
    if path.startswith(const.URL_PATH_ETL):
        return errors.ErrETLNotFound
    if path.startswith(f"{const.URL_PATH_BUCKETS}/") and not found.message:
        return errors.ErrBckNotFound
    return errors.AISError
