"""Every name that stands in requests and replies: headers, query keys, actions, values.

Serves the SDK and the embedded server, so that both spell the protocol from one place. Names only;
what they mean is said where they are used.
"""

from __future__ import annotations

from typing import Final

# Parts of URLs, below the endpoint.
URL_PATH_VERSION: Final = "v1"
URL_PATH_BUCKETS: Final = "buckets"
URL_PATH_OBJECTS: Final = "objects"
URL_PATH_CLUSTER: Final = "cluster"
URL_PATH_DAEMON: Final = "daemon"
URL_PATH_HEALTH: Final = "health"
URL_PATH_ETL: Final = "etl"
URL_PATH_SORT: Final = "sort"
URL_PATH_DOWNLOAD: Final = "download"
URL_PATH_BATCH: Final = "ml/moss"
URL_PATH_REVERSE: Final = "reverse"

# HTTP methods.
HTTP_METHOD_GET: Final = "GET"
HTTP_METHOD_HEAD: Final = "HEAD"
HTTP_METHOD_PUT: Final = "PUT"
HTTP_METHOD_POST: Final = "POST"
HTTP_METHOD_PATCH: Final = "PATCH"
HTTP_METHOD_DELETE: Final = "DELETE"

# Standard headers.
HEADER_ACCEPT: Final = "Accept"
HEADER_ACCEPT_ENCODING: Final = "Accept-Encoding"
HEADER_ACCEPT_RANGES: Final = "Accept-Ranges"
HEADER_AUTHORIZATION: Final = "Authorization"
HEADER_CONNECTION: Final = "Connection"
HEADER_CONTENT_LENGTH: Final = "Content-Length"
HEADER_CONTENT_RANGE: Final = "Content-Range"
HEADER_CONTENT_TYPE: Final = "Content-Type"
HEADER_ETAG: Final = "Etag"
HEADER_LAST_MODIFIED: Final = "Last-Modified"
HEADER_LOCATION: Final = "Location"
HEADER_RANGE: Final = "Range"
HEADER_RETRY_AFTER: Final = "Retry-After"
HEADER_TRANSFER_ENCODING: Final = "Transfer-Encoding"
HEADER_USER_AGENT: Final = "User-Agent"
USER_AGENT: Final = "ais/python/aisfs-sdk"

JSON_CONTENT_TYPE: Final = "application/json"
MSGPACK_CONTENT_TYPE: Final = "application/msgpack"
OCTET_STREAM: Final = "application/octet-stream"

# Headers of AIS, in the case that servers send.
HEADER_PREFIX: Final = "Ais-"
HEADER_APPEND_HANDLE: Final = "Ais-Append-Handle"
HEADER_ATIME: Final = "Ais-Atime"
HEADER_BLOB_CHUNK: Final = "Ais-Blob-Chunk"
HEADER_BLOB_DOWNLOAD: Final = "Ais-Blob-Download"
HEADER_BLOB_WORKERS: Final = "Ais-Blob-Workers"
HEADER_BUCKET_NAME: Final = "Ais-Bucket-Name"
HEADER_BUCKET_NAMESPACE_UUID: Final = "Ais-Bucket-Namespace-Uuid"
HEADER_BUCKET_PROPS: Final = "Ais-Bucket-Props"
HEADER_BUCKET_PROVIDER: Final = "Ais-Bucket-Provider"
HEADER_BUCKET_SUMM: Final = "Ais-Bucket-Summ"
HEADER_CALLER_ID: Final = "Ais-Caller-Id"
HEADER_CHECKSUM_TYPE: Final = "Ais-Checksum-Type"
HEADER_CHECKSUM_VALUE: Final = "Ais-Checksum-Value"
HEADER_CHUNKS_COUNT: Final = "Ais-Chunks-Count"
HEADER_CHUNKS_MAX_SIZE: Final = "Ais-Chunks-Max-Chunk-Size"
HEADER_CLUSTER_UPTIME: Final = "Ais-Cluster-Uptime"
HEADER_CUSTOM_MD: Final = "Ais-Custom-Md"
HEADER_ERROR: Final = "Hdr-Error"
HEADER_LOCATION_PROPS: Final = "Ais-Location"
HEADER_MIRROR_COPIES: Final = "Ais-Mirror-Copies"
HEADER_MIRROR_PATHS: Final = "Ais-Mirror-Paths"
HEADER_NAME: Final = "Ais-Name"
HEADER_NODE_ID: Final = "Ais-Node-Id"
HEADER_NODE_UPTIME: Final = "Ais-Node-Uptime"
HEADER_PINE: Final = "Ais-Pine"
HEADER_PRESENT: Final = "Ais-Present"
HEADER_VERSION: Final = "Ais-Version"
HEADER_XACTION_ID: Final = "Ais-Xaction-Id"

