"""The command `serve`: run the embedded store until it is stopped."""

from pathlib import Path

import click


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Directory that keeps buckets and objects.",
)
@click.option("--ephemeral", is_flag=True, help="Keep everything in a directory that goes at exit.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--expose",
    is_flag=True,
    help="Allow an address that other machines reach; everybody then needs the token.",
)
@click.option(
    "--advertise",
    metavar="HOST",
    default="",
    help="Address that clients are redirected to.  [default: that of --host]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Port of the gateway; 0 takes a free one.",
)
@click.option(
    "--targets",
    type=click.IntRange(1, 64),
    default=3,
    show_default=True,
    help="Number of storage targets.",
)
@click.option(
    "--request-log",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Append a line of JSON per request to this file.",
)
@click.option(
    "--import",
    "import_from",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Copy a directory in first: each directory at its top becomes a bucket.",
)
@click.option(
    "--remote",
    multiple=True,
    metavar="BUCKET=ORIGIN",
    help="A remote bucket: aws://NAME=DIR (or gs://, az://, oc://) is a directory that plays a "
    "cloud, ais://@ALIAS=http://HOST:PORT another cluster. May be repeated.",
)
@click.option(
    "--promote-root",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Directory below which files may be promoted, by whoever has the store's token. "
    "May be repeated.  [default: promote is off]",
)
@click.option(
    "--compat",
    type=click.Choice(["3.17", "5.0"]),
    default="5.0",
    show_default=True,
    help="Release of AIS to answer like.",
)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File for the store's token, made at the first start.  [default: token in the data]",
)
@click.option("--require-token", is_flag=True, help="Serve nobody without the token.")
@click.option(
    "--any-user",
    is_flag=True,
    help="Serve all users of this machine; without it, only yours and root's processes.",
)
@click.option(
    "--tls",
    is_flag=True,
    help="Speak HTTPS with a certificate of an own authority: tls/ca.pem in the data.",
)
@click.option(
    "--tls-cert",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Speak HTTPS with this certificate (PEM, with its chain).",
)
@click.option(
    "--tls-key",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="The certificate's key (PEM).",
)
@click.option(
    "--allow-etl",
    is_flag=True,
    help="Allow holders of the store's token to run code as you on this machine (ETL).",
)
@click.option("--faults", is_flag=True, help="Allow failures to be injected (for tests).")
def serve(*, data: Path | None, ephemeral: bool, **options: object) -> None:
    """Run an AIStore-compatible object store on this machine.

    Prints `ready URL` once all ports answer; stops on SIGTERM or Ctrl-C.
    """
    # Imported late: aiohttp costs 0.2 s that other commands need not pay.
    from aisfs.server.runner import Options, StartError  # noqa: PLC0415
    from aisfs.server.runner import serve as run  # noqa: PLC0415

    if ephemeral == (data is not None):
        raise click.UsageError("give either --data DIR or --ephemeral")
    try:
        run(Options(data=data, **options))  # type: ignore[arg-type]
    except StartError as error:
        raise click.ClickException(str(error)) from error
