"""SDK errors → `FsError`, saying what was attempted and what the cluster said.

Serves the modules of `store`.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import NewConnectionError

from aisfs.errors import (
    Busy,
    Exists,
    Forbidden,
    FsError,
    Invalid,
    IoFailure,
    IsADirectory,
    NoSpace,
    NotADirectory,
    NotFound,
    Stale,
    TimedOut,
    TooLarge,
    Unreachable,
    Unsupported,
)
from aisfs_sdk import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)


@contextmanager
def told_as_fs_error(doing: str) -> Iterator[None]:
    """Turn what the SDK raises into the mount's errors, saying what was attempted."""
    try:
        yield
    except FsError:
        raise
    except errors.AISError as error:
        raise _from_ais(doing, error) from error
    except (requests.Timeout, errors.Timeout) as error:
        raise TimedOut(f"{doing}: the cluster did not answer in time ({error})") from error
    except requests.ConnectionError as error:
        raise _from_connection(doing, error) from error
    except requests.RequestException as error:
        raise IoFailure(f"{doing}: {error}") from error
    except (ValueError, errors.InvalidBckProvider, errors.InvalidObjectRangeIndex) as error:
        raise Invalid(f"{doing}: {error}") from error
    except (OSError, errors.UnexpectedHTTPStatusCode) as error:
        raise IoFailure(f"{doing}: {error}") from error


_BY_CLASS: tuple[tuple[type[errors.AISError], type[FsError]], ...] = (
    (errors.AuthError, Forbidden),
    (errors.ErrBckNotFound, NotFound),
    (errors.ErrObjNotFound, NotFound),
    (errors.ErrETLNotFound, NotFound),
    (errors.JobInfoNotFound, NotFound),
    (errors.NodeAwayError, Unreachable),
    (errors.ErrBckAlreadyExists, Exists),
    (errors.ErrETLAlreadyExists, Exists),
    (errors.ConflictError, Busy),
    (errors.PreconditionError, Stale),
    (errors.TooLargeError, TooLarge),
    (errors.NoSpaceError, NoSpace),
    (errors.UnsupportedError, Unsupported),
    (errors.IntegrityError, IoFailure),
    (errors.AbortedError, IoFailure),
    (errors.NotAISError, Invalid),
    (errors.InvalidRequestError, Invalid),
)


def _from_ais(doing: str, error: errors.AISError) -> FsError:
    text = f"{doing}: the cluster said: {error.message}"
    if isinstance(error, errors.PathCollisionError):
        if error.existing == "directory":
            log.warning("%s (an emptied directory keeps its name on AIS disks)", text)
            return IsADirectory(text)
        return NotADirectory(text)
    for sdk_class, ours in _BY_CLASS:
        if isinstance(error, sdk_class):
            return ours(text)
    if isinstance(error, errors.UnavailableError) and error.status_code in {429, 503}:
        return Busy(text)
    return IoFailure(text)


def _from_connection(doing: str, error: requests.ConnectionError) -> FsError:
    """Tell "nobody there" from "the connection broke"."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NewConnectionError):
            return Unreachable(f"{doing}: nobody answers at the cluster's address")
        cause = cause.__cause__
    return IoFailure(f"{doing}: the connection broke ({error})")
