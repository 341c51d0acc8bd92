"""The cache's second level, on real files: what it keeps, gives back, drops and never does."""

from __future__ import annotations

import os
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from aisfs.cache import disk, segment, shelf
from aisfs.cache.disk import LOADED_BY_LOOP, DiskTier
from aisfs.cache.pages import PAGE_SIZE, SMALL, Page, PageCache
from aisfs.cache.segment import ALLOWANCE
from aisfs.config import BucketName
from aisfs.errors import Busy
from aisfs.store.interface import Identity
from tests.support.disk import small_disk_at, taken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

KIB = 1 << 10
MIB = 1 << 20
QUOTA = 64 * MIB
BUCKET = BucketName("b")
SIZES = [1, 100, 4 * KIB, 64 * KIB, SMALL, SMALL + 1, PAGE_SIZE - 1, PAGE_SIZE]


class Tier:
    """An open tier, with the memory beside it."""

    def __init__(self, folder: Path, quota: int, floor: int, memory: int) -> None:
        self.pages = PageCache(memory)
        self.disk = DiskTier(folder, quota, floor, self.pages)
        self._contents = 0

    def page(self, size: int) -> Page:
        """Return an empty page of a new content."""
        self._contents += 1
        page = self.pages.allocate((self._contents, 0), size)
        assert page is not None
        return page

    def offer(self, key: int, data: bytes) -> Page:
        """Offer a complete page."""
        page = self.page(len(data))
        page.view[:] = data
        page.valid = len(data)
        self.disk.offer(key, page)
        return page

    async def keep(self, key: int, data: bytes) -> None:
        """Keep a page, and wait until it is."""
        self.offer(key, data)
        await self.disk.drain()

    async def load(self, key: int, size: int) -> bytes | None:
        """Return a page as the disk has it."""
        page = self.page(size)
        page.filling = True
        await self.disk.load([(key, page)], lambda: None)
        page.filling = False
        found = bytes(page.view) if page.complete else None
        self.pages.discard(page.key)
        return found


@asynccontextmanager
async def opened(
    folder: Path, quota: int = QUOTA, floor: int = 1, memory: int = 16 * MIB
) -> AsyncIterator[Tier]:
    """Open a tier that writes, and close it."""
    tier = Tier(folder, quota, floor, memory)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tier.disk.run)
            yield tier
            nursery.cancel_scope.cancel()
    finally:
        tier.disk.close()


def key(number: int) -> int:
    return DiskTier.key(BUCKET, f"o{number}", Identity(7, "c0ffee"))


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.pages"))


def flip(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x10]))


# -- keys


IDENTITY = Identity(10, "aa", "xxhash", "3")


@pytest.mark.parametrize(
    ("bucket", "name", "identity"),
    [
        (BucketName("c"), "o", IDENTITY),
        (BucketName("b", "aws"), "o", IDENTITY),
        (BucketName("b", uuid="u"), "o", IDENTITY),
        (BucketName("b", namespace="n"), "o", IDENTITY),
        (BUCKET, "p", IDENTITY),
        (BUCKET, "o", Identity(11, "aa", "xxhash", "3")),
        (BUCKET, "o", Identity(10, "ab", "xxhash", "3")),
    ],
)
def test_another_content_has_another_key(bucket: BucketName, name: str, identity: Identity) -> None:
    one, other = DiskTier.key(BUCKET, "o", IDENTITY), DiskTier.key(bucket, name, identity)
    assert one >> 32 != other >> 32
    assert one & 0xFFFFFFFF == other & 0xFFFFFFFF == 0  # page numbers have room behind


@pytest.mark.parametrize("identity", [Identity(10, "aa"), Identity(10, "aa", "xxhash2", "4")])
def test_the_same_content_has_the_same_key(identity: Identity) -> None:
    assert DiskTier.key(BUCKET, "o", identity) == DiskTier.key(BUCKET, "o", IDENTITY)


def test_what_has_no_checksum_is_not_kept() -> None:
    assert DiskTier.key(BUCKET, "o", Identity(10, "", "", "3")) == 0


