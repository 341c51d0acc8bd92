"""A filesystem against a plain model, with another client of the cluster acting between steps.

Times to live are 0, so that what the other client does shows at once. Names of files and of
directories are apart, so that no object stands beside a directory of its name. While a file is open
for writing the other client leaves it alone, except in `lose_an_update`.
"""

from __future__ import annotations

import functools
import os
import shutil
import tempfile
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from aisfs.config import BucketName
from aisfs.errors import Exists, FsError, NotEmpty, NotFound, Stale
from aisfs.vfs.attributes import Kind
from aisfs.vfs.paths import MARKER
from aisfs.vfs.rename import RENAME_NOREPLACE
from aisfs_sdk import Client
from tests.support.filesystem import Shell, filesystem
from tests.support.portal import Hosted, Portal
from tests.support.store import StoreProcess

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.vfs.handles import Fh

FILE_MODE, DIRECTORY_MODE = 0o644, 0o755

DIRECTORIES = ["d", "e", "d/d", "e/d"]
FILES = [f"{directory}{name}" for directory in ("", "d/", "e/", "d/d/", "e/d/") for name in "ab"]

numbers = st.integers(0, 11)
directories = st.one_of(numbers, numbers, numbers, st.sampled_from(DIRECTORIES))
files = st.one_of(numbers, numbers, numbers, numbers, st.sampled_from(FILES))
"""Where something is done: at any path, or, by number, mostly where there is something."""

new_files = st.sampled_from(FILES)
new_directories = st.sampled_from(DIRECTORIES)
bodies = st.one_of(
    st.binary(max_size=30), st.binary(min_size=1, max_size=9).map(lambda b: b * 9999)
)
modes = st.sampled_from([0o600, 0o640, 0o444, 0o777])


def parent_of(path: str) -> str:
    return path.rpartition("/")[0]


def brief(data: bytes) -> str:
    return f"{len(data)} bytes {data[:8]!r}…{data[-8:]!r}"


@dataclass(eq=False)
class File:
    """A file as the mount has to show it.

    Attributes:
        stored: whether the cluster has it.
        dirty: whether the cluster has another content, or none.
    """

    data: bytes
    mode: int = FILE_MODE
    stored: bool = True
    dirty: bool = False


@dataclass(eq=False)
class Open:
    """A descriptor. A reader may get any of `contents`, and ESTALE once others `touched` the
    object; a writer has the file that it opened.
    """

    fh: Fh
    file: File
    contents: list[bytes] = field(default_factory=list)
    touched: bool = False


