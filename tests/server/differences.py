"""Where this store deliberately answers otherwise than the recorded AIS 5.0, and why.

Each case here must differ: an entry that no longer does fails the replay.
"""

_PREFIX = "a prefix is a plain string prefix here; AIS 5.0 loses or misplaces names"
_START_AFTER = "AIS 5.0 repeats all directories after start_after; here they obey it"
_CONTROL = "the redirect of a name with a control character is percent-encoded, so it works"
_LONG = "AIS 5.0 shows its file name trick for long names as custom metadata"
_CRC = "parts sent out of order: the object has the bucket's checksum type all the same"
_WRONG = "a write at the wrong target is refused; AIS 5.0 stores it where nobody finds it"
_CUT = "AIS 5.0 cuts the connection"
_BROKEN_SHARD = "AIS 5.0 loses objects beside a broken archive; here it hides none"
_APPENDED = "AIS 5.0 corrupts a padded TAR it appends to; here the shard stays sound"
_NO_CHECKSUM = "a TAR that was appended to keeps a checksum here"
_RANGE = "a range out of bounds is refused at once; AIS 5.0 ends the archive or waits 20 s"

_EVICT = "evicting an object of an ais bucket would delete its only copy: refused"
_CACHED = "AIS 5.0 marks every name as cached when only names and sizes are asked for"
_COLD = "what a batch needs is fetched first; AIS 5.0 calls it missing"

DIFFERENCES: dict[str, str] = {
    "object/evict-ais": _EVICT,
    "object/evict-ais-2": f"{_EVICT}, so it is still there",
    **{
        f"remote/list-{name}": _CACHED
        for name in (
            "before-default",
            "before-namesize",
            "before-norec",
            "before-onlyremote",
            "after-default",
            "after-pages",
        )
    },
    "remote/moss-cold": _COLD,
    "remote/moss-cold-coer": _COLD,
    "blob/get-header": "the content type is that of every GET, not guessed from the bytes",
    "blob/get-header-warm": "an object that is here is sent; AIS 5.0 answers with no bytes at all",
    "bucket/copy-nullvalue": "refused for its null value; the recorded refusal is of a running job",
    "range/bytes-empty": f"{_CUT} and keeps the object locked; here it is the whole object",
    "checksum/type-unknown": f"{_CUT}; here 400",
    "custom/patchodd-nul-head": "AIS 5.0 sends NUL in a header; here it is a blank",
    "list/prefix-a-0": _PREFIX,
    "list/prefix-a-2048": _PREFIX,
    "list/prefix-a/b-2048": _PREFIX,
    "list/prefix-a/c-2048": _PREFIX,
    "list/prefix-a/c/d-2048": _PREFIX,
    "list/prefix-ab-2048": _PREFIX,
    "list/prefix-dir-2048": _PREFIX,
    "list/prefix-dir/o-2048": _PREFIX,
    "list/prefix-dir/obj-1-2048": _PREFIX,
    "list/prefix-a*-0": _PREFIX,
    "list/prefix-a*-2048": _PREFIX,
    "list/prefix-/-2048": _PREFIX,
    "list/prefix-é-2048": _PREFIX,
    "list/start-after-a/b-2048": _START_AFTER,
    "list/start-after-b-2048": _START_AFTER,
    "list/start-after-zzz-2048": _START_AFTER,
    "list/start-after-dir/-2048": _START_AFTER,
    "list/pages-3-0-1": "AIS 5.0 loses a name at the border of a page",
    "list/emptied-dir-norec": "AIS 5.0 lists directories without objects",
    "mpt/get": _CRC,
    "mpt/head": _CRC,
    "mpt/head-v2": _CRC,
    "mpt/range": _CRC,
    "mpt/list": _CRC,
    "mpt/append-to-chunked-get": "AIS 5.0 loses all parts but the first; here nothing is lost",
    "mpt/abort-again": "AIS 5.0 names a file of its own in the message",
    **{
        f"name/{name}-{verb}": _CONTROL
        for name in ("newline", "cr", "tab", "nul", "ctrl", "del")
        for verb in ("put", "get")
    },
    "arch/zip-regx": f"{_CUT}; here the members come",
    "arch/list-archdir": _BROKEN_SHARD,
    "arch/list-archdir-size": _BROKEN_SHARD,
    "arch/list-archdir-all": _BROKEN_SHARD,
    "arch/list-archdir-norec": _BROKEN_SHARD,
    "archput/pine1-exists-get": _NO_CHECKSUM,
    "archput/pine2-exists-get": _NO_CHECKSUM,
    "archput/pine1-zip": "AIS 5.0 never answers and keeps the object locked; here it is appended",
    "archput/pine1-zip-get": "the member appended to the zip is there",
    **{
        f"archput/{name}": _APPENDED
        for name in ("dup", "dup-get", "dotdot-get", "pinebad", "pinebad-get", "chunked")
    },
    "moss/missing-first": "the stream ends at the first missing item; AIS 5.0 varies by target",
    "moss/range-beyond": _RANGE,
    "moss/range-beyond-coer": _RANGE,
    "moss/uname": "AIS 5.0 forgets the member's name",
    "name/long256-put": _LONG,
    "name/long256-get": _LONG,
    "name/long1100-put": _LONG,
    "name/long1100-get": _LONG,
    "name/long300-dir-put": "AIS 5.0 has no directories with names over 255 bytes",
    "name/long300-dir-get": "AIS 5.0 has no directories with names over 255 bytes",
    **{
        f"direct/wrong-pid-{utm}-{verb}": _WRONG
        for utm in ("utm10", "utm36", "utm1")
        for verb in ("PUT", "PATCH", "POST")
    },
    "direct/ctl-HEAD-_v1_buckets_po-a-provider=ais": f"{_CUT}; here 400",
}

