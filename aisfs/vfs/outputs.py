"""What the cluster's transformers make of objects, kept in spools.

Serves `views`. An output belongs to a content of an object, to one start of a transformer and to
what that is told, so that it is made once for all who read it, and anew for another content,
another transformer of the same name, or another argument. Nobody knows its size before it is there,
so that it is fetched whole when it is opened.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cachetools
import trio

from aisfs.archives.spool import Spool
from aisfs.errors import NotFound, Stale
from aisfs.vfs.making import Kept
from aisfs.vfs.view_objects import DIRECTORY_S

if TYPE_CHECKING:
    from aisfs.store.cluster_work import Place
    from aisfs.store.interface import EtlUse, Identity, ObjectStore
    from aisfs.vfs.making import Making
    from aisfs.vfs.view_objects import ViewObjects

MOST_OUTPUTS = 256
"""Outputs that are kept, each with a descriptor."""


@dataclass(slots=True, eq=False)
class Output:
    """One output, whole.

    Attributes:
        users: who has it open.
    """

    spool: Spool
    users: int = 0
    cost: int = 1
    _retired: bool = False

    def release(self) -> None:
        """Take note that a user is gone."""
        self.users -= 1
        self._close_unused()

    def retire(self) -> None:
        """Let nobody else find it."""
        self._retired = True
        self._close_unused()

    def _close_unused(self) -> None:
        if self._retired and not self.users:
            self.spool.close()


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an output is made of.

    Attributes:
        use: the transformer, and what it is told.
        job: id of the job that it is since it was started last.
        place: the object.
        content: which content of it goes in, the same from a listing and from a HEAD.
        identity: the same, as far as the cluster told it.
    """

    use: EtlUse
    job: str
    place: Place
    content: str
    identity: Identity = field(compare=False)

    @classmethod
    def of(cls, use: EtlUse, job: str, place: Place, identity: Identity) -> Recipe:
        """Return the one for an identity."""
        content = f"{identity.size} {identity.checksum or identity.version}"
        return cls(use, job, place, content, identity)


class Outputs:
    """All outputs of a mount. Belongs to the loop."""

    def __init__(self, store: ObjectStore, objects: ViewObjects, making: Making) -> None:
        self._store = store
        self._objects = objects
        self._making = making
        self._kept: Kept[Recipe, Output] = Kept(making, MOST_OUTPUTS)
        lifetime = min(objects.resolver.lifetimes.attributes, DIRECTORY_S)
        self._jobs: cachetools.TTLCache[int, dict[str, str]] = cachetools.TTLCache(
            1, lifetime, trio.current_time
        )

    def figures(self) -> dict[str, int]:
        """Return how many outputs are kept."""
        return {"etl.outputs": len(self._kept)}

    async def jobs(self) -> dict[str, str]:
        """Return the transformers of the cluster, and the job that each is."""
        jobs = self._jobs.get(0)
        if jobs is None:
            jobs = {info["id"]: info["xaction_id"] for info in await self._store.facts.etls()}
            self._jobs[0] = jobs
        return jobs

    async def job_of(self, etl: str) -> str:
        """Return the job of a transformer.

        Raises:
            NotFound: there is none of that name.
        """
        jobs = await self.jobs()
        if etl not in jobs:
            raise NotFound(f"the cluster has no ETL {etl}")
        return jobs[etl]

    def size_of(self, recipe: Recipe) -> int | None:
        """Return the size of an output that is there."""
        output = self._kept.get(recipe)
        return None if output is None else output.spool.size

    async def open(self, recipe: Recipe) -> Output:
        """Return an output with a user more, made if there is none.

        Raises:
            Stale: object or transformer are others by now.
            Busy: the transformer takes long.
            FsError: the cluster's failure, or the transformer's.
        """
        info = await self._objects.look(recipe.place)
        if await self.job_of(recipe.use.name) != recipe.job or not info.identity.same_content(
            recipe.identity
        ):
            raise Stale(f"{recipe.place.name}, or the ETL {recipe.use.name}, is another one by now")
        output = self._kept.get(recipe)
        if output is None:
            doing = f"transforming {recipe.place} by {recipe.use}"
            await self._making.once(recipe, doing, lambda: self._make(recipe))
            output = self._kept.get(recipe)
        if output is None:
            raise Stale(f"others took the room of what {recipe.use} made of {recipe.place.name}")
        output.users += 1
        return output

    async def _make(self, recipe: Recipe) -> None:
        spool = await self._making.with_room(lambda: self._fetch(recipe))
        self._kept.put(recipe, Output(spool))

    async def _fetch(self, recipe: Recipe) -> Spool:
        spool = await Spool.make(self._making.room)

        def take(piece: bytes) -> None:
            trio.from_thread.run_sync(spool.reserve, len(piece))
            spool.append(piece)

        try:
            await self._store.transform(*recipe.place, recipe.use, take)
            # The cluster does not say which content went in.
            self._objects.doubt(recipe.place)
            info = await self._objects.look(recipe.place)
            if not info.identity.same_content(recipe.identity):
                raise Stale("the object was replaced meanwhile")
        except BaseException:
            spool.close()
            raise
        return spool
