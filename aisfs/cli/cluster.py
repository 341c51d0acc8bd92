"""A cluster for commands that need no mount: its settings, and what operands name on it.

Serves `verb`, `job` and `etl`. An operand is `ais://BUCKET/NAME`, or a path below a mount, which
knows what it is on the cluster (attribute `user.ais.object`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import trio

from aisfs.cli import Failure, mounts, tell_remarks
from aisfs.config import ConfigError
from aisfs.control.xattrs import FACTS
from aisfs.errors import FsError, Invalid
from aisfs.settings import load
from aisfs.store.aistore import connect
from aisfs.vfs.places import place_of_url

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aisfs.store.aistore import AISStore
    from aisfs.store.cluster_work import Place

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")


def connection_options(command: F) -> F:
    """Give a command the options that say which cluster it speaks to."""
    for option in (
        click.option("--config", metavar="FILE", default="", help="a TOML file with settings"),
        click.option("-o", "options", multiple=True, metavar="LIST", help="as for a mount"),
        click.option("--endpoint", metavar="URL", default="", help="URL of a gateway"),
    ):
        command = option(command)
    return command


def run(
    work: Callable[[AISStore], Awaitable[T]],
    *,
    endpoint: str,
    options: tuple[str, ...],
    config: str,
) -> T:
    """Do something on a cluster and return what came of it.

    Raises:
        Failure: it did not come about, in words.
    """
    flags = {"endpoint": endpoint} if endpoint else {}
    try:
        settings = load("", Path("/"), options=options, flags=flags, file=config)
        tell_remarks(settings.remarks)
        return trio.run(_connected, settings.store, work)
    except (ConfigError, FsError) as error:
        raise Failure(str(error)) from None


async def _connected(settings: Any, work: Callable[[AISStore], Awaitable[T]]) -> T:
    store = connect(settings)
    try:
        return await work(store)
    finally:
        await store.close()


async def resolve(operand: str) -> Place:
    """Return what an operand names on the cluster.

    Raises:
        Invalid: it is neither a URL nor a path below a mount.
    """
    return place_of_url(operand if "://" in operand else _url_of_path(operand))


def _url_of_path(operand: str) -> str:
    path = Path(operand).absolute()
    if not any(path.is_relative_to(each.path) for each in mounts.mounted()):
        raise Invalid(f"{operand} is not in a mount of aisfs: write ais://BUCKET/NAME")
    above = path if path.exists() else path.parent
    try:
        url = os.getxattr(above, f"{FACTS}object").decode("utf-8", "surrogateescape")
    except OSError as error:
        raise Invalid(f"{above}: {error.strerror}") from None
    if above == path:
        return url
    return f"{url}{path.name}{'/' if operand.endswith('/') else ''}"
