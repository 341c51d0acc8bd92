"""What AIS says when it refuses: status, words and error type, where the releases differ.

Clients match on literal phrases of these texts. Words that are the same in all releases stand
where they are said. `{node}` is filled in when the reply is made.
"""

from dataclasses import dataclass
from typing import Final

from aisfs.server.http.errors import AisError


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer other than success: HTTP status, text with names in braces, AIS's error type."""

    status: int
    text: str
    tcode: str = ""

    def error(self, **values: object) -> AisError:
        """Return the error; keywords that the text does not name are ignored."""
        return AisError(self.status, self.words(**values), self.tcode)

    def words(self, **values: object) -> str:
        """Return the text alone."""
        return self.text.format(node="{node}", **values)


@dataclass(frozen=True, slots=True)
class Wordings:
    """The refusals of one release; the defaults are those of AIS 5.0."""

    # Requests as such.
    unknown_path: Refusal = Refusal(400, "invalid request URI: '{method} {asked}' from {remote}")
    unknown_verb: Refusal = Refusal(405, "Method Not Allowed\n")
    unknown_what: Refusal = Refusal(
        400, "invalid '{path}' request: unrecognized 'what={what}' query"
    )
    path_short: Refusal = Refusal(
        400, "URL '{path}' is too short: expected {expected} items, got {found}"
    )
    bucket_slash: Refusal = Refusal(400, "URL '{path}' is too short: expected 4 items, got 3")
    unmarked: Refusal = Refusal(400, "{node}: {method}(obj) is expected to be redirected")
    unmarked_put: Refusal = Refusal(400, "{node}: {method}(obj) is expected to be redirected")
    unmarked_post: Refusal = Refusal(400, "{node}: {method}(obj) is expected to be redirected")
    unknown_post: Refusal = Refusal(
        400,
        "bucket name is invalid: may only contain letters, numbers, "
        "dashes (-), underscores (_), and dots (.)",
    )
    target_body: str = "*ais.actMsgExt"
    """What a target calls a message, in refusals of one that it cannot read."""

    # Buckets.
    unknown_provider: Refusal = Refusal(
        400,
        'invalid backend provider "{provider}": must be one of '
        "[ais, aws (s3://), gcp (gs://), azure (az://), oci (oc://)]",
        "ErrInvalidBackendProvider",
    )
    cloud_lookup: Refusal = Refusal(
        404,
        "{node}: failed to lookup bucket {uri}, "
        "err: {backend} backend is missing in the cluster configuration",
        "ErrFailedTo",
    )
    cloud_list: Refusal = Refusal(
        400, "{backend} backend is missing in the cluster configuration", "ErrMissingBackend"
    )
    cloud_create: Refusal = Refusal(
        501,
        '{provider} bucket "{uri}" does not exist (further details at '
        "https://github.com/NVIDIA/aistore/blob/main/docs/bucket.md#bucket-lifecycle)",
        "ErrRemoteBckNotFound",
    )
    cloud_destroy: Refusal = Refusal(
        405, "cannot destroy cloud bucket {uri} - operation not supported", "ErrUnsupp"
    )
    unknown_cluster: Refusal = Refusal(
        404,
        "{node}: failed to HEAD remote bucket {uri}, "
        'err: {node}: remote cluster "{cluster}" does not exist',
        "ErrFailedTo",
    )
    invalid_bucket_name: Refusal = Refusal(
        400,
        "bucket name is invalid: may only contain letters, numbers, "
        "dashes (-), underscores (_), and dots (.)",
    )
    not_remote: Refusal = Refusal(
        400, "{action}: expecting remote bucket (have {uri})", "ErrNotRemoteBck"
    )
    invalid_props: Refusal = Refusal(
        400, "invalid set-bucket-props request (msg=actm[set-bprops]): {reason}"
    )
    negative_page: Refusal = Refusal(400, "invalid page size {size}: must be >= 0")
    access_denied: Refusal = Refusal(
        403,
        "bucket {uri}({number:#x}): {permission} access denied (allowed: [{names}])",
        "ErrBucketAccessDenied",
    )
    onto_itself: Refusal = Refusal(400, 'cannot {action} bucket "{uri}" onto itself')
    unknown_summary: Refusal = Refusal(
        404, "{node}: summary-bck job {job} does not exist", "ErrNotFound"
    )
    unknown_list_target: Refusal = Refusal(
        400,
        "{node}: list-objects failure: node {target} not present in Smap v{version}",
        "errNodeNotFound",
    )

    # Objects.
    head_missing: Refusal = Refusal(404, "{node}: {uri} does not exist", "ErrNotFound")
    patch_missing: Refusal = Refusal(404, "{node}: {uri} does not exist", "ErrNotFound")
    is_present: Refusal = Refusal(400, "{uri} is present (vs requested 'flt-outside'(5))")
    range_outside: Refusal = Refusal(
        416, "size={size}: not satisfiable range [{range}]", "ErrRangeNotSatisfiable"
    )
    range_of_member: Refusal = Refusal(
        400,
        "cannot range-read archived content range: {header}, "
        "arch query: (archpath={path}) - operation not supported",
        "ErrUnsupp",
    )
    unknown_etl: Refusal = Refusal(
        404,
        "{node}: {name} does not exist - try starting new ETL with "
        '"{gateway}/v1/etl/init" endpoint',
    )
    bad_checksum: Refusal = Refusal(
        500,
        "BAD DATA CHECKSUM: {kind}({expected} != {found}) (context: {uri})",
        "ErrBadCksum",
    )
    remote_start_after: Refusal = Refusal(
        400,
        "list-objects option --start_after ({start}) not yet supported for remote buckets "
        "({uri}({number:#x}))",
    )
    remote_rename: Refusal = Refusal(
        501,
        'invalid action "{action}": not supported for remote buckets ({uri}({number:#x}))',
        "ErrUnsupp",
    )
    renamed_to_itself: Refusal = Refusal(400, "cannot rename {uri} to self, nothing to do")
    flush_without_handle: Refusal = Refusal(
        400,
        "failed to finalize append-file operation: empty source in the "
        "{{partialCksum:<nil> nodeID: workFQN:}} handle",
    )

    # Archives.
    member_missing: Refusal = Refusal(404, "{node}: {path} in {uri} does not exist", "ErrNotFound")
    no_archive: Refusal = Refusal(400, "{opening}{reason}")
    unknown_mime: Refusal = Refusal(400, 'unknown mime type "{mime}"', "errUnknownMime")
    shard_missing: Refusal = Refusal(404, "{node}: {uri} does not exist", "ErrNotFound")
    shard_unknown: Refusal = Refusal(404, "[fs-path] {uri}: object does not exist", "PathError")

    # Jobs and nodes.
    unknown_kind: Refusal = Refusal(400, 'invalid xaction (job) kind "": xa-{shown}')
    unsupported_start: Refusal = Refusal(
        501, "cannot start xaction {kind} - operation not supported", "ErrUnsupp"
    )
    prefetch_local: Refusal = Refusal(
        400, "can only prefetch Cloud and remote AIS buckets (have {uri})"
    )
    resilver_nowhere: Refusal = Refusal(
        400, "{node}: cannot resilver node {target} not present in <nil>", "errNodeNotFound"
    )
    unknown_job: Refusal = Refusal(404, "{node}: x-[{job}] does not exist", "ErrNotFound")
    never_ran: Refusal = Refusal(
        404, "{node}: nl [{proxy}(*), x-{kind}] does not exist", "ErrNotFound"
    )
    unknown_member: Refusal = Refusal(
        404,
        "{node}: {action}{colon} node {member} not present in Smap v{version}",
        "errNodeNotFound",
    )
    unknown_hop: Refusal = Refusal(
        404,
        "{node}: cannot forward request to node node {target} not present in Smap v{version}",
        "errNodeNotFound",
    )
    unknown_promoter: Refusal = Refusal(
        400,
        "{node}: promote failure: node {target} not present in Smap v{version}",
        "errNodeNotFound",
    )
    not_transient: Refusal = Refusal(
        400, "{section} (cluster-scoped) configuration cannot be changed transiently"
    )
    bucket_to_itself: Refusal = Refusal(400, 'cannot rename bucket "{uri}" to itself ("{uri}")')
    bad_selection: str = ""
    """What stands before the refusal of a selection's key."""


