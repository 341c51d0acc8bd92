"""Objects built in pieces at a target: append and flush, multipart upload.

AIS: `PUT …?append_type=append|flush&append_handle=`, and `POST|PUT|DELETE` with `mpt-upload`,
`uploadId` and `partNumber`. Nothing is visible before the flush or the completion.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from aisfs.server.eras import Feature
from aisfs.server.http.call import Call, Message, decode_value
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, text_reply
from aisfs.server.naming import encode_name
from aisfs.server.objects.reads import bring_if_any
from aisfs.server.objects.uploads import MAX_PARTS, Append, Multipart, Part
from aisfs.server.objects.writes import (
    Intake,
    announced_checksum,
    blocking_io,
    new_record,
    receive,
)
from aisfs.server.remote.copies import commit
from aisfs.server.state import random_id
from aisfs.server.storage.blobs import BlobWriter, copy_into, unlink_quietly
from aisfs.server.storage.catalog import Bucket
from aisfs_sdk import const

_PART_KEYS: dict[str, type | tuple[type, ...]] = {"part-number": int, "etag": str}

# ---- append -------------------------------------------------------------------------------------


async def append_object(call: Call, bucket: Bucket, name: str) -> Reply:
    """Answer a PUT with `append_type`."""
    kind = call.query.text(const.QPARAM_APPEND_TYPE)
    handle = call.query.text(const.QPARAM_APPEND_HANDLE)
    if kind == const.APPEND_APPEND:
        return await _append(call, bucket, name, handle)
    if kind == const.APPEND_FLUSH:
        return await _flush(call, bucket, name, handle)
    raise AisError(
        400,
        f'invalid operation "{kind}" (expecting either "append" or "flush") '
        '- check "append_type" query',
    )


async def _append(call: Call, bucket: Bucket, name: str, handle: str) -> Reply:
    """Receive one piece into a file of its own, then add it: a broken upload adds nothing."""
    append = _open_append(call, bucket, name, handle)
    piece = call.store.blobs.create_work()
    await receive(call, piece, call.request.content_length)
    piece.close()
    try:
        if append is None:
            append = await _start_append(call, bucket, name)
        await blocking_io(call, copy_into, append.writer, piece.path)
    finally:
        unlink_quietly(piece.path)
    fields = (call.node.id, append.writer.name, bucket.checksum_type, secrets.token_hex(8))
    return Reply(200, [(const.HEADER_APPEND_HANDLE, "|".join(fields))])


def _open_append(call: Call, bucket: Bucket, name: str, handle: str) -> Append | None:
    """Return the append that a handle names, None for an empty handle.

    Raises:
        AisError: 400 for a handle of another object or one that ended.
    """
    if not handle:
        return None
    work = _work_name(handle)
    append = call.store.uploads.appends.get(work)
    if append is None or append.bucket is not bucket or append.name != name:
        raise AisError(400, f'invalid APPEND handle: "{handle}"')
    return append


def _work_name(handle: str) -> str:
    fields = handle.split("|")
    return fields[1] if len(fields) == 4 else ""


async def _start_append(call: Call, bucket: Bucket, name: str) -> Append:
    """Begin with the object's present bytes, if there are any and the release keeps them."""
    writer = call.store.blobs.create_work()
    record = await bring_if_any(call, bucket, name)
    if record is not None and call.era.has(Feature.APPEND_CONTINUES):
        # A link, so that the bytes stay readable when the object is replaced meanwhile.
        source = call.store.blobs.link_work(record.blob)
        try:
            await blocking_io(call, copy_into, writer, source)
        finally:
            unlink_quietly(source)
    append = Append(bucket, name, writer)
    call.store.uploads.appends[writer.name] = append
    return append


async def _flush(call: Call, bucket: Bucket, name: str, handle: str) -> Reply:
    """Turn the collected bytes into the object."""
    if not handle:
        raise call.era.said.flush_without_handle.error()
    uploads = call.store.uploads
    work = _work_name(handle)
    flushed = Reply(200, [(const.HEADER_APPEND_HANDLE, "")] * call.era.flush_returns_handle)
    if work in uploads.flushed:
        return flushed
    append = _open_append(call, bucket, name, handle)
    if append is None:
        raise AisError(400, f'invalid APPEND handle: "{handle}"')
    intake = Intake(bucket, *announced_checksum(call))
    final = call.store.blobs.create(intake.hashers)
    try:
        await blocking_io(call, copy_into, final, append.writer.path)
        _verify_flush(intake)
        await _commit(call, bucket, name, final, intake)
    except BaseException:
        final.discard()
        raise
    uploads.appends.pop(work, None)
    uploads.flushed.add(work)
    append.writer.discard()
    return flushed


def _verify_flush(intake: Intake) -> None:
    if intake.mismatch():
        raise AisError(
            500,
            f"BAD DATA CHECKSUM: ({intake.kind}[{intake.checksum}] != "
            f"{intake.announced}[{_short(intake.expected)}])",
            "ErrBadCksum",
        )


def _short(value: str) -> str:
    return value if len(value) <= 16 else value[:16] + "..."


async def _commit(
    call: Call,
    bucket: Bucket,
    name: str,
    writer: BlobWriter,
    intake: Intake,
    chunks: Sequence[int] = (),
) -> None:
    """Make finished bytes the object; `chunks` are the sizes of its parts, if it has any."""
    call.store.check_still_there(bucket)
    key = encode_name(name)
    old = call.store.catalog.get(bucket, key)
    custom = dict(old.custom) if old and not chunks else {}
    record = new_record(bucket, key, writer, intake.checksum, (old, custom))
    if len(chunks):
        record = replace(record, chunks=len(chunks), chunk_size=max(chunks))
    writer.close()
    await commit(call.store, bucket, record)