JOB_DIFFERENCES: dict[str, str] = {
    "start.unknownkey": "the unknown key is named in lower case",
    "start.rebalance.conflict": "nothing moves between targets, so nothing is busy",
    "start.rebalance.early": "nothing moves between targets, so it ends at once",
}

_GONE = "a copy that `latest-ver` found gone at its origin is dropped; AIS 5.0 goes on listing it"
_MISNAMED = "only evict-listrange evicts; AIS 5.0 deletes at the origin for any other action"
_COPY_UP = "a copy into a remote bucket is complete at its origin; AIS 5.0 loses a share"

_RENAMED = "a bucket has its new name at once, and only that"

STORAGE_DIFFERENCES: dict[str, str] = {
    "rename.old.now": _RENAMED,
    "rename.old.get.now": _RENAMED,
    "rename.snaps": f"{_RENAMED}, no object is moved",
    "copybck.ext.names": "synchronize deletes what vanished at a remote origin, and nothing else",
    "reverse.ok": "no rebalance has run that it could tell of",
    "config.get": "the configuration holds what this store obeys, not all that AIS has",
    "config.set.node": "nodes have no configuration of their own: 501",
    "config.set.node.msg": "nodes have no configuration of their own: 501",
    "rechunk.snaps": "blobs are one file each: there are no chunks to change",
    "promote.elsewhere.dir": "the recording shortens the path",
    "rem.prefetch.list.cached": _GONE,
    "rem.evict.list.cached": _GONE,
    "rem.evict.notcached.status": "the first error is that of the first name",
    "rem.evict.object.misnamed": _MISNAMED,
    "rem.evict.object.cached": _MISNAMED,
    "rem.copy.down.snaps": "all bytes are counted, not those of some targets only",
    "rem.copy.up.names": _COPY_UP,
}

_DECODER = "the words of its decoder"
_IMAGES = "images cannot be run here: refused at once, and the name stays free"
_FORGOTTEN = "AIS does not know the status of these jobs; here each has one"
_OWN_JOB = "AIS ignores what a request asks that joins a job; here each request is a job of its own"
_SAID = "what the process said is told"
_ESCAPED = "AIS cuts or refuses such names; here they are escaped"
_STATUS = "3.17 takes the text of an error for the result; here it is an error"
_HONEST_404 = "3.17 answers 400 with a path of its disk"
_RUNNING = "3.17 answers 200 and loses the transformer; here refused, and it goes on running"
_DELETED = "3.17 leaves the processes of a deleted transformer running"
_NO_COMMAND = "there is no such program"
_TEXT = "the text of 3.17's pod conditions"
_AT_ONCE = "told at once with code and output, as 5.0 does"