WORDINGS_5_0: Final = Wordings()
WORDINGS_3_17: Final = Wordings(
    unknown_path=Refusal(400, '{node}: empty protocol scheme for URL path "{path}"'),
    unknown_verb=Refusal(400, ""),
    unknown_what=Refusal(400, "invalid GET /daemon request: unrecognized what={what}"),
    path_short=Refusal(400, "URL path is too short: got {found} items, expected {expected}"),
    bucket_slash=Refusal(
        400,
        'bucket name "{bucket}/" is invalid: may only contain letters, numbers, '
        "dashes (-), underscores (_), and dots (.), and dots (.)",
    ),
    unmarked_put=Refusal(400, "{node}: {method}(obj) is expected to be redirected or replicated"),
    unmarked_post=Refusal(400, "{node}: {method}-{action}(obj) is expected to be redirected"),
    unknown_post=Refusal(
        400,
        'bucket name "{bucket}/{name}" is invalid: may only contain letters, numbers, '
        "dashes (-), underscores (_), and dots (.), and dots (.)",
    ),
    target_body="*ais.aisMsg",
    unknown_provider=Refusal(
        400,
        'invalid backend provider "{provider}": must be one of '
        "[ais, aws (s3://), gcp (gs://), azure (az://), hdfs://, ht://]",
        "ErrInvalidBackendProvider",
    ),
    cloud_lookup=Refusal(
        404,
        "{node}: failed to lookup Cloud bucket {uri}, "
        'err: "{provider}" backend is missing in the cluster configuration',
        "ErrFailedTo",
    ),
    cloud_list=Refusal(
        400, '"{provider}" backend is missing in the cluster configuration', "ErrMissingBackend"
    ),
    cloud_create=Refusal(
        501, "cannot create {provider}(cloud) bucket - not impemented yet", "ErrNotImpl"
    ),
    cloud_destroy=Refusal(
        400,
        "cannot destroy {provider} (cloud) bucket {uri} - operation not supported",
        "ErrUnsupp",
    ),
    unknown_cluster=Refusal(
        400,
        "{node}: failed to HEAD remote bucket {uri}, "
        'err: {node}: remote cluster "{cluster}" does not exist',
        "ErrFailedTo",
    ),
    invalid_bucket_name=Refusal(
        400,
        'bucket name "{bucket}" is invalid: may only contain letters, numbers, '
        "dashes (-), underscores (_), and dots (.), and dots (.)",
    ),
    not_remote=Refusal(400, '"{bucket}" is AIS (ais://) bucket - expecting remote bucket'),
    invalid_props=Refusal(400, "invalid props-to-update value in apireq: amsg[set-bprops]"),
    negative_page=Refusal(
        400,
        "{node}: failed to unmarshal list (map[string]interface {{}}), "
        "err: apc.LsoMsg.PageSize: {size} is negative",
    ),
    access_denied=Refusal(
        403,
        "bucket {uri}({number:#x}): {permission} access denied (0x{allowed_hex})",
        "ErrBucketAccessDenied",
    ),
    onto_itself=Refusal(400, 'cannot {action} bucket "{uri}({number:#x})" onto itself'),
    unknown_summary=Refusal(
        400,
        "{node}: {targets} instances of x-summary-bck[{job}] apparently failed to start, "
        "targets: [{labels}]",
    ),
    unknown_list_target=Refusal(
        400,
        "{node}: list-objects failure node {target} (not present in the Smap v{version})",
        "errNodeNotFound",
    ),
    head_missing=Refusal(404, "{node}: object {uri} does not exist", "ErrNotFound"),
    patch_missing=Refusal(404, "{uri}: no such file or directory", "PathError"),
    is_present=Refusal(400, '{uri} is present (flt 5="outside")'),
    range_outside=Refusal(
        416, 'range "{range}" does not overlap with the content [0, {size})', "errRangeNoOverlap"
    ),
    range_of_member=Refusal(
        416, "cannot range-read archived file {path} - operation not supported", "ErrUnsupp"
    ),
    unknown_etl=Refusal(
        404,
        "{node}: etl[{name}] does not exist - try starting new ETL with "
        '"{gateway}/v1/etl/init" endpoint',
    ),
    bad_checksum=Refusal(
        500,
        "BAD DATA CHECKSUM: {kind}({expected} != {found}) (context: o[{bucket}/{name}{load}])",
        "ErrBadCksum",
    ),
    remote_start_after=Refusal(
        501,
        "list-objects option --start_after ({start}) not yet supported for remote buckets "
        "({uri}({number:#x}))",
    ),
    remote_rename=Refusal(
        400, 'invalid action "{action}": not supported for remote buckets ({uri}({number:#x}))'
    ),
    renamed_to_itself=Refusal(400, "the new and the current name are the same"),
    flush_without_handle=Refusal(
        400,
        "failed to finalize append-file operation: empty source in the "
        "{{partialCksum:<nil> nodeID: filePath:}} handle",
    ),
    member_missing=Refusal(404, 'file "{path}" in archive "{uri}" does not exist', "ErrNotFound"),
    no_archive=Refusal(
        400,
        "{node}: failed to extract {path} from o[{bucket}/{name}], err: {reason}",
        "ErrFailedTo",
    ),
    unknown_mime=Refusal(400, 'unknown mime type "{mime}"', "ErrUnknownMime"),
    shard_missing=Refusal(404, "{uri}: no such file or directory", "PathError"),
    shard_unknown=Refusal(400, "{uri}: no such file or directory", "PathError"),
    unknown_kind=Refusal(400, '{node}: unknown xaction kind ""'),
    unsupported_start=Refusal(
        400, "cannot start xaction {kind} - operation not supported", "ErrUnsupp"
    ),
    prefetch_local=Refusal(400, 'bucket "{uri}({number:#x})": can only prefetch remote buckets'),
    resilver_nowhere=Refusal(400, "cannot resilver <nil>: node must exist and be a target"),
    unknown_job=Refusal(404, "x-[{job}] not found ({proxy}(*))"),
    never_ran=Refusal(404, "nl not found: {proxy}(*), x-{kind}"),
    unknown_member=Refusal(404, "{node}: node {member} does not exist", "ErrNotFound"),
    unknown_hop=Refusal(
        404,
        "{node}: cannot rproxy node {target} (not present in the Smap v{version})",
        "errNodeNotFound",
    ),
    unknown_promoter=Refusal(
        400,
        "{node}: promote failure node {target} (not present in the Smap v{version})",
        "errNodeNotFound",
    ),
    not_transient=Refusal(400, "{section} configuration can only be globally updated"),
    bucket_to_itself=Refusal(400, 'cannot rename bucket "{uri}({number:#x})" to itself ("{uri}")'),
    bad_selection='{node} failed to "{action}" List/Range: ',
)
