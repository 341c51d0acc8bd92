"""Who may do what: the store's token.

The token is random, made at the first start and kept in a file that only its owner can read. ETL
code and promote reach beyond the store's own data, so they ask for it from everybody, also on
loopback: other users of the machine reach loopback, too.
"""

import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from aisfs.server.http.call import Call
from aisfs.server.http.errors import AisError

SCHEME = "Bearer "


@dataclass(frozen=True, slots=True)
class Trust:
    """The token of a store and the file that holds it."""

    token: str
    file: Path

    def require_token(self, call: Call) -> None:
        """Refuse a request that does not carry the token.

        Raises:
            AisError: 401 without a token or with a wrong one.
        """
        given = call.header("Authorization")
        if not given.startswith(SCHEME):
            raise AisError(401, f"token required: this store's is in {self.file}")
        if not hmac.compare_digest(given.removeprefix(SCHEME).encode(), self.token.encode()):
            raise AisError(
                401,
                'invalid token from header "Authorization": invalid token '
                "[err: token signature is invalid: not this store's token]",
            )


def load_trust(file: Path) -> Trust:
    """Read the token, making it at the first start.

    Raises:
        OSError: the file cannot be made or read.
    """
    try:
        fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return Trust(file.read_text().strip(), file)
    with os.fdopen(fd, "w") as output:
        token = secrets.token_urlsafe(32)
        output.write(token + "\n")
    return Trust(token, file)
