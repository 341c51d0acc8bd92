"""Who may use the store, and who may make it reach beyond its own data.

Loopback is no border on a machine with several users. So the store serves the processes of the user
who runs it and of root, as the kernel names them (peers.py), and whoever else shows the store's
token. The token is random, made at the first start and kept in a file that only its owner can read.
Whoever puts another one there ends the old one: the file is read again when it changes.

ETL code and promote reach beyond the store's data: they ask for the token from everybody.

A client drops its token when a gateway redirects it to a target's port. As AIS does with signed
redirects, the gateway then vouches for the request with a nonce (`x`) and a signature (`u`), good
for this method and target for ten minutes.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path

from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError

SCHEME = "Bearer "
VOUCHED_S = 600
"""Seconds for which a signed redirect may be used."""

_SIGNATURE = re.compile(r"((?:^|&)u=)[0-9a-f]+")
_OPEN_PATHS = ("/v1/health", "/v1/etl/_object/")
"""Paths that need no token: what tells that the store lives, and what bears a secret of its own."""


log = logging.getLogger(__name__)


@dataclass(slots=True)
class Trust:
    """What decides about a request.

    Attributes:
        token: The store's token of the moment.
        file: The file that holds it.
        strict: Whether everybody needs the token.
        any_user: Whether all users of this machine are served without it.
    """

    token: str
    file: Path
    strict: bool = False
    any_user: bool = False
    _key: bytes = field(init=False, repr=False)
    _seen: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._key = self.token.encode()  # what was vouched for stays good when the token changes
        self._seen = _state(self.file)

    def admit(self, call: Call) -> None:
        """Let a request in or refuse it.

        Raises:
            AisError: 401 without a token where one is needed, or with a wrong one.
        """
        if call.raw_path.startswith(_OPEN_PATHS):
            return
        if not self.strict and (self.any_user or call.peer in {os.geteuid(), 0}):
            return
        if call.node.role == "target" and self._is_vouched(call):
            return
        self.require_token(call)
        call.by_token = True

    def require_token(self, call: Call) -> None:
        """Refuse a request that does not carry the token.

        Raises:
            AisError: 401 without a token or with a wrong one.
        """
        self._renew()
        given = call.header("Authorization")
        if not given.startswith(SCHEME):
            raise AisError(401, f"token required: this store keeps its token in {self.file}")
        if not hmac.compare_digest(given.removeprefix(SCHEME).encode(), self.token.encode()):
            raise AisError(
                401,
                'invalid token from header "Authorization": invalid token '
                f"[err: token signature is invalid: the token is in {self.file}]",
            )

    def _renew(self) -> None:
        """Take the token that the file has now; one that cannot be used leaves the last one."""
        state = _state(self.file)
        if state == self._seen:
            return
        self._seen = state
        try:
            self.token = _read_token(self.file)
        except OSError as error:
            log.warning("the store's token stays as it is: %s", error)

    def vouch(self, call: Call, target: str) -> str:
        """Return a redirect's path and query, signed if the client came by its token."""
        if not call.by_token:
            return target
        until = int(time.time()) + VOUCHED_S
        signed = f"{target}&x={until}.{secrets.token_hex(8)}"
        return f"{signed}&u={self._signature(call.method, signed)}"

    def _is_vouched(self, call: Call) -> bool:
        signed, found, signature = call.target.rpartition("&u=")
        until = signed.rpartition("&x=")[2].partition(".")[0]
        return (
            bool(found)
            and hmac.compare_digest(
                signature.encode(), self._signature(call.method, signed).encode()
            )
            and time.time() < int(until)
        )

    def _signature(self, method: str, target: str) -> str:
        text = f"{method} {target}".encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()


def without_signature(query: str) -> str:
    """Return a query to be shown: what vouches for the request is good for others, too."""
    return _SIGNATURE.sub(r"\1…", query)


def load_token(file: Path) -> str:
    """Read the token, making it at the first start.

    Raises:
        OSError: the file cannot be made or read.
    """
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read_token(file)
    with os.fdopen(fd, "w") as output:
        token = secrets.token_urlsafe(32)
        output.write(token + "\n")
    return token


def _state(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read_token(file: Path) -> str:
    fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd) as content:
        found = os.fstat(fd)
        if found.st_mode & 0o077 or found.st_uid != os.geteuid():
            raise PermissionError(
                0, f"others may read or own the token file {file}: chmod 600 it, or delete it"
            )
        token = content.read(4096).strip()
    if len(token) < 16:
        raise OSError(0, f"{file} holds no token: delete it and a new one is made")
    return token
