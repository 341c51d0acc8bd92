"""The objects of a bucket, page by page, and their URLs."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import requests

from aisfs_sdk import const, errors
from aisfs_sdk.bucket_base import BucketBase
from aisfs_sdk.calls import JSON_HEADERS
from aisfs_sdk.list_object_flag import ListObjectFlag
from aisfs_sdk.object_iterator import ObjectIterator
from aisfs_sdk.types import ActionMsg, BucketEntry, BucketList, decode_listing, encode_message

if TYPE_CHECKING:
    from collections.abc import Iterable

log = logging.getLogger(__name__)

_WHOLE_PAGE = 250_000
"""Entries per page where all of an AIS bucket is wanted at once.

A page is a job of its own, which walks up to where the page before ended, and names are lost where
a page ends in a directory that others of the level sort into: few pages are faster, and safer.
104,000 names with size, version and checksum, medians on a busy machine, in pages of 10,000,
100,000, 250,000: AIS 5.0 5.2, 1.4, 1.1 s; AIS 3.17 2.4, 0.9, 0.6 s.
"""

_LIST_HEADERS = {**JSON_HEADERS, const.HEADER_ACCEPT: const.MSGPACK_CONTENT_TYPE}


class BucketListing(BucketBase):
    """Listings of a bucket."""

    def list_objects(  # noqa: PLR0917 - as documented
        self,
        prefix: str = "",
        props: str = "",
        page_size: int = 0,
        uuid: str = "",
        continuation_token: str = "",
        flags: Iterable[ListObjectFlag] | None = None,
        target: str = "",
        *,
        start_after: str = "",
    ) -> BucketList:
        """Return one page of the bucket's objects, in bytewise order of their names.

        Pages below 1,000 entries lose names on some clusters if `uuid` is handed on: leave it empty
        for AIS buckets. A prefix should be "" or end in "/": others hide names on some clusters.

        AIS: GET /v1/buckets/NAME, action "list".

        Args:
            prefix: list only names that begin with it.
            props: comma-separated, of `name,size,version,checksum,atime,cached,status,copies,
                custom,location`; "" means names and sizes.
            page_size: most entries to return, 0 for the cluster's default (10,000 for AIS buckets).
            uuid: of the page before, for remote buckets.
            continuation_token: of the page before.
            flags: what to include.
            target: list only what this node holds.
            start_after: list only names behind this one (AIS buckets).

        Returns:
            The page. An empty `continuation_token` marks the last one.

        Raises:
            ErrBckNotFound: there is no such bucket.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
            ValueError: the page size is negative.
        """
        if page_size < 0:
            # Kills every target of some clusters.
            msg = f"a page cannot have {page_size} entries"
            raise ValueError(msg)
        client = self.bound_client
        value: dict[str, Any] = {
            "prefix": prefix,
            "pagesize": page_size,
            "uuid": uuid,
            "props": props,
            "continuation_token": continuation_token,
            "flags": str(client.era.list_flags(flags or ())),
            "target": target,
        }
        if start_after:
            value["start_after"] = start_after
        call = self._call(const.HTTP_METHOD_GET)
        call.headers = _LIST_HEADERS
        call.body = encode_message(ActionMsg(const.ACT_LIST, "", value))
        answer = client.send(call)
        content_type = answer.headers.get(const.HEADER_CONTENT_TYPE, "")
        try:
            return decode_listing(answer.content, content_type)
        except ValueError as error:
            raise errors.IntegrityError(
                answer.status, f"not a listing: {error}", str(call)
            ) from error

    def list_objects_iter(
        self,
        prefix: str = "",
        props: str = "",
        page_size: int = 0,
        flags: Iterable[ListObjectFlag] | None = None,
        target: str = "",
        *,
        start_after: str = "",
    ) -> ObjectIterator:
        """Return an iterator over all of the bucket's objects, which fetches page after page.

        Arguments and errors are those of `list_objects`; errors come up while iterating.
        """
        wanted = tuple(flags or ())

        def list_page(uuid: str, continuation_token: str) -> BucketList:
            # Handing the job's id on makes AIS buckets lose names at the borders of small pages.
            uuid = "" if self._provider == const.PROVIDER_AIS else uuid
            after = "" if continuation_token else start_after
            return self.list_objects(
                prefix,
                props,
                page_size,
                uuid,
                continuation_token,
                wanted,
                target,
                start_after=after,
            )

        return ObjectIterator(list_page)

    def list_all_objects(
        self,
        prefix: str = "",
        props: str = "",
        page_size: int = 0,
        flags: Iterable[ListObjectFlag] | None = None,
        target: str = "",
        *,
        start_after: str = "",
    ) -> list[BucketEntry]:
        """Return all of the bucket's objects; arguments and errors are those of `list_objects`.

        With a page size of 0, AIS buckets are asked for large pages, and for those of the cluster's
        default size if large ones take it too long.
        """
        wanted = tuple(flags or ())

        def in_pages_of(size: int) -> list[BucketEntry]:
            return list(
                self.list_objects_iter(prefix, props, size, wanted, target, start_after=start_after)
            )

        if page_size or self._provider != const.PROVIDER_AIS:
            return in_pages_of(page_size)
        try:
            return in_pages_of(_WHOLE_PAGE)
        except requests.Timeout as error:
            log.warning("%s: listing again in smaller pages: %s", self.uri, error)
            return in_pages_of(0)

    def list_archive(
        self,
        archive_obj_name: str,
        include_archive_obj: bool = False,
        props: str = "",
        page_size: int = 0,
    ) -> list[BucketEntry]:
        """Return the members of an archive, in bytewise order of their names.

        One broken archive in the bucket can hide objects from such listings on real clusters.

        AIS: GET /v1/buckets/NAME, action "list".

        Args:
            archive_obj_name: name of the object that is an archive.
            include_archive_obj: also return the entry of the archive itself.
            props: see `list_objects`.
            page_size: see `list_objects`.

        Returns:
            Entries whose names are `ARCHIVE/MEMBER`.

        Raises:
            AISError, requests.RequestException, ValueError: see `list_objects`.
        """
        flags = [ListObjectFlag.ARCH_DIR]
        inside = f"{archive_obj_name}/"
        return [
            entry
            for entry in self.list_objects_iter(archive_obj_name, props, page_size, flags)
            if entry.name.startswith(inside)
            or (include_archive_obj and entry.name == archive_obj_name)
        ]
