"""The releases of AIS whose behaviour this store can have (`--compat`), and how they differ.

An `Era` is a table of facts: each is asked at the one place that it is about, and nothing else
of the store compares releases. The defaults are those of AIS 5.0. Where a real release answers
success and loses data, all eras refuse; `docs/embedded-store-differences.md` lists those places.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from aisfs.server.releases.bucket_props import PROPS_3_17, PROPS_5_0
from aisfs.server.releases.jobs import JOBS_3_17, JOBS_5_0, JobRules
from aisfs.server.releases.locations import WriteLocation, base36, encoded_path, raw_path
from aisfs.server.releases.names import (
    NAMES_3_17,
    NAMES_5_0,
    NameRules,
)
from aisfs.server.releases.transformers import (
    TRANSFORMERS_3_17,
    TRANSFORMERS_5_0,
    TransformerRules,
)
from aisfs.server.releases.wordings import WORDINGS_3_17, WORDINGS_5_0, Wordings


class Feature(Enum):
    """What a release may be able to do: since which one, and in words."""

    BLOB_DOWNLOAD = "3.22", "blob download of remote objects"
    TEMPLATE_CHECK = "3.22", "refusing a bad template at once, not in the job"
    SUMMARY_IN_STEPS = "3.22", "a bucket's summary by HEAD with bsumm_remote, in two steps"
    ARCHIVE_FLAGS = "3.22", "creating and replacing shards by adding a member (Ais-Pine)"
    LOCK_PROBE = "3.29", "asking whether an object is locked"
    GET_BATCH = "3.30", "reading many objects in one request"
    MULTIPART = "4.0", "multipart upload"
    HEAD_PROPS = "4.2", "selected properties of an object (props)"
    APPEND_CONTINUES = "5.0", "appending to what an object holds"
    NODE_STATE = "3.22", "the state of a node with its health (cii)"


_PROVIDERS = {
    "": "ais", "ais": "ais", "aws": "aws", "s3": "aws", "gcp": "gcp", "gs": "gcp",
    "azure": "azure", "az": "azure",
}  # fmt: skip
_BOTH_MARKERS = ("pid", "utm")
_ALL_MARKED = {"PUT": _BOTH_MARKERS, "POST": _BOTH_MARKERS, "DELETE": _BOTH_MARKERS}
_KEYS_3_17: Final = frozenset({
    "provider", "namespace", "skip_vc", "pid", "utm", "uuid", "archpath", "archmime", "gfn",
    "original_url", "append_type", "append_handle", "owt", "presence", "dont_add_remote_bck_md",
    "etl_name", "uploadId", "uploads", "partNumber",
    "x", "u",  # by which this store vouches for redirects
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Era:
    """A release.

    Attributes:
        name: What `--compat` takes.
        version: What the cluster says of itself; the dot is part of AIS's answer.
        said: Its refusals.
        names: Its rules for the names of buckets and objects.
        jobs: What its jobs are like.
        transformers: How it talks with transformers, and about them.
        providers: Values of `provider` with what they mean.
        checksum_types: Names of checksums, in the order of its messages.
        type_alone_ignored: Whether a checksum's type without a value is ignored; else it fails.
        bucket_props: Properties of a new bucket.
        known_keys: Query keys that GET and PUT of objects and bucket requests may have; None if
            unknown ones are ignored.
        whole_path_names: Verbs of bucket requests for which all that follows in the path is the
            bucket's name.
        posts_end_with_bucket: Whether a POST to a bucket is refused if more follows in its path.
        markers: Query keys that a request needs straight at a target, by verb.
        node_verbs: Verbs of `/v1/daemon`.
        foreign_caller_refused: Whether `Ais-Caller-Id` from a client is refused.
        targets_parse_strictly: Whether targets use AIS's own parser for the queries of all verbs.
        write_location: How a redirect writes the path.
        redirect_time: How a redirect writes the time.
        sniffs_types: Whether replies tell the type that bytes look like; else all are octets.
        archpath_checked: Whether a GET's `archpath` must be a proper path.
        members_have_attributes: Whether a member of an archive comes with what is known of it.
        member_errors_announce_shard: Whether a refusal about a member has the shard's length and
            attributes in its headers, and ends early.
        range_status: Status of a part of an object.
        put_announces_body: Whether the reply to a PUT announces the object's size, though no body
            comes.
        flush_returns_handle: Whether a flush answers an (empty) append handle.
        etag_from_custom: Whether the custom key `ETag` is also sent as header.
        custom_limit: Bytes of all custom keys and values together.
        empty_custom_keys: Whether a custom key may be empty.
        disk_class: What `Ais-Location` adds to a disk's name.
        directory_slash: Whether listings write directories with a slash at the end.
        shard_flag: Flag of an expanded shard in a listing, beside "cached".
        custom_display: What stands before custom metadata in a listing.
        prefixes_checked: Whether a listing's prefix loses a `*` at its end and must be no path.
        refused_list_flags: Whether flags for remote buckets are refused on ais buckets.
        list_ids_checked: Whether an unknown `uuid` of a listing is refused.
        list_value_optional: Whether `list` takes any value for a list of buckets, null for one
            of objects.
        patch_permission: Whether changing custom metadata needs a permission.
        publishes_digest: Whether the cluster map carries `id_digest`.
        map_time: What follows the second in the cluster map's time of creation.
        fuller_figures: Whether capacities have totals, labels and details of file systems.
        questions: Values of `what` of other releases (empty: none) with those of AIS 5.0.
    """

    name: str
    version: str
    providers: Mapping[str, str]
    bucket_props: Mapping[str, Any]
    markers: Mapping[str, tuple[str, ...]]
    questions: Mapping[str, str]
    said: Wordings = WORDINGS_5_0
    names: NameRules = NAMES_5_0
    jobs: JobRules = JOBS_5_0
    transformers: TransformerRules = TRANSFORMERS_5_0
    checksum_types: tuple[str, ...] = (
        "crc32c", "md5", "sha256", "sha512", "xxhash", "xxhash2", "none",
    )  # fmt: skip
    type_alone_ignored: bool = True
    known_keys: frozenset[str] | None = None
    whole_path_names: frozenset[str] = frozenset({"DELETE", "PATCH"})
    posts_end_with_bucket: bool = True
    node_verbs: str = "GET, POST, PUT"
    foreign_caller_refused: bool = True
    targets_parse_strictly: bool = True
    write_location: WriteLocation = encoded_path
    redirect_time: Any = base36
    sniffs_types: bool = False
    archpath_checked: bool = True
    members_have_attributes: bool = False
    member_errors_announce_shard: bool = False
    range_status: int = 206
    put_announces_body: bool = False
    flush_returns_handle: bool = False
    etag_from_custom: bool = True
    custom_limit: int = 2048
    empty_custom_keys: bool = False
    disk_class: str = ", ssd"
    directory_slash: bool = True
    shard_flag: int = 512
    custom_display: str = ""
    prefixes_checked: bool = True
    refused_list_flags: bool = True
    list_ids_checked: bool = False
    list_value_optional: bool = False
    patch_permission: bool = True
    publishes_digest: bool = True
    map_time: str = ""
    fuller_figures: bool = True

    def has(self, feature: Feature) -> bool:
        """Tell whether the release can do something."""
        since, _ = feature.value
        return _number(self.name) >= _number(since)


def _number(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


_RECENT = Era(
    "5.0",
    "5.0.",
    providers={**_PROVIDERS, "oci": "oci", "oc": "oci"},
    bucket_props=PROPS_5_0,
    markers={**_ALL_MARKED, "PATCH": _BOTH_MARKERS},
    questions={},
)
_OF_2023 = Era(
    "3.17",
    "3.17.",
    said=WORDINGS_3_17,
    names=NAMES_3_17,
    jobs=JOBS_3_17,
    transformers=TRANSFORMERS_3_17,
    providers={**_PROVIDERS, "hdfs": "hdfs", "ht": "ht"},
    checksum_types=("crc32c", "md5", "sha256", "sha512", "xxhash", "none"),
    type_alone_ignored=False,
    bucket_props=PROPS_3_17,
    known_keys=_KEYS_3_17,
    whole_path_names=frozenset({"DELETE", "HEAD", "PATCH"}),
    posts_end_with_bucket=False,
    markers={**_ALL_MARKED, "PUT": ("utm",), "PATCH": ()},
    node_verbs="DELETE, GET, POST, PUT",
    foreign_caller_refused=False,
    targets_parse_strictly=False,
    write_location=raw_path,
    redirect_time=str,
    sniffs_types=True,
    archpath_checked=False,
    members_have_attributes=True,
    member_errors_announce_shard=True,
    range_status=200,
    put_announces_body=True,
    flush_returns_handle=True,
    etag_from_custom=False,
    custom_limit=3800,
    empty_custom_keys=True,
    disk_class="",
    directory_slash=False,
    shard_flag=0,
    custom_display="map",
    prefixes_checked=False,
    refused_list_flags=False,
    list_ids_checked=True,
    list_value_optional=True,
    patch_permission=False,
    publishes_digest=False,
    map_time=".000000001 +0000 UTC m=+1.000000001",
    fuller_figures=False,
    questions={
        "status": "node_status",
        "stats": "node_stats",
        "node_status": "",
        "node_stats": "",
        "software_version": "",
        "backends": "",
    },
)
ERAS = {era.name: era for era in (_OF_2023, _RECENT)}
NEWEST = ERAS["5.0"]
