"""Where this store deliberately answers otherwise than the recorded AIS 3.17, and why.

Each case here must differ: an entry that no longer does fails the replay.
"""

_UNKNOWN_KEY = "a query key that AIS 3.17 does not know: it answers an empty 200, here 400"
_CUT = "AIS 3.17 cuts the connection; here 400"
_FILE = "AIS 3.17 names a file of its own in the message"
_PLACE = "names with `.` or `..` parts are refused; AIS 3.17 stores them outside their place"
_SLASH = "a name that ends in a slash is none; AIS 3.17 looks at a directory of its disk"
_LONG = "AIS 3.17 fails to read a name that its disks cannot hold; here it is missing"
_MISLED = "a redirect to another object is marked, and the target refuses to follow it"
_HASH = "`#` is encoded in a redirect, or clients cut the name off there"
_CONTROL = "the redirect of a name with a control character is percent-encoded, so it works"
_START_AFTER = "AIS 3.17 repeats all directories after start_after; here they obey it"
_PAGES = "AIS 3.17 loses names at the border of a page, and so the next pages differ, too"
_TARGET_LIST = "a target lists nothing; one of AIS 3.17 dies of page size 0"
_WRONG = "a write at the wrong target is refused; AIS 3.17 stores it where nobody finds it"
_RENAME = "refused; AIS 3.17 answers 200 and loses the object"
_BROKEN_SHARD = "AIS 3.17 loses objects beside a broken archive; here it hides none"
_APPENDED = "AIS 3.17 corrupts a padded TAR it appends to; here the shard stays sound"
_NO_CHECKSUM = "an archive that was appended to keeps a checksum here"
_CACHED = "3.17 marks every name as cached when only names and sizes are asked for"
_SOURCE = "a copy tells where it came from, as in 5.0"
_LATEST = "`latest-ver` is obeyed; 3.17 ignores or misreads it"
_ORIGIN = "told in the words of 5.0, which name the origin"
_EVICTED = "only evict-listrange evicts; 3.17 deletes at the origin for any other action"