class Machine(RuleBasedStateMachine):
    """The rules. `files` and `markers` are the model."""

    def __init__(self, store: StoreProcess) -> None:
        super().__init__()
        self.store = store
        self.client = Client(store.endpoint)
        self.other = self.client.bucket(f"model-{uuid.uuid4().hex[:12]}").create()
        self.state = Path(tempfile.mkdtemp(prefix="aisfs-test-model-"))
        self.portal = Portal()
        self.portal.__enter__()
        self.hosted: Hosted[Shell] | None = None
        self.files: dict[str, File] = {}
        self.left: dict[str, list[File]] = defaultdict(list)  # behind, of who has them open
        self.markers: dict[str, int] = {}
        self.readers: list[Open] = []
        self.writers: list[Open] = []
        self.puts = 0

    def teardown(self) -> None:
        try:
            self.unmount()
        finally:
            self.portal.__exit__(None, None, None)
            self.other.delete(missing_ok=True)
            self.client.close()
            shutil.rmtree(self.state)

    @initialize()
    def begin(self) -> None:
        """Start with something of both clients: most steps on nothing are refusals."""
        self.mount()
        for path in ("d", "d/d"):
            self.mkdir(path)
        for path, data in (("a", b""), ("d/a", b"ours"), ("d/d/a", b"o" * 50_000)):
            self.write_whole(path, data)
        for path, data in (("b", b"theirs"), ("d/b", b"t" * 70_000), ("e/d/b", b"deep")):
            self.other_puts(path, data)

    def mount(self) -> None:
        bucket = BucketName(self.other.name)
        self.hosted = self.portal.enter(
            # Small enough that files of some KB are sent while they are written.
            filesystem(self.store.endpoint, bucket, self.state, ttl_s=0, stream_after=1000)
        )

    def unmount(self) -> None:
        while self.readers:
            self.close_reader(0)
        while self.writers:
            self.close_writer(0)
        if self.hosted is not None:
            self.portal.leave(self.hosted)
            self.hosted = None

    @property
    def shell(self) -> Shell:
        assert self.hosted is not None
        return self.hosted.value

    # -- the model

    def file_at(self, place: int | str) -> str:
        if isinstance(place, str):
            return place
        opened = [handle.file for handle in (*self.readers, *self.writers)]
        used = sorted(path for path, file in self.files.items() if file in opened)
        known = sorted(self.files) or FILES
        return used[place % len(used)] if place % 2 and used else known[place % len(known)]

    def directory_at(self, place: int | str) -> str:
        known = [path for path in DIRECTORIES if self.is_directory(path)] or DIRECTORIES
        return place if isinstance(place, str) else known[place % len(known)]

    def names_below(self, directory: str) -> set[str]:
        prefix = f"{directory}/" if directory else ""
        places = [*self.files, *(f"{marked}/" for marked in self.markers)]
        below = {place[len(prefix) :] for place in places if place.startswith(prefix)}
        return {place.split("/")[0] for place in below if place}

    def is_directory(self, path: str) -> bool:
        return not path or path in self.markers or bool(self.names_below(path))

    def keep(self, directory: str) -> None:
        """A directory whose last entry this mount took away gets a marker."""
        if directory and not self.is_directory(directory):
            self.markers[directory] = DIRECTORY_MODE

    def busy(self, path: str) -> bool:
        """Tell whether somebody writes at a path or below it."""
        writing = [p for p, f in self.files.items() if any(w.file is f for w in self.writers)]
        return any(p == path or p.startswith(f"{path}/") for p in writing)

    def touch(self, path: str) -> None:
        """Take note that the other client changed an object, perhaps one that lost its name."""
        objects = [self.files.get(path), *self.left[path]]
        for reader in self.readers:
            if reader.file in objects:
                reader.touched = True

    def changed(self, file: File, data: bytes) -> None:
        """Take note that this mount gave a file a content."""
        file.data = data
        for reader in self.readers:
            if reader.file is file and not reader.touched:
                reader.contents.append(data)

    def run(
        self, expected: type[FsError] | None, work: Callable[..., Awaitable[Any]], *arguments: Any
    ) -> bool:
        """Do something on the mount; True if it is to succeed and did."""
        if expected is None:
            self.portal.call(work, *arguments)
            return True
        with pytest.raises(expected):
            self.portal.call(work, *arguments)
        return False

    def missing(self, path: str) -> type[FsError] | None:
        return None if path in self.files else NotFound

    # -- files

    @rule(path=new_files, data=bodies)
    def write_whole(self, path: str, data: bytes) -> None:
        expected = None if self.is_directory(parent_of(path)) else NotFound
        if self.busy(path):
            return
        if self.run(expected, self.shell.replace, path, data):
            file = self.files.setdefault(path, File(b""))
            self.changed(file, data)

    @rule(place=files, data=bodies, offset=st.integers(0, 50_000))
    def write_into(self, place: int | str, data: bytes, offset: int) -> None:
        path = self.file_at(place)
        if self.busy(path) or not data:
            return
        expected = None if self.is_directory(parent_of(path)) else NotFound
        if self.run(expected, self.shell.write, path, data, offset):
            file = self.files.setdefault(path, File(b""))
            grown = file.data.ljust(offset, b"\0")
            self.changed(file, grown[:offset] + data + grown[offset + len(data) :])

    @rule(place=files, data=bodies)
    def append(self, place: int | str, data: bytes) -> None:
        path = self.file_at(place)
        if self.busy(path) or not data:
            return
        expected = None if self.is_directory(parent_of(path)) else NotFound
        if self.run(expected, self.shell.append, path, data):
            file = self.files.setdefault(path, File(b""))
            self.changed(file, file.data + data)

    @rule(place=files, size=st.integers(0, 60_000))
    def truncate(self, place: int | str, size: int) -> None:
        path = self.file_at(place)
        if self.busy(path):
            return
        if self.run(self.missing(path), self.shell.truncate, path, size):
            file = self.files[path]
            self.changed(file, file.data[:size].ljust(size, b"\0"))

    @rule(place=files)
    def read(self, place: int | str) -> None:
        path = self.file_at(place)
        if path in self.files:
            assert self.portal.call(self.shell.read, path) == self.files[path].data
        else:
            self.run(NotFound, self.shell.read, path)

    @rule(place=files)
    def unlink(self, place: int | str) -> None:
        path = self.file_at(place)
        if self.run(self.missing(path), self.shell.unlink, path):
            self.left[path].append(self.files.pop(path))
            self.keep(parent_of(path))

    @rule(place=files, other=files, flags=st.sampled_from([0, 0, 0, RENAME_NOREPLACE]))
    def rename(self, place: int | str, other: int | str, flags: int) -> None:
        old, new = self.file_at(place), self.file_at(other)
        expected = self.missing(old)
        if expected is None and not self.is_directory(parent_of(new)):
            expected = NotFound
        if expected is None and flags and new in self.files and new != old:
            expected = Exists
        if self.run(expected, self.shell.rename, old, new, flags) and old != new:
            if new in self.files:
                self.left[new].append(self.files[new])
            file = self.files[new] = self.files.pop(old)
            file.stored = True
            self.keep(parent_of(old))

    @rule(place=files, mode=modes)
    def chmod(self, place: int | str, mode: int) -> None:
        self.set_mode(self.file_at(place), mode)

    @rule(place=directories, mode=modes)
    def chmod_directory(self, place: int | str, mode: int) -> None:
        self.set_mode(self.directory_at(place), mode)

    def set_mode(self, path: str, mode: int) -> None:
        is_directory = self.is_directory(path) and path not in self.files
        expected = None if is_directory else self.missing(path)
        if self.run(expected, self.shell.chmod, path, mode):
            if is_directory:
                self.markers[path] = mode
            else:
                self.files[path].mode = mode

    # -- directories

    @rule(path=new_directories)
    def mkdir(self, path: str) -> None:
        expected: type[FsError] | None = None
        if not self.is_directory(parent_of(path)):
            expected = NotFound
        elif self.is_directory(path):
            expected = Exists
        if self.run(expected, self.shell.mkdir, path):
            self.markers[path] = DIRECTORY_MODE

    @rule(place=directories)
    def rmdir(self, place: int | str) -> None:
        path = self.directory_at(place)
        expected: type[FsError] | None = None
        if not self.is_directory(path):
            expected = NotFound
        elif self.names_below(path):
            expected = NotEmpty
        if self.run(expected, self.shell.rmdir, path):
            del self.markers[path]
            self.keep(parent_of(path))

    @rule(place=directories, new=new_directories)
    def rename_directory(self, place: int | str, new: str) -> None:
        old = self.directory_at(place)
        if old == new or new.startswith(f"{old}/"):
            return
        expected: type[FsError] | None = None
        if not self.is_directory(old) or not self.is_directory(parent_of(new)):
            expected = NotFound
        elif self.names_below(new):
            expected = NotEmpty
        if self.run(expected, self.shell.rename, old, new):
            for table in (self.files, self.markers):
                for path in [p for p in table if p == old or p.startswith(f"{old}/")]:
                    moved: Any = table.pop(path)
                    table[new + path[len(old) :]] = moved
            self.keep(parent_of(old))

    @rule(place=directories, root=st.booleans())
    def list(self, place: int | str, root: bool) -> None:
        path = "" if root else self.directory_at(place)
        if not self.is_directory(path):
            self.run(NotFound, self.shell.names, path)
            return
        names = self.portal.call(self.shell.names, path)
        assert sorted(names) == sorted(self.names_below(path))

    @rule(place=files)
    def stat(self, place: int | str) -> None:
        self.look_at(self.file_at(place))

    @rule(place=directories)
    def stat_directory(self, place: int | str) -> None:
        self.look_at(self.directory_at(place))

    def look_at(self, path: str) -> None:
        if path in self.files:
            file = self.files[path]
            shown = self.portal.call(self.shell.node, path).attributes
            assert (shown.kind, shown.size, shown.mode) == (Kind.FILE, len(file.data), file.mode)
        elif self.is_directory(path):
            shown = self.portal.call(self.shell.node, path).attributes
            assert shown.kind is Kind.DIRECTORY
            assert shown.mode == self.markers.get(path, DIRECTORY_MODE)
        else:
            self.run(NotFound, self.shell.node, path)

    # -- descriptors that stay open

    @precondition(lambda self: len(self.readers) < 3)
    @rule(place=files)
    def open_reader(self, place: int | str) -> None:
        path = self.file_at(place)
        file = self.files.get(path)
        if file is None:
            return
        fh = self.portal.call(self.shell.open, path)
        self.readers.append(Open(fh, file, [file.data]))

    @precondition(lambda self: self.readers)
    @rule(pick=st.integers(0, 2))
    def read_open(self, pick: int) -> None:
        reader = self.readers[pick % len(self.readers)]
        try:
            found = self.portal.call(self.shell.read_open, reader.fh)
        except Stale:
            assert reader.touched
        else:
            allowed = reader.contents if reader.touched else reader.contents[-1:]
            assert found in allowed, f"{brief(found)}, not one of {[brief(a) for a in allowed]}"

    @precondition(lambda self: self.readers)
    @rule(pick=st.integers(0, 2))
    def close_reader(self, pick: int) -> None:
        reader = self.readers.pop(pick % len(self.readers))
        self.portal.call(self.shell.close, reader.fh)

    @precondition(lambda self: len(self.writers) < 2)
    @rule(place=files)
    def open_writer(self, place: int | str) -> None:
        path = self.file_at(place)
        if self.busy(path) or not self.is_directory(parent_of(path)):
            return
        fh = self.portal.call(self.shell.open, path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        file = self.files.get(path)
        if file is None:
            file = self.files[path] = File(b"", stored=False, dirty=True)
        file.dirty |= bool(file.data)
        self.changed(file, b"")
        self.writers.append(Open(fh, file))

    @precondition(lambda self: self.writers)
    @rule(pick=st.integers(0, 1), data=bodies.filter(bool), offset=st.integers(0, 100))
    def write_open(self, pick: int, data: bytes, offset: int) -> None:
        writer = self.writers[pick % len(self.writers)]
        self.portal.call(self.shell.fs.write, writer.fh, offset, data)
        grown = writer.file.data.ljust(offset, b"\0")
        self.changed(writer.file, grown[:offset] + data + grown[offset + len(data) :])
        writer.file.dirty = True

    @precondition(lambda self: self.writers)
    @rule(pick=st.integers(0, 1))
    def fsync(self, pick: int) -> None:
        writer = self.writers[pick % len(self.writers)]
        self.portal.call(self.shell.fs.fsync, writer.fh)
        writer.file.stored, writer.file.dirty = True, False

    @precondition(lambda self: self.writers)
    @rule(pick=st.integers(0, 1))
    def close_writer(self, pick: int) -> None:
        writer = self.writers.pop(pick % len(self.writers))
        self.portal.call(self.shell.close, writer.fh)
        writer.file.stored, writer.file.dirty = True, False

    @rule(place=files, ours=bodies.filter(bool), theirs=bodies)
    def lose_an_update(self, place: int | str, ours: bytes, theirs: bytes) -> None:
        """The other client replaces an object while this mount writes it: nothing is lost."""
        path = self.file_at(place)
        if path not in self.files or self.busy(path) or theirs in {self.files[path].data, ours}:
            return
        fh = self.portal.call(self.shell.open, path, os.O_RDWR | os.O_TRUNC)
        self.portal.call(self.shell.fs.write, fh, 0, ours)
        self.other.object(path).put_content(theirs)
        self.touch(path)
        with pytest.raises(Stale):
            self.portal.call(self.shell.close, fh)
        copies = [e.name for e in self.other.list_all_objects() if "conflict" in e.name]
        assert [self.other.object(name).get().read_all() for name in copies] == [ours]
        self.other.object(copies[0]).delete()
        self.files[path].data = theirs

    # -- the other client

    @rule(path=new_files, data=bodies)
    def other_puts(self, path: str, data: bytes) -> None:
        if self.busy(path):
            return
        self.puts += 1
        # The same bytes are the same object: it would go with one that was unlinked while open.
        data += b"#%d" % self.puts
        self.other.object(path).put_content(data)
        self.touch(path)
        before = self.files.get(path)
        if before is None:
            self.files[path] = File(data)
        else:
            before.data = data  # the key with its attributes stays

    @rule(place=files)
    def other_deletes(self, place: int | str) -> None:
        path = self.file_at(place)
        if path not in self.files or self.busy(path.split("/")[0]):
            return  # a directory that has nothing but unsaved files is not kept
        self.other.object(path).delete()
        self.touch(path)
        del self.files[path]

    @rule(path=new_directories)
    def other_moves_everything_away(self, path: str) -> None:
        if self.busy(path):
            return
        for name in [p for p in self.files if p.startswith(f"{path}/")]:
            self.other_deletes(name)

    # -- now and then

    @rule()
    def remount(self) -> None:
        self.unmount()
        self.mount()

    @invariant()
    def the_cluster_has_what_is_closed(self) -> None:
        if self.hosted is None:
            return
        names = {entry.name for entry in self.other.list_all_objects()}
        markers = {f"{path}/{MARKER}" for path in self.markers}
        assert {name for name in names if name.endswith(MARKER)} == markers
        stored = {path for path, file in self.files.items() if file.stored}
        assert stored <= names


@pytest.mark.long
def test_a_filesystem_is_the_model(rounds: Callable[[int, int], int]) -> None:
    with StoreProcess(targets=1) as store:
        run_state_machine_as_test(
            functools.partial(Machine, store),  # type: ignore[arg-type]
            settings=settings(
                max_examples=rounds(45, 300),
                stateful_step_count=rounds(50, 80),
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