# ---- multipart ----------------------------------------------------------------------------------


def start_multipart(call: Call, bucket: Bucket, name: str) -> Reply:
    """Answer `mpt-upload` with a new upload id."""
    upload = Multipart(random_id(), bucket, name)
    call.store.uploads.multiparts[upload.id] = upload
    return text_reply(upload.id)


def _find_upload(call: Call, bucket: Bucket, name: str) -> Multipart:
    upload_id = call.query.text(const.QPARAM_UPLOAD_ID)
    upload = call.store.uploads.find_multipart(upload_id, bucket, name)
    if upload is None:
        raise AisError(
            404, f"o[{bucket.name.name}/{name}(-)]: {upload_id} does not exist", "ErrNotFound"
        )
    return upload


async def put_part(call: Call, bucket: Bucket, name: str) -> Reply:
    """Store one part of a multipart upload; its checksum is not looked at, as in AIS.

    AIS: `PUT …?uploadId=&partNumber=`. An append with these is a part, too, and gets no handle. A
    second append to the same part is refused: AIS takes its bytes for the whole part, and then
    fails the completion.
    """
    text = _part_text(call, bucket, name)
    upload = _find_upload(call, bucket, name)
    number = _part_number(text, f"chunk-manifest[{bucket.name.uri}/{name}, id={upload.id}]")
    length = call.request.content_length
    chunked = "chunked" in call.header("Transfer-Encoding").lower()
    if chunked or not length:
        size = -1 if chunked else 0
        raise AisError(400, f"{bucket.name.uri}/{name}: put-part invalid size ({size})")
    if call.query.text(const.QPARAM_APPEND_TYPE) and number in upload.parts:
        raise AisError(400, f"{bucket.name.uri}/{name}: part {number} cannot be appended to")
    writer = call.store.blobs.create_work()
    await receive(call, writer, length)
    writer.close()
    if call.store.uploads.multiparts.get(upload.id) is not upload:  # aborted meanwhile
        unlink_quietly(writer.path)
        _find_upload(call, bucket, name)
    replaced = upload.parts.get(number)
    upload.parts[number] = Part(writer)
    if replaced is not None:
        unlink_quietly(replaced.writer.path)
    return Reply()


def _part_text(call: Call, bucket: Bucket, name: str) -> str:
    text = call.query.text(const.QPARAM_PART_NUMBER)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        upload_id = call.query.text(const.QPARAM_UPLOAD_ID)
        where = f"o[{bucket.name.name}/{name}(-)]"
        raise AisError(400, f'{where}: invalid part number "{text}" for uploadID "{upload_id}"')
    return text


def _part_number(text: str, manifest: str) -> int:
    number = int(text)
    if number < 1:
        raise AisError(500, f"{manifest}: invalid chunk number ({number})")
    if number > MAX_PARTS:
        raise AisError(
            500,
            f"{manifest}: chunk number ({number}) exceeds the maximum allowed ({MAX_PARTS})",
        )
    return number


async def complete_multipart(call: Call, bucket: Bucket, name: str, message: Message) -> Reply:
    """Put the parts together, in the order of their numbers.

    AIS: `POST …?uploadId=` with `mpt-complete` and a list of all parts, in any order.
    """
    numbers = _named_parts(message.value)
    upload = _find_upload(call, bucket, name)
    _check_complete(upload, numbers)
    parts = [upload.parts[number] for number in sorted(upload.parts)]
    intake = Intake(bucket)
    final = call.store.blobs.create(intake.hashers)
    try:
        for part in parts:
            await blocking_io(call, copy_into, final, part.writer.path)
        sizes = [part.size for part in parts]
        await _commit(call, bucket, name, final, intake, sizes)
    except BaseException:
        final.discard()
        raise
    call.store.uploads.drop(upload)
    return Reply()


def _named_parts(value: Any) -> list[int] | None:
    """Return the numbers in a list of parts, sorted; a part without one counts as 0."""
    if value is None:
        return None
    if not isinstance(value, list):
        raise AisError(400, "{node}: failed to unmarshal mpt-complete, err: expect [ or n")
    parts = (decode_value(item, const.ACT_MPT_COMPLETE, _PART_KEYS) for item in value)
    return sorted(part.get("part-number", 0) for part in parts)


def _check_complete(upload: Multipart, numbers: list[int] | None) -> None:
    """Refuse to complete an upload that lacks parts, or by a list that is not of all of them.

    Raises:
        AisError: 400; the upload goes on.
    """
    have = sorted(upload.parts)
    if not have:
        raise AisError(400, "no chunks")
    for place, number in enumerate(have):
        if number != place + 1:
            text = f"chunk at ({place}) has invalid number {number} (count={len(have)})"
            raise AisError(400, text)
    if numbers is None:
        raise AisError(400, "nil parts list")
    if len(numbers) != len(have):
        raise AisError(
            400,
            f"partial completion is not allowed: requested {len(numbers)} parts, have {len(have)}",
        )
    for place, number in enumerate(numbers):
        if number != have[place]:
            text = f"parts must be exactly 1..{len(have)}: got {number} at position {place}"
            raise AisError(400, text)


def abort_multipart(call: Call, bucket: Bucket, name: str) -> Reply:
    """Drop an upload and its parts."""
    upload_id = call.query.text(const.QPARAM_UPLOAD_ID)
    upload = call.store.uploads.find_multipart(upload_id, bucket, name)
    if upload is None:
        raise AisError(
            404,
            f"failed to load partial chunk-manifest[{bucket.name.uri}/{name}, id={upload_id}]: "
            "no such file or directory",
            "wrapError",
        )
    call.store.uploads.drop(upload)
    return Reply()
