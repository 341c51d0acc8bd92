"""Everything that a cluster's answer can raise.

What AIS says becomes `AISError` or a child. What the network does (no connection, timeouts, cut
replies to control calls) stays a `requests` exception. Both are made in `request_client.py`.

    AISError
    ├── AuthError                  401, 403: no token, a wrong one, or not enough rights
    ├── ErrBckNotFound *           no such bucket
    │   └── ErrRemoteBckNotFound   … at its cloud or remote cluster
    ├── ErrObjNotFound *           no such object, or no such member of an archive
    ├── ErrETLNotFound             no such transformer
    ├── ErrBckAlreadyExists        the bucket's name is taken
    ├── ErrETLAlreadyExists        the transformer's name is taken
    ├── ConflictError              busy: a job or another request holds it (409, 423)
    │   └── ErrGETConflict         … while reading
    ├── PathCollisionError         the name runs through an object, or is a virtual directory
    ├── PreconditionError          the object is not what the request expected (412, remote change)
    ├── InvalidRequestError        the cluster calls the request malformed (400, 416)
    ├── TooLargeError              object or metadata above a limit
    ├── NoSpaceError               the cluster is full (507)
    ├── UnsupportedError           this cluster, or this kind of bucket, cannot do it
    ├── UnavailableError *         overloaded or starting, also after retries (429, 502, 503, 504)
    │   └── NodeAwayError          a node that is needed for it is not there, or is too new
    ├── JobInfoNotFound            no node knows the job
    ├── IntegrityError             bytes were lost, added or changed on the way
    │   ├── ChecksumError          of a whole object, all of which came
    │   └── ObjectChangedError     between the parts of one read
    │   └── ObjectFileReaderMaxResumeError   … also when reading was resumed
    ├── AbortedError               the caller aborted the stream itself
    └── NotAISError                something answers at the endpoint, but it is not AIS

    InvalidURLException            refused here: no URL of a bucket or object
    InvalidBckProvider             refused here: the call makes no sense for this provider
    Timeout                        a wait for a job was longer than its caller allowed
    InvalidObjectRangeIndex        refused here: malformed range of object names
    UnexpectedHTTPStatusCode       success, but not in the expected form

Classes marked * are `requests.HTTPError` as well, with `.response`, as AIS documents it for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import requests

if TYPE_CHECKING:
    from collections.abc import Callable


class AISError(Exception):
    """The cluster refused or failed a request.

    Attributes:
        status_code: HTTP status of the answer, 0 if the failure was found on this side.
        message: what the cluster said.
        request: what was asked: method and bucket or object.
        tcode: the cluster's own name of the error, where it gives one.
        response: the answer, where there was one.
    """

    response: requests.Response | None

    def __init__(
        self,
        status_code: int,
        message: str,
        request: str = "",
        tcode: str = "",
        response: requests.Response | None = None,
    ) -> None:
        self.status_code = status_code
        self.message = message
        about = f" ({request})" if request else ""
        super().__init__(f"STATUS:{status_code}, MESSAGE:{message}{about}")
        # After super(): children that are requests exceptions set these two as well.
        self.request: Any = request
        self.tcode = tcode
        self.response = response

    def __reduce__(self) -> tuple[Callable[..., AISError], tuple[Any, ...]]:
        return type(self), (self.status_code, self.message, self.request, self.tcode, self.response)


APIRequestError = AISError
"""The name that newer releases give to it."""


class AuthError(AISError):
    """The cluster wants a token, or this one does not permit the request."""


class ErrBckNotFound(AISError, requests.HTTPError):
    """There is no such bucket."""


class ErrRemoteBckNotFound(ErrBckNotFound):
    """There is no such bucket at its cloud or remote cluster."""


class ErrObjNotFound(AISError, requests.HTTPError):
    """There is no such object, or no such member of an archive."""


class ErrETLNotFound(AISError):
    """There is no such transformer."""


class ErrBckAlreadyExists(AISError):
    """The bucket's name is taken."""


class ErrETLAlreadyExists(AISError):
    """The transformer's name is taken."""


class ConflictError(AISError):
    """A job or another request is at work on the same thing."""


class ErrGETConflict(ConflictError):
    """The object is being changed while it is read."""


class PathCollisionError(AISError):
    """The object's name cannot be stored beside others.

    Attributes:
        existing: what stands in the way: a virtual "directory" of that very name, or an "object"
            where the name needs a directory.
    """

    @property
    def existing(self) -> Literal["directory", "object"]:
        """What stands in the way."""
        blocked = "contains an object in its path", "not a directory"
        return "object" if any(words in self.message for words in blocked) else "directory"


class PreconditionError(AISError):
    """The object is not what the request expected."""


class InvalidRequestError(AISError):
    """The cluster calls the request malformed."""


class TooLargeError(AISError):
    """An object, or its custom metadata, is above a limit."""


class NoSpaceError(AISError):
    """The cluster has no room left."""


class UnsupportedError(AISError):
    """This cluster, or this kind of bucket, cannot do it."""


class UnavailableError(AISError, requests.HTTPError):
    """The cluster is starting or overloaded, also when it was asked again."""


class NodeAwayError(UnavailableError):
    """A node cannot be reached, left the cluster, or joined just now: what it has may exist."""


class IntegrityError(AISError):
    """Bytes were lost, added or changed on the way; what was received so far may be kept."""


class ChecksumError(IntegrityError):
    """A whole object came in full, and its bytes are not those that the cluster stored."""


class ObjectChangedError(IntegrityError):
    """The object was replaced between the requests of one read: no further try can help."""


class ObjectFileReaderMaxResumeError(IntegrityError):
    """A file could not be read to its end, however often it was gone on with."""


class AbortedError(AISError):
    """The caller aborted the stream itself."""


class NotAISError(AISError):
    """Something answers at the endpoint, but it is not an AIS cluster."""


class InvalidURLException(ValueError):
    """A text is no URL of a bucket or object."""


class InvalidBckProvider(Exception):
    """The call makes no sense for buckets of this provider."""

    def __init__(self, provider: str) -> None:
        super().__init__(f"Invalid bucket provider {provider}")
        self.provider = provider


class Timeout(Exception):
    """A wait was longer than its caller allowed."""

    def __init__(self, action: str, message: str = "") -> None:
        super().__init__(f"Timed out while waiting for {action}. {message}")
        self.action = action


class InvalidObjectRangeIndex(Exception):
    """A range of object names is malformed."""


class JobInfoNotFound(AISError):
    """No node knows the job. AIS documents it with a message alone."""

    def __init__(
        self,
        status_code: int | str,
        message: str = "",
        request: str = "",
        tcode: str = "",
        response: requests.Response | None = None,
    ) -> None:
        if isinstance(status_code, str):
            super().__init__(404, status_code, request, tcode, response)
        else:
            super().__init__(status_code, message, request, tcode, response)


class UnexpectedHTTPStatusCode(Exception):
    """The cluster reported success in a form that was not expected."""

    def __init__(self, expected_status_codes: list[int], received_status_code: int) -> None:
        expected = " or ".join(str(code) for code in expected_status_codes)
        super().__init__(f"Expected HTTP status {expected}, received {received_status_code}")
        self.expected_status_codes = expected_status_codes
        self.received_status_code = received_status_code
