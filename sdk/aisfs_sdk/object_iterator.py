"""All objects of a listing, page after page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisfs_sdk.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aisfs_sdk.types import BucketEntry, BucketList


class ObjectIterator:
    """Iterates over entries, and fetches the next page when the last one is used up.

    Invariant: ends, or raises, whatever the cluster answers: a page that continues where it began
    would never end.
    """

    def __init__(self, list_objects: Callable[..., BucketList]) -> None:
        """Take the function that fetches pages.

        Args:
            list_objects: called with keywords `uuid` and `continuation_token`, both from the page
                before; both are "" for the first.
        """
        self._list_objects = list_objects
        self._entries: Iterator[BucketEntry] = iter(())
        self._uuid = ""
        self._token = ""
        self._started = False

    def __iter__(self) -> Iterator[BucketEntry]:
        return self

    def __next__(self) -> BucketEntry:
        while True:
            for entry in self._entries:
                return entry
            if self._started and not self._token:
                raise StopIteration
            self._entries = iter(self.next_page())

    def next_page(self) -> list[BucketEntry]:
        """Fetch the next page and return its entries.

        Raises:
            IntegrityError: it continues at the same place as the page before.
            AISError: the cluster refused or failed it.
            requests.RequestException: the network failed.
        """
        page = self._list_objects(uuid=self._uuid, continuation_token=self._token)
        if page.continuation_token and page.continuation_token == self._token:
            raise IntegrityError(200, f"the listing does not advance beyond {self._token!r}")
        self._started = True
        self._uuid, self._token = page.uuid, page.continuation_token
        return page.entries
