"""What stat(2) shows of a file, and how it travels with the object (C22-C24).

Persistent format, one custom-metadata key `aisfs`: `1.` + base64url without padding of a msgpack
array `[kind, mode, uid, gid, mtime_ns, {xattr: value}]`. A later version gets another digit; values
of an unknown version read as if absent. Listings return custom metadata as a display string, so the
value holds none of blank, colon, comma, `=` and `]`.
"""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Mapping  # noqa: TC003 - the type of a field is looked up at run time
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

import msgspec

from aisfs.errors import Invalid, NoSpace

FORMAT = "1."
MAX_STORED = 2048 - len("aisfs")
"""AIS 5.0 keeps 2048 bytes of custom metadata, keys included (AIS: objects.md 4.8)."""


class Kind(enum.IntEnum):
    """What a name stands for. The numbers are part of the persistent format."""

    FILE = 0
    SYMLINK = 1
    DIRECTORY = 2


NO_XATTRS: Mapping[str, bytes] = MappingProxyType({})


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """The attributes of one node.

    Attributes:
        mode: permission bits only.
        mtime_ns: since the epoch; ctime shows the same (C23).
        xattrs: names with their `user.` prefix → value.
    """

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int = 0
    xattrs: Mapping[str, bytes] = NO_XATTRS

    def but(self, **changes: object) -> Attributes:
        """Return a copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)


_Id = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
"""What stat(2) has room for: others may store any number, and it must not fail a listing."""


class _Stored(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    kind: int
    mode: int
    uid: _Id
    gid: _Id
    mtime_ns: int
    xattrs: dict[str, bytes] = {}


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def encode(attributes: Attributes) -> str:
    """Return the stored form.

    A time outside the years 1677 to 2554 becomes the nearest that can be stored.

    Raises:
        NoSpace: extended attributes larger than an object's metadata.
        Invalid: an extended attribute's name is no text.
    """
    a = attributes
    mtime_ns = min(max(a.mtime_ns, -(1 << 63)), (1 << 64) - 1)
    try:
        body = _encoder.encode(_Stored(a.kind, a.mode, a.uid, a.gid, mtime_ns, dict(a.xattrs)))
    except UnicodeEncodeError as error:
        raise Invalid("the name of an extended attribute has to be UTF-8") from error
    text = FORMAT + base64.urlsafe_b64encode(body).rstrip(b"=").decode()
    if len(text) > MAX_STORED:
        raise NoSpace(f"the attributes take {len(text)} bytes, an object keeps {MAX_STORED}")
    return text


def decode(text: str) -> Attributes | None:
    """Return the attributes behind a stored value, or None if it is absent or not ours."""
    if not text.startswith(FORMAT):
        return None
    body = text[len(FORMAT) :]
    try:
        stored = _decoder.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        kind = Kind(stored.kind)
    except (msgspec.DecodeError, ValueError, binascii.Error):
        return None
    return Attributes(
        kind, stored.mode & 0o7777, stored.uid, stored.gid, stored.mtime_ns, 0, stored.xattrs
    )


@dataclass(frozen=True, slots=True)
class Presentation:
    """How objects look that carry no attributes of ours, and whose owner is shown (C23, C24).

    Attributes:
        persist_owner: show stored owners; else everything belongs to uid and gid.
    """

    uid: int
    gid: int
    file_mode: int
    dir_mode: int
    persist_owner: bool = False

    def of_object(self, stored: str, size: int, foreign_mtime_ns: int) -> Attributes:
        """Return what to show for an object: its own attributes, else the configured ones."""
        own = decode(stored)
        if own is None or own.kind is Kind.DIRECTORY:
            return Attributes(Kind.FILE, self.file_mode, self.uid, self.gid, foreign_mtime_ns, size)
        if not self.persist_owner:
            own = own.but(uid=self.uid, gid=self.gid)
        return own.but(size=size)

    def of_directory(self, stored: str, foreign_mtime_ns: int) -> Attributes:
        """Return what to show for a directory, from its marker's attributes if it has any."""
        own = decode(stored)
        if own is None or own.kind is not Kind.DIRECTORY:
            return Attributes(Kind.DIRECTORY, self.dir_mode, self.uid, self.gid, foreign_mtime_ns)
        return own if self.persist_owner else own.but(uid=self.uid, gid=self.gid)


def foreign_mtime_ns(created_ns: int, version: str, checksum: str) -> int:
    """Return a stable time for an object that others wrote (C23).

    The bucket's creation plus the version in seconds, nanoseconds from the checksum: the same from
    a listing and from a HEAD, and different for each content. Of a long version the last digits
    count: Google's are microseconds since the epoch.
    """
    digits = version[-9:]
    seconds = created_ns // 1_000_000_000
    if digits.isascii() and digits.isdigit():
        seconds += int(digits)
    try:
        # Not int(checksum[:8], 16), which takes "0x", "_" and blanks as well.
        nanoseconds = int.from_bytes(bytes.fromhex(checksum[:8])) % 1_000_000_000
    except ValueError:
        nanoseconds = 0
    return seconds * 1_000_000_000 + nanoseconds
