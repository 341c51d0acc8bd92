"""Archives as objects at a target: reading members, adding members.

AIS: `GET …?archpath=` (one member), `GET …?archregx=&archmode=` (all that match, as TAR), and
`PUT …?archpath=` with `Ais-Pine`. Adding makes a whole new object out of the old one, so readers
see the shard before or after and a failure leaves it as it was; real servers write into the old
one and corrupt what other tools padded.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

from aiohttp import web

from aisfs.server.archives import formats
from aisfs.server.archives.formats import ArchiveError, Entry, Member, UnknownMimeError
from aisfs.server.archives.query import member_names
from aisfs.server.eras import Feature
from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, read_at
from aisfs.server.http.streams import send_pieces, to_its_end
from aisfs.server.naming import encode_name
from aisfs.server.objects.reads import (
    attribute_headers,
    bring_if_any,
    bring_object,
    content_type,
    send_file,
)
from aisfs.server.objects.writes import Intake, blocking_io, check_room, receive
from aisfs.server.releases.content_types import SNIFFED
from aisfs.server.remote.copies import commit
from aisfs.server.storage.blobs import BlobWriter, copy_into, unlink_quietly
from aisfs.server.storage.catalog import Bucket, Record
from aisfs_sdk import const

APPEND = 1
"""`Ais-Pine`: add to the shard, which must exist."""

APPEND_OR_PUT = 2
"""`Ais-Pine`: add to the shard, or create it."""


def refusal(error: ArchiveError, uri: str) -> AisError:
    """Return the 400 for an archive that is none."""
    head = f"failed to open {uri}: " if error.opening else ""
    return AisError(400, head + error.reason, error.tcode)


def _member_refusal(call: Call, bucket: Bucket, name: str, error: ArchiveError) -> AisError:
    """Return the refusal to read a member of an archive that is none."""
    said, path = call.era.said, call.query.text(const.QPARAM_ARCHPATH)
    if isinstance(error, UnknownMimeError):
        return said.unknown_mime.error(mime=error.mime)
    if not call.era.member_errors_announce_shard:
        return refusal(error, f"{bucket.name.uri}/{name}")
    return said.no_archive.error(path=path, bucket=bucket.name.name, name=name, reason=error.reason)


def _announcing(call: Call, record: Record, error: AisError) -> AisError:
    """Return a refusal with the headers that AIS 3.17 has written by then."""
    if call.era.member_errors_announce_shard:
        error.headers.update(attribute_headers(record, call.era))
        error.headers["Content-Length"] = str(record.size)
    return error


def _kind(call: Call, name: str, file: BinaryIO) -> str:
    """Return the format to read an object as.

    Raises:
        ArchiveError: nothing tells a format.
    """
    if mime := call.query.text(const.QPARAM_ARCHMIME):
        return formats.kind_by_mime(mime)
    kind = formats.kind_by_name(name) or formats.kind_by_content(file)
    if not kind:
        raise ArchiveError(f'unrecognized or unsupported file format: "{name}"')
    return kind


# ---- reading ------------------------------------------------------------------------------------


async def get_from_shard(call: Call, bucket: Bucket, name: str) -> web.StreamResponse:
    """Answer GET with `archpath` or `archmode`."""
    path = call.query.text(const.QPARAM_ARCHPATH)
    if call.header("Range"):
        raise call.era.said.range_of_member.error(header=call.header("Range"), path=path)
    record = await bring_object(call, bucket, name)
    uri = f"{bucket.name.uri}/{name}"
    with os.fdopen(call.store.blobs.open(record.blob), "rb") as file:
        call.store.catalog.touch(bucket, record.name)
        try:
            if path:
                return await _send_member(call, file, name, record, uri)
            return await _send_matches(call, file, name, uri)
        except ArchiveError as error:
            refused = _member_refusal(call, bucket, name, error)
            raise _announcing(call, record, refused) from error


async def _send_member(
    call: Call, file: BinaryIO, name: str, record: Record, uri: str
) -> web.StreamResponse:
    path = call.query.text(const.QPARAM_ARCHPATH)
    found = await to_its_end(call, _find, call, file, name, path)
    if found is None:
        raise _announcing(call, record, call.era.said.member_missing.error(path=path, uri=uri))
    member, _ = found
    headers = []
    if call.era.members_have_attributes:
        headers += _member_headers(call, name, record, path, file)
    if member.contiguous:
        span = (member.offset, member.size)
        head = min(member.size, SNIFFED)
        headers += content_type(call, lambda: read_at(file.fileno(), member.offset, head))
        return await send_file(call, file.fileno(), (200, headers), span)
    pieces = pieces_of(member)
    first = await to_its_end(call, next, pieces, b"")
    headers += content_type(call, lambda: first)
    if not member.size:
        return Reply(200, [*headers, ("Content-Length", "0")])
    return await send_pieces(call, headers, _from(first, pieces), member.size)


def _from(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    """Yield a piece and those after it."""
    yield first
    yield from others


def _member_headers(
    call: Call, name: str, record: Record, path: str, file: BinaryIO
) -> list[tuple[str, str]]:
    kind = _kind(call, name, file)
    plain = "" if call.query.text(const.QPARAM_ARCHMIME) else name
    shown = next((suffix for suffix in formats.SUFFIXES if plain.endswith(suffix)), kind)
    headers = [("Ais-Archmime", shown), ("Ais-Archpath", path.removeprefix(f"{name}/"))]
    headers.append((const.HEADER_ATIME, str(record.atime)))
    return headers + ([(const.HEADER_VERSION, record.version)] if record.version else [])


def _find(
    call: Call, file: BinaryIO, name: str, path: str
) -> tuple[Member, Iterator[Member]] | None:
    return formats.find(file, _kind(call, name, file), member_names(name, path))


def pieces_of(member: Member) -> Iterator[bytes]:
    """Yield a member's bytes.

    Raises:
        ArchiveError: the archive is broken or ends early.
    """
    left = member.size
    with member.open() as stream:
        while left:
            piece = formats.read_some(stream, min(left, formats.PIECE))
            left -= len(piece)
            yield piece


async def _send_matches(call: Call, file: BinaryIO, name: str, uri: str) -> web.StreamResponse:
    """Send the matching members as TAR, whatever the shard is."""
    mode = call.query.text(const.QPARAM_ARCHMODE)
    pattern = call.query.text(const.QPARAM_ARCHREGX)
    shown = f"(archregx={pattern}, archmode={mode})"
    try:
        matches = formats.matcher(mode, pattern)
        kind = await to_its_end(call, _kind, call, name, file)
        members = (member for member in formats.walk(file, kind) if matches(member.name))
        first = await to_its_end(call, next, members, None)
    except ArchiveError as error:
        raise AisError(
            400,
            f"{{node}}: failed to extract files that match {shown} from {uri}, err: {error.reason}",
            "ErrFailedTo",
        ) from error
    if first is None:
        raise AisError(404, f"{{node}}: {shown} in {uri} does not exist", "ErrNotFound")
    headers = [("Content-Type", formats.CONTENT_TYPES[formats.TAR])]
    pieces = formats.pack(_entries(first, members), formats.TAR)
    return await send_pieces(call, headers, pieces)


def _entries(first: Member, others: Iterator[Member]) -> Iterator[Entry]:
    member: Member | None = first
    while member is not None:
        with member.open() as stream:
            yield Entry(member.name, member.size, member.mtime, stream)
        member = next(others, None)


# ---- adding -------------------------------------------------------------------------------------


async def put_into_shard(call: Call, bucket: Bucket, name: str) -> Reply:
    """Answer PUT with `archpath`: add a member, or make a shard of just this member."""
    uri = f"{bucket.name.uri}/{name}"
    if call.request.content_length is None:
        raise AisError(400, f'failed to archive {uri}: missing "Content-Length" in the request')
    flags = _flags(call, uri)
    kind = _named_kind(call, name)
    record = await bring_if_any(call, bucket, name)
    if record is None and not kind:
        raise call.era.said.shard_unknown.error(uri=uri)
    if record is None and flags & APPEND:
        raise call.era.said.shard_missing.error(uri=uri)
    if kind == formats.ZIP and not call.era.has(Feature.ARCHIVE_FLAGS):
        raise AisError(500, "gzip: invalid header")
    body = call.store.blobs.create_work()
    await receive(call, body, call.request.content_length)
    body.close()
    adding = bool(flags & (APPEND | APPEND_OR_PUT))
    path = call.query.text(const.QPARAM_ARCHPATH).lstrip("/")

    def build(writer: BlobWriter, old: BinaryIO | None) -> None:
        with body.path.open("rb") as stream:
            entry = Entry(path, body.size, int(time.time()), stream)
            write_shard(writer, [entry], old, (kind, name), adding=adding)

    try:
        await replace_shard(call, bucket, name, build, body.size)
    except ArchiveError as error:
        raise refusal(error, uri) from error
    finally:
        unlink_quietly(body.path)
    return Reply()


def _flags(call: Call, uri: str) -> int:
    if not call.era.has(Feature.ARCHIVE_FLAGS):
        return APPEND
    text = call.header(const.HEADER_PINE) or "0"
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise AisError(400, f'failed to archive {uri}: invalid flags "{text}" in the request')
    return int(text)


def _named_kind(call: Call, name: str) -> str:
    mime = call.query.text(const.QPARAM_ARCHMIME)
    try:
        return formats.kind_by_mime(mime) if mime else formats.kind_by_name(name)
    except ArchiveError as error:
        raise refusal(error, name) from error


Build = Callable[[BlobWriter, BinaryIO | None], None]


async def replace_shard(call: Call, bucket: Bucket, name: str, build: Build, size: int) -> int:
    """Commit a shard that is built from the present one, again if that changes meanwhile.

    Args:
        call: The request.
        bucket: Where the shard is.
        name: Its name.
        build: Writes the new shard, given the old one if there is one; runs in a thread.
        size: Bytes that are added, about.

    Returns:
        Size of the new shard in bytes.

    Raises:
        ArchiveError: the old shard is not sound.
    """
    key = encode_name(name)
    async with call.store.shard_locks.setdefault((bucket.id, key), asyncio.Lock()):
        while True:
            record = await _try_replace(call, bucket, key, build, size)
            if record is not None:
                return record.size


async def _try_replace(
    call: Call, bucket: Bucket, key: bytes, build: Build, size: int
) -> Record | None:
    """Build a new shard and commit it; None if the object changed meanwhile."""
    old = call.store.catalog.get(bucket, key)
    check_room(call, size + (old.size if old else 0))
    intake = Intake(bucket)
    writer = call.store.blobs.create(intake.hashers)
    source = call.store.blobs.open(old.blob) if old is not None else -1
    try:
        await blocking_io(call, _build, writer, build, source)
        call.store.check_still_there(bucket)
        now = call.store.catalog.get(bucket, key)
        if (now and now.blob) != (old and old.blob):
            writer.discard()
            return None
        record = _record(bucket, key, writer, intake.checksum, old)
        record = await commit(call.store, bucket, record)
    except BaseException:
        writer.discard()
        raise
    finally:
        if source >= 0:
            os.close(source)
    writer.close()
    return record


def _record(
    bucket: Bucket, key: bytes, writer: BlobWriter, checksum: str, old: Record | None
) -> Record:
    """Return the new shard's record; as in AIS, its version does not count these changes."""
    now = time.time_ns()
    version, custom = (old.version, old.custom) if old else ("", {})
    kind = bucket.checksum_type
    return Record(key, writer.size, version, kind, checksum, now, now, writer.name, custom)


