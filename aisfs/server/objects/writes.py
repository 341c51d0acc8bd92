"""Writing objects at a target: PUT, DELETE, custom metadata, rename, copy.

AIS: `PUT|DELETE|PATCH|POST /v1/objects/{bucket}/{object}`. Bytes go to a fresh blob in large
pieces, hashed and written in a worker thread; the record is committed last (blobs.py tells why a
crash leaves whole old or whole new bytes).
"""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace

from aisfs.server.eras import Era
from aisfs.server.http.call import Call, Message
from aisfs.server.http.errors import AisError, PlainError, no_space
from aisfs.server.http.replies import Reply
from aisfs.server.http.streams import to_its_end
from aisfs.server.naming import check_name_length, check_object_name, encode_name, parse_uname
from aisfs.server.objects.reads import attribute_headers, bring_object, find_object
from aisfs.server.objects.refusals import not_remote, refuse_remote_rename
from aisfs.server.remote.copies import commit, delete
from aisfs.server.storage.blobs import RESERVE, BlobWriter, unlink_quietly
from aisfs.server.storage.catalog import Bucket, Record
from aisfs.server.storage.checksums import Hasher, new_hasher
from aisfs_sdk import const

PIECE = 4 << 20
"""Bytes gathered before a hop to a worker thread: 1 GiB then takes 256 hops of 0.1 ms."""

INLINE = 256 << 10
"""Bodies up to this are hashed and written on the loop; that takes less than 0.3 ms."""


_RESERVED = "\x01"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Intake:
    """Checksums of a body coming in: the bucket's own, and the one the client announced."""

    def __init__(self, bucket: Bucket, announced: str = "", expected: str = "") -> None:
        self.kind = bucket.checksum_type
        self.announced = announced
        self.expected = expected
        self._hashers = {self.kind: new_hasher(self.kind)}
        if announced:
            self._hashers.setdefault(announced, new_hasher(announced))

    @property
    def hashers(self) -> list[Hasher]:
        """The hashers to feed."""
        return list(self._hashers.values())

    @property
    def checksum(self) -> str:
        """Value of the bucket's own checksum, empty for type `none`."""
        return self._hashers[self.kind].hexdigest()

    def mismatch(self) -> dict[str, str]:
        """Return kind, expected and found value if they are not what the client announced."""
        if not self.announced:
            return {}
        found = self._hashers[self.announced].hexdigest()
        if found == self.expected:
            return {}
        return {"kind": self.announced, "expected": self.expected, "found": found}


def announced_checksum(call: Call) -> tuple[str, str]:
    """Return type and value of the checksum that the client announces; both empty if none.

    Raises:
        AisError: 400 for an unknown type (real servers cut the connection).
    """
    kind = call.header(const.HEADER_CHECKSUM_TYPE)
    value = call.header(const.HEADER_CHECKSUM_VALUE)
    wanted = kind and (value or not call.era.type_alone_ignored)
    if wanted and kind not in call.era.checksum_types:
        expected = " ".join(call.era.checksum_types)
        raise AisError(400, f'invalid checksum type "{kind}" (expecting [{expected}])')
    return (kind, value) if wanted and kind != "none" else ("", "")


async def receive(call: Call, writer: BlobWriter, length: int | None) -> None:
    """Stream the request's body into a blob.

    Args:
        call: The request.
        writer: The blob; discarded when anything fails, also when the handler is cancelled.
        length: Announced length, None when unknown.

    Raises:
        AisError: 507 when the disk is full.
        ConnectionError: the client went away before the end.
    """
    try:
        await _admit(call, length)
        await _stream(call, writer)
    except OSError as error:
        writer.discard()
        if error.errno in _FULL:
            raise no_space(str(error)) from error
        raise
    except BaseException:
        writer.discard()
        raise


