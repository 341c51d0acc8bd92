"""Small changes on sockets of the event loop: objects stored, copied, deleted, their attributes.

Serves `aistore`. A target that does not own an object takes it all the same, and then nobody finds
it (AIS). So what went straight to the owner by our cluster map counts only when a map that was
asked for after the answer is still of the version it was placed by. One such question serves all
changes that wait for one.

    change ─▶ the owner is known, and a gateway let us do the like before?
                 │ no                    │ yes
                 ▼                       ▼
    a gateway and its redirect        the owner ─▶ 2xx ─▶ is the map still the same? ─ yes ─▶ done
                 │ 2xx ─▶ done           │ else                  │ no
                 └ else ─▶ Declined ◀────┴───────────────────────┘

What is `Declined` is done again by the SDK: all of these may be done twice.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import msgspec
import trio
import xxhash

from aisfs.store.interface import ATTRIBUTES_KEY
from aisfs.store.loop_client import TROUBLE, Declined
from aisfs.store.replies import stored_info
from aisfs_sdk import const, errors
from aisfs_sdk.calls import Call
from aisfs_sdk.object_attributes import ObjectAttributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisfs.config import BucketName
    from aisfs.store.buckets import Buckets
    from aisfs.store.http_connection import Head
    from aisfs.store.interface import ObjectInfo, Upload
    from aisfs.store.loop_client import Answer, LoopClient
    from aisfs_sdk.object import Object
    from aisfs_sdk.request_client import RequestClient

log = logging.getLogger(__name__)

LARGEST_BODY = 1 << 20
"""Bytes of the largest object that is stored this way: it passes through memory."""

_LARGEST_MAP = 16 << 20

_PATH = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_DAEMON}"
_QUERY = f"what={const.WHAT_SMAP}"


class DirectWrites:
    """Changes of objects on sockets of the loop.

    Args:
        nodes: the connections.
        client: tells the release.
        buckets: the client's buckets.
    """

    def __init__(self, nodes: LoopClient, client: RequestClient, buckets: Buckets) -> None:
        self._nodes = nodes
        self._client = client
        self._buckets = buckets
        self._map = MapWatch(nodes)

    async def put(self, bucket: BucketName, name: str, upload: Upload) -> ObjectInfo:
        """See `ObjectStore.put`.

        Raises:
            Declined: it has to be stored another way.
            TimedOut: whoever takes it is silent.
        """
        if upload.size > LARGEST_BODY:
            raise Declined("it is large")
        body = os.pread(upload.fd, upload.size, 0)
        if len(body) != upload.size:
            raise Declined("the staged file is shorter")
        return await self._put(bucket, name, body, upload.checksum, upload.attributes)

    async def put_bytes(
        self, bucket: BucketName, name: str, body: bytes, attributes: str
    ) -> ObjectInfo:
        """See `ObjectStore.put_bytes`.

        Raises:
            Declined: see `put`; or the same bytes were there, and their attributes have stayed.
            TimedOut: see `put`.
        """
        checksum = xxhash.xxh64(body).hexdigest()
        info = await self._put(bucket, name, body, checksum, attributes)
        if info.attributes != attributes:
            raise Declined("the answer does not tell what is stored")
        return info

    async def _put(
        self, bucket: BucketName, name: str, body: bytes, checksum: str, attributes: str
    ) -> ObjectInfo:
        """Store an object. AIS: PUT /v1/objects/B/O."""

        def build(obj: Object) -> Call:
            return obj.get_writer().call_to_put(body, None, checksum, {ATTRIBUTES_KEY: attributes})

        head = await self._change(bucket, name, build, body)
        return stored_info(name, ObjectAttributes(head), len(body), checksum)

    async def set_attributes(self, bucket: BucketName, name: str, attributes: str) -> None:
        """See `ObjectStore.set_attributes`. AIS: PATCH /v1/objects/B/O.

        Raises:
            NotFound: there is no such object.
            Declined, TimedOut: see `put`.
        """

        def build(obj: Object) -> Call:
            return obj.get_writer().call_to_set_custom_props({ATTRIBUTES_KEY: attributes})

        await self._change(bucket, name, build)

    async def copy(self, bucket: BucketName, source: str, target: str) -> None:
        """See `ObjectStore.copy`. AIS: PUT /v1/objects/B/O?object_to=….

        Raises:
            NotFound: there is no such object.
            Declined, TimedOut: see `put`.
        """
        new = self._buckets.object(bucket, target)
        await self._change(bucket, source, lambda old: old.call_to_copy(new))

    async def delete(self, bucket: BucketName, name: str) -> None:
        """See `ObjectStore.delete`. AIS: DELETE /v1/objects/B/O without a body.

        Raises:
            NotFound: there is no such object.
            Declined, TimedOut: see `put`.
        """
        await self._change(bucket, name, lambda obj: obj.call(const.HTTP_METHOD_DELETE))

    async def _change(
        self, bucket: BucketName, name: str, build: Callable[[Object], Call], body: bytes = b""
    ) -> Head:
        """Send a change once, and return the head of its success."""
        self._nodes.renew_map()
        era = self._client.known_era
        if era is None:
            raise Declined("the cluster's release is not known yet")
        call = self._call(bucket, name, build)
        body = body or (call.body if isinstance(call.body, bytes) else b"")
        base, version = self._owner(call)
        marks = self._nodes.placement.redirect_marks(era) if base else ""
        answer = await self._nodes.ask_once((bucket, name), call, base, _lines(call), body, marks)
        self._be_done(answer)
        if answer.straight and await self._map.version_from_now_on() != version:
            raise Declined("the cluster has changed meanwhile", sent=True)
        return answer.head

    def _be_done(self, answer: Answer) -> None:
        """Use the connection again: all that counts is in the head.

        AIS: clusters of 2023 announce the object's size for a PUT, send nothing, and close.
        """
        if answer.head.length:
            answer.connection.close()
        else:
            self._nodes.keep(answer.connection, answer.head)

    def _call(self, bucket: BucketName, name: str, build: Callable[[Object], Call]) -> Call:
        try:
            obj = self._buckets.object(bucket, name)
            call = build(obj)
        except (ValueError, errors.AISError) as error:
            raise Declined(str(error)) from None
        if not bucket.uuid:  # of attached clusters we may know an alias only
            call.uname = obj.uname
        return call

    def _owner(self, call: Call) -> tuple[str, tuple[str, int]]:
        """Return the address of an object's owner, if it may be asked, and the map that says so."""
        placement = self._nodes.placement
        version = placement.version
        base = placement.straight_to(self._nodes.token, call.method, call.uname)
        return (base, version) if version == placement.version else ("", version)


