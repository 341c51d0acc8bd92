"""One request as the handlers see it: where it arrived, its decoded path and query, its body.

Query values follow AIS 5.0's own parser on the paths that use it (`strict`): the value of
`provider` is not percent-decoded, a bad escape is an error, `;` separates nothing. Elsewhere Go's
standard parser rules, which skips what it does not understand.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, unquote_to_bytes

import msgspec
from aiohttp import web

from aisfs.server.http.errors import AisError, PlainError
from aisfs.server.naming import BucketName, parse_namespace, parse_provider

if TYPE_CHECKING:
    from aisfs.server.eras import Era
    from aisfs.server.http.faults import Rule
    from aisfs.server.state import Node, Store

MAX_MESSAGE = 32 << 20
"""Bytes of a JSON message; a list of a hundred thousand names fits."""

MISLEADING = "other-object"
"""Query key that targets refuse, added where the path of a redirect means another object.

AIS 3.17 sends clients there. One that follows to the letter is stopped by it; one that takes
node, `pid` and `utm` of a redirect and keeps its own path is not.
"""

_TRUE = {"1", "t", "true", "y", "yes", "on"}
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class Query(Mapping[str, str]):
    """Decoded query parameters; of a repeated key the first counts."""

    def __init__(self, text: str, *, strict: bool) -> None:
        self._values: dict[str, str] = {}
        for pair in text.split("&"):
            key, _, value = pair.partition("=")
            if key and (strict or not (_BAD_ESCAPE.search(pair) or ";" in pair)):
                self._values.setdefault(key, self._decode(pair, key, value, strict=strict))

    @staticmethod
    def _decode(pair: str, key: str, value: str, *, strict: bool) -> str:
        if _BAD_ESCAPE.search(value):
            raise AisError(400, f"dpq: '{pair}', err: invalid syntax")
        if strict and key == "provider":
            return value
        return unquote_plus(value, errors="surrogateescape")

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def __iter__(self) -> Any:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def text(self, key: str) -> str:
        """Return a value, empty if absent."""
        return self._values.get(key, "")

    def flag(self, key: str) -> bool:
        """Return a Boolean value; AIS takes `1 t true y yes on` in any case."""
        return self.text(key).lower() in _TRUE


@dataclass(slots=True)
class Message:
    """A control message: `{"action", "name", "value"}`, keys in any case, all optional."""

    action: str
    name: str
    value: Any


class Call:
    """A request at one node.

    Attributes:
        store: What all nodes share.
        node: The node that was addressed.
        request: aiohttp's request.
        method: HTTP method.
        target: Path and query as sent.
        path: Decoded path (surrogateescape).
        query_text: Query as sent.
        sent: Bytes of reply body sent so far, for the request log.
        fault: The injected fault that this request meets, if any.
        by_token: Whether the store's token let it in, rather than who sent it.
    """

    def __init__(self, store: "Store", node: "Node", request: web.BaseRequest) -> None:
        self.store = store
        self.node = node
        self.request = request
        self.method = request.method
        self.target = _target(request)
        self.raw_path, _, self.query_text = self.target.partition("?")
        self.path = ""
        self.sent = 0
        self.fault: Rule | None = None
        self.by_token = False
        self._query: Query | None = None

    @property
    def era(self) -> "Era":
        """The release that the store answers like."""
        return self.store.era

    @property
    def query(self) -> Query:
        """The query, by the strict parser.

        Raises:
            AisError: 400 for a bad escape.
        """
        if self._query is None:
            self._query = Query(self.query_text, strict=True)
        return self._query

    @property
    def peer(self) -> int | None:
        """The uid of the process that sent it; None if unknown or on another machine."""
        owner: int | None = getattr(self.request.protocol, "owner", None)
        return owner

    @property
    def remote_addr(self) -> str:
        """Where the request came from, as `host:port`; empty when the connection is gone."""
        peer = self.request.transport and self.request.transport.get_extra_info("peername")
        return f"{peer[0]}:{peer[1]}" if peer else ""

    def use_lenient_query(self) -> None:
        """Parse the query with Go's rules from here on."""
        self._query = Query(self.query_text, strict=False)

    def unknown_keys(self) -> list[str]:
        """Return the query keys that the release does not know, if it minds them."""
        known = self.era.known_keys
        keys = (pair.partition("=")[0] for pair in self.query_text.split("&") if pair)
        return [] if known is None else [key for key in keys if key not in known]

    def refuse_unknown_keys(self) -> None:
        """Refuse query keys that the release does not know.

        AIS 3.17 says so of listings; an object's GET or PUT it answers with an empty 200, having
        read or stored nothing.

        Raises:
            AisError: 400.
        """
        if self.unknown_keys():
            raise AisError(400, f"failed to fast-parse [{self.query_text}]")

    def refuse_misled(self) -> None:
        """Refuse a request that a redirect led to another object than was asked for.

        Raises:
            AisError: 400.
        """
        if f"&{MISLEADING}=" in self.query_text:
            raise AisError(
                400,
                f"{self.path} is not what was asked for: the redirect of AIS 3.17 has the name "
                "unencoded; take its host and markers, and keep the path of the first request",
            )

    def header(self, name: str) -> str:
        """Return a request header, empty if absent."""
        return self.request.headers.get(name, "")

    def bucket_name(self, name: str) -> BucketName:
        """Return the bucket that path and query name.

        Raises:
            AisError: 400 for an unknown provider.
        """
        provider = parse_provider(self.query.text("provider"), self.era)
        uuid, namespace = parse_namespace(self.query.text("namespace"))
        return BucketName(name, provider, uuid, namespace)

    async def body(self, limit: int = MAX_MESSAGE) -> bytes:
        """Read a body that has to fit into memory.

        Raises:
            AisError: 413 for a longer one.
        """
        data = bytearray()
        async for piece in self.request.content.iter_any():
            data += piece
            if len(data) > limit:
                raise AisError(413, f"request body exceeds {limit} bytes")
        return bytes(data)

    async def message(self, kind: str = "*apc.ActMsg") -> Message:
        """Read a control message.

        Raises:
            AisError: 400 when there is none or it is no JSON object.
        """
        return parse_message(await self.body(), self.method, kind)


