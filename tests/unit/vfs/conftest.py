"""Filesystems without a kernel on the test's bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.filesystem import filesystem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aisfs.config import BucketName
    from tests.support.filesystem import Shell
    from tests.support.store import StoreProcess


@pytest.fixture
async def shell(cluster: StoreProcess, bucket: BucketName, tmp_path: Path) -> AsyncIterator[Shell]:
    """Return a program on a filesystem that believes an answer for a second, as by default."""
    async with filesystem(cluster.endpoint, bucket, tmp_path / "state") as made:
        yield made


@pytest.fixture
async def doubting(
    cluster: StoreProcess, bucket: BucketName, tmp_path: Path
) -> AsyncIterator[Shell]:
    """Return a program on a filesystem that believes nothing: every time to live is 0."""
    async with filesystem(cluster.endpoint, bucket, tmp_path / "doubting", ttl_s=0) as made:
        yield made