# Query keys.
QPARAM_PROVIDER: Final = "provider"
QPARAM_NAMESPACE: Final = "namespace"
QPARAM_WHAT: Final = "what"
QPARAM_PROXY_ID: Final = "pid"
QPARAM_UNIX_TIME: Final = "utm"
QPARAM_UUID: Final = "uuid"
QPARAM_ARCHPATH: Final = "archpath"
QPARAM_ARCHMIME: Final = "archmime"
QPARAM_ARCHREGX: Final = "archregx"
QPARAM_ARCHMODE: Final = "archmode"
QPARAM_ETL_NAME: Final = "etl_name"
QPARAM_ETL_ARGS: Final = "etl_args"
QPARAM_ETL_PIPELINE: Final = "etl_pipeline"
QPARAM_LATEST: Final = "latest-ver"
QPARAM_SYNC: Final = "sync"
QPARAM_APPEND_TYPE: Final = "append_type"
QPARAM_APPEND_HANDLE: Final = "append_handle"
QPARAM_OBJECT_TO: Final = "object_to"
QPARAM_BUCKET_TO: Final = "bck_to"
QPARAM_KEEP_BCK_MD: Final = "keep_bck_md"
QPARAM_NEW_CUSTOM: Final = "set-new-custom"
QPARAM_FLT_PRESENCE: Final = "presence"
QPARAM_BSUMM_REMOTE: Final = "bsumm_remote"
QPARAM_UPLOAD_ID: Final = "uploadId"
QPARAM_PART_NUMBER: Final = "partNumber"
QPARAM_PROPS: Final = "props"
QPARAM_SKIP_VERSION: Final = "skip_vc"
QPARAM_COLOC: Final = "coloc"
QPARAM_FORCE: Final = "frc"
QPARAM_PRIMARY_READY: Final = "prr"
QPARAM_READINESS: Final = "readiness"

# Values of `what`.
WHAT_SMAP: Final = "smap"
WHAT_BMD: Final = "bmd"
WHAT_SYSINFO: Final = "sysinfo"
WHAT_NODE_STATUS: Final = "node_status"
WHAT_STATUS: Final = "status"
WHAT_STATUS_ALL: Final = "status_all"
WHAT_RUNNING_ALL: Final = "running_all"
WHAT_QUERY_XACT_STATS: Final = "qryxstats"
WHAT_LOG: Final = "log"
WHAT_REMOTE: Final = "remote"

# Values of `append_type`.
APPEND_APPEND: Final = "append"
APPEND_FLUSH: Final = "flush"

