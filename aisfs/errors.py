"""Every failure that a caller of the mount can see, and its errno.

One class per condition. `store/aistore.py` turns what the SDK raises into these,
`fuse/operations.py` turns these into the errno that the kernel hands to the application. The texts
say what was attempted, on which name, and what the cluster answered.

    FsError
    ├── NotFound          ENOENT        ├── Stale        ESTALE
    ├── Exists            EEXIST        ├── Busy         EBUSY
    ├── NotADirectory     ENOTDIR       ├── Unreachable  EHOSTUNREACH
    ├── IsADirectory      EISDIR        ├── Invalid      EINVAL
    ├── NotEmpty          ENOTEMPTY     ├── NoAttribute  ENODATA
    ├── Forbidden         EACCES        ├── Unsupported  EOPNOTSUPP
    ├── ReadOnly          EROFS         ├── NameTooLong  ENAMETOOLONG
    ├── NotPermitted      EPERM         ├── TooLarge     EFBIG
    ├── CrossDevice       EXDEV         ├── NoSpace      ENOSPC
    ├── BadHandle         EBADF         ├── TimedOut     ETIMEDOUT
    ├── SentOn            ESPIPE        └── ResultTooBig ERANGE
    ├── ArgumentsTooLong  E2BIG         ├── Interrupted  EINTR
    ├── WouldBlock        EAGAIN        ├── TooManyOpen  ENFILE
    └── IoFailure         EIO
        ├── Corrupt       EIO           Unreachable
        ├── Torn          EIO           └── Incomplete   EHOSTUNREACH
        └── Unsendable    EIO           Stale
                                        └── Replaced     ESTALE
"""

import errno
import logging
from typing import ClassVar


class FsError(Exception):
    """A failure with an errno.

    Attributes:
        errno: what the application gets.
        log_level: how loudly it is logged: error when data is at risk, debug for the everyday.
    """

    errno: ClassVar[int] = errno.EIO
    log_level: ClassVar[int] = logging.DEBUG


def errno_name(number: int) -> str:
    """Return the name of an errno, such as ENOENT; the number itself if it has none."""
    return errno.errorcode.get(number, str(number))


class NotFound(FsError):
    """No such bucket, object or name."""

    errno = errno.ENOENT


class Exists(FsError):
    """The name is taken."""

    errno = errno.EEXIST


class NotADirectory(FsError):
    """A file stands where a directory is needed."""

    errno = errno.ENOTDIR


class IsADirectory(FsError):
    """A directory stands where a file is needed."""

    errno = errno.EISDIR


class NotEmpty(FsError):
    """The directory still holds something."""

    errno = errno.ENOTEMPTY


class Forbidden(FsError):
    """The cluster refuses this caller (HTTP 401, 403)."""

    errno = errno.EACCES
    log_level = logging.WARNING


class ReadOnly(FsError):
    """The mount or the bucket is read-only."""

    errno = errno.EROFS
    log_level = logging.INFO


class NotPermitted(FsError):
    """The mount does not allow this, whoever asks."""

    errno = errno.EPERM
    log_level = logging.INFO


class CrossDevice(FsError):
    """Source and target of a rename do not lie in the same bucket."""

    errno = errno.EXDEV


class Stale(FsError):
    """The object changed on the cluster while it was open here."""

    errno = errno.ESTALE
    log_level = logging.WARNING


class Replaced(Stale):
    """Another file took the name while it was being opened: the kernel looks it up again."""

    log_level = logging.DEBUG


class Busy(FsError):
    """The cluster is busy with this object or overloaded (HTTP 409, 429, 503)."""

    errno = errno.EBUSY
    log_level = logging.INFO


class Unreachable(FsError):
    """Nobody answers at the cluster's address."""

    errno = errno.EHOSTUNREACH
    log_level = logging.ERROR


class Incomplete(Unreachable):
    """A listing lacks what targets hold that left the cluster without notice."""

    log_level = logging.WARNING


class Invalid(FsError):
    """A malformed name, value or request."""

    errno = errno.EINVAL
    log_level = logging.INFO


class NoAttribute(FsError):
    """No such extended attribute."""

    errno = errno.ENODATA


class ResultTooBig(FsError):
    """The caller's buffer is too small for the answer."""

    errno = errno.ERANGE


class ArgumentsTooLong(FsError):
    """More commands at once than are taken."""

    errno = errno.E2BIG
    log_level = logging.INFO


class Interrupted(FsError):
    """A program was told to end while it waited."""

    errno = errno.EINTR


class WouldBlock(FsError):
    """There is nothing to read yet, and the reader does not wait."""

    errno = errno.EAGAIN


class Unsupported(FsError):
    """An operation that aisfs or this cluster does not offer."""

    errno = errno.EOPNOTSUPP


class NameTooLong(FsError):
    """A component of the name is longer than the cluster stores."""

    errno = errno.ENAMETOOLONG
    log_level = logging.INFO


class TooLarge(FsError):
    """The object would be larger than the cluster or the staging area takes."""

    errno = errno.EFBIG
    log_level = logging.INFO


class NoSpace(FsError):
    """The cluster, the staging area or an object's attributes are full."""

    errno = errno.ENOSPC
    log_level = logging.ERROR


class TooManyOpen(FsError):
    """The process that serves the mount may have no more descriptors (POSIX: ENFILE of open(2))."""

    errno = errno.ENFILE
    log_level = logging.ERROR


class SentOn(FsError):
    """Bytes of a file larger than staging: they went to the cluster and are not here any more."""

    errno = errno.ESPIPE
    log_level = logging.WARNING


class TimedOut(FsError):
    """The deadline passed before the cluster answered."""

    errno = errno.ETIMEDOUT
    log_level = logging.ERROR


class IoFailure(FsError):
    """The cluster failed: 5xx, a lost connection, a short or corrupt body."""

    errno = errno.EIO
    log_level = logging.ERROR


class Corrupt(IoFailure):
    """The bytes do not have the checksum that the cluster keeps of them."""


class Torn(IoFailure):
    """A body broke off after it had begun: what came is right, and the rest can be asked for."""


class Unsendable(IoFailure):
    """A staged file of an earlier mount is not what was written down: it must not be stored."""


class BadHandle(FsError):
    """The handle is unknown, or not open for this."""

    errno = errno.EBADF
    log_level = logging.WARNING
