"""Small reads on sockets of the event loop.

Serves `aistore`. Whatever is not the wanted bytes is `Declined`, and the SDK reads them again.

    fill ─▶ `LoopClient.ask` ─▶ 200, 206 ─▶ the wanted object? ─▶ body ─▶ buffer
                   │ Declined                      │ no ─▶ Declined
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError
from aisfs.store.interface import ObjectInfo, Piece
from aisfs.store.loop_client import TROUBLE, Declined
from aisfs.store.replies import identity_of_whole, object_info, verify
from aisfs_sdk import const
from aisfs_sdk.exchange import DIRECT_REFUSED
from aisfs_sdk.object_attributes import ObjectAttributes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisfs.config import BucketName
    from aisfs.store.buckets import Buckets
    from aisfs.store.http_connection import Connection, Head
    from aisfs.store.interface import Identity
    from aisfs.store.loop_client import LoopClient
    from aisfs_sdk.calls import Call

_OBJECTS = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_OBJECTS}"


class DirectSource:
    """`ChunkSource` on sockets of the loop.

    Args:
        nodes: the connections.
        buckets: the client's buckets.
        idle_timeout_s: longest pause within an answer.
    """

    def __init__(self, nodes: LoopClient, buckets: Buckets, idle_timeout_s: float) -> None:
        self._nodes = nodes
        self._placement = nodes.placement
        self._buckets = buckets
        self._idle_timeout_s = idle_timeout_s

    async def fill(
        self,
        bucket: BucketName,
        name: str,
        start: int,
        identity: Identity,
        buffer: memoryview,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """See `ChunkSource`. AIS: GET /v1/objects/B/O.

        Raises:
            Declined: the bytes have to be fetched another way.
            TimedOut: whoever has them is silent.
        """
        self._nodes.renew_map()
        call = self._call(bucket, name, const.HTTP_METHOD_GET)
        whole = start == 0 and len(buffer) == identity.size
        asked = "" if whole else f"Range: bytes={start}-{start + len(buffer) - 1}\r\n"
        answered = False
        await self._nodes.take_slot(len(buffer))
        try:
            with trio.fail_after(self._nodes.first_byte_s) as patience:
                answer = await self._nodes.ask(call, asked, self._owner(call))
                connection, head, answered = answer.connection, answer.head, True
                patience.deadline = trio.current_time() + self._idle_timeout_s
                try:
                    piece = Piece(bucket, ObjectInfo(name, identity), buffer)
                    info = await self._receive(connection, head, piece, progress)
                except BaseException:
                    connection.close()
                    raise
            self._nodes.keep(connection, head)
        except TROUBLE as error:
            if isinstance(error, trio.TooSlowError) and not answered:
                raise self._nodes.silent(bucket, name) from None
            raise Declined(f"{type(error).__name__} {error}") from None
        finally:
            self._nodes.free_slot()
        return info

    async def head(self, bucket: BucketName, name: str) -> ObjectInfo:
        """Return an object's facts. AIS: HEAD /v1/objects/B/O.

        Raises:
            NotFound: there is no such object.
            Declined: the cluster has to be asked another way.
            TimedOut: whoever knows is silent.
        """
        self._nodes.renew_map()
        call = self._call(bucket, name, const.HTTP_METHOD_HEAD)
        answer = await self._nodes.ask_once((bucket, name), call, self._owner(call))
        self._nodes.keep(answer.connection, answer.head)
        return object_info(name, ObjectAttributes(answer.head))

    def _call(self, bucket: BucketName, name: str, method: str) -> Call:
        try:
            return self._buckets.object(bucket, name).call(method)
        except ValueError as error:
            raise Declined(str(error)) from None

    def _owner(self, call: Call) -> str:
        return self._placement.straight_to(self._nodes.token, call.method, call.uname)

    async def fill_many(
        self, pieces: Sequence[Piece], filled: Callable[[Piece, ObjectInfo], None]
    ) -> None:
        """See `ChunkSource`: requests that go to one target are sent together (pipelined)."""
        self._nodes.renew_map()
        straight: defaultdict[str, list[tuple[Piece, str]]] = defaultdict(list)
        others = []
        for piece in pieces:
            try:
                call = self._buckets.object(piece.bucket, piece.info.name).call("GET")
            except ValueError:
                continue  # no cluster keeps such an object
            base = self._owner(call)
            if base:
                straight[base].append((piece, f"{call.path}?{call.query}"))
            else:
                others.append(piece)
        paced = self._nodes.pace.holds
        fill_from = self._fill_in_turns if paced else self._fill_from
        async with trio.open_nursery() as nursery:
            for base, part in straight.items():
                nursery.start_soon(fill_from, base, part, filled)
            for group in [others] if paced else [[piece] for piece in others]:
                nursery.start_soon(self._fill_singly, group, filled)

    async def _fill_in_turns(
        self,
        base: str,
        part: list[tuple[Piece, str]],
        filled: Callable[[Piece, ObjectInfo], None],
    ) -> None:
        """Do `_fill_from` for a few at a time: who waits behind them may be a reader."""
        while part:
            count = self._nodes.pace.turn(len(piece.buffer) for piece, _ in part)
            if not await self._fill_from(base, part[:count], filled):
                return
            part = part[count:]

    async def _fill_singly(
        self, pieces: list[Piece], filled: Callable[[Piece, ObjectInfo], None]
    ) -> None:
        for piece in pieces:
            await self._fill_one(piece, filled)

    async def _fill_one(self, piece: Piece, filled: Callable[[Piece, ObjectInfo], None]) -> None:
        info = piece.info
        try:
            told = await self.fill(piece.bucket, info.name, 0, info.identity, piece.buffer)
        except (Declined, FsError):
            return  # not filled: its reader asks again and is told the trouble
        filled(piece, told)

    async def _fill_from(
        self,
        base: str,
        part: list[tuple[Piece, str]],
        filled: Callable[[Piece, ObjectInfo], None],
    ) -> bool:
        """Ask one target for several objects at once; the first trouble ends it.

        A target that refuses to be asked straight has the rest by way of the gateway.

        Returns:
            Whether the target gave all of them.
        """
        filled_count, refused = 0, False
        await self._nodes.take_slot(sum(len(piece.buffer) for piece, _ in part), len(part))
        try:
            connection = await self._nodes.connection(base)
            try:
                with trio.fail_after(self._nodes.first_byte_s) as patience:
                    await connection.send("".join([connection.request(t, "") for _, t in part]))
                    head = None
                    for piece, _ in part:
                        if connection.at_rest:
                            patience.deadline = trio.current_time() + self._nodes.first_byte_s
                        head = await connection.head()
                        self._nodes.traffic.answered("GET", _OBJECTS, head.status)
                        if connection.received < head.length:
                            patience.deadline = trio.current_time() + self._idle_timeout_s
                        if head.status in DIRECT_REFUSED:
                            refused = True
                            self._placement.target_refused(base)
                        told = await self._receive(connection, head, piece)
                        filled(piece, told)
                        filled_count += 1
            except BaseException:
                connection.close()
                raise
            if head is not None:
                self._nodes.keep(connection, head)
        except (Declined, *TROUBLE):
            pass
        finally:
            self._nodes.free_slot()
        if refused:
            await self._fill_singly([piece for piece, _ in part[filled_count:]], filled)
        return filled_count == len(part)

    async def _receive(
        self,
        connection: Connection,
        head: Head,
        piece: Piece,
        progress: Callable[[int], None] | None = None,
    ) -> ObjectInfo:
        """Receive the body of an answer that has to be the wanted bytes."""
        wanted, buffer = piece.info, piece.buffer
        whole = len(buffer) == wanted.identity.size
        attributes = ObjectAttributes(head)
        ranged = not whole and piece.bucket in self._buckets.range_checksums
        now = identity_of_whole(attributes, wanted.identity, range_checksum=ranged)
        if head.status != (200 if whole else 206) or head.length != len(buffer):
            raise Declined(f"status {head.status}, {head.length} bytes")
        if not wanted.identity.admits(now):
            raise Declined("it is another content")
        await connection.body(buffer, progress)
        self._nodes.traffic.received(len(buffer))
        if whole:
            verify(wanted.name, buffer, now)
        return object_info(wanted.name, attributes, now)