# Actions.
ACT_CREATE_BCK: Final = "create-bck"
ACT_DESTROY_BCK: Final = "destroy-bck"
ACT_MOVE_BCK: Final = "move-bck"
ACT_COPY_BCK: Final = "copy-bck"
ACT_ETL_BCK: Final = "etl-bck"
ACT_EVICT_REMOTE_BCK: Final = "evict-remote-bck"
ACT_SUMMARY_BCK: Final = "summary-bck"
ACT_SET_BPROPS: Final = "set-bprops"
ACT_RESET_BPROPS: Final = "reset-bprops"
ACT_MAKE_N_COPIES: Final = "make-n-copies"
ACT_LIST: Final = "list"
ACT_PROMOTE: Final = "promote"
ACT_RENAME_OBJECT: Final = "rename-obj"
ACT_CHECK_LOCK: Final = "check-lock"
ACT_BLOB_DOWNLOAD: Final = "blob-download"
ACT_COPY_OBJECTS: Final = "copy-listrange"
ACT_DELETE_OBJECTS: Final = "delete-listrange"
ACT_EVICT_OBJECTS: Final = "evict-listrange"
ACT_PREFETCH_OBJECTS: Final = "prefetch-listrange"
ACT_TRANSFORM_OBJECTS: Final = "etl-listrange"
ACT_ARCHIVE_OBJECTS: Final = "archive"
ACT_MPT_UPLOAD: Final = "mpt-upload"
ACT_MPT_COMPLETE: Final = "mpt-complete"
ACT_MPT_ABORT: Final = "mpt-abort"
ACT_START: Final = "start"
ACT_STOP: Final = "stop"

# Providers, in AIS's own spelling, and the aliases that its queries accept.
PROVIDER_AIS: Final = "ais"
PROVIDER_AMAZON: Final = "aws"
PROVIDER_AZURE: Final = "azure"
PROVIDER_GOOGLE: Final = "gcp"
PROVIDER_ORACLE: Final = "oci"
PROVIDER_HDFS: Final = "hdfs"
PROVIDER_HTTP: Final = "ht"
PROVIDER_ALIASES: Final = {
    "s3": PROVIDER_AMAZON,
    "gs": PROVIDER_GOOGLE,
    "az": PROVIDER_AZURE,
    "oc": PROVIDER_ORACLE,
}

# Flags of a listing's entries.
ENTRY_STATUS_MASK: Final = 0x1F
ENTRY_CACHED: Final = 64
ENTRY_IN_ARCHIVE: Final = 128
ENTRY_DIRECTORY: Final = 256
ENTRY_IS_ARCHIVE: Final = 512
ENTRY_CHUNKED: Final = 8192

# HTTP status codes that mean more than success or failure here.
STATUS_ACCEPTED: Final = 202
STATUS_PARTIAL_CONTENT: Final = 206

# Environment of the connection, as documented by AIS for its clients.
AIS_CONNECT_TIMEOUT: Final = "AIS_CONNECT_TIMEOUT"
AIS_READ_TIMEOUT: Final = "AIS_READ_TIMEOUT"
AIS_AUTHN_TOKEN: Final = "AIS_AUTHN_TOKEN"  # noqa: S105 - the name of a variable
AIS_AUTHN_TOKEN_FILE: Final = "AIS_AUTHN_TOKEN_FILE"  # noqa: S105 - the name of a variable
AIS_CLIENT_CA: Final = "AIS_CLIENT_CA"
AIS_SERVER_CRT: Final = "AIS_SERVER_CRT"
AIS_CLIENT_CRT: Final = "AIS_CRT"
AIS_CLIENT_KEY: Final = "AIS_CRT_KEY"
AIS_SKIP_VERIFY_CRT: Final = "AIS_SKIP_VERIFY_CRT"
AIS_MAX_CONN_POOL: Final = "AIS_MAX_CONN_POOL"

# Defaults.
DEFAULT_CHUNK_SIZE: Final = 32768
DEFAULT_CONNECT_TIMEOUT_S: Final = 3.0
DEFAULT_READ_TIMEOUT_S: Final = 20.0
DEFAULT_MAX_POOL_SIZE: Final = 10
DEFAULT_DEADLINE_S: Final = 60.0
DEFAULT_JOB_WAIT_TIMEOUT: Final = 300
DEFAULT_DSORT_WAIT_TIMEOUT: Final = 300
DEFAULT_SUMMARY_WAIT_S: Final = 300.0
UTF_ENCODING: Final = "utf-8"