ETL_DIFFERENCES: dict[str, dict[str, str]] = {
    "5.0": {
        "init/name-leading-dash": "Kubernetes refuses such names, not AIS",
        **{f"init/{case}": _DECODER for case in ("bad-json", "empty-body", "bad-timeout")},
        "init/int-timeout": _DECODER,
        "init/code": "5.0 takes no Python code any more; this store does, as 3.17",
        "init/spec-garbage": _DECODER,
        "init/spec-not-pod": "5.0 quotes the specification",
        "init/image-missing": _IMAGES,
        **{f"init/image-missing/{case}": _IMAGES for case in ("list", "view", "again", "start")},
        "init/exit-0": _SAID,
        "init/never-ready": _SAID,
        "inline/s3": "this store has no S3 front end",
        "peek/hpush/odd-name": _ESCAPED,
        "peek/hpush/odd-name#2": _ESCAPED,
        "inline/pipeline-peek": "the result tells ports and lengths, hashed",
        "offline/fail-coer-False/result": "5.0 destroys the bucket that a failed job made",
        "multi/list/status": _FORGOTTEN,
        "multi/missing-object/status": _FORGOTTEN,
        "multi/fail/status": _FORGOTTEN,
        "multi/second-request-2-other-etl-and-prepend/result": _OWN_JOB,
        "multi/second-request/object#2": _OWN_JOB,
        "multi/second-request/object#3": _OWN_JOB,
        "list/several": "one of the list belongs to the downloads, which are not replayed",
    },
    "3.17": {
        "init/spec-garbage": _DECODER,
        "init/neither": _DECODER,
        "init/bad-json": _DECODER,
        "init/bad-timeout": _DECODER,
        "init/code-bad-runtime": "any Python that is on the machine may be named",
        "init/image-missing": _IMAGES,
        "init/crash": _AT_ONCE,
        "init/crash-restart-never": _TEXT,
        "init/never-ready": _TEXT,
        "init/code-syntax-error": _AT_ONCE,
        "init/code-bad-dependency": _AT_ONCE,
        "inline/unknown-query": "3.17 answers an empty 200 to what it does not know",
        "inline/missing-object": _HONEST_404,
        **{f"peek/{kind}/missing": _HONEST_404 for kind in ("hpush", "hpull", "hrev", "io")},
        "inline/transformer-404": _STATUS,
        "inline/transformer-500": _STATUS,
        "inline/transformer-204": _STATUS,
        "peek/io/inline": _NO_COMMAND,
        "peek/io/inline-headers": _NO_COMMAND,
        "peek/io/odd-name": _NO_COMMAND,
        "peek/io/odd-name#2": _NO_COMMAND,
        "peek/io/odd-name#3": _NO_COMMAND,
        "peek/io/offline-result": _NO_COMMAND,
        "code/code-env-pull/inline": "code is in a file only: variables hold 128 KiB",
        "code/code-env/inline": "3.17 leaves a placeholder unfilled",
        "code/code-raise/inline": "3.17 tells the end of the connection; here what was raised",
        "offline/same-bucket": "3.17 adds flags in hexadecimal to the bucket's name",
        "offline/transformer-500/status": _STATUS,
        "offline/transformer-500/result": _STATUS,
        "offline/transformer-500/object": _STATUS,
        "offline/transformer-404/result": _STATUS,
        "offline/transformer-404/object": _STATUS,
        "multi/second-request-other-etl-and-prepend/result": _OWN_JOB,
        "multi/second-request/object#3": _OWN_JOB,
        "start/while-running": _RUNNING,
        "start/while-running/inline": _RUNNING,
        "start/while-running/start-again": _RUNNING,
        "stop/twice": "stopping what is stopped is no error, as in 5.0",
        "delete/list": _DELETED,
        "delete/inline": _DELETED,
        "delete/init-again": _DELETED,
        "delete/init-again/inline": _DELETED,
        "stop-during-job/status": "3.17 adds time and place of the abort",
        "offline/request-timeout/status": "3.17 answers 400 for the status of a failed job",
        "crash/inline-2": "the same text under another type",
        "crash/inline-after-restart": "what died is started by request only, as in 5.0",
    },
}
"""By era; requests about transformers."""