def test_names_that_are_not_utf8_have_keys() -> None:
    assert DiskTier.key(BUCKET, "o\udcff", IDENTITY) != DiskTier.key(BUCKET, "o", IDENTITY)


# -- keeping and loading


@pytest.mark.parametrize("size", SIZES)
async def test_a_page_comes_back_and_outlives_the_mount(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    async with opened(tmp_path) as tier:
        assert await tier.load(key(1), size) is None
        await tier.keep(key(1), data)
        assert await tier.load(key(1), size) == data
        assert await tier.load(key(2), size) is None
    async with opened(tmp_path) as tier:
        assert await tier.load(key(1), size) == data
        assert (tier.disk.counts.hits, tier.disk.counts.written) == (1, 0)


async def test_pages_of_all_sizes_lie_beside_each_other(tmp_path: Path) -> None:
    pages = {key(n): os.urandom(size) for n, size in enumerate(SIZES * 4)}
    async with opened(tmp_path) as tier:
        for each, data in pages.items():
            await tier.keep(each, data)
    for _ in range(2):
        async with opened(tmp_path) as tier:
            for each, data in pages.items():
                assert await tier.load(each, len(data)) == data
            await tier.keep(key(1000), b"more")  # behind what an earlier mount wrote
            assert await tier.load(key(1000), 4) == b"more"


async def test_a_page_is_written_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as tier:
        await tier.keep(key(1), b"data")
        await tier.keep(key(1), b"data")
        assert (tier.disk.counts.misses, tier.disk.counts.written) == (2, 1)


async def test_loading_many_pages_wakes_their_readers(tmp_path: Path) -> None:
    pages = [os.urandom(PAGE_SIZE) for _ in range(4)]
    async with opened(tmp_path) as tier:
        for number, data in enumerate(pages):
            await tier.keep(key(number), data)
        wanted = [(key(number), tier.page(PAGE_SIZE)) for number in range(4)]
        wanted[2][1].changed = trio.Event()
        woken: list[int] = []
        await tier.disk.load(wanted, lambda: woken.append(1))
        assert [bytes(page.view) for _, page in wanted] == pages
        assert woken == [1]


async def test_small_pages_that_the_kernel_has_forgotten_come_by_a_thread(tmp_path: Path) -> None:
    data = os.urandom(5000)
    async with opened(tmp_path) as tier:
        await tier.keep(key(1), data)
        fd = os.open(files(tmp_path)[0], os.O_RDONLY)
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        assert await tier.load(key(1), 5000) == data
        assert await tier.load(key(1), 5000) == data  # from the kernel's memory


async def test_a_large_batch_of_small_pages_comes_by_loop_and_thread(tmp_path: Path) -> None:
    pages = [os.urandom(64 * KIB) for _ in range(3 * LOADED_BY_LOOP // (64 * KIB))]
    async with opened(tmp_path) as tier:
        for number, data in enumerate(pages):
            await tier.keep(key(number), data)
        wanted = [(key(number), tier.page(64 * KIB)) for number in range(len(pages))]
        await tier.disk.load(wanted, lambda: None)
        assert [bytes(page.view) for _, page in wanted] == pages


async def test_nobody_waits_for_the_disk_and_memory_stays_bounded(tmp_path: Path) -> None:
    """What comes faster than the disk takes it is kept if it is in memory when there is time."""
    async with opened(tmp_path, memory=16 * MIB) as tier:
        offered = [tier.offer(key(n), os.urandom(PAGE_SIZE)) for n in range(12)]
        assert sum(page.held for page in offered) == 4  # a quarter of the memory
        tier.pages.discard(offered[6].key)
        await tier.disk.drain()
        assert tier.disk.counts.written == 11
        assert key(6) not in tier.disk
        assert not any(page.held for page in offered)


async def test_memory_that_waits_to_be_written_is_not_used_again(tmp_path: Path) -> None:
    data = os.urandom(PAGE_SIZE)
    async with opened(tmp_path, memory=4 * MIB) as tier:
        page = tier.offer(key(1), data)
        tier.pages.discard(page.key)
        for _ in range(8):  # of other contents, in all other memory
            tier.page(PAGE_SIZE).view[:] = bytes(PAGE_SIZE)
        await tier.disk.drain()
        assert await tier.load(key(1), PAGE_SIZE) == data
        assert tier.pages.used <= tier.pages.capacity


async def test_what_proved_wrong_is_forgotten_wherever_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as tier:
        await tier.keep(key(1), b"on disk")
        tier.offer(key(1) + 1, b"waiting")
        number = 3
        while tier.offer(key(number), os.urandom(PAGE_SIZE)).held:
            number += 1
        tier.offer(key(number + 1), os.urandom(PAGE_SIZE))
        tier.disk.forget(key(number), 1)
        tier.disk.forget(key(1), 2)
        await tier.disk.drain()
        assert key(number) not in tier.disk
        assert key(number + 1) in tier.disk
        assert await tier.load(key(1), 7) is None
        assert await tier.load(key(1) + 1, 7) is None
    async with opened(tmp_path) as tier:
        assert await tier.load(key(1), 7) is None
        assert await tier.load(key(1) + 1, 7) is None


# -- damage


async def test_what_proves_wrong_while_it_is_written_outlives_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder as it is when the rows are written, which is what a crash leaves to the next."""
    write, crashed = segment._write, tmp_path / "crashed"
    async with opened(tmp_path / "cache") as tier:

        def watched(fd: int, buffers: Sequence[memoryview], offset: int) -> None:
            write(fd, buffers, offset)
            if len(buffers[0]) == PAGE_SIZE:
                trio.from_thread.run_sync(tier.disk.forget, key(1), 1)
            elif offset == segment.BLOCK:
                shutil.copytree(tmp_path / "cache", crashed)

        with monkeypatch.context() as patch:
            patch.setattr(segment, "_write", watched)
            await tier.keep(key(1), bytes(PAGE_SIZE))
    assert files(crashed)
    async with opened(crashed) as tier:
        assert await tier.load(key(1), PAGE_SIZE) is None


@pytest.mark.parametrize("size", [100, 64 * KIB, PAGE_SIZE])
async def test_changed_bytes_are_no_page(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    async with opened(tmp_path) as tier:
        await tier.keep(key(1), data)
        (path,) = files(tmp_path)
        flip(path, path.read_bytes().index(data[:100]) + size // 2)
        assert await tier.load(key(1), size) is None
        assert tier.disk.counts.corrupt == 1
        await tier.keep(key(1), data)
        assert await tier.load(key(1), size) == data


async def test_no_changed_bit_anywhere_gives_other_bytes(tmp_path: Path) -> None:
    """Header, table and pages: each byte in turn, each time on a fresh start."""
    pages = {key(n): os.urandom(100 + n) for n in range(3)}
    async with opened(tmp_path / "whole", quota=8 * MIB) as tier:
        for each, data in pages.items():
            await tier.keep(each, data)
    (whole,) = files(tmp_path / "whole")
    body = whole.read_bytes()
    first = min(body.index(data) for data in pages.values())
    damage = [*range(0, 36, 5), *range(4096, 4096 + 3 * 48, 7), *range(first, first + 400, 13)]
    for offset in damage:
        (tmp_path / "part").mkdir()
        changed = bytearray(body)
        changed[offset] ^= 0x40
        (tmp_path / "part" / whole.name).write_bytes(changed)
        async with opened(tmp_path / "part", quota=8 * MIB) as tier:
            for each, data in pages.items():
                assert await tier.load(each, len(data)) in {data, None}
            for each, data in pages.items():
                await tier.keep(each, data)
                assert await tier.load(each, len(data)) == data
        shutil.rmtree(tmp_path / "part")


@pytest.mark.parametrize("length", [0, 20, 4096, 16_386])
async def test_a_file_that_was_cut_is_taken_for_what_it_is(tmp_path: Path, length: int) -> None:
    async with opened(tmp_path) as tier:
        await tier.keep(key(1), b"data")
    os.truncate(files(tmp_path)[0], length)
    async with opened(tmp_path) as tier:
        assert await tier.load(key(1), 4) is None
        await tier.keep(key(1), b"data")
        assert await tier.load(key(1), 4) == b"data"


async def test_the_bytes_of_one_page_never_pass_for_another(tmp_path: Path) -> None:
    """Two pages of the same bytes, and records exchanged: a page's checksum depends on its key."""
    async with opened(tmp_path) as tier:
        await tier.keep(key(1), b"one ")
        await tier.keep(key(2), b"two ")
    (path,) = files(tmp_path)
    body = bytearray(path.read_bytes())
    one, two = body.index(b"one "), body.index(b"two ")
    body[one : one + 4], body[two : two + 4] = body[two : two + 4], body[one : one + 4]
    path.write_bytes(body)
    async with opened(tmp_path) as tier:
        assert await tier.load(key(1), 4) is None
        assert await tier.load(key(2), 4) is None
        assert tier.disk.counts.corrupt == 2


# -- limits


@pytest.mark.parametrize("size", [4 * KIB, 100_000, PAGE_SIZE])
async def test_the_quota_is_never_exceeded(tmp_path: Path, size: int) -> None:
    quota = 8 * MIB
    async with opened(tmp_path, quota) as tier:
        for number in range(32 * MIB // max(size, 64 * KIB)):
            await tier.keep(key(number), os.urandom(size))
            assert taken(tmp_path) <= tier.disk.used <= quota
        assert tier.disk.counts.written > 0
        assert await tier.load(key(number), size) is not None  # what came last is there


async def test_a_smaller_quota_of_the_next_mount_holds_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path, 64 * MIB) as tier:
        for number in range(30):
            await tier.keep(key(number), os.urandom(PAGE_SIZE))
        assert taken(tmp_path) > 16 * MIB
    async with opened(tmp_path, 16 * MIB) as tier:
        assert taken(tmp_path) <= 16 * MIB
        assert await tier.load(key(29), PAGE_SIZE) is not None
        assert await tier.load(key(0), PAGE_SIZE) is None


@pytest.mark.parametrize("restart", [False, True])
async def test_what_is_read_stays_longest(tmp_path: Path, *, restart: bool) -> None:
    async with opened(tmp_path, 8 * MIB) as tier:
        for number in range(6):
            await tier.keep(key(number), os.urandom(PAGE_SIZE))
        for number in (0, 1):
            assert await tier.load(key(number), PAGE_SIZE) is not None
        if not restart:
            await fill_and_look(tier)
    if restart:
        async with opened(tmp_path, 8 * MIB) as tier:
            await fill_and_look(tier)


async def fill_and_look(tier: Tier) -> None:
    """Bring three more pages than fit: the ones that were not read again have gone."""
    for number in range(10, 13):
        await tier.keep(key(number), os.urandom(PAGE_SIZE))
    there = [n for n in range(6) if key(n) in tier.disk]
    assert there[:2] == [0, 1]
    assert len(there) < 6


async def test_the_number_of_pages_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "MAX_PAGES", 400)
    async with opened(tmp_path) as tier:
        for number in range(1000):
            tier.offer(key(number), b"%d" % number)
            if number % 50 == 0:
                await tier.disk.drain()
        await tier.disk.drain()
        assert sum(key(number) in tier.disk for number in range(1000)) <= 400
        assert await tier.load(key(999), 3) == b"999"


async def test_the_index_takes_the_memory_that_is_documented(tmp_path: Path) -> None:
    count = 20_000
    async with opened(tmp_path) as tier:
        before = resident()
        for start in range(0, count, 1000):
            for number in range(start, start + 1000):
                page = tier.offer(key(number), b"x" * 16)
                tier.pages.discard(page.key)
            await tier.disk.drain()
        assert tier.disk.counts.written == count
        assert resident() - before < count * 300  # 200 of them in the long run


def resident() -> int:
    """Return how many bytes of memory this process has."""
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_pages_that_are_insisted_on_wait_for_the_disk(tmp_path: Path) -> None:
    bodies = [os.urandom(PAGE_SIZE) for _ in range(10)]
    async with opened(tmp_path / "cache") as tier:
        for number, body in enumerate(bodies):
            page = tier.page(PAGE_SIZE)
            page.view[:] = body
            page.valid = PAGE_SIZE
            assert await tier.disk.insist(key(number), page)
        await tier.disk.drain()
        for number, body in enumerate(bodies):
            assert await tier.load(key(number), PAGE_SIZE) == body


async def test_a_page_that_is_reclaimed_while_it_waits_is_not_kept(tmp_path: Path) -> None:
    async with opened(tmp_path / "cache") as tier:
        for number in range(4):  # the whole queue
            tier.offer(key(number), os.urandom(PAGE_SIZE))
        page = tier.page(PAGE_SIZE)
        page.valid = PAGE_SIZE

        async def insist() -> None:
            assert not await tier.disk.insist(key(9), page)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(insist)
            await trio.lowlevel.checkpoint()
            assert not page.held
            tier.pages.discard(page.key)
            tier.page(PAGE_SIZE).view[:] = b"x" * PAGE_SIZE  # the same memory
        await tier.disk.drain()
        assert key(9) not in tier.disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    with small_disk_at(tmp_path) as path:
        yield path


def free(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def occupy(path: Path, leave: int) -> None:
    """Fill a file system with a file of somebody else's."""
    with (path / "somebody's").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free(path) - leave)


async def test_the_floor_stays_free(small_disk: Path) -> None:
    async with opened(small_disk / "c", 64 * MIB, floor=8 * MIB) as tier:
        for number in range(24):
            await tier.keep(key(number), os.urandom(PAGE_SIZE))
            assert free(small_disk) >= 8 * MIB
        assert await tier.load(key(23), PAGE_SIZE) is not None


async def test_the_default_floor_and_quota_are_shares_of_the_disk(small_disk: Path) -> None:
    async with opened(small_disk / "c", 0, floor=0) as tier:
        assert 11 * MIB < tier.disk.capacity <= 12 * MIB
        for number in range(30):
            await tier.keep(key(number), os.urandom(PAGE_SIZE))
        assert taken(small_disk / "c") <= 12 * MIB
        occupy(small_disk, 2 * MIB)  # 5 % are 1.2 MiB
        await tier.keep(key(100), os.urandom(PAGE_SIZE))
        assert free(small_disk) >= 24 * MIB // 20


async def test_a_floor_that_others_use_up_is_given_back(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "FLOOR_CHECK_S", 0.01)
    async with opened(small_disk / "c", 64 * MIB, floor=8 * MIB) as tier:
        for number in range(10):
            await tier.keep(key(number), os.urandom(PAGE_SIZE))
        occupy(small_disk, 3 * MIB)
        with trio.fail_after(10):
            while free(small_disk) < 8 * MIB:  # noqa: ASYNC110 - the disk tells nobody
                await trio.sleep(0.01)
        assert not tier.disk.ended


async def test_a_disk_that_others_filled_keeps_nothing_and_does_no_harm(small_disk: Path) -> None:
    occupy(small_disk, 0)
    async with opened(small_disk / "c", 16 * MIB) as tier:
        await tier.keep(key(1), b"data")
        assert await tier.load(key(1), 4) is None
        assert files(small_disk / "c") == []
        (small_disk / "somebody's").unlink()
        await tier.keep(key(1), b"data")
        assert await tier.load(key(1), 4) == b"data"


# -- a disk that fails


async def test_a_disk_that_takes_no_more_ends_the_tier_and_says_so_once(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Another writer takes the room between the look at it and its use: here, inodes."""
    remount = ["mount", "-o", "remount,nr_inodes=4", str(small_disk)]
    await trio.run_process(remount)
    async with opened(small_disk / "c", 16 * MIB) as tier:  # root, folder, lock: one is left
        for number in range(10):
            await tier.keep(key(number), os.urandom(PAGE_SIZE))
        assert tier.disk.ended
        assert await tier.load(key(0), PAGE_SIZE) is None
    (said,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert "reads go on without it" in said.getMessage()
    caplog.clear()


async def test_a_file_that_cannot_be_read_ends_the_tier(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """EISDIR stands for EIO: the descriptor leads to a directory."""
    async with opened(tmp_path) as tier:
        await tier.keep(key(1), os.urandom(PAGE_SIZE))
        found = tier.disk._shelf.find(key(1))
        assert found is not None
        folder = os.open(tmp_path, os.O_RDONLY)
        os.dup2(folder, found[0].fd)
        os.close(folder)
        assert await tier.load(key(1), PAGE_SIZE) is None
        assert tier.disk.ended
    caplog.clear()


# -- the folder


async def test_one_mount_has_the_folder(tmp_path: Path) -> None:
    async with opened(tmp_path):
        with pytest.raises(Busy, match="another aisfs mount of the same source keeps its pages"):
            Tier(tmp_path, QUOTA, 1, 8 * MIB)
    async with opened(tmp_path):
        pass


async def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    async with opened(tmp_path / "new" / "c") as tier:
        await tier.keep(key(1), b"data")
        assert (tmp_path / "new" / "c").stat().st_mode & 0o777 == 0o700
        assert {p.stat().st_mode & 0o777 for p in (tmp_path / "new" / "c").iterdir()} == {0o600}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to own a folder by another name")
async def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    os.chown(tmp_path / "c", 12345, 12345)
    with pytest.raises(PermissionError, match="another user's"):
        Tier(tmp_path / "c", QUOTA, 1, 8 * MIB)


async def test_what_is_not_ours_stays(tmp_path: Path) -> None:
    names = ["mine.pages", "00000001.page", "0000000g.pages", "note"]
    for name in names:
        (tmp_path / name).write_text("mine")
    async with opened(tmp_path, 8 * MIB) as tier:
        for number in range(20):
            await tier.keep(key(number), os.urandom(PAGE_SIZE))
    assert [(tmp_path / name).read_text() for name in names] == ["mine"] * 4


async def test_every_byte_of_a_file_is_allocated_when_it_is_made(tmp_path: Path) -> None:
    async with opened(tmp_path) as tier:
        await tier.keep(key(1), b"data")
        (path,) = files(tmp_path)
        assert path.stat().st_blocks * 512 >= path.stat().st_size
        assert path.stat().st_blocks * 512 <= path.stat().st_size + ALLOWANCE


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
async def test_files_that_go_while_they_are_read_are_read_to_the_end(
    tmp_path: Path, order: Sequence[int]
) -> None:
    data = os.urandom(PAGE_SIZE)
    async with opened(tmp_path, 8 * MIB) as tier:
        await tier.keep(key(1), data)
        page = tier.page(PAGE_SIZE)

        async def read() -> None:
            await tier.disk.load([(key(1), page)], lambda: None)

        async def push_out() -> None:
            for number in range(10, 20):
                await tier.keep(key(number), os.urandom(PAGE_SIZE))

        async with trio.open_nursery() as nursery:
            for each in order:
                nursery.start_soon(read if each == 1 else push_out)
        assert bytes(page.view) == data


async def test_all_is_forgotten_on_command_and_the_tier_goes_on(tmp_path: Path) -> None:
    async with opened(tmp_path) as tier:
        await tier.keep(key(1), b"on disk")
        waiting = tier.offer(key(2), b"waiting")
        await tier.disk.empty()
        assert not waiting.held
        assert await tier.load(key(1), 7) is None
        assert await tier.load(key(2), 7) is None
        assert files(tmp_path) == []
        await tier.keep(key(3), b"later")
        assert await tier.load(key(3), 5) == b"later"
        await tier.disk.drop(key(3), 5)
        assert await tier.load(key(3), 5) is None


async def test_who_empties_a_tier_that_has_ended_does_not_wait(tmp_path: Path) -> None:
    async with opened(tmp_path) as tier:
        tier.disk.ended = True  # as after a failure
        with trio.fail_after(5):
            await tier.disk.empty()
