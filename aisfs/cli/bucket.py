"""`aisfs bucket`: buckets made, destroyed, renamed, and their properties set."""

from __future__ import annotations

import click

from aisfs.cli import GROUPED
from aisfs.cli.verb import command_of


@click.group()
def bucket() -> None:
    """Look after buckets of the cluster."""


for _verb in GROUPED["bucket"]:
    bucket.add_command(command_of(_verb))
