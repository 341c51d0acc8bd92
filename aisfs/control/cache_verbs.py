"""What can be done with a mount's caches: the verbs of the control file `cache/ctl`.

Serves `vfs/control_parts`. They change nothing on the cluster, but that what waits is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aisfs.control.verbs import Answer, Arguments, Verb

if TYPE_CHECKING:
    from aisfs.store.cluster_work import Place


class CacheWork(Protocol):
    """Does it; None is the whole mount. A place without a slash may be a file or a directory."""

    async def drop(self, what: Place | None) -> None:
        """Forget contents, in memory and on disk: the next reader fetches them."""

    async def invalidate(self, what: Place | None) -> None:
        """Believe nothing of names and attributes: whoever needs them next asks the cluster."""

    async def flush(self, what: Place | None) -> None:
        """Store what waits to be stored, and return when it is."""


async def _place(a: Arguments) -> Place | None:
    return await a.place(0) if a.word(0) else None


async def _drop(work: CacheWork, a: Arguments) -> Answer:
    await work.drop(await _place(a))
    return Answer()


async def _invalidate(work: CacheWork, a: Arguments) -> Answer:
    await work.invalidate(await _place(a))
    return Answer()


async def _flush(work: CacheWork, a: Arguments) -> Answer:
    await work.flush(await _place(a))
    return Answer()


CACHE_VERBS: dict[str, Verb[CacheWork]] = {
    verb.name: verb
    for verb in (
        Verb("drop", "[PATH]", "forget what was read, here and in cache-dir", _drop, local=True),
        Verb(
            "invalidate", "[PATH]", "ask the cluster anew for names and attributes",
            _invalidate, local=True,
        ),
        Verb("flush", "[PATH]", "store what waits to be stored", _flush, local=True),
    )
}  # fmt: skip