class _Version(msgspec.Struct, frozen=True):
    """What counts of a cluster map here."""

    uuid: str = ""
    version: int = 0


class _Round:
    """One question for the map, and who waits for its answer."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.version: tuple[str, int] | None = None


class MapWatch:
    """Tells which version the cluster map has, asked for after a moment.

    waiting: joined until it is sent ─▶ asking: who comes now waits for the next one ─▶ over
    """

    def __init__(self, nodes: LoopClient) -> None:
        self._nodes = nodes
        self._waiting: _Round | None = None
        self._asking: _Round | None = None

    async def version_from_now_on(self) -> tuple[str, int] | None:
        """Return cluster and version of a map that was asked for after the call began.

        AIS: GET /v1/daemon?what=smap.

        Returns:
            None if the gateway did not tell.
        """
        ours = self._waiting
        if ours is not None:
            await ours.over.wait()
            return ours.version
        ours = self._waiting = _Round()
        try:
            if self._asking is not None:
                await self._asking.over.wait()
            self._waiting, self._asking = None, ours
            ours.version = await self._ask()
        finally:
            if self._waiting is ours:
                self._waiting = None
            if self._asking is ours:
                self._asking = None
            ours.over.set()
        return ours.version

    async def _ask(self) -> tuple[str, int] | None:
        try:
            with trio.fail_after(self._nodes.first_byte_s):
                answer = await self._nodes.ask(Call(const.HTTP_METHOD_GET, _PATH, _QUERY))
                data = await self._nodes.content(answer, _LARGEST_MAP)
        except (Declined, *TROUBLE) as error:
            log.debug("asking for the cluster map: %s", error)
            return None
        try:
            found = msgspec.json.decode(data, type=_Version, strict=False)
        except msgspec.MsgspecError:
            return None
        return found.uuid, found.version


def _lines(call: Call) -> str:
    """Return the headers of a request as they are sent."""
    return "".join(f"{name}: {value}\r\n" for name, value in call.headers.items())
