"""Injected failures, for tests that need a slow, lying or dying store. Off unless asked for.

`PUT /v1/faults` on the gateway replaces all rules, `DELETE` clears them, `GET` tells how often each
has struck and how many requests are held now (`{"struck": [2, 0], "held": 0}`). A rule:

    {"method": "GET", "path": "^/v1/objects/b/", "role": "proxy|target|any", "action": …,
     "seconds": 0.0, "status": 500, "after_bytes": 0, "times": -1, "probability": 1.0, "seed": 1}

Only `action` is required. `delay` waits, then serves; `hold` waits until the rules are replaced,
then serves; `hold-answer` does the work, waits so, and answers then; `error` answers `status`;
`429` answers that; `redirect-loop` redirects to the same URL; `cut` sends `after_bytes` of the body
and closes (without a body: closes instead of answering, the work having been done); `stall` sends
`after_bytes`, then nothing for `seconds`, then the rest; `corrupt` flips a bit of the body's byte
at `after_bytes`; `short` announces and sends only `after_bytes` of the body, all other headers
being those of the whole; `wrong-checksum` announces another checksum than the body's; `slow` sends
`after_bytes` at once and the rest in ten parts over `seconds`. `cut-upload` closes after reading
`after_bytes` of the request's body. `refuse-direct` answers 403 to what no gateway redirected here.
The first rule that matches and strikes (`times` left, `probability`) decides.
"""

import asyncio
import random
import re
from dataclasses import dataclass
from typing import Any

import msgspec

from aisfs.server.http.errors import AisError

ACTIONS = {
    "delay", "hold", "hold-answer", "error", "cut", "stall", "slow", "corrupt", "short",
    "wrong-checksum", "redirect-loop", "429", "cut-upload", "refuse-direct",
}  # fmt: skip
ROLES = {"proxy", "target", "any"}
CORRUPT_BIT = 0x01


class Rule(msgspec.Struct, forbid_unknown_fields=True):
    """One rule; the meaning of the fields is told at the head of the module."""

    action: str
    method: str = ""
    path: str = ""
    role: str = "any"
    seconds: float = 0.0
    status: int = 500
    after_bytes: int = 0
    times: int = -1
    probability: float = 1.0
    seed: int = 1


@dataclass(slots=True)
class _Armed:
    rule: Rule
    pattern: re.Pattern[str]
    dice: random.Random
    left: int
    struck: int = 0

    def strikes(self, method: str, path: str, role: str) -> bool:
        rule = self.rule
        if self.left == 0 or rule.role not in {"any", role}:
            return False
        if rule.method not in {"", method} or not self.pattern.search(path):
            return False
        if rule.probability < 1 and self.dice.random() >= rule.probability:
            return False
        self.left -= 1
        self.struck += 1
        return True


class Faults:
    """The rules in force."""

    def __init__(self, *, enabled: bool = False) -> None:
        self.enabled = enabled
        self._armed: list[_Armed] = []
        self.replaced = asyncio.Event()
        """Is set when the present rules are replaced; those after them have another one."""
        self.held = 0
        """Requests that are held."""

    def replace(self, value: Any) -> None:
        """Put new rules in force.

        Raises:
            AisError: 400 for a list that cannot be understood; the old rules stay.
        """
        try:
            rules = msgspec.convert(value, list[Rule])
            self._armed = [_arm(rule) for rule in rules]
        except (msgspec.ValidationError, re.error) as error:
            raise AisError(400, f"invalid fault rules: {error}") from error
        self.replaced.set()
        self.replaced = asyncio.Event()

    async def hold(self, replaced: asyncio.Event) -> None:
        """Wait until the rules are replaced whose event this is."""
        self.held += 1
        try:
            await replaced.wait()
        finally:
            self.held -= 1

    def struck(self) -> list[int]:
        """Return how many requests each rule has met."""
        return [armed.struck for armed in self._armed]

    def strike(self, method: str, path: str, role: str) -> Rule | None:
        """Return the rule that this request meets, or None; counts the strike."""
        for armed in self._armed:
            if armed.strikes(method, path, role):
                return armed.rule
        return None


def _arm(rule: Rule) -> _Armed:
    if rule.action not in ACTIONS or rule.role not in ROLES or not 400 <= rule.status <= 599:
        raise AisError(400, f"invalid fault rule: {msgspec.json.encode(rule).decode()}")
    return _Armed(rule, re.compile(rule.path), random.Random(rule.seed), rule.times)


def corrupt(body: bytes, at: int) -> bytes:
    """Return the body with one bit flipped, at `at` or its last byte; empty stays empty."""
    if not body:
        return body
    index = min(at, len(body) - 1)
    return body[:index] + bytes((body[index] ^ CORRUPT_BIT,)) + body[index + 1 :]