DIFFERENCES: dict[str, str] = {
    "remote/head-bucket": "a remote bucket has the defaults of this store",
    "remote/head-bucket-missing": _ORIGIN,
    "remote/get-bucket-missing": _ORIGIN,
    "remote/get-missing": _ORIGIN,
    "remote/head-missing": _ORIGIN,
    **{f"remote/list-{case}": _CACHED for case in (
        "before-default", "before-namesize", "before-all", "before-norec", "before-onlyremote",
        "after-default", "after-all", "after-pages",
    )},
    **{f"remote/{case}": _SOURCE for case in (
        "range-cold", "get-cold", "head-warm", "get-stale", "get-gone-cached",
    )},
    "blob/get-header": _SOURCE,
    "blob/get-header-warm": _SOURCE,
    **{f"remote/{case}": _LATEST for case in ("head-latest", "head-latest-gone")},
    "remote/get-latest": _UNKNOWN_KEY,
    "remote/get-latest-gone": _UNKNOWN_KEY,
    "remote/evict-object": _EVICTED,
    "remote/evict-object-head": _EVICTED,
    "remote/delete": f"{_EVICTED}, so it was still there",
    "remote/slashname": _SLASH,
    "blob/ais-header": "the object is there, which 3.17 had lost while renaming",
    **{
        f"general/{verb}-object-query-{kind}": _UNKNOWN_KEY
        for verb in ("get", "put")
        for kind in ("unknown", "badpct")
    },
    "object/get-missing-sln": _UNKNOWN_KEY,
    **{
        f"object/get-q-{key}": _UNKNOWN_KEY
        for key in ("latest-ver=true", "latest-ver=True", "validate-checksum=true", "silent=true")
    },
    **{
        f"direct/owner-pid-utm-vpams{old}-{verb}": _UNKNOWN_KEY
        for old in ("", "-old")
        for verb in ("GET", "PUT")
    },
    "copy/ok": _UNKNOWN_KEY,
    **{
        f"arch/tar-{case}": _UNKNOWN_KEY
        for case in (
            "regx-nomode", "regx-prefix", "regx-suffix", "regx-regexp", "regx-substr",
            "regx-wdskey", "regx-star", "regx-badmode", "regx-nomatch", "regx-empty", "both",
        )
    },
    "arch/zip-regx": _UNKNOWN_KEY,
    "arch/tgz-regx": _UNKNOWN_KEY,
    "general/head-bucket-query-badpct": "a bad escape in a query is refused",
    "object/evict-ais": "refused; AIS 3.17 deletes an object of a local bucket that is evicted",
    "object/evict-ais-2": "refused, so it is still there",
    "bucket/copy-nullvalue": "refused for its null value; the recorded refusal is of a running job",
    **{f"object/vdir-slash-{verb}": _SLASH for verb in ("HEAD", "GET", "DELETE")},
    "checksum/xxhash2-ok": _CUT,
    "checksum/type-unknown": _CUT,
    "checksum/same-noop-xxhash2": _CUT,
    "checksum/same-header-other-body": _CUT,
    "custom/patch-missing": _FILE,
    "custom/odd-noeq": _CUT,
    "custom/patchodd-nul-head": "AIS 3.17 sends NUL in a header; here it is a blank",
    "custom/patchodd-ctrl": "the byte 0x01 is refused, which no header may carry",
    "custom/patchodd-ctrl-head": "the value with the byte 0x01 was refused",
    "custom/patchodd-ctrl-list": "the value with the byte 0x01 was refused",
    "list/start-after-a/b-2048": _START_AFTER,
    "list/start-after-b-2048": _START_AFTER,
    "list/start-after-zzz-2048": _START_AFTER,
    "list/start-after-a-2048": _START_AFTER,
    "list/start-after-dir/-2048": _START_AFTER,
    "list/pages-3-0-0": _PAGES,
    "list/pages-3-2048-0": _PAGES,
    "list/pages-3-2048-1": _PAGES,
    "list/pages-3-2048-2": _PAGES,
    "list/direct-target": _TARGET_LIST,
    "list/emptied-dir-norec": "AIS 3.17 lists directories without objects",
    "mpt/part-old": "refused; AIS 3.17 takes a part of a multipart upload for the whole object",
    "mpt/part-old-get": "the part was refused",
    "rename/missing": "404; AIS 3.17 may answer 200",
    "rename/noname": _RENAME,
    "rename/badname": _RENAME,
    "rename/slash": _RENAME,
    "rename/still": "the object is still there",
    "copy/listrange-result": "the object that AIS 3.17 had lost is copied",
    **{
        f"name/{name}-{verb}": reason
        for names, reason in (
            (("pct-seq", "question"), _MISLED),
            (("hash",), _HASH),
            (("tab", "nul", "ctrl", "del"), _CONTROL),
            (("dot", "dotdot", "dotdot-enc", "dot-comp"), _PLACE),
        )
        for name in names
        for verb in ("put", "get")
    },
    "name/dotdot-comp-put": _PLACE,
    "name/dotdot-mid-enc-put": _PLACE,
    "name/trail-slash-put": _SLASH,
    "name/trail-slash-enc-put": _SLASH,
    "name/only-slash-put": _SLASH,
    "name/only-slash-get": _SLASH,
    **{
        f"name/long{name}-put": _FILE
        for name in ("255", "256", "300-dir", "1100", "3000", "4096", "5000-deep", "8000")
    },
    **{
        f"name/long{name}-get": _LONG
        for name in ("256", "300-dir", "1100", "3000", "4096", "5000-deep", "8000")
    },
    "arch/list-archdir": _BROKEN_SHARD,
    "arch/list-archdir-size": _BROKEN_SHARD,
    "arch/list-archdir-all": _BROKEN_SHARD,
    "arch/list-archdir-norec": _BROKEN_SHARD,
    **{
        f"archput/{name}": _FILE
        for name in (
            "none-missing", "pine1-missing", "pine2-missing", "pine2-exists", "mime-noext",
            "mime-mismatch", "noext",
        )
    },
    "archput/pine0-exists-get": _NO_CHECKSUM,
    "archput/pine1-tgz-get": _NO_CHECKSUM,
    **{
        f"archput/{name}": _APPENDED
        for name in (
            "pine1-exists-get", "none-exists-get", "dup", "dup-get", "dotdot-get", "pinebad",
            "pinebad-get", "chunked",
        )
    },
    "archput/dotdot": "a member is not put outside its place",
    "direct/wrong-bare-PATCH": _FILE,
    **{
        f"direct/wrong-pid-{utm}-{verb}": _WRONG
        for utm in ("utm10", "utm36", "utm1")
        for verb in ("PUT", "PATCH", "POST")
    },
    "direct/ctl-GET-_v1_buckets_po-a-provider=ais": _TARGET_LIST,
    "direct/ctl-HEAD-_v1_buckets_po-a-provider=ais": _CUT,
    "direct/ctl-POST-_v1_buckets_po-direct-provider=ais": "a target refuses all bucket requests",
    "direct/ctl-DELETE-_v1_buckets_po-a-provider=ais": "a target refuses all bucket requests",
}  # fmt: skip

