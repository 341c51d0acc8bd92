"""Many objects in one answer (GetBatch), every one of them accounted for.

Clusters send an archive of what was asked for, in order. Some failures do not show in it: it ends
early and well-formed, a member is missing, a part out of bounds comes as the whole object. So the
members are compared with the request, one by one, and what is wrong or absent is fetched singly.
Clusters that know no batches serve all members that way.
"""

from __future__ import annotations

import gzip
import io
import logging
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any, Literal, TypeGuard, cast, overload

from aisfs_sdk import const, errors
from aisfs_sdk.batch_types import MossIn, MossOut, MossReq
from aisfs_sdk.calls import JSON_HEADERS, Call
from aisfs_sdk.enums import Colocation
from aisfs_sdk.eras import Feature
from aisfs_sdk.object_read import ReadableObject
from aisfs_sdk.object_reader import ObjectReader
from aisfs_sdk.tar_stream import tar_members
from aisfs_sdk.types import encode_message
from aisfs_sdk.urls import query_string

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from aisfs_sdk.bucket import Bucket
    from aisfs_sdk.request_client import RequestClient

log = logging.getLogger(__name__)

_MISSING = "__404__/"
_FORMATS = frozenset((".tar", ".tgz", ".tar.gz", ".zip", ".tar.lz4"))
_PATH = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_BATCH}"

Objects = str | ReadableObject | Sequence[str | ReadableObject]


