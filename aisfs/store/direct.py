"""Small requests on sockets of the event loop: no thread, no hand-over of the interpreter's lock.

Serves `aistore`. A request goes straight to the target that owns the object, where the client may
do that (the SDK's `placement` knows), else to the gateway and along its redirect. It is sent once:
whatever is not the wanted bytes is `Declined`, and the SDK, which knows all the rest (retries,
other gateways, tokens, what an error means), reads them again.

    fill ─▶ idle or new connection ─▶ head ─▶ 200, 206 ─▶ the wanted object? ─▶ body ─▶ buffer
                     ▲                 │ 30x                    │ no
                     └── new address ──┘         anything else ─┴─▶ Declined
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

import trio

from aisfs.errors import Corrupt, FsError, NotFound, TimedOut
from aisfs.store.http_connection import Connection, Head, Malformed
from aisfs.store.interface import ObjectInfo, Piece
from aisfs.store.replies import identity_of_whole, object_info, verify
from aisfs_sdk import const
from aisfs_sdk.exchange import DIRECT_REFUSED, MAX_REDIRECTS, REDIRECTS, redirected
from aisfs_sdk.object_attributes import ObjectAttributes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisfs.config import BucketName
    from aisfs.store.buckets import Buckets
    from aisfs.store.interface import Identity
    from aisfs_sdk import Client
    from aisfs_sdk.calls import Call

_MAX_DISCARDED = 16 << 10
"""Bytes of a redirect that are received so that its connection can be used again."""

_NO_LIMIT_S = 3600.0

_PREPARED = 16
"""Most targets that are connected to before they are wanted."""

_IDLE_S = 30.0
"""How long an idle connection is kept: shorter than servers and middleboxes do."""

_TROUBLE = (OSError, trio.TooSlowError, Malformed, Corrupt)
"""What makes a request go the other way, beside `Declined`."""


class Declined(Exception):
    """The answer did not come this way; the text says why.

    Attributes:
        absent: the object's owner says, by way of a gateway, that there is none.
    """

    def __init__(self, text: str, *, absent: bool = False) -> None:
        super().__init__(text)
        self.absent = absent


class DirectSource:
    """`ChunkSource` on sockets of the loop.

    Args:
        client: gives addresses, token and TLS context.
        buckets: the client's buckets.
        connections: most requests at a time.
        idle_timeout_s: longest pause within an answer.
    """

    def __init__(
        self, client: Client, buckets: Buckets, connections: int, idle_timeout_s: float
    ) -> None:
        self._client = client.request_client
        self._placement = self._client.placement
        self._buckets = buckets
        self._idle_timeout_s = idle_timeout_s
        self._slots = trio.Semaphore(connections)
        self._idle: defaultdict[str, list[Connection]] = defaultdict(list)
        self._refreshing = False

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
        self._renew_map()
        call = self._call(bucket, name, const.HTTP_METHOD_GET)
        whole = start == 0 and len(buffer) == identity.size
        asked = "" if whole else f"Range: bytes={start}-{start + len(buffer) - 1}\r\n"
        answered = False
        await self._take_slot()
        try:
            with trio.fail_after(self._first_byte_s) as patience:
                connection, head = await self._ask(call, asked)
                answered = True
                patience.deadline = trio.current_time() + self._idle_timeout_s
                try:
                    piece = Piece(bucket, ObjectInfo(name, identity), buffer)
                    info = await self._receive(connection, head, piece, progress)
                except BaseException:
                    connection.close()
                    raise
            self._keep(connection, head)
        except _TROUBLE as error:
            if isinstance(error, trio.TooSlowError) and not answered:
                raise self._silent(bucket, name) from None
            raise Declined(f"{type(error).__name__} {error}") from None
        finally:
            self._slots.release()
        return info

    async def head(self, bucket: BucketName, name: str) -> ObjectInfo:
        """Return an object's facts. AIS: HEAD /v1/objects/B/O.

        Raises:
            NotFound: there is no such object.
            Declined: the cluster has to be asked another way.
            TimedOut: whoever knows is silent.
        """
        self._renew_map()
        call = self._call(bucket, name, const.HTTP_METHOD_HEAD)
        await self._take_slot()
        try:
            with trio.fail_after(self._first_byte_s):
                connection, head = await self._ask(call, "")
            self._keep(connection, head)
            return object_info(name, ObjectAttributes(head))
        except Declined as error:
            if error.absent:
                raise NotFound(f"{bucket.name}/{name}: no such object") from None
            raise
        except trio.TooSlowError:
            raise self._silent(bucket, name) from None
        except _TROUBLE as error:
            raise Declined(f"{type(error).__name__} {error}") from None
        finally:
            self._slots.release()

    def _call(self, bucket: BucketName, name: str, method: str) -> Call:
        try:
            return self._buckets.object(bucket, name).call(method)
        except ValueError as error:
            raise Declined(str(error)) from None

    def _silent(self, bucket: BucketName, name: str) -> TimedOut:
        """Return the error of a limit that is used up: the SDK would wait as long again (C14)."""
        limit = f"{self._first_byte_s:g} s"
        return TimedOut(f"asking for {bucket.name}/{name}: no answer within {limit}")

    async def fill_many(
        self, pieces: Sequence[Piece], filled: Callable[[Piece, ObjectInfo], None]
    ) -> None:
        """See `ChunkSource`: requests that go to one target are sent together (pipelined)."""
        self._renew_map()
        straight: defaultdict[str, list[tuple[Piece, str]]] = defaultdict(list)
        others = []
        token = self._client.token
        for piece in pieces:
            try:
                call = self._buckets.object(piece.bucket, piece.info.name).call("GET")
            except ValueError:
                continue  # no cluster keeps such an object
            base = self._placement.straight_to(token, call.method, call.uname)
            if base:
                straight[base].append((piece, f"{call.path}?{call.query}"))
            else:
                others.append(piece)
        async with trio.open_nursery() as nursery:
            for base, part in straight.items():
                nursery.start_soon(self._fill_from, base, part, filled)
            for piece in others:
                nursery.start_soon(self._fill_one, piece, filled)

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
    ) -> None:
        """Ask one target for several objects at once; the first trouble ends it.

        A target that refuses to be asked straight has the rest by way of the gateway.
        """
        filled_count, refused = 0, False
        await self._take_slot()
        try:
            connection = await self._connection(base)
            try:
                with trio.fail_after(self._first_byte_s) as patience:
                    await connection.send("".join([connection.request(t, "") for _, t in part]))
                    head = None
                    for piece, _ in part:
                        if connection.at_rest:
                            patience.deadline = trio.current_time() + self._first_byte_s
                        head = await connection.head()
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
                self._keep(connection, head)
        except (Declined, *_TROUBLE):
            pass
        finally:
            self._slots.release()
        if refused:
            for piece, _ in part[filled_count:]:
                await self._fill_one(piece, filled)

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
        if whole:
            verify(wanted.name, buffer, now)
        return object_info(wanted.name, attributes, now)

    async def _take_slot(self) -> None:
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._slots.acquire()

    @property
    def _first_byte_s(self) -> float:
        """Seconds until an answer has to begin: as the SDK's limit, connecting included."""
        connect_s, first_byte_s = self._client.timeout
        return (connect_s or _NO_LIMIT_S) + (first_byte_s or _NO_LIMIT_S)

    def _renew_map(self) -> None:
        """Ask for the cluster map again where that is due; nobody waits for it."""
        if self._placement.stale and not self._refreshing:
            self._refreshing = True
            trio.lowlevel.spawn_system_task(self._refresh_map)

    async def _refresh_map(self) -> None:
        try:
            await trio.to_thread.run_sync(self._client.refresh_map, abandon_on_cancel=True)
        finally:
            self._refreshing = False

    async def _ask(self, call: Call, asked: str) -> tuple[Connection, Head]:
        """Send a request to where it belongs; return the answer's head and its connection."""
        placement, token = self._placement, self._client.token
        base = placement.straight_to(token, call.method, call.uname)
        straight = bool(base)
        base = base or placement.gateway
        target = f"{call.path}?{call.query}" if call.query else call.path
        for _ in range(MAX_REDIRECTS):
            connection = await self._connection(base)
            own = ""
            gateway = placement.is_gateway(base)
            if gateway and token:
                own = f"{const.HEADER_AUTHORIZATION}: Bearer {token}\r\n"
            try:
                await connection.send(connection.request(target, asked + own, call.method))
                head = await connection.head()
            except BaseException:
                connection.close()
                raise
            if head.status < 300:
                if gateway:
                    placement.grants.note(token, call.method, call.uname)
                return connection, head
            if head.status not in REDIRECTS:
                connection.close()
                self._refused(call, base, head, straight=straight)
                base, straight = placement.gateway, False  # it knows better
                continue
            location = head.get(const.HEADER_LOCATION, "")
            if call.method == const.HTTP_METHOD_HEAD:
                self._keep(connection, head)
            else:
                await self._discard(connection, head)
            if gateway:
                placement.grants.note(token, call.method, call.uname)
            base, target = redirected(call, base, target, location)
            base = placement.rewrite(base)
        raise Declined("too many redirects")

    def _refused(self, call: Call, base: str, head: Head, *, straight: bool) -> None:
        """Return if a gateway is to be asked for what a node did not give.

        Raises:
            Declined: else.
        """
        placement = self._placement
        if straight and head.status in DIRECT_REFUSED:
            placement.target_refused(base)
        elif not straight or call.method != const.HTTP_METHOD_HEAD:
            # An owner that has changed a moment ago, or is away, may have the object all the same.
            owner = not placement.knows_members or base == placement.owner_of(call.uname)
            absent = head.status == 404 and owner and placement.doubt(call.uname) is None
            raise Declined(f"{base} answered {head.status}", absent=absent)

    async def _discard(self, connection: Connection, head: Head) -> None:
        """Be done with the few bytes of a redirect."""
        if not 0 <= head.length <= _MAX_DISCARDED:
            connection.close()
            return
        try:
            await connection.body(memoryview(bytearray(head.length)))
        except BaseException:
            connection.close()
            raise
        self._keep(connection, head)

    # -- connections

    async def prepare(self) -> None:
        """Connect to some targets, so that the first reads find a connection, or know better."""
        for base in self._placement.targets[:_PREPARED]:
            with contextlib.suppress(OSError):  # noted: its objects go by the gateway
                self._rest(await self._connection(base))

    async def _connection(self, base: str) -> Connection:
        idle = self._idle[base]
        now = trio.current_time()
        while idle:
            connection = idle.pop()
            if now - connection.rested_at < _IDLE_S:
                return connection
            connection.close()
        connect_s, _ = self._client.timeout
        try:
            with trio.fail_after(connect_s or _NO_LIMIT_S):
                return await Connection.open(base, self._client.ssl_context)
        except (OSError, trio.TooSlowError) as error:
            if not self._placement.is_gateway(base):
                self._placement.target_failed(base, error)
            raise OSError(f"{base} cannot be reached: {error}") from error

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a request."""
        return sum(map(len, self._idle.values()))

    def _keep(self, connection: Connection, head: Head) -> None:
        if head.get(const.HEADER_CONNECTION, "").lower() == "close" or not connection.at_rest:
            connection.close()
            return
        self._rest(connection)

    def _rest(self, connection: Connection) -> None:
        """Let a connection wait for the next request to its node."""
        connection.rested_at = trio.current_time()
        self._idle[connection.base].append(connection)

    def close(self) -> None:
        """Close idle connections."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()
