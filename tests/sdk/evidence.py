"""What the tests have shown of every documented member; `evidence.txt` says what they have to show.

A fact counts when the member was really called (or really raised) in its block, and the test that
holds the block passed. There are three kinds: the request equals the recorded one, the effect was
seen by another route than our client, a documented exception was raised.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HERE = Path(__file__).parent
COMMON = ("AISError", "ConnectionError")
"""What every member raises that sends a request, unless it is "quiet"."""


@dataclass(frozen=True)
class Row:
    """What has to be shown of a member."""

    request: bool
    effect: bool
    exceptions: frozenset[str]


def read_checklist() -> dict[str, Row]:
    """Return the rows of `evidence.txt`, by member."""
    rows = {}
    for line in (HERE / "evidence.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            member, request, effect, *raised = line.split()
            common = () if request == "-" or raised == ["quiet"] else COMMON
            exceptions = frozenset(raised) - {"quiet"} | set(common)
            rows[member] = Row(request != "-", effect != "-", exceptions)
    return rows


def documented() -> dict[str, str]:
    """Return the module of every member that `surface.txt` has, constructors included."""
    found = {}
    for line in (HERE / "surface.txt").read_text().splitlines():
        if "(" in line or line.endswith(" property"):
            package, module, *member = line.partition("(")[0].split()[0].split(".")
            if member[0][0].isupper():
                found[".".join(member)] = f"{package}.{module}"
    return found


CHECKLIST = read_checklist()
MODULES = documented()


@dataclass
class Ledger:
    """The facts.

    Attributes:
        servers: on which effects have to be seen in this run.
        shown: facts of tests that passed: member, kind, and exception or server.
        pending: those of the test that runs.
        sources: of which recording a request is the one, by member and server.
        causes: of an exception, by member and exception: servers, or others that caused it.
        impossible: reasons why a server cannot show an effect or cause an exception, by member
            and server or exception.
        complete: all tests of this folder were chosen, so that nothing may be missing.
    """

    servers: tuple[str, ...] = ("5.0", "3.17")
    server: str = ""
    shown: set[tuple[str, str, str]] = field(default_factory=set)
    pending: set[tuple[str, str, str]] = field(default_factory=set)
    sources: dict[tuple[str, str], str] = field(default_factory=dict)
    causes: dict[tuple[str, str], dict[str, None]] = field(default_factory=dict)
    impossible: dict[tuple[str, str], str] = field(default_factory=dict)
    complete: bool = False

    def as_data(self) -> dict[str, Any]:
        """Return what was seen, for another process."""
        return {
            "shown": sorted(self.shown),
            "sources": list(self.sources.items()),
            "causes": [(key, list(causes)) for key, causes in self.causes.items()],
            "impossible": list(self.impossible.items()),
            "complete": self.complete,
        }

    def merge(self, seen: Mapping[str, Any] | None) -> None:
        """Add what another process saw; nothing if that has died."""
        if seen is None:
            return
        self.shown |= {tuple(fact) for fact in seen["shown"]}
        self.sources |= {tuple(key): value for key, value in seen["sources"]}
        self.impossible |= {tuple(key): value for key, value in seen["impossible"]}
        for key, causes in seen["causes"]:
            self.causes.setdefault(tuple(key), {}).update(dict.fromkeys(causes))
        self.complete |= seen["complete"]

    def missing(self) -> dict[str, list[str]]:
        """Return what was not shown, by member."""
        found = {member: ["a row of the table"] for member in MODULES if member not in CHECKLIST}
        for member, row in CHECKLIST.items():
            kinds = ["request"] * row.request + ["effect"] * row.effect
            wanted = [(member, kind, server) for server in self.servers for kind in kinds]
            wanted += [(member, "raises", name) for name in sorted(row.exceptions)]
            lacking = [
                f"{kind} {which}".rstrip()
                for _, kind, which in wanted
                if (member, kind, which) not in self.shown
                and (kind == "request" or (member, which) not in self.impossible)
            ]
            if lacking:
                found[member] = lacking
        return found

    def lines(self) -> list[str]:
        """Return the table: four lines for every member."""
        lines = []
        for member, row in CHECKLIST.items():
            told = [f"{server}: {self.sources.get((member, server), '')}" for server in self.servers
                    if (member, "request", server) in self.shown]  # fmt: skip
            on = [server for server in self.servers if (member, "effect", server) in self.shown]
            on += [f"not {server}: {self.impossible[member, server]}" for server in self.servers
                   if (member, server) in self.impossible]  # fmt: skip
            raised = [
                f"{name} ({', '.join(self.causes.get((member, name), ()))})"
                if (member, "raises", name) in self.shown
                else f"not {name}: {self.impossible[member, name]}"
                if (member, name) in self.impossible
                else f"LACKS {name}"
                for name in sorted(row.exceptions)
            ]
            lines += [
                member,
                f"    request     {('; '.join(told) or 'LACKS') if row.request else '-'}",
                f"    effect      {('; '.join(on) or 'LACKS') if row.effect else '-'}",
                f"    exceptions  {', '.join(raised) or '-'}",
            ]
        return lines

    def counts(self) -> str:
        """Return how much was shown, in one line."""
        kinds = [kind for _, kind, _ in self.shown]
        return (
            f"evidence: {len(CHECKLIST)} members, {kinds.count('request')} recorded requests and "
            f"{kinds.count('effect')} effects on {' and '.join(self.servers)}, "
            f"{kinds.count('raises')} exceptions"
        )


LEDGER = Ledger()


@contextlib.contextmanager
def request(member: str, source: str) -> Iterator[None]:
    """Note that a member sent what is recorded, to a server of the present release."""
    with _watching() as called:
        yield
    assert member in called, f"{member} was not called here"
    assert CHECKLIST[member].request
    LEDGER.pending.add((member, "request", LEDGER.server))
    LEDGER.sources[member, LEDGER.server] = source


@contextlib.contextmanager
def effect(*members: str) -> Iterator[None]:
    """Note that what members did was seen by another route, on the present server."""
    with _watching() as called:
        yield
    for member in members:
        assert member in called, f"{member} was not called here"
        assert CHECKLIST[member].effect
        LEDGER.pending.add((member, "effect", LEDGER.server))


@contextlib.contextmanager
def raises(
    member: str, kind: type[BaseException], match: str | None = None, *, by: str = ""
) -> Iterator[None]:
    """Expect an exception of a member, and note it.

    Args:
        member: which is called in the block.
        kind: what it raises.
        match: what the text has, as a regular expression.
        by: who causes it; by default the present server.
    """
    with _watching() as called, pytest.raises(kind, match=match):
        yield
    assert member in called, f"{member} was not called here"
    assert kind.__name__ in CHECKLIST[member].exceptions, f"{member}: {kind.__name__} is unlisted"
    LEDGER.pending.add((member, "raises", kind.__name__))
    LEDGER.causes.setdefault((member, kind.__name__), {})[by or LEDGER.server] = None


def unable(reason: str, *members: str, exception: str = "") -> None:
    """Note that the present server cannot show these effects, or cause this exception of them."""
    LEDGER.impossible |= {(member, exception or LEDGER.server): reason for member in members}


def impossible(reason: str, *members: str) -> None:
    """Give up a test because the present server cannot show these effects, and say so."""
    unable(reason, *members)
    pytest.xfail(reason)


@contextlib.contextmanager
def _watching() -> Iterator[set[str]]:
    """Yield the members that are called in the block, but not from within each other."""
    called: set[str] = set()
    depth = [0]
    with contextlib.ExitStack() as undo:
        for member in CHECKLIST:
            owner, name = _place(member)
            thing = inspect.getattr_static(owner, name)
            own = name in vars(owner)
            setattr(owner, name, _noticing(member, thing, called, depth))
            undo.callback(_restore, owner, name, thing if own else None)
        yield called


def _place(member: str) -> tuple[type, str]:
    owner, _, name = member.partition(".")
    found: type = getattr(importlib.import_module(MODULES[member]), owner)
    return found, name or "__init__"


def _restore(owner: type, name: str, thing: Any) -> None:
    if thing is None:
        delattr(owner, name)
    else:
        setattr(owner, name, thing)


def _noticing(member: str, thing: Any, called: set[str], depth: list[int]) -> Any:
    if isinstance(thing, property):
        assert thing.fget is not None
        return property(_noticing(member, thing.fget, called, depth), thing.fset, None)
    function: Callable[..., Any] = thing

    @functools.wraps(function)
    def noticed(*arguments: Any, **named: Any) -> Any:
        if not depth[0]:
            called.add(member)
        depth[0] += 1
        try:
            return function(*arguments, **named)
        finally:
            depth[0] -= 1

    return noticed
