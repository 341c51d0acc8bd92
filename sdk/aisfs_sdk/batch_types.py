"""What a batch asks for, and what is told of each of its members."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class MossIn:
    """One object, member of an archive, or part of one, that a batch asks for.

    Attributes:
        obj_name: name of the object.
        bucket: its bucket, where it is not the batch's.
        provider: of that bucket.
        archpath: name of a member, if the object is an archive.
        opaque: of the caller; comes back with the answer.
        start: first byte.
        length: bytes from there on, -1 up to the end.
    """

    obj_name: str
    bucket: str = ""
    provider: str = ""
    archpath: str = ""
    opaque: bytes = b""
    start: int = 0
    length: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, without what is not set."""
        options = {
            "bucket": self.bucket,
            "provider": self.provider,
            "archpath": self.archpath,
            "opaque": base64.b64encode(self.opaque).decode("ascii"),
            "start": self.start,
            "length": self.length,
        }
        return {"objname": self.obj_name, **{key: value for key, value in options.items() if value}}

    @property
    def expected_size(self) -> int | None:
        """Bytes that the answer has to have, None where only the cluster knows."""
        return self.length if self.length > 0 else None

    @property
    def byte_range(self) -> str | None:
        """The part as HTTP names it, None for the whole."""
        if not self.start and self.length <= 0:
            return None
        return f"bytes={self.start}-{self.start + self.length - 1 if self.length > 0 else ''}"


@dataclass(slots=True)
class MossOut:
    """What came of one that was asked for.

    Attributes:
        obj_name: name of the object.
        bucket: its bucket.
        provider: of the bucket.
        archpath: name of the member.
        opaque: as it was sent.
        size: bytes that came.
        err_msg: why it did not come, "" if it did.
    """

    obj_name: str
    bucket: str
    provider: str
    archpath: str = ""
    opaque: bytes = b""
    size: int = 0
    err_msg: str = ""

    @property
    def is_ok(self) -> bool:
        """Whether it came."""
        return not self.err_msg


@dataclass(slots=True)
class MossReq:
    """A whole request.

    Attributes:
        moss_in: what is asked for.
        output_format: of the archive that carries the answer.
        cont_on_err: go on after a missing one.
        only_obj_name: members are named without their bucket.
        streaming_get: the archive is sent while it is made.
    """

    moss_in: list[MossIn]
    output_format: str = ".tar"
    cont_on_err: bool = True
    only_obj_name: bool = False
    streaming_get: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "in": [one.as_dict() for one in self.moss_in],
            "mime": self.output_format,
            "coer": self.cont_on_err,
            "onob": self.only_obj_name,
            "strm": self.streaming_get,
        }
