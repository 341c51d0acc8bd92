"""What a mount's control files are made of, put together.

Serves `filesystem`, which answers the kernel by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisfs.control.cache_verbs import CACHE_VERBS
from aisfs.control.commands import Commands
from aisfs.control.consoles import Console
from aisfs.control.files import ControlDirectory, ControlFile, at_once, machine_form, table
from aisfs.vfs.caches import Caches
from aisfs.vfs.control_tree import ControlTree
from aisfs.vfs.facts import Facts
from aisfs.vfs.places import Places
from aisfs.vfs.syncing import Syncing
from aisfs.vfs.views import Views
from aisfs.vfs.warming import Warming

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from aisfs.control.files import ControlEntry
    from aisfs.vfs.control_tree import Controls
    from aisfs.vfs.guards import Guards
    from aisfs.vfs.open_files import OpenFiles
    from aisfs.vfs.resolver import Resolver
    from aisfs.vfs.workshop import Workshop


@dataclass(frozen=True, slots=True)
class Counted:
    """What a mount counts: figures for its users, and everything for a scrape."""

    figures: Callable[[], Mapping[str, int]]
    metrics: Callable[[], str]


class ControlParts:
    """All of one mount.

    Attributes:
        tree: the control files in the namespace.
        commands: carries out what is written to them, or set as an attribute.
        places: what commands name.
        facts: what attributes tell of a file.
        views: what shards and transformers hold.
    """

    def __init__(
        self,
        resolver: Resolver,
        workshop: Workshop,
        files: OpenFiles,
        guards: Guards,
        controls: Controls,
        counted: Counted,
    ) -> None:
        self.facts = Facts(resolver, files.storing)
        self.views = Views(resolver, workshop)
        syncing = Syncing(resolver, files)
        self.places = Places(resolver, syncing, self.views.doubt)
        self.commands = Commands(
            resolver.store,
            self.places,
            self.places.changed,
            guards.check_command,
            resolver.nursery,
            controls.events,
        )
        warming = Warming(resolver, workshop.fetch_ahead)
        orders, figures = files.scans.orders, counted.figures
        own: list[ControlEntry] = [
            ControlFile("metrics", at_once(counted.metrics)),
            ControlFile("order", at_once(orders.shown), orders.announce),
            ControlFile("stats", at_once(lambda: table(figures()))),
            ControlFile("stats.json", at_once(lambda: machine_form(figures()))),
            ControlFile("sync", at_once(syncing.shown), syncing.begin),
            ControlFile("warm", at_once(warming.shown), warming.begin),
            self._cache(Caches(resolver, workshop.room, syncing, self.views), workshop),
        ]
        self.tree = ControlTree(
            resolver.presentation,
            [*controls.entries(self.commands), *self.commands.files(), *own],
            [self.views.directory, controls.events.file()],
            controls.directory,
        )

    def _cache(self, caches: Caches, workshop: Workshop) -> ControlDirectory:
        return ControlDirectory(
            "cache",
            (
                ControlFile("stats", at_once(lambda: table(workshop.cache_figures()))),
                self.commands.control_file(Console(CACHE_VERBS, caches)),
            ),
        )
