"""`aisfs purge-markers`: remove the objects by which aisfs keeps empty directories (C39).

What is removed is empty and called `…/.aisfs-dir`. Directories with objects in them stay visible;
empty ones go, and with the markers the modes, owners and times that were given to directories.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import trio

from aisfs.cli import Failure
from aisfs.config import ConfigError
from aisfs.errors import FsError, NotFound
from aisfs.settings import load
from aisfs.store.aistore import connect
from aisfs.store.interface import MAX_PAGE
from aisfs.vfs.paths import MARKER, split
from aisfs.workers import for_each

if TYPE_CHECKING:
    from aisfs.config import Config
    from aisfs.store.interface import BucketName, ObjectInfo, ObjectStore

_PARALLEL = 16


@dataclass
class _Purge:
    """What is to be removed where, and what came of it: names of markers."""

    store: ObjectStore
    bucket: BucketName
    dry_run: bool
    removed: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    async def run(self, prefix: str) -> None:
        token = ""
        while True:
            page = await self.store.list(self.bucket, prefix, token, MAX_PAGE, recursive=True)
            markers = [info.name for info in page.objects if _is_marker(info)]
            await for_each(markers, self._remove, _PARALLEL)
            token = page.token
            if not token:
                break
        if page.lacking:
            raise Failure("targets have left the cluster: what they hold was not looked at")

    async def _remove(self, name: str) -> None:
        try:
            if not self.dry_run:
                await self.store.delete(self.bucket, name)
        except NotFound:
            return
        except FsError as error:
            self.failed[name] = str(error)
        else:
            self.removed.append(name)


def _is_marker(info: ObjectInfo) -> bool:
    return split(info.name)[1] == MARKER and info.identity.size == 0


@click.command("purge-markers")
@click.argument("source", metavar="BUCKET")
@click.option("--prefix", metavar="P", default="", help="only below this folder")
@click.option("-n", "--dry-run", is_flag=True, help="only say what would be removed")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object")
@click.option("--endpoint", metavar="URL", default="", help="URL of a gateway")
@click.option("-o", "options", multiple=True, metavar="LIST", help="connection, as for a mount")
@click.option("--config", metavar="FILE", default="", help="a TOML file with settings")
def purge_markers(
    source: str, prefix: str, dry_run: bool, as_json: bool, **connection: Any
) -> None:
    """Remove the directory markers of aisfs from BUCKET, written ais://BUCKET or plainly.

    Empty directories go with them, and what chmod and chown gave to directories. Unmount first: a
    mount makes markers again.
    """
    url = source if "://" in source else f"ais://{source}"
    if prefix:
        url = f"{url.rstrip('/')}/{prefix.strip('/')}"
    config = _configuration(url, **connection)
    bucket = config.source.bucket
    if bucket is None:
        raise Failure(f"{source} names no bucket: write ais://BUCKET")
    purge = _Purge(connect(config.store), bucket, dry_run)
    try:
        trio.run(_run, purge, config.source.prefix)
    except FsError as error:
        raise Failure(f"{config.source}: {error}") from None
    _report(purge, as_json=as_json)
    if purge.failed:
        name, why = next(iter(purge.failed.items()))
        raise Failure(f"{len(purge.failed)} markers could not be removed, among them {name}: {why}")


def _configuration(url: str, *, endpoint: str, options: tuple[str, ...], config: str) -> Config:
    flags = {"endpoint": endpoint} if endpoint else {}
    try:
        return load(url, Path("/"), options=options, flags=flags, file=config)
    except ConfigError as error:
        raise Failure(str(error)) from None


async def _run(purge: _Purge, prefix: str) -> None:
    try:
        await purge.run(prefix)
    finally:
        await purge.store.close()


def _report(purge: _Purge, *, as_json: bool) -> None:
    names = sorted(purge.removed)
    if as_json:
        told = {"dry_run": purge.dry_run, "markers": names, "failed": purge.failed}
        click.echo(json.dumps(told))
        return
    for name in names:
        click.echo(name)
    done = "would be removed" if purge.dry_run else "removed"
    click.echo(f"{len(names)} directory markers {done}", err=True)
