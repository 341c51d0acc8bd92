"""`aisfs etl`: the cluster's transformers: listed, looked into, started, stopped, deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from aisfs.cli import GROUPED
from aisfs.cli.cluster import connection_options, run
from aisfs.cli.tables import print_rows
from aisfs.cli.verb import command_of

if TYPE_CHECKING:
    from aisfs.store.aistore import AISStore
    from aisfs.store.cluster_facts import Json

_COLUMNS = {"name": "id", "stage": "stage", "job": "xaction_id", "objects": "obj_count"}
"""Column → its key in what the cluster tells."""


@click.group()
def etl() -> None:
    """Look after transformers of the cluster."""


for _verb in GROUPED["etl"]:
    etl.add_command(command_of(_verb, _verb.removeprefix("etl-")))


@etl.command("list")
@click.option("--json", "as_json", is_flag=True, help="as a JSON list")
@connection_options
def list_etls(as_json: bool, **connection: Any) -> None:
    """List the transformers that the cluster has."""

    async def work(store: AISStore) -> list[Json]:
        return await store.facts.etls()

    found = run(work, **connection)
    if as_json:
        print(json.dumps(found, indent=2))
        return
    rows = [[each[key] for key in _COLUMNS.values()] for each in found]
    print_rows(_COLUMNS, rows, "the cluster has no transformer")


@etl.command()
@click.argument("name", metavar="NAME")
@connection_options
def logs(name: str, **connection: Any) -> None:
    """Print what a transformer wrote, by target."""

    async def work(store: AISStore) -> dict[str, str]:
        return await store.facts.etl_logs(name)

    for target, text in sorted(run(work, **connection).items()):
        print(f"==> target {target} <==\n{text}", end="" if text.endswith("\n") else "\n")
