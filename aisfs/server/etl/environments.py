"""Python for users' code: which interpreter, and the packages that the code asks for.

Packages are installed by pip into a directory per set of requirement lines and release of Python,
which is kept. Lines that the store's own environment meets already need no directory. The store's
packages stay visible behind the installed ones: cloudpickle and the SDKs come from there.
"""

import asyncio
import functools
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aisfs.server.etl.processes import Order, Process, launch, read_log
from aisfs.server.http.errors import AisError

FALLBACK = "3.8"
"""The runtime that the SDK of 2023 names under every Python but 3.10 and 3.11."""

KNOWN_THEN = {"3.10", "3.11"}
OWN = f"{sys.version_info.major}.{sys.version_info.minor}"
_VERSION = re.compile(r"python(3\.\d{1,2})(v2)?")
_SIMPLE = re.compile(r"([A-Za-z0-9._-]+)\s*(?:==\s*([A-Za-z0-9.!+_-]+))?")
_SECRET = re.compile(r"^AIS|TOKEN|SECRET|PASSWORD|CREDENTIAL|ACCESS_KEY", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python, and its `3.N`."""

    path: str
    version: str


def find_interpreter(runtime: str) -> Interpreter:
    """Return the Python that a runtime stands for.

    Pickled code runs under the release only that made it, so another is never taken instead.
    `python3.8v2` may stand for any Python that the SDK of 2023 did not know: where the store runs
    under such a one it is tried, and the runner refuses what another release made.

    Raises:
        AisError: 400 when it is not on this machine.
    """
    match = _VERSION.fullmatch(runtime)
    wanted = match[1] if match else ""
    if wanted == OWN or (wanted == FALLBACK and OWN not in KNOWN_THEN):
        return Interpreter(sys.executable, OWN)
    path = shutil.which(f"python{wanted}")
    if path is None or _version_of(path) != wanted:
        raise AisError(
            400,
            f'runtime "{runtime}" needs Python {wanted}: this store runs under {OWN} and there is '
            f"no working python{wanted} on its PATH. Pickled code runs under the release only that "
            f"made it: call from Python {OWN} (runtime python{OWN}v2), or install python{wanted}",
            "ErrETL",
        )
    return Interpreter(path, wanted)


@functools.cache
def _version_of(path: str) -> str:
    """Return the release of an interpreter, empty if it does not run: shims are on many a PATH."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run(  # noqa: S603 -- a Python found on PATH
            [path, "-I", "-c", code], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def own_interpreter() -> Interpreter:
    """Return the store's own Python."""
    return Interpreter(sys.executable, OWN)


class Environments:
    """The directories of installed packages, below `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def prepare(
        self, interpreter: Interpreter, lines: list[str], started: Callable[[Process], None]
    ) -> Path | None:
        """Install requirement lines, unless they are met.

        Args:
            interpreter: For which Python.
            lines: Requirement lines as pip takes them.
            started: Told of the installing process, so that others can end it.

        Returns:
            The directory to put on the module search path, None if none is needed.

        Raises:
            AisError: 400 with pip's last words.
        """
        lines = [line.strip() for line in lines if line.strip()]
        if not lines or (interpreter.path == sys.executable and all(map(_is_met, lines))):
            return None
        text = "\n".join(lines) + "\n"
        key = hashlib.sha256(f"{interpreter.version}\n{text}".encode()).hexdigest()[:32]
        place = self._root / key
        async with self._locks[key]:
            if not (place / "packages").is_dir():
                await self._install(interpreter, text, place, started)
        return place / "packages"

    async def _install(
        self, interpreter: Interpreter, text: str, place: Path, started: Callable[[Process], None]
    ) -> None:
        shutil.rmtree(place, ignore_errors=True)
        (place / "work").mkdir(mode=0o700, parents=True)
        (place / "requirements.txt").write_text(text)
        argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        if interpreter.path != sys.executable:
            argv += ["--python", interpreter.path]
        argv += ["install", "--target", str(place / "partial")]
        argv += ["-r", str(place / "requirements.txt")]
        process = await launch(Order(argv, _pip_environment(), place, whole_env=True))
        started(process)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await process.stop()
            shutil.rmtree(place, ignore_errors=True)
            raise
        if code:
            words = read_log(place)[-2048:].decode("utf-8", "replace")
            shutil.rmtree(place, ignore_errors=True)
            raise AisError(400, f"pip cannot install {text.split()}: {words.strip()}", "ErrETL")
        # The rename is what makes it whole: a directory that an ended store left is not used.
        (place / "partial").rename(place / "packages")


def _pip_environment() -> dict[str, str]:
    """Return the store's variables without its secrets: pip's configuration is the machine's."""
    env = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    return {**env, "PYTHONNOUSERSITE": "1"}


def _is_met(line: str) -> bool:
    """Tell whether the store's own environment has what a line asks for; if unsure, no."""
    match = _SIMPLE.fullmatch(line)
    if match is None:
        return False
    try:
        version = importlib.metadata.version(match[1])
    except importlib.metadata.PackageNotFoundError:
        return False
    return match[2] in {None, version}