_AT_ONCE = "a bucket has its new name at once, and only that"
_TOLD = "each job has a status, so that every client can wait for it"
_OWN_JOB = "each request is a job of its own, so it counts its own work only"
_STILL_COPYING = "a copy has ended when its work is done; 3.17 copies for 16 s and refuses another"
_BUSY = "3.17 was too busy to answer in time"
_MIME = "an archive is what its extension says; 3.17 makes one of another kind, or unreadable"
_TWICE = "3.17 sends the refusal twice"
_ROOT = "only what is below --promote-root may be promoted"
_CONFIG = "the configuration holds what this store obeys, not all that AIS has"
_NODE_CONFIG = "nodes have no configuration of their own: 501"
_COUNTERS = "AIS's own counters and disks, which are not here"
_NO_CODING = "erasure coding is not built: 501"
_TEMPLATES = "templates with `@` and `%d` are not built: they are prefixes"

JOB_DIFFERENCES: dict[str, str] = {
    "what.target_ips.cluster": "targets have one network, not three",
    "what.cluster_config.cluster": _CONFIG,
    "what.config.daemon": _CONFIG,
    "config.get": _CONFIG,
    "what.metrics.daemon": _COUNTERS,
    "what.metrics.target": _COUNTERS,
    "what.disk.target": _COUNTERS,
    "what.status.target": "no rebalance has run that it could tell of",
    "reverse.ok": "no rebalance has run that it could tell of",
    "metrics.prometheus": "this store tells its metrics in both releases",
    "metrics.prometheus.target": "this store tells its metrics in both releases",
    "config.set.badvalue": "the error is of the same type as elsewhere",
    "config.set.node": _NODE_CONFIG,
    "config.set.node.msg": _NODE_CONFIG,
    "stats.reset": "there are no such counters to reset: 501",
    "start.resilver.status": "3.17 does not notice its end",
    "start.resilver.snaps": "objects that were looked at are counted",
    "start.unknownkey": "the unknown key is named in lower case",
    "start.rebalance.early": "nothing moves between targets, so it ends at once",
    "start.rebalance.took": "nothing moves between targets, so it ends at once",
    "status_all": "the recorded cluster had other jobs",
    "status_all.active": "the resilver has ended",
    "idle.timing": "a job is idle as soon as its work is done; 3.17 waits a few seconds to see",
    "idle.status": _TOLD,
    "idle.status.kind": _TOLD,
    "idle.reused": _OWN_JOB,
    "stop.status": _TOLD,
    "stop.snaps": _OWN_JOB,
    **{f"stop.long.{case}": _STILL_COPYING for case in ("status", "snaps", "copied")},
    "rename.old.now": _AT_ONCE,
    "rename.old.get.now": _AT_ONCE,
    "copybck.status": _STILL_COPYING,
    "copybck.prefix": _STILL_COPYING,
    "copybck.prefix.names": _STILL_COPYING,
    "copybck.ext.names": _STILL_COPYING,
    "copybck.nomatch": _STILL_COPYING,
    "copybck.badprovider": _STILL_COPYING,
    **{f"select.{case}.got": _TEMPLATES for case in ("at", "atpad", "fmt")},
    **{f"select.{case}": _BUSY for case in (
        "equal", "missing", "unclosed", "nested", "atliteral", "percent", "noprefix",
    )},
    "archive.make.tar.snaps": "the snapshot was taken before its end",
    "archive.range.snaps": _OWN_JOB,
    "archive.missing.snaps": "bytes of objects are counted, not of members with their heads",
    "archive.nothing.snaps": "what was not there is not counted",
    "archive.append.dup": _BUSY,
    "archive.replace": _BUSY,
    "archive.mime.plain": "refused for its MIME type; 3.17 tripped over the job before",
    **{f"archive.mime.{case}": _MIME for case in ("type", "noext", "other")},
    **{f"archive.mime.{case}.got": _MIME for case in ("type", "noext", "other")},
    "archive.noname": _TWICE,
    "archive.sameb": _TWICE,
    "archive.dstmissing": _TWICE,
    **{f"promote.elsewhere.{case}": _ROOT for case in (
        "file", "file.got", "dir", "dir.status", "dir.got",
    )},
    "promote.missing": "404, as in 5.0; 3.17 answers 400 to what is missing",
    "promote.relative": "the error has a type",
    "promote.empty": "the error has a type",
    "promote.dotdot": "paths with `..` are refused",
    "promote.dotdot.got": "paths with `..` are refused",
    "promote.name.differs": "two sources that contradict each other are refused",
    "promote.name.only": "the source may stand in either place",
    "promote.name.only.got": "the source may stand in either place",
    **{f"ec{case}": _NO_CODING for case in (
        "", ".object", ".toomany", ".novalue", ".zero", ".notenabled", ".status", ".snaps",
        ".headobj", ".again", ".force", ".change",
    )},
}  # fmt: skip
"""Of the recording about jobs, storage and nodes."""
