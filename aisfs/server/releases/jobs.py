"""What jobs of a release are like: which there are, what their messages take, what they tell."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Keys = Mapping[str, type | tuple[type, ...]]


@dataclass(frozen=True, slots=True)
class JobRules:
    """Facts about the jobs of a release; the defaults are those of AIS 5.0.

    Attributes:
        absent_kinds: Kinds that the release does not have.
        absent_keys: Keys of a message's value that the release does not know, by action.
        mark: What stands before a kind where a start is refused.
        targets_know_kinds: Whether targets, not the gateway, refuse an unknown kind.
        start_everywhere: Whether a resilver without a target runs on all of them.
        several_ids: Whether a question may name several jobs.
        unknown_kind_stops: Whether stopping an unknown kind is no error.
        failure_refuses: Whether the status of a failed job is a refusal with its reason.
        tells_missing: Whether names that a list had and the bucket had not are told.
        tells_errors: Whether snapshots carry errors.
        empty_selects_none: Whether a deletion without names or template fails in its job.
        archives_lz4: Whether archives may be `.tar.lz4`.
        append_needs_shard: Whether an archive that is appended to has to exist.
        promotes_below: Whether the name given to a promotion always is that of a directory.
    """

    absent_kinds: frozenset[str] = frozenset()
    absent_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)
    mark: str = "xa"
    targets_know_kinds: bool = False
    start_everywhere: bool = False
    several_ids: bool = True
    unknown_kind_stops: bool = False
    failure_refuses: bool = False
    tells_missing: bool = True
    tells_errors: bool = True
    empty_selects_none: bool = False
    archives_lz4: bool = True
    append_needs_shard: bool = False
    promotes_below: bool = False

    def keys(self, action: str, known: Keys) -> dict[str, Any]:
        """Return which of the known keys the release takes in the value of an action."""
        absent = self.absent_keys.get(action, frozenset())
        return {key: kinds for key, kinds in known.items() if key not in absent}


JOBS_5_0: Final = JobRules()

_WORKERS = frozenset({"num-workers", "non-recurs"})
_VERSIONS = frozenset({"latest-ver", "synchronize"})
JOBS_3_17: Final = JobRules(
    absent_kinds=frozenset({
        "rechunk", "blob-download", "get-batch", "create-inventory", "summary-shard",
        "index-shard",
    }),
    absent_keys={
        "copy-bck": _WORKERS | _VERSIONS | {"ext", "coer"},
        "copy-listrange": _WORKERS | _VERSIONS,
        "delete-listrange": _WORKERS | {"latest-ver", "coer"},
        "evict-listrange": _WORKERS | {"latest-ver", "coer"},
        "prefetch-listrange": _WORKERS | {
            "blob-threshold", "blob-chunk-size", "blob-num-workers",
        },
        "archive": _WORKERS | {"latest-ver", "bnonly"},
    },
    mark="x",
    targets_know_kinds=True,
    start_everywhere=True,
    several_ids=False,
    unknown_kind_stops=True,
    failure_refuses=True,
    tells_missing=False,
    tells_errors=False,
    empty_selects_none=True,
    archives_lz4=False,
    append_needs_shard=True,
    promotes_below=True,
)  # fmt: skip
