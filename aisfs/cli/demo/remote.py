"""Where the bytes of a remote bucket are, and how to bring them to the cluster and away again.

Run as `python3 -m aisfs.cli.demo.remote [prefetch|evict NAME]`, with AIS_ENDPOINT set and in CLOUD
the name of an `aws://` bucket. Prints every object with the place of its bytes.
"""

from __future__ import annotations

import os
import sys

from aisfs_sdk import Client

_LIMIT_S = 60


def main() -> None:
    """Do what is asked, wait for its end, and show the bucket."""
    client = Client(os.environ["AIS_ENDPOINT"])
    bucket = client.bucket(os.environ["CLOUD"], provider="aws")
    if words := sys.argv[1:]:
        group = bucket.objects(obj_names=words[1:])
        job = group.prefetch() if words[0] == "prefetch" else group.evict()
        client.job(job).wait(timeout=_LIMIT_S)
    for entry in bucket.list_objects_iter():
        print(f"{entry.name}: {'on the cluster, too' if entry.is_cached() else 'in the cloud'}")
    client.close()


if __name__ == "__main__":
    main()
