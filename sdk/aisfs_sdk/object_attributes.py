"""What a cluster says of an object beside its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs_sdk import const
from aisfs_sdk.session import lines

if TYPE_CHECKING:
    from collections.abc import Mapping


def decode_header(value: str) -> str:
    """Return a header's text; HTTP libraries hand its UTF-8 bytes over as Latin-1."""
    if value.isascii():
        return value
    return value.encode("latin-1").decode(const.UTF_ENCODING, "surrogateescape")


def encode_header(value: str) -> str:
    """Return a text in the form in which HTTP libraries send it as UTF-8."""
    if value.isascii():
        return value
    return value.encode(const.UTF_ENCODING, "surrogateescape").decode("latin-1")


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0


class ObjectAttributes:
    """Attributes of one object, from the headers of an answer about it.

    What the answer does not tell is empty: size 0, texts "", metadata {}. An answer to a PUT whose
    checksum equalled the stored one tells nothing but the size: the cluster kept the object as it
    was, attributes included.
    """

    __slots__ = ("_headers", "_size")

    def __init__(self, headers: Mapping[str, str], size: int | None = None) -> None:
        """Read from headers.

        Args:
            headers: names are looked up as AIS writes them, so the mapping has to ignore case.
            size: of the whole object in bytes, where the headers tell another one.
        """
        self._headers = headers
        self._size = size

    def __repr__(self) -> str:
        checksum = f"{self.checksum_type}:{self.checksum_value}"
        return f"<ObjectAttributes {self.size} bytes, {checksum}, version {self.obj_version!r}>"

    @property
    def size(self) -> int:
        """Bytes of the whole object, also in an answer that holds only a range of it."""
        if self._size is not None:
            return self._size
        total = self._headers.get(const.HEADER_CONTENT_RANGE, "").rpartition("/")[2]
        if total.isdigit():
            return int(total)
        return _number(self._headers.get(const.HEADER_CONTENT_LENGTH, ""))

    @property
    def checksum_type(self) -> str:
        """Kind of checksum, such as `xxhash2`, `md5`, `crc32c`."""
        return self._headers.get(const.HEADER_CHECKSUM_TYPE, "")

    @property
    def checksum_value(self) -> str:
        """Checksum of the whole object, in lower-case hexadecimal digits."""
        return self._headers.get(const.HEADER_CHECKSUM_VALUE, "")

    @property
    def access_time(self) -> str:
        """When the object was last read: nanoseconds since the epoch, as decimal text."""
        return self._headers.get(const.HEADER_ATIME, "")

    @property
    def obj_version(self) -> str:
        """Version of the content."""
        return self._headers.get(const.HEADER_VERSION, "")

    @property
    def present(self) -> bool:
        """Whether the cluster itself holds the object; only a remote bucket's may be elsewhere."""
        return self._headers.get(const.HEADER_PRESENT, "true").lower() == "true"

    @property
    def location(self) -> str:
        """Node and disk that hold the object."""
        return self._headers.get(const.HEADER_LOCATION_PROPS, "")

    @property
    def mirror_copies(self) -> int:
        """Copies of the object within its node."""
        return _number(self._headers.get(const.HEADER_MIRROR_COPIES, ""))

    @property
    def mirror_paths(self) -> list[str]:
        """Directories that hold them."""
        text = self._headers.get(const.HEADER_MIRROR_PATHS, "").strip("[]")
        return [path.strip() for path in text.replace(",", " ").split()]

    @property
    def last_modified(self) -> str:
        """When the content was stored, as HTTP writes dates; only where it was asked for."""
        return self._headers.get(const.HEADER_LAST_MODIFIED, "")

    @property
    def etag(self) -> str:
        """Tag of the content, without quotes; only where it was asked for."""
        return self._headers.get(const.HEADER_ETAG, "").strip('"')

    @property
    def chunks(self) -> int | None:
        """Parts that the object is stored in; None where that was not told."""
        text = self._headers.get(const.HEADER_CHUNKS_COUNT, "")
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def custom_metadata(self) -> dict[str, str]:
        """Custom metadata by key. A value's leading and trailing blanks are lost on the way."""
        found = {}
        for line in lines(self._headers, const.HEADER_CUSTOM_MD):
            key, equals, value = line.strip().partition("=")
            if equals:
                found[decode_header(key)] = decode_header(value)
        return found
