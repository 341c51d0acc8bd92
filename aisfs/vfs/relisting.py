"""When a directory is listed for the sake of look-ups in it: all its names for the price of a few.

Serves `resolver`; whoever uses a directory name by name gets a listing (C3).

    no fresh listing ─▶ some names asked for singly ─▶ one listing, for all who come meanwhile
    a short one that is old soon ─▶ another in the background
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import trio

from aisfs.errors import FsError, IoFailure, Unreachable
from aisfs.vfs.answers import told_at
from aisfs.vfs.directory import FIRST_BATCH

if TYPE_CHECKING:
    from aisfs.vfs.directory import Cursor
    from aisfs.vfs.nodes import Contents, DirectoryNode
    from aisfs.vfs.resolver import Resolver

log = logging.getLogger(__name__)

SCAN = 16
"""Names that are asked for singly before a directory is listed for them, for each batch of its
listing beyond the first: a batch costs the cluster about as much."""

SCAN_PAUSE_S = 2.0
"""Seconds without a look-up after which counting starts again."""

RENEWED_AT = 0.6
"""Share of its time to live after which a short listing that is in use is asked for again."""

RENEWED_BATCHES = 2
"""Batches of a listing that is short enough for that: up to 11,000 names."""


class Relisting:
    """Lists the directories of a mount that are used name by name."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def if_scanned(self, directory: DirectoryNode) -> bool:
        """List a directory that is being used name by name; True if that was done, by anybody.

        An expired listing of one batch costs no more to renew than one name. Of a longer one, or of
        a directory that was never listed, a few names are asked for first.
        """
        resolver = self._resolver
        if directory.endless or resolver.fresh_contents(directory) is not None:
            return False
        if resolver.lifetimes.listing <= 0:
            return False  # it would be out of date at once
        if directory.relisting is not None:
            await directory.relisting.wait()
            return True
        if not self._is_scanned(directory):
            return False
        try:
            await self._relist(directory, resolver.cursor(directory))
        except (IoFailure, Unreachable) as error:
            text = "%s cannot be listed, its names are asked for singly: %s"
            log.debug(text, directory.name, error)
            return False
        return True

    @staticmethod
    def _is_scanned(directory: DirectoryNode) -> bool:
        """Take note of a look-up, and tell whether there were enough of them for a listing."""
        now = trio.current_time()
        if now - directory.looked_at > SCAN_PAUSE_S:
            directory.revalidations = 0
        directory.looked_at = now
        directory.revalidations += 1
        batches = 2 if directory.contents is None else directory.contents.batches
        return directory.revalidations > SCAN * (batches - 1)

    def renew_ahead(self, directory: DirectoryNode, contents: Contents) -> None:
        """Ask for a short listing again before it expires, while it is used name by name.

        Else whoever comes first afterwards waits for it: 1 % of stat(2) took 45 ms instead of 3.
        """
        resolver = self._resolver
        age = trio.current_time() - contents.arrived_at
        if contents.batches > RENEWED_BATCHES or age <= RENEWED_AT * resolver.lifetimes.listing:
            return
        if len(contents.entries) < FIRST_BATCH and directory.name:
            assert directory.bucket is not None
            resolver.look(directory.bucket, directory.name)
        elif directory.relisting is None:
            resolver.nursery.start_soon(self._relist_ahead, directory)

    async def _relist_ahead(self, directory: DirectoryNode) -> None:
        if directory.relisting is not None:
            return  # it has been begun meanwhile
        try:
            await self._relist(directory, self._resolver.new_cursor(directory))
        except FsError as error:  # whoever comes first afterwards is told
            log.debug("listing %s ahead: %s", directory.name, error)

    async def _relist(self, directory: DirectoryNode, cursor: Cursor) -> None:
        """Do `_list_all`; those who come meanwhile wait for it."""
        over = directory.relisting = trio.Event()
        try:
            await self._list_all(directory, cursor)
        finally:
            directory.relisting = None
            over.set()

    async def _list_all(self, directory: DirectoryNode, cursor: Cursor) -> None:
        """Bring all names of a directory up to date, unless they are too many to remember."""
        resolver, table = self._resolver, self._resolver.table
        index = 0
        while entries := await cursor.at(index):
            index += len(entries)
            if directory.endless:
                return
            told = told_at(cursor.source)
            for entry in entries:
                if entry.info is not None and table.find(directory.bucket, entry.info.name):
                    resolver.answers.entry(directory, entry, cursor.source, told)
            await trio.lowlevel.checkpoint()
