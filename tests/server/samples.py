"""Archives of known content, and what is in an archive that was received."""

import base64
import gzip
import io
import tarfile
import zipfile
from typing import Any

import lz4.frame

MEMBERS = [
    ("img/1.jpg", b"JPEG1"),
    ("img/1.json", b'{"a":1}'),
    ("img/2.jpg", b"JPEG2"),
    ("d/empty", b""),
    ("top", b"T" * 100),
]
LZ4_MAGIC = b"\x04\x22\x4d\x18"
RECORDED_MTIME = 1_700_000_000
"""Of the members of the recording's shards; their checksums come out right with it."""


def tar_of(members: list[tuple[str, bytes]] = MEMBERS) -> bytes:
    """Return a USTAR archive, padded to 10 KiB as ordinary tools do."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(body), RECORDED_MTIME
            archive.addfile(info, io.BytesIO(body))
    return buffer.getvalue()


def zip_of(members: list[tuple[str, bytes]] = MEMBERS) -> bytes:
    """Return a zip archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return buffer.getvalue()


def archive_of(suffix: str, members: list[tuple[str, bytes]] = MEMBERS) -> bytes:
    """Return an archive in the format of an extension."""
    if suffix == ".zip":
        return zip_of(members)
    raw = tar_of(members)
    if suffix in {".tgz", ".tar.gz"}:
        return gzip.compress(raw, mtime=0)
    if suffix == ".tar.lz4":
        packed: bytes = lz4.frame.compress(raw)
        return packed
    return raw


def members_of(data: bytes) -> list[tuple[str, bytes]]:
    """Return names and bytes of an archive's members, whatever its format."""
    if data.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(info.filename, archive.read(info)) for info in archive.infolist()]
    if data.startswith(LZ4_MAGIC):
        data = lz4.frame.decompress(data)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:*") as tar:
        files = [(info, tar.extractfile(info)) for info in tar]
        return [(info.name, file.read() if file else b"") for info, file in files]


def lz4_differs(expected: str, actual: bytes) -> str:
    """Compare with an lz4 archive recorded in base64; the same members may be packed otherwise."""
    return members_differ(recorded_members(expected), actual)


def members_differ(expected: list[dict[str, Any]], actual: bytes) -> str:
    """Return how an archive differs from recorded members, empty if it does not."""
    wanted = [(item["name"], item["size"], item["text"]) for item in expected]
    found = [(name, len(body), body.decode("latin-1")[:64]) for name, body in members_of(actual)]
    return "" if wanted == found else f"members {wanted} != {found}"


def recorded_members(data: str) -> list[dict[str, Any]]:
    """Return an archive recorded in base64 as a list of its members."""
    return [
        {"name": name, "size": len(body), "text": body.decode("latin-1")[:64]}
        for name, body in members_of(base64.b64decode(data))
    ]
