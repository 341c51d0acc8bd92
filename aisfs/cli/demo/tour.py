"""The tour: shell commands in a demo's directory, each with the output that it must have.

What is expected is computed from the sample data alone, never from the mount. The transcript names
no times, ports or temporary paths, so that it is the same everywhere and the README can hold it.
"""

from __future__ import annotations

import difflib
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aisfs.cli.demo import data, reader

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_STEP_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the tour.

    Attributes:
        why: what it shows, one line.
        output: what it must print, on standard output and error together.
    """

    why: str
    command: str
    output: str


class Tour:
    """Runs steps, prints them as a transcript and counts those that were right.

    Args:
        directory: where the commands run; has `local/` and `mnt/`.
        environment: in which they run.
        objects: what the bucket holds at the start.
    """

    def __init__(
        self, directory: Path, environment: Mapping[str, str], objects: Mapping[str, bytes]
    ) -> None:
        self._directory = directory
        self._objects = objects
        self._total = self._right = 0
        self.environment = dict(environment)

    def with_mount(self) -> bool:
        """Mount the bucket and use it until a step goes wrong; tell whether none did."""
        steps = [*_mounting(self._objects), *_changing(), *_training(self._objects)]
        return all(self._run(step) for step in steps) and all(
            self._run(step) for step in self._remote_steps()
        )

    def _remote_steps(self) -> list[Step]:
        """Return the steps with a remote bucket, if this cluster has one for the demo."""
        if "CLOUD" in self.environment:
            return _prefetching()
        print("# Left out: prefetch and evict. This cluster's remote buckets are not the demo's.\n")
        return []

    def unmount(self) -> bool:
        """Take the mount down as a user does; tell whether that was right."""
        return self._run(
            Step("Unmount; returns when everything is stored.", "aisfs umount mnt", "")
        )

    def without_mount(self) -> bool:
        """Use the store through the SDK only; tell whether all was right."""
        return self._run(_training(self._objects)[-1])

    def verdict(self) -> str:
        """Return one line on how it went."""
        if self._right == self._total:
            return f"All {self._total} steps gave the right result."
        return f"Step {self._total} went wrong."

    def _run(self, step: Step) -> bool:
        print(f"# {step.why}\n$ {step.command}", flush=True)
        self._total += 1
        output, code = self._output_of(step.command)
        print(output, flush=True)
        if code == 0 and output == step.output:
            self._right += 1
            return True
        print(f"aisfs: this step went wrong (exit code {code}):", file=sys.stderr)
        lines = difflib.unified_diff(
            step.output.splitlines(), output.splitlines(), "expected", "seen", lineterm=""
        )
        print(*lines, sep="\n", file=sys.stderr)
        return False

    def _output_of(self, command: str) -> tuple[str, int]:
        """Run a command in a shell; what has not ended in time is killed, with all its children."""
        with subprocess.Popen(  # noqa: S603 - the tour's own commands
            ["/bin/bash", "-o", "pipefail", "-c", command],
            cwd=self._directory,
            env=self.environment | {"TZ": "UTC", "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            try:
                return process.communicate(timeout=_STEP_LIMIT_S)[0], process.returncode
            except subprocess.TimeoutExpired:
                process.kill()
                return f"no end after {_STEP_LIMIT_S:g} s\n", -signal.SIGKILL


def _mounting(objects: Mapping[str, bytes]) -> list[Step]:
    found = [
        f"mnt/{name}:{number}:{line}\n"
        for name, content in sorted(objects.items())
        if name.startswith("source/")
        for number, line in enumerate(content.decode().splitlines(), 1)
        if "table_find" in line
    ]
    listing = "".join(f"drwxr-xr-x 1 0  {name}\n" for name in ("notes", "samples", "source"))
    return [
        Step("Mount a bucket; returns when the mount answers.",
             'aisfs mount "ais://$BUCKET" mnt', ""),
        Step("Folders are the parts of the objects' names.",
             "ls -lgo --time-style=+ mnt", f"total 0\n{listing}"),
        Step("Read an object.",
             "cat mnt/notes/welcome.txt", objects["notes/welcome.txt"].decode()),
        Step("Search a source tree.",
             "grep -rn table_find mnt/source | sort", "".join(found)),
        Step("Verify every byte of the training samples.",
             "cd mnt/samples && sha256sum -c --quiet SHA256SUMS && wc -l < SHA256SUMS",
             f"{data.SAMPLES}\n"),
    ]  # fmt: skip


def _changing() -> list[Step]:
    size = len(data.report())
    return [
        Step("Copy a file in; mode and time stay with the object.",
             "cp -p local/report.csv mnt/notes/ && "
             "ls -lgo --time-style=long-iso mnt/notes/report.csv",
             f"-rw-r--r-- 1 {size} 2026-01-02 03:04 mnt/notes/report.csv\n"),
        Step("Rename it; the cluster copies, no byte comes here.",
             "mv mnt/notes/report.csv mnt/notes/2026.csv && "
             "cmp local/report.csv mnt/notes/2026.csv && ls mnt/notes",
             "2026.csv\nwelcome.txt\n"),
        Step("Remove it.",
             "rm mnt/notes/2026.csv && ls mnt/notes", "welcome.txt\n"),
        Step("Unpack an archive, with a symlink and a program, and compare.",
             "tar -C mnt -xf local/project.tar && "
             "diff -r --no-dereference local/project mnt/project && find mnt/project | sort",
             "".join(f"mnt/project{name}\n" for name in
                     ("", "/README", "/data", "/data/primes.txt", "/latest", "/sum.sh"))),
        Step("Run the program, from the mount, on the mount.",
             "mnt/project/sum.sh mnt/project/latest", "77\n"),
    ]  # fmt: skip


def _prefetching() -> list[Step]:
    first, *others = sorted(data.cloud_objects())
    away = [f"{name}: in the cloud\n" for name in (first, *others)]
    here = [f"{first}: on the cluster, too\n", *away[1:]]
    show = "python3 -m aisfs.cli.demo.remote"
    return [
        Step("A remote bucket: here a directory plays the cloud. The cluster has no bytes yet.",
             show, "".join(away)),
        Step("Prefetch: the cluster gets a copy.",
             f"{show} prefetch {first}", "".join(here)),
        Step("Evict: the copy goes, the cloud keeps the object.",
             f"{show} evict {first} && ls cloud", "".join(away) + "".join(
                 f"{name}\n" for name in (first, *others))),
    ]  # fmt: skip


def _training(objects: Mapping[str, bytes]) -> list[Step]:
    samples = data.samples_of(objects)
    size = f"{sum(map(len, samples.values())):,} bytes"
    content = f"content {data.content_digest(samples.items())}"
    orders = reader.orders(sorted(samples))
    epochs = "".join(
        f"epoch {epoch}: {len(samples)} samples from {names[0]} to {names[-1]}, {size}, {content}\n"
        for epoch, names in enumerate(orders, 1)
    )
    return [
        Step("Read the samples as a training job does: shuffled, several at once.",
             "python3 -m aisfs.cli.demo.reader mnt/samples", epochs),
        Step("Another client sees the same bytes: here the SDK, past the mount.",
             'python3 -m aisfs.cli.demo.objects "$BUCKET"',
             f"{len(samples)} objects, {size}, {content}\n"),
    ]  # fmt: skip
