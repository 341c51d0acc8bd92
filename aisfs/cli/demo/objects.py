"""The samples as another client of the cluster sees them: through the SDK, without a mount.

Run as `python3 -m aisfs.cli.demo.objects BUCKET`, with AIS_ENDPOINT set. Its digest must be the one
that the reader found on the mount.
"""

from __future__ import annotations

import os
import sys

from aisfs.cli.demo.data import content_digest
from aisfs_sdk import Client

_PREFIX = "samples/"


def main() -> None:
    """List the samples, get each, and print what they add up to."""
    client = Client(os.environ["AIS_ENDPOINT"])
    bucket = client.bucket(sys.argv[1])
    names = [entry.name for entry in bucket.list_objects_iter(prefix=_PREFIX)]
    samples = [name for name in names if name.endswith(".bin")]
    contents = [bucket.object(name).get_reader().read_all() for name in samples]
    files = zip((name.removeprefix(_PREFIX) for name in samples), contents, strict=True)
    print(
        f"{len(samples)} objects, {sum(map(len, contents)):,} bytes, "
        f"content {content_digest(files)}"
    )
    client.close()


if __name__ == "__main__":
    main()