async def _stream(call: Call, writer: BlobWriter) -> None:
    """Hand the body to the blob; while a thread hashes and writes a piece, the next is read."""
    loop = asyncio.get_running_loop()
    writing: asyncio.Future[None] | None = None
    try:
        async for pieces, size in _pieces(call):
            if writing is not None:
                await writing
                writing = None
            # After the piece before is on the disk, or its bytes would not be counted.
            check_room(call, size)
            if size <= INLINE:
                writer.write(pieces)
            else:
                writing = loop.run_in_executor(call.store.workers, writer.write, pieces)
    finally:
        # Also after a failure: nobody may close the file under the thread.
        if writing is not None:
            await asyncio.wait([writing])
    if writing is not None:
        writing.result()


async def _admit(call: Call, length: int | None) -> None:
    """Answer `Expect`, and refuse a body that cannot fit before any byte of it is read."""
    check_room(call, length or 0)
    expect = call.header("Expect")
    if not expect:
        return
    if expect.lower() != "100-continue":
        raise PlainError(417)
    await call.request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    call.request.writer.output_size = 0


def check_room(call: Call, size: int) -> None:
    """Refuse bytes that would use up the reserve.

    Raises:
        AisError: 507.
    """
    used, total = call.store.blobs.free_space()
    room = total - used - RESERVE
    if size > room:
        raise no_space(f"{size} bytes coming, room for {max(room, 0)}")


async def _pieces(call: Call) -> AsyncIterator[tuple[list[bytes], int]]:
    """Yield the body as lists of chunks of about `PIECE` bytes together."""
    pieces: list[bytes] = []
    held = 0
    async for chunk in call.request.content.iter_any():
        pieces.append(chunk)
        held += len(chunk)
        if held >= PIECE:
            yield pieces, held
            pieces, held = [], 0
    if held:
        yield pieces, held


async def blocking_io(call: Call, function: Callable[..., None], *arguments: object) -> None:
    """Run disk work in a worker thread, to its end also when cancelled.

    Raises:
        AisError: 507 when the disk is full.
    """
    try:
        await to_its_end(call, function, *arguments)
    except OSError as error:
        if error.errno in _FULL:
            raise no_space(str(error)) from error
        raise


async def put_object(call: Call, bucket: Bucket, name: str) -> Reply:
    """Store a body as an object."""
    kind, value = announced_checksum(call)
    catalog = call.store.catalog
    key = encode_name(name)
    old = None if call.query.flag(const.QPARAM_SKIP_VERSION) else catalog.get(bucket, key)
    if (
        old is not None
        and kind
        and not bucket.remote
        and (old.checksum_type, old.checksum) == (kind, value)
    ):
        return Reply()
    given = _custom_from_headers(call)
    check_custom(call.era, {**(old.custom if old else {}), **given})
    intake = Intake(bucket, kind, value)
    writer = call.store.blobs.create(intake.hashers)
    await receive(call, writer, call.request.content_length)
    try:
        _verify(call, intake, bucket, name, is_new=old is None)
        call.store.check_still_there(bucket)
        if old is not None or not call.query.flag(const.QPARAM_SKIP_VERSION):
            old = catalog.get(bucket, key)
        custom = {**(old.custom if old else {}), **given}
        check_custom(call.era, custom)
        record = new_record(bucket, key, writer, intake.checksum, (old, custom))
        announced = call.header(const.HEADER_VERSION)
        if announced.isascii() and announced.isdigit() and len(announced) < 19 and record.version:
            record = replace(record, version=str(int(announced) + 1))
        writer.close()
        record = await commit(call.store, bucket, record)
    except BaseException:
        writer.discard()
        raise
    return _put_reply(call, record.size, attribute_headers(record, call.era))


def _verify(call: Call, intake: Intake, bucket: Bucket, name: str, *, is_new: bool) -> None:
    """Compare a body with the checksum that the client announced.

    Raises:
        AisError: 500 ErrBadCksum.
    """
    if mismatch := intake.mismatch():
        raise call.era.said.bad_checksum.error(
            **mismatch,
            uri=f"{bucket.name.uri}/{name}",
            bucket=bucket.name.name,
            name=name,
            load="(-)" if is_new else "",
        )


