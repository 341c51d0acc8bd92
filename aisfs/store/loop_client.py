"""Requests on sockets of the event loop: no thread, no hand-over of the interpreter's lock.

Serves `direct` and `direct_writes`. A request goes straight to the target that owns the object,
where the client may do that (the SDK's `placement` knows), else to the gateway and along its
redirect. It is sent once: what is no success is `Declined`, and the SDK, which knows all the rest
(retries, other gateways, tokens, what an error means), asks again.

    ask ─▶ idle or new connection ─▶ head ─▶ 2xx ─▶ answer
                   ▲                  │ 30x
                   └── new address ───┘ anything else ─▶ Declined
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from aisfs.errors import Corrupt, NotFound, TimedOut
from aisfs.store.http_connection import Connection, Head, Malformed
from aisfs.store.pace import Pace
from aisfs_sdk import const
from aisfs_sdk.exchange import (
    DIRECT_REFUSED,
    MAX_REDIRECTS,
    REDIRECTS,
    TWO_STEP_SIZE,
    redirected,
)
from aisfs_sdk.traffic import NO_ANSWER

if TYPE_CHECKING:
    from aisfs.config import BucketName
    from aisfs_sdk import Client
    from aisfs_sdk.calls import Call

_MAX_DISCARDED = 16 << 10
"""Bytes of a redirect that are received so that its connection can be used again."""

_NO_LIMIT_S = 3600.0

_PREPARED = 16
"""Most targets that are connected to before they are wanted."""

_IDLE_S = 30.0
"""How long an idle connection is kept: shorter than servers and middleboxes do."""

TROUBLE = (OSError, trio.TooSlowError, Malformed, Corrupt)
"""What makes a request go the other way, beside `Declined`."""


class Declined(Exception):
    """The answer did not come this way; the text says why.

    Attributes:
        absent: the object's owner says, by way of a gateway, that there is none.
        sent: the request may have been carried out.
    """

    def __init__(self, text: str, *, absent: bool = False, sent: bool = False) -> None:
        super().__init__(text)
        self.absent = absent
        self.sent = sent


@dataclass(slots=True)
class Answer:
    """The head of an answer, whose body is still to be received.

    Attributes:
        straight: no gateway was asked: by our map the node owns the object.
    """

    connection: Connection
    head: Head
    straight: bool


class LoopClient:
    """Connections to the nodes of one cluster, and the way of a request among them.

    Args:
        client: gives addresses, token and TLS context.
        connections: most requests at a time.
        pace: None for no limit.

    Attributes:
        placement: which node a request goes to.
        pace: kept by all requests.
        traffic: counts what is sent and received, together with the SDK's.
        connections: most requests at a time.
    """

    def __init__(self, client: Client, connections: int, pace: Pace | None = None) -> None:
        self._client = client.request_client
        self.placement = self._client.placement
        self.pace = pace or Pace()
        self.traffic = self._client.traffic
        self.connections = connections
        self._slots = trio.Semaphore(connections)
        self._idle: defaultdict[str, list[Connection]] = defaultdict(list)
        self._refreshing = False

    @property
    def token(self) -> str:
        """The token of the moment, "" without one."""
        return self._client.token

    @property
    def first_byte_s(self) -> float:
        """Seconds until an answer has to begin: as the SDK's limit, connecting included."""
        connect_s, first_byte_s = self._client.timeout
        return (connect_s or _NO_LIMIT_S) + (first_byte_s or _NO_LIMIT_S)

    def silent(self, bucket: BucketName, name: str) -> TimedOut:
        """Return the error of a limit that is used up: the SDK would wait as long again (C14)."""
        limit = f"{self.first_byte_s:g} s"
        return TimedOut(f"asking for {bucket.name}/{name}: no answer within {limit}")

    async def take_slot(self, size: int = 0, requests: int = 1) -> None:
        """Wait until one more request may be under way.

        Args:
            size: bytes that it moves.
            requests: how many are sent one behind the other.
        """
        if self.pace.holds:
            await self.pace.let_pass(size, requests)
        try:
            self._slots.acquire_nowait()
        except trio.WouldBlock:
            await self._slots.acquire()

    def free_slot(self) -> None:
        """End a `take_slot`."""
        self._slots.release()

    def renew_map(self) -> None:
        """Ask for the cluster map again where that is due; nobody waits for it."""
        if self.placement.stale and not self._refreshing:
            self._refreshing = True
            trio.lowlevel.spawn_system_task(self._refresh_map)

    async def _refresh_map(self) -> None:
        try:
            await trio.to_thread.run_sync(self._client.refresh_map, abandon_on_cancel=True)
        finally:
            self._refreshing = False

    # -- one request

    async def ask_once(
        self,
        place: tuple[BucketName, str],
        call: Call,
        base: str,
        headers: str = "",
        body: bytes = b"",
        marks: str = "",
    ) -> Answer:
        """Do `ask` about an object as one of the requests at a time, and within its limit.

        Raises:
            NotFound: there is no such object.
            Declined: the cluster has to be asked another way.
            TimedOut: whoever knows is silent.
        """
        bucket, name = place
        await self.take_slot(len(body))
        try:
            with trio.fail_after(call.deadline_s if call.slow else self.first_byte_s):
                return await self.ask(call, headers, base, body, marks)
        except Declined as error:
            if error.absent:
                raise NotFound(f"{bucket.name}/{name}: no such object") from None
            raise
        except trio.TooSlowError:
            raise self.silent(bucket, name) from None
        except TROUBLE as error:
            raise Declined(f"{type(error).__name__} {error}", sent=True) from None
        finally:
            self.free_slot()

    async def ask(
        self, call: Call, headers: str = "", base: str = "", body: bytes = b"", marks: str = ""
    ) -> Answer:
        """Send a request to where it belongs and receive the head of a success.

        Args:
            call: what is asked for.
            headers: lines of its own.
            base: the object's owner, where it is asked straight; "" for a gateway.
            body: goes out with each leg.
            marks: what an owner wants in the query of what it is asked straight.

        Raises:
            Declined: the answer is no success.
            OSError, Malformed: there is none.
        """
        placement, token = self.placement, self._client.token
        straight = bool(base)
        base = base or placement.gateway
        plain = f"{call.path}?{call.query}" if call.query else call.path
        target = f"{plain}&{marks}" if straight and marks else plain
        if body:
            headers += f"{const.HEADER_CONTENT_LENGTH}: {len(body)}\r\n"
        for _ in range(MAX_REDIRECTS):
            gateway = placement.is_gateway(base)
            if gateway and len(body) > TWO_STEP_SIZE:
                raise Declined("a gateway is shown the head of a large body first")
            connection = await self.connection(base)
            own = ""
            if gateway and token:
                own = f"{const.HEADER_AUTHORIZATION}: Bearer {token}\r\n"
            request = connection.request(target, headers + own, call.method)
            try:
                await connection.send(request, body)
                head = await connection.head()
            except BaseException:
                self.traffic.answered(call.method, call.path, NO_ANSWER)
                connection.close()
                raise
            self.traffic.answered(call.method, call.path, head.status)
            self.traffic.sent(len(body))
            if head.status < 300:
                if gateway:
                    placement.grants.note(token, call.method, call.uname)
                return Answer(connection, head, straight)
            if head.status not in REDIRECTS:
                connection.close()
                self._refused(call, base, head, straight=straight)
                base, target, straight = placement.gateway, plain, False  # it knows better
                continue
            location = head.get(const.HEADER_LOCATION, "")
            await self._be_redirected(connection, head, call.method)
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
        placement = self.placement
        if straight and head.status in DIRECT_REFUSED:
            placement.target_refused(base)
        elif not straight or call.method != const.HTTP_METHOD_HEAD:
            # An owner that has changed a moment ago, or is away, may have the object all the same.
            owner = not placement.knows_members or base == placement.owner_of(call.uname)
            absent = head.status == 404 and owner and placement.doubt(call.uname) is None
            raise Declined(f"{base} answered {head.status}", absent=absent)

    async def content(self, answer: Answer, limit: int) -> bytes:
        """Receive a body of at most `limit` bytes.

        Raises:
            Declined: it is longer, or does not say how long it is.
            OSError: it ends early.
        """
        length = answer.head.length
        try:
            if not 0 <= length <= limit:
                raise Declined(f"a body of {length} bytes")
            content = bytearray(length)
            await answer.connection.body(memoryview(content))
            self.traffic.received(length)
        except BaseException:
            answer.connection.close()
            raise
        self.keep(answer.connection, answer.head)
        return bytes(content)

    async def _be_redirected(self, connection: Connection, head: Head, method: str) -> None:
        """Be done with the few bytes of a redirect."""
        if method == const.HTTP_METHOD_HEAD:
            self.keep(connection, head)
        elif 0 <= head.length <= _MAX_DISCARDED:
            await self.content(Answer(connection, head, straight=False), _MAX_DISCARDED)
        else:
            connection.close()

    # -- connections

    async def prepare(self) -> None:
        """Connect to some targets, so that the first reads find a connection, or know better."""
        for base in self.placement.targets[:_PREPARED]:
            with contextlib.suppress(OSError):  # noted: its objects go by the gateway
                self._rest(await self.connection(base))

    async def connection(self, base: str) -> Connection:
        """Return an idle connection to a node, or a new one. `OSError` if it cannot be reached."""
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
            if not self.placement.is_gateway(base):
                self.placement.target_failed(base, error)
            raise OSError(f"{base} cannot be reached: {error}") from error

    @property
    def busy(self) -> int:
        """How many requests are under way."""
        return self.connections - self._slots.value

    @property
    def idle_connections(self) -> int:
        """How many connections wait for a request."""
        return sum(map(len, self._idle.values()))

    def keep(self, connection: Connection, head: Head) -> None:
        """Use a connection again, after an answer that was received whole."""
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
