#!/bin/sh
# The cluster's own work from a shell: each kind once by the control file, once by attributes.
# usage: cluster_work.sh MOUNT ENDPOINT FILES
# MOUNT shows all buckets of the cluster at ENDPOINT, with a bucket `b`, and perhaps aws:cloud;
# FILES is a directory with a file `one`, which the cluster may promote. What came about is looked
# at with curl. Prints done, refused (with the cluster's words) or WRONG for each; 1 if any is WRONG.
set -u
mount=$1 endpoint=$2 files=$3 control=$1/.aisfs code=0
ctl() { printf '%s\n' "$1" 2>&1 >"$control/ctl"; }
attribute() { setfattr -n user.ais.do -v "$2" "$mount/$1" 2>&1; }
stored() { curl -sfL "$endpoint/v1/objects/$1?provider=ais"; }
cached() { curl -sfLI "$endpoint/v1/objects/cloud/$1?provider=aws" | grep -qi '^ais-present: true'; }
told() { cut -f4 "$control/last"; }
ended() { # ended JOB: wait until it has nothing left to do
    for _ in $(seq 300); do
        grep -Eq '^state.(finished|idle|failed|aborted)' "$control/jobs/$1/status" && return
        sleep 0.1
    done
    return 1
}
job() { cut -f4 "$control/last"; }                                # of the last command by ctl
job_of() { getfattr --only-values -n user.ais.job "$mount/$1" | cut -d' ' -f1; }
expect() { # expect WHAT ERRORS CHECK...: tell how it went
    what=$1 errors=$2
    shift 2
    if [ -n "$errors" ]; then
        echo "refused: $what: $(told)"
    elif "$@"; then
        echo "done: $what"
    else
        echo "WRONG: $what"
        code=1
    fi
}
is() { [ "$(stored "$1")" = "$2" ]; }
members() { [ "$(stored "$1" | tar t 2>/dev/null | grep -v .aisfs-dir | sort | tr '\n' ' ')" = "$2" ]; }
gone() { ended "$2" && ! cached "$1"; }
archived() { ended "$2" && members "$1" "d/x d/y "; }
listed() { ended "$1" && [ -d "$control/jobs/$1" ]; }

mkdir -p "$mount/b/d" && echo x >"$mount/b/d/x" && echo y >"$mount/b/d/y" && echo word >"$mount/b/word"
printf 'def transform(data):\n    return data.upper()\n' >"$mount/b/code.py"

error=$(ctl 'archive /b/one.tar from=/b/d/'); expect 'archive by ctl' "$error" archived b/one.tar "$(job)"
error=$(attribute b/d 'archive /b/two.tar'); expect 'archive by attribute' "$error" archived b/two.tar "$(job_of b/d)"
error=$(ctl "promote $files/one /b/p/"); expect 'promote by ctl' "$error" is b/p/one one
mkdir -p "$mount/b/q"
error=$(attribute b/q "promote $files/one"); expect 'promote by attribute' "$error" is b/q/one one
error=$(ctl 'etl-init byctl1 code=/b/code.py'; ctl 'copy /b/word /b/W1 etl=byctl1'); expect 'ETL by ctl' "$error" is b/W1 WORD
error=$(attribute b/code.py 'etl-init byattr'; attribute b/word 'copy /b/W2 etl=byattr'); expect 'ETL by attribute' "$error" is b/W2 WORD
for name in byctl1 byattr; do
    [ -d "$control/etl/$name" ] && ctl "etl-stop $name" && ctl "etl-delete $name"
done
cat "$mount/aws:cloud/c0" "$mount/aws:cloud/c1" >/dev/null 2>&1
error=$(ctl 'evict aws://cloud/c0'); expect 'evict by ctl' "$error" gone c0 "$(job)"
if [ -e "$mount/aws:cloud/c1" ]; then
    error=$(attribute aws:cloud/c1 evict); expect 'evict by attribute' "$error" gone c1 "$(job_of aws:cloud/c1)"
else
    error=$(attribute b/word evict); expect 'evict by attribute' "$error" false
fi
error=$(ctl 'start lru'); expect 'a job by ctl' "$error" listed "$(job)"
error=$(attribute b/d 'archive /b/three.tar'; attribute b/d abort); expect 'a job stopped by attribute' "$error" listed "$(job_of b/d)"
exit $code