def _put_reply(call: Call, size: int, headers: list[tuple[str, str]]) -> Reply:
    """Return the reply to a PUT; AIS 3.17 announces the object in it and sends none."""
    if not call.era.put_announces_body or not size:
        return Reply(200, headers)
    reply = Reply(200, [*headers, ("Content-Length", str(size))])
    reply.force_close()
    return reply


def new_record(
    bucket: Bucket,
    key: bytes,
    writer: BlobWriter,
    checksum: str,
    before: tuple[Record | None, dict[str, str]],
) -> Record:
    """Return the record of new bytes, with the version that follows.

    Args:
        bucket: Where it is stored.
        key: Name as bytes.
        writer: The finished blob.
        checksum: Value of the bucket's checksum type.
        before: The replaced record, if any, and the custom keys the new one has.
    """
    old, custom = before
    now = time.time_ns()
    version = old.version if old else ""
    if not bucket.versioned:
        version = ""
    elif "source" not in custom:
        # The key `source` marks objects whose version is their backend's: it is not counted on.
        version = str(int(version or 0) + 1)
    kind = bucket.checksum_type
    return Record(key, writer.size, version, kind, checksum, now, now, writer.name, custom)


async def delete_object(call: Call, bucket: Bucket, name: str) -> Reply:
    """Delete an object; of a remote bucket also at its origin."""
    owned = call.store.owner(bucket, name) is call.node
    if not owned or not await delete(call.store, bucket, name):
        raise AisError(404, f"{bucket.name.uri}/{name} doesn't exist")
    return Reply()


def evict_object(call: Call, bucket: Bucket, name: str) -> Reply:
    """Drop the copy of a remote object; its origin keeps it.

    AIS deletes an object of an ais bucket here, which has no other copy; this store refuses.

    Raises:
        AisError: 400 for an ais bucket, 404 when there is no copy.
    """
    if not bucket.remote:
        raise not_remote(const.ACT_EVICT_OBJECTS, bucket.name, call.era)
    owned = call.store.owner(bucket, name) is call.node
    if not owned or not call.store.catalog.delete(bucket, [encode_name(name)]):
        raise AisError(404, f"{bucket.name.uri}/{name} doesn't exist")
    return Reply()


# ---- custom metadata ----------------------------------------------------------------------------


def _custom_from_headers(call: Call) -> dict[str, str]:
    custom = {}
    for line in call.request.headers.getall(const.HEADER_CUSTOM_MD, []):
        key, equals, value = line.partition("=")
        if not equals:
            raise AisError(400, f'custom metadata: invalid format "{line}" (expecting key=value)')
        custom[key] = value
    return custom


def check_custom(era: Era, custom: dict[str, str], where: str = "") -> None:
    """Refuse custom metadata that a release does not store, or loses the object with.

    Args:
        era: The release.
        custom: All keys the object would have.
        where: Put before the message.

    Raises:
        AisError: 400.
    """
    for key, value in custom.items():
        if not key and not era.empty_custom_keys:
            raise AisError(400, f'{where}custom metadata: empty key (value="{value}")')
        if _RESERVED in key + value:
            shown = f'"{key}"="{value}"'.replace(_RESERVED, "\\x01")
            raise AisError(
                400,
                f"{where}custom metadata '{shown}': key or value contains reserved symbol",
            )
    size = sum(len(encode_name(key + value)) for key, value in custom.items())
    if size > era.custom_limit:
        raise AisError(
            400,
            f"{where}custom metadata: total size {size} exceeds max {era.custom_limit} bytes",
        )


async def patch_object(call: Call, bucket: Bucket, name: str) -> Reply:
    """Merge custom metadata, or replace all of it with `set-new-custom`."""
    message = await call.message()
    given = _custom_from_message(message)
    record = await bring_object(call, bucket, name)
    if message.value is None:
        return Reply()
    keep = {} if call.query.flag(const.QPARAM_NEW_CUSTOM) else record.custom
    custom = {**keep, **given}
    check_custom(call.era, custom, f"{bucket.name.uri}/{name}: ")
    call.store.catalog.put(bucket, replace(record, custom=custom), fresh=False)
    return Reply()


