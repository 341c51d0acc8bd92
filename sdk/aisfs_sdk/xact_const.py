"""Kinds of jobs, by AIS's names."""

from __future__ import annotations

from typing import Final

ARCHIVE: Final = "archive"
BLOB_DOWNLOAD: Final = "blob-download"
CLEANUP_STORE: Final = "cleanup-store"
COPY_BCK: Final = "copy-bck"
COPY_LISTRANGE: Final = "copy-listrange"
CREATE_INVENTORY: Final = "create-inventory"
DELETE_LISTRANGE: Final = "delete-listrange"
DOWNLOAD: Final = "download"
DSORT: Final = "dsort"
EC_ENCODE: Final = "ec-encode"
EC_GET: Final = "ec-get"
EC_PUT: Final = "ec-put"
EC_RESP: Final = "ec-resp"
ELECTION: Final = "election"
ETL_BCK: Final = "etl-bck"
ETL_INLINE: Final = "etl-inline"
ETL_LISTRANGE: Final = "etl-listrange"
EVICT_LISTRANGE: Final = "evict-listrange"
EVICT_REMOTE_BCK: Final = "evict-remote-bck"
GET_BATCH: Final = "get-batch"
LIST: Final = "list"
LOAD_LOM_CACHE: Final = "load-lom-cache"
LRU: Final = "lru"
MAKE_N_COPIES: Final = "make-n-copies"
MOVE_BCK: Final = "move-bck"
PREFETCH_LISTRANGE: Final = "prefetch-listrange"
PROMOTE: Final = "promote"
PUT_COPIES: Final = "put-copies"
REBALANCE: Final = "rebalance"
RECHUNK: Final = "rechunk"
RESILVER: Final = "resilver"
SUMMARY_BCK: Final = "summary-bck"

IDLE_KINDS: Final = frozenset(
    (ARCHIVE, COPY_LISTRANGE, DOWNLOAD, EC_GET, EC_PUT, EC_RESP, ETL_LISTRANGE, GET_BATCH, LIST,
     PUT_COPIES)
)  # fmt: skip
"""Jobs that go on after their work, for others may join them: wait until they idle."""