class Batch:
    """A list of objects to be read in one request. Making one sends nothing.

    Args:
        request_client: sends the request.
        objects: a name, an object, or a list of both.
        bucket: of all that are given by name alone.
        output_format: of the archive that carries the answer: `.tar`, `.tgz`, `.tar.gz`, `.zip`,
            `.tar.lz4`.
        cont_on_err: go on after a missing object.
        only_obj_name: members are named without their bucket (seen with `raw` only).
        streaming_get: the archive is sent while it is made.
        colocation: what is known of where the objects lie.

    Raises:
        ValueError: a name comes without a bucket, something is neither name nor object, or there is
            no such format.
        NotImplementedError: clusters do not offer that colocation.
    """

    def __init__(  # noqa: PLR0917 - as documented
        self,
        request_client: RequestClient,
        objects: Objects | None = None,
        bucket: Bucket | None = None,
        output_format: str = ".tar",
        cont_on_err: bool = True,
        only_obj_name: bool = False,
        streaming_get: bool = True,
        colocation: Colocation = Colocation.NONE,
    ) -> None:
        if output_format not in _FORMATS:
            msg = f"output_format is one of {', '.join(sorted(_FORMATS))}, not {output_format!r}"
            raise ValueError(msg)
        if colocation is Colocation.TARGET_AND_SHARD_AWARE:
            raise NotImplementedError("clusters do not offer batches by target and shard")
        self._client = request_client
        self._bucket = bucket
        self._colocation = colocation
        self._request = MossReq([], output_format, cont_on_err, only_obj_name, streaming_get)
        self._sources: list[Bucket] = []
        given: Iterable[str | ReadableObject] = (
            [objects] if isinstance(objects, str | ReadableObject) else objects or ()
        )
        for one in given:
            self.add(one)

    def __len__(self) -> int:
        return len(self._request.moss_in)

    def __repr__(self) -> str:
        return f"<Batch of {len(self)}>"

    @property
    def requests_list(self) -> list[MossIn]:
        """What is asked for, in order."""
        return list(self._request.moss_in)

    def add(
        self,
        obj: str | ReadableObject,
        opaque: bytes | None = None,
        archpath: str | None = None,
        start: int | None = None,
        length: int | None = None,
    ) -> Batch:
        """Ask for one more. Sends nothing.

        Args:
            obj: name or object.
            opaque: of the caller; comes back with the answer.
            archpath: name of a member, if the object is an archive.
            start: first byte of a part.
            length: bytes of the part; None with a start is up to the end.

        Returns:
            The batch itself.

        Raises:
            ValueError: a name comes without a bucket, it is neither name nor object, or the part is
                none.
        """
        if (start or 0) < 0 or (length or 0) < 0:
            msg = f"no part of an object: {length} bytes from {start} on"
            raise ValueError(msg)
        if isinstance(obj, str):
            if self._bucket is None:
                msg = f"{obj!r} is a name, and the batch has no bucket"
                raise ValueError(msg)
            asked, source = MossIn(obj), self._bucket
        elif _is_object(obj):
            asked, source = MossIn(obj.name, obj.bucket_name, obj.bucket_provider), obj.bucket
        else:
            msg = f"a batch is of names and objects, not of {type(obj).__name__}"
            raise ValueError(msg)
        asked.opaque, asked.archpath = opaque or b"", archpath or ""
        asked.start = start or 0
        asked.length = -1 if asked.start and not length else length or 0
        self._request.moss_in.append(asked)
        self._sources.append(source)
        return self

    def clear(self) -> Batch:
        """Ask for nothing; the options stay. Returns the batch itself."""
        self._request.moss_in, self._sources = [], []
        return self

    @overload
    def get(
        self,
        raw: Literal[False] = False,
        decode_as_stream: bool = False,
        clear_batch: bool = True,
    ) -> Iterator[tuple[MossOut, bytes]]: ...

    @overload
    def get(
        self, raw: Literal[True], decode_as_stream: bool = False, clear_batch: bool = True
    ) -> ObjectReader: ...

    def get(
        self, raw: bool = False, decode_as_stream: bool = False, clear_batch: bool = True
    ) -> Iterator[tuple[MossOut, bytes]] | ObjectReader:
        """Read everything that is asked for.

        Archives hold no checksums of their members: a byte that changed on the way shows only in
        `Object.get`.

        AIS: GET /v1/ml/moss.

        Args:
            raw: return the archive as it comes; nothing is compared then, and nothing fetched
                singly. Without streaming it is one part of a multipart answer.
            decode_as_stream: without effect: members are always decoded as they come.
            clear_batch: ask for nothing afterwards.

        Returns:
            An iterator over what is told of each, and its bytes, in the order asked for; of a
            missing one `err_msg` says why. It may be left early. With `raw`, a reader.

        Raises:
            ValueError: nothing is asked for.
            ErrObjNotFound: one is missing, and `cont_on_err` is off (while iterating).
            UnsupportedError: with `raw`: the cluster knows no batches.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        del decode_as_stream
        if not len(self):
            msg = "the batch asks for nothing"
            raise ValueError(msg)
        asked = list(zip(self._request.moss_in, self._sources, strict=True))
        known = self._client.era.has(Feature.GET_BATCH)
        if raw:
            self._client.era.require(Feature.GET_BATCH, "raw batch")
        body = encode_message(self._request.as_dict())
        reader = None
        try:
            if raw or (known and self._plain(asked)):
                reader = self._open(body)
        except (errors.InvalidRequestError, errors.ErrObjNotFound) as error:
            # One of the members is wrong; singly, it shows which.
            if raw:
                raise
            log.info("%r is read singly: %s", self, error)
        if clear_batch:
            self.clear()
        if raw and reader is not None:
            return reader
        return self._results(asked, reader)

    def _plain(self, asked: list[tuple[MossIn, Bucket]]) -> bool:
        """Tell whether the cluster can name all members: it has no field for namespaces."""
        spaces = {
            source.namespace for one, source in asked if one.bucket and source.namespace is not None
        }
        return not spaces

    def _open(self, body: bytes) -> ObjectReader:
        path, params = _PATH, {}
        if self._bucket is not None:
            path, params = f"{_PATH}/{self._bucket.name}", self._bucket.qparam
        if self._colocation is not Colocation.NONE:
            params[const.QPARAM_COLOC] = str(int(self._colocation))
        call = Call(const.HTTP_METHOD_GET, path, query_string(params), repr(self))
        call.headers, call.body, call.streaming, call.slow = JSON_HEADERS, body, True, True
        answer = self._client.send(call)
        return ObjectReader(answer.raw, str(call))

    # ---- comparing what came with what was asked for ----

    def _results(
        self, asked: list[tuple[MossIn, Bucket]], reader: ObjectReader | None
    ) -> Iterator[tuple[MossOut, bytes]]:
        members = self._members(reader) if reader is not None else iter(())
        member = next(members, None)
        try:
            for one, source in asked:
                data: bytes | None = None
                if member is not None and member[0] in self._names(one, source):
                    data = None if member[0].startswith(_MISSING) else member[1]
                    member = next(members, None)
                # A part up to the end has no size to know it by, and AIS sends some of them whole.
                if data is None or one.length < 0 or one.expected_size not in {None, len(data)}:
                    yield self._singly(one, source)
                else:
                    yield self._out(one, source, len(data)), data
        finally:
            if reader is not None:
                reader.close()

    def _names(self, one: MossIn, source: Bucket) -> set[str]:
        inside = f"/{one.archpath}" if one.archpath else ""
        bucket = "" if self._request.only_obj_name else f"{source.name}/"
        name = f"{bucket}{one.obj_name}{inside}"
        return {name, _MISSING + name}

    def _singly(self, one: MossIn, source: Bucket) -> tuple[MossOut, bytes]:
        """Fetch one by itself.

        Raises:
            ErrObjNotFound: it is missing, and that ends the batch.
        """
        try:
            obj = ReadableObject(source, one.obj_name)
            part = one.byte_range
            if one.archpath and part:
                whole = obj.get(one.archpath).read_all()
                end = None if one.length < 0 else one.start + one.length
                data = whole[one.start : end]
            else:
                data = obj.get(one.archpath, byte_range=part).read_all()
        except (errors.ErrObjNotFound, errors.InvalidRequestError) as error:
            if not self._request.cont_on_err:
                raise
            out = self._out(one, source, 0)
            out.err_msg = error.message or str(error)
            return out, b""
        return self._out(one, source, len(data)), data

    def _out(self, one: MossIn, source: Bucket, size: int) -> MossOut:
        provider = source.provider
        return MossOut(one.obj_name, source.name, provider, one.archpath, one.opaque, size)

    # ---- taking the archive apart ----

    def _members(self, reader: ObjectReader) -> Iterator[tuple[str, bytes]]:
        """Yield names and bytes; end where the archive does, or is broken."""
        try:
            with _archive(reader, streamed=self._request.streaming_get) as file:
                kind = self._request.output_format
                yield from _zip_members(file) if kind == ".zip" else _tar_members(file, kind)
        except (*_BAD_ARCHIVE, errors.IntegrityError) as error:
            log.warning("%r: the archive ends early, the rest is read singly: %s", self, error)


def _is_object(given: object) -> TypeGuard[ReadableObject]:
    return isinstance(given, ReadableObject)


_BAD_ARCHIVE = (
    tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError
)  # fmt: skip


class _Stream(io.RawIOBase):
    """A reader as a file."""

    def __init__(self, reader: ObjectReader) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._reader.readinto(memoryview(buffer))


def _archive(reader: ObjectReader, *, streamed: bool) -> IO[bytes]:
    """Return the archive within an answer."""
    if streamed:
        return io.BufferedReader(_Stream(reader), 1 << 20)
    content_type = reader.header(const.HEADER_CONTENT_TYPE)
    data = reader.read_all()
    boundary = content_type.partition("boundary=")[2].strip().strip('"').encode()
    if not boundary:
        return io.BytesIO(data)
    parts = data.split(b"--" + boundary)
    # Before the first: nothing; then metadata and archive; then the end mark.
    head, blank, archive = parts[2].partition(b"\r\n\r\n") if len(parts) > 2 else (b"", b"", b"")
    if not blank:
        msg = f"the answer is no archive: {head[:100]!r}"
        raise errors.IntegrityError(200, msg)
    return io.BytesIO(archive.removesuffix(b"\r\n"))


def _tar_members(file: IO[bytes], kind: str) -> Iterator[tuple[str, bytes]]:
    if kind == ".tar.lz4":
        import lz4.frame  # noqa: PLC0415 - only those who ask for it need it

        file = lz4.frame.open(file)
    elif kind in {".tgz", ".tar.gz"}:
        file = cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    yield from tar_members(file)


def _zip_members(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    # The directory of a ZIP stands at its end.
    with zipfile.ZipFile(io.BytesIO(file.read())) as archive:
        for info in archive.infolist():
            yield info.filename, archive.read(info)