def _custom_from_message(message: Message) -> dict[str, str]:
    value = message.value
    head = "{node}: failed to unmarshal set-custom (map[string]interface {}), err: "
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AisError(400, f"{head}readObjectStart: expect {{ or n")
    custom = {}
    for key, item in value.items():
        if item is not None and not isinstance(item, str):
            raise AisError(400, f'{head}ReadString: expects " or n')
        custom[key] = item or ""
    return custom


# ---- rename and copy ----------------------------------------------------------------------------


def rename_object(call: Call, bucket: Bucket, name: str, new_name: str) -> Reply:
    """Move an object to a new name, replacing what is there; atomic, and nothing is ever lost."""
    check_object_name(new_name, call.era)
    check_name_length(new_name, call.era)
    if call.era.names.stored(new_name) != new_name:
        raise AisError(400, f'invalid object name "{new_name}": no request could reach it')
    check_object_name(new_name)
    refuse_remote_rename(bucket, call.era)
    record = find_object(call, bucket, name)
    call.store.catalog.rename(bucket, record, encode_name(new_name))
    return Reply()


async def copy_object(call: Call, bucket: Bucket, name: str) -> Reply:
    """Copy an object to the full name in `object_to`; a body is ignored."""
    target, target_object = await open_destination(call)
    record = await bring_object(call, bucket, name)
    if target is not bucket or target_object != name:
        await put_copies(call, target, [(record, encode_name(target_object))])
    return Reply()


async def open_destination(call: Call) -> tuple[Bucket, str]:
    """Return bucket and object name that `object_to` gives as a full name.

    Raises:
        AisError: 400 without an object name or with an invalid one, 404 for a missing bucket.
    """
    text = call.query.text(const.QPARAM_OBJECT_TO)
    bucket, name = parse_uname(text)
    if not name:
        raise AisError(400, f'parse-uname "{text}": missing object name in "{bucket.uri}"')
    check_object_name(name)
    return await call.store.open_bucket(bucket), name


async def put_copies(call: Call, target: Bucket, pairs: list[tuple[Record, bytes]]) -> None:
    """Store copies of objects under new names; at the origin, too, if the bucket is remote.

    Raises:
        AisError: 507 when the disk has no room for the links; what the origin refuses.
    """
    copies = linked_copies(call, pairs)
    if not target.remote and not target.mirrored:
        call.store.catalog.put_many(target, copies)
        return
    for done, copy in enumerate(copies):
        try:
            await commit(call.store, target, copy)
        except BaseException:
            for rest in copies[done:]:
                unlink_quietly(call.store.blobs.find(rest.blob))
            raise


def linked_copies(call: Call, pairs: Iterable[tuple[Record, bytes]]) -> list[Record]:
    """Return records for copies under new names, their blobs linked but not committed.

    Raises:
        AisError: 507 when the disk has no room for the links.
    """
    now = time.time_ns()
    copies = []
    try:
        for record, key in pairs:
            blob = call.store.blobs.link(record.blob)
            copies.append(replace(record, name=key, blob=blob, atime=now, mtime=now, copies=1))
    except OSError as error:
        if error.errno in _FULL:
            raise no_space(str(error)) from error
        raise
    return copies


def refuse_wrong_target(call: Call, bucket: Bucket, name: str) -> None:
    """Refuse to store what another target owns.

    Real servers store it where nobody looks; a client with a stale map is better told.

    Raises:
        AisError: 400.
    """
    owner = call.store.owner(bucket, name)
    if owner is not call.node:
        raise AisError(
            400,
            f"{{node}}: misdirected PUT, {bucket.name.uri}/{name} belongs to {owner.label}",
        )
