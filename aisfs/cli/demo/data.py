"""The demo's data: made on the spot, the same bytes everywhere, small enough to read.

`sample_objects` is what lies on the cluster before anything is mounted; `local_files` is what the
tour copies in. Both are known in full, so every step of the tour can be checked to the byte.
"""

from __future__ import annotations

import hashlib
import os
import random
import struct
import tarfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SAMPLES = 64
CLASSES = 4
SAMPLE_SIZE = 16 << 10
HEADER = struct.Struct(">4sIII")
"""Start of a sample: magic, class, index, size of what follows."""

MAGIC = b"SMPL"
MTIME = 1_767_323_045
"""2026-01-02 03:04:05 UTC, the mtime of all local files."""

SUMS = "samples/SHA256SUMS"

_WELCOME = """\
These files are objects in an AIStore bucket.
Other clients see the same bytes: what you write here is stored
on the cluster by the time close() returns.
"""

_SOURCE = {
    "source/Makefile": "table: src/main.c src/table.c\n\tcc -Iinclude -o $@ $^\n",
    "source/include/table.h": (
        "struct table;\n"
        "struct table *table_new(void);\n"
        "int table_find(const struct table *table, const char *key);\n"
        "void table_put(struct table *table, const char *key, int value);\n"
    ),
    "source/src/main.c": (
        '#include "table.h"\n'
        "\n"
        "int main(void)\n"
        "{\n"
        "    struct table *table = table_new();\n"
        '    table_put(table, "answer", 42);\n'
        '    return table_find(table, "answer") != 42;\n'
        "}\n"
    ),
    "source/src/table.c": (
        '#include "table.h"\n'
        "\n"
        "int table_find(const struct table *table, const char *key)\n"
        "{\n"
        "    const struct entry *entry = slot(table, key);\n"
        "    return entry ? entry->value : -1;\n"
        "}\n"
    ),
}

_PROJECT = {
    "project/README": "A small project, to be unpacked on the mount.\n",
    "project/data/primes.txt": "".join(f"{n}\n" for n in (2, 3, 5, 7, 11, 13, 17, 19)),
    "project/sum.sh": "#!/bin/sh\nexec awk '{ s += $1 } END { print s }' \"$@\"\n",
}


def sample_objects() -> dict[str, bytes]:
    """Return the bucket's objects: name → content."""
    objects = {"notes/welcome.txt": _WELCOME.encode()}
    objects |= {name: text.encode() for name, text in _SOURCE.items()}
    samples = {
        f"samples/{index % CLASSES}/{index:04}.bin": _sample(index) for index in range(SAMPLES)
    }
    sums = (
        f"{hashlib.sha256(content).hexdigest()}  {name.removeprefix('samples/')}\n"
        for name, content in sorted(samples.items())
    )
    return objects | samples | {SUMS: "".join(sums).encode()}


def _sample(index: int) -> bytes:
    header = HEADER.pack(MAGIC, index % CLASSES, index, SAMPLE_SIZE)
    return header + random.Random(index).randbytes(SAMPLE_SIZE)


def samples_of(objects: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the training samples among the objects, by name below `samples/`."""
    return {
        name.removeprefix("samples/"): content
        for name, content in objects.items()
        if name.endswith(".bin")
    }


def content_digest(files: Iterable[tuple[str, bytes]]) -> str:
    """Return a short digest of names and contents that does not depend on their order."""
    lines = sorted(f"{name} {hashlib.sha256(content).hexdigest()}" for name, content in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def report() -> bytes:
    """Return the file that the tour copies in."""
    rows = (f"{day},{day * day % 97},{day * 7 % 31}\n" for day in range(1, 366))
    return "".join(("day,reads,writes\n", *rows)).encode()


def local_files(directory: Path) -> None:
    """Write what the tour copies in: a report, and a small project with its archive."""
    directory.mkdir()
    files = {"report.csv": report()} | {name: text.encode() for name, text in _PROJECT.items()}
    for name, content in files.items():
        path = directory / PurePosixPath(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o755 if name.endswith(".sh") else 0o644)
    (directory / "project" / "latest").symlink_to("data/primes.txt")
    for path in [*directory.rglob("*")]:
        os.utime(path, (MTIME, MTIME), follow_symlinks=False)
        if path.is_dir():
            path.chmod(0o755)
    with tarfile.open(directory / "project.tar", "w") as archive:
        archive.add(directory / "project", "project")


def cloud_objects() -> dict[str, bytes]:
    """Return what lies in the remote bucket of a demo with a store of its own."""
    return {f"model-{number}.bin": bytes([number]) * 4096 for number in (1, 2)}