def _target(request: web.BaseRequest) -> str:
    """Return path and query as sent; a full URL (proxy form) is cut to them."""
    target = request.message.path
    if target.startswith(("http://", "https://")):
        _, _, rest = target.partition("://")
        return "/" + rest.partition("/")[2]
    return target


def decode_path(raw: str) -> str:
    """Decode a path once, as AIS does.

    Raises:
        PlainError: 400 for a bad escape.
    """
    if _BAD_ESCAPE.search(raw) or not raw.startswith("/"):
        raise PlainError(400)
    data = unquote_to_bytes(raw.encode("utf-8", "surrogateescape"))
    return data.decode("utf-8", "surrogateescape")


def fold_keys(value: Any) -> Any:
    """Return a JSON object with lower-case keys; AIS matches keys in any case."""
    return {key.lower(): item for key, item in value.items()} if isinstance(value, dict) else value


def decode_json(data: bytes, head: str) -> Any:
    """Decode JSON from a client; `head` is put before the message of a failure.

    Raises:
        AisError: 400, also for nesting so deep that it would exhaust the stack.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise AisError(400, f"{head}{error}") from error


def parse_message(data: bytes, method: str, kind: str = "*apc.ActMsg") -> Message:
    """Decode a control message.

    Raises:
        AisError: 400 when `data` is empty or no JSON object.
    """
    head = f"{{node}}: failed to unmarshal [{kind}] ({method}), err: "
    if not data:
        raise AisError(400, head + "EOF")
    value = decode_json(data, head)
    if value is not None and not isinstance(value, dict):
        raise AisError(400, f"{head}readObjectStart: expect {{ or n")
    fields = fold_keys(value or {})
    action, name = fields.get("action") or "", fields.get("name") or ""
    if not isinstance(action, str) or not isinstance(name, str):
        raise AisError(400, f"{head}ReadString: expects text")
    return Message(action, name, fields.get("value"))


def decode_value(
    value: Any, action: str, kinds: Mapping[str, type | tuple[type, ...]]
) -> dict[str, Any]:
    """Check the value of a message against its known keys, as strictly as AIS.

    Args:
        value: The decoded value; None counts as empty.
        action: For messages.
        kinds: Known keys in lower case with the types they take; null is always taken and dropped.

    Raises:
        AisError: 400 for an unknown key or a wrong type.
    """
    given = "string" if isinstance(value, str) else "map[string]interface {}"
    head = f"{{node}}: failed to unmarshal {action} ({given}), err: "
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise AisError(400, f"{head}readObjectStart: expect {{ or n")
    fields = {key: item for key, item in fold_keys(value).items() if item is not None}
    for key, item in fields.items():
        if key not in kinds:
            raise AisError(400, f"{head}found unknown field: {key}")
        expected = kinds[key]
        if not isinstance(item, expected) or (isinstance(item, bool) and expected is int):
            raise AisError(400, f"{head}{key}: unexpected type {type(item).__name__}")
    return fields
