"""One SDK's side of the comparison: `sdk_worker.py ours|newest|oldest TASK ENDPOINT BUCKET`.

Runs under the interpreter of an environment that has that SDK, prints the seconds that the task
took and its CPU seconds (with those of its children) as one line of JSON. Each SDK is used as its
documents say is fastest (`SETTINGS`). Neither compares checksums.
"""

import json
import mmap
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

PIECE = 1 << 20
SMALL = [f"small/{number:05}" for number in range(2000)]
SMALL_BODY = bytes(range(256)) * 256
THREADS = 8
WORKERS = 4
SETTINGS = {
    "ours": "one client, cluster map: reads straight from the owners; pieces received into one"
    f" mapping of 1 MiB; get_parallel({WORKERS}) into memory",
    "newest": "one client, get_reader(direct=True); pieces of 1 MiB;"
    f" num_workers={WORKERS} into memory",
    "oldest": "one client; pieces of 1 MiB; read_all into memory",
}


class Tasks:
    """What is measured, in the words of one SDK."""

    def __init__(self, flavour: str, endpoint: str, name: str) -> None:
        self.flavour = flavour
        module = import_module("aisfs_sdk" if flavour == "ours" else "aistore.sdk")
        self.client: Any = module.Client(endpoint)
        self.bucket = self.client.bucket(name)

    def _reader(self, name: str, **options: Any) -> Any:
        item = self.bucket.object(name)
        if self.flavour == "ours":
            return item.get(verify=False, **options)
        if self.flavour == "newest":
            return item.get_reader(direct=True, **options)
        return item.get(**options)

    def _put(self, name: str, body: bytes) -> None:
        item = self.bucket.object(name)
        (item.get_writer() if self.flavour == "newest" else item).put_content(body)

    def get_large(self) -> None:
        """Read the large object to its end, keeping nothing."""
        if self.flavour == "ours":
            buffer = mmap.mmap(-1, PIECE)
            with self._reader("big") as reader:
                count = sum(iter(lambda: reader.readinto(buffer), 0))
        else:
            count = sum(len(piece) for piece in self._reader("big", chunk_size=PIECE))
        assert count >= PIECE

    def get_whole(self) -> None:
        """Read the large object into memory."""
        if self.flavour == "ours":
            found = self.bucket.object("big").get_parallel(WORKERS, verify=False).read_all()
        elif self.flavour == "newest":
            found = self._reader("big", num_workers=WORKERS).read_all()
        else:
            found = self._reader("big").read_all()
        assert len(found) >= PIECE
        if self.flavour == "newest":
            found.close()

    def get_small(self) -> None:
        """Read many small objects."""
        with ThreadPoolExecutor(THREADS) as pool:
            sizes = pool.map(lambda name: len(self._reader(name).read_all()), SMALL)
            assert set(sizes) == {len(SMALL_BODY)}

    def put_small(self) -> None:
        """Write many small objects."""
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda name: self._put(f"new/{name}", SMALL_BODY), SMALL))

    def list_names(self) -> None:
        """List everything with size, version, checksum."""
        found = self.bucket.list_all_objects(props="name,size,version,checksum")
        assert len(found) > 10_000

    def get_batch(self) -> None:
        """Read many small objects in one request."""
        batch = self.client.batch(SMALL, bucket=self.bucket)
        assert sum(len(data) for _, data in batch.get()) == len(SMALL) * len(SMALL_BODY)


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def main() -> None:
    """Run the task that the arguments name."""
    flavour, task, endpoint, name = sys.argv[1:]
    tasks = Tasks(flavour, endpoint, name)
    tasks.bucket.head()  # connections and what a client asks once
    if flavour == "ours":
        tasks.client.cluster().get_info()  # reads go straight to the owners
    start, busy = time.perf_counter(), cpu_seconds()
    getattr(tasks, task)()
    print(json.dumps([time.perf_counter() - start, cpu_seconds() - busy]))


if __name__ == "__main__":
    main()