def _build(writer: BlobWriter, build: Build, source: int) -> None:
    if source < 0:
        return build(writer, None)
    with os.fdopen(source, "rb", closefd=False) as old:
        return build(writer, old)


def write_shard(
    writer: BlobWriter,
    entries: Iterable[Entry],
    old: BinaryIO | None,
    what: tuple[str, str],
    *,
    adding: bool,
) -> None:
    """Write a shard. Blocking.

    Args:
        writer: Where to.
        entries: Members to put in.
        old: The present shard, if there is one.
        what: Format (empty: that of the present shard) and the shard's name.
        adding: Whether the present shard's members are kept.
    """
    kind, name = what
    if not kind and old is not None:
        kind = formats.kind_by_content(old)
    if not kind:
        raise ArchiveError(f'unrecognized or unsupported file format: "{name}"')
    if adding and old is not None and kind == formats.ZIP:
        _extend_zip(writer, old, entries)
        return
    for piece in formats.pack(entries, kind, old if adding else None):
        writer.write([piece])


def _extend_zip(writer: BlobWriter, old: BinaryIO, entries: Iterable[Entry]) -> None:
    """Extend a copy of a zip archive, whose directory at the end has to be replaced."""
    path = writer.path.with_name(f"{writer.name}.zip")
    try:
        with path.open("w+b") as work:
            shutil.copyfileobj(old, work, formats.PIECE)
            formats.extend_zip(work, entries)
        copy_into(writer, path)
    finally:
        unlink_quietly(path)
