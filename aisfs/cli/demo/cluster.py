"""The cluster that a demo shows: an embedded store of its own, or that of AIS_ENDPOINT."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import requests

from aisfs.cli import Failure
from aisfs.cli.demo.data import cloud_objects
from aisfs_sdk import AISError, Client

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aisfs.cli.demo.place import Place

_BUCKET = "demo"
CLOUD = "cloud"
"""The embedded store's remote bucket: a directory of this name plays the cloud."""

_SERVE = (sys.executable, "-P", "-m", "aisfs", "serve", "--data")
_START_LIMIT_S = 30.0
_END_LIMIT_S = 10.0


@contextlib.contextmanager
def cluster(here: Place, objects: Mapping[str, bytes]) -> Iterator[dict[str, str]]:
    """Provide a bucket that holds `objects`, and take it away at the end.

    Yields:
        The environment in which the tour's commands run: with it `aisfs mount` needs no options.

    Raises:
        Failure: there is no store, or it refuses the bucket.
    """
    endpoint = os.environ.get("AIS_ENDPOINT", "")
    more: dict[str, str] = {}
    token: str | None = None
    with contextlib.ExitStack() as stack:
        if endpoint:
            bucket = f"aisfs-demo-{secrets.token_hex(4)}"
            here.record_bucket(endpoint, bucket)
        else:
            bucket = _BUCKET
            endpoint = stack.enter_context(_embedded_store(here))
            file = _store(here) / "token"
            token = file.read_text("utf-8").strip()
            more = {"CLOUD": CLOUD, "AIS_AUTHN_TOKEN": "", "AIS_AUTHN_TOKEN_FILE": str(file)}
        client = stack.enter_context(contextlib.closing(Client(endpoint, token=token)))
        stack.enter_context(_filled_bucket(client, bucket, objects, keep=here.keep))
        yield _environment(here, endpoint, bucket) | more


@contextlib.contextmanager
def _embedded_store(here: Place) -> Iterator[str]:
    """Run the embedded store in a session of its own, where the user's Ctrl-C does not reach it."""
    log = here.path / "store.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [
                *_SERVE,
                str(_store(here)),
                "--require-token",
                "--remote",
                f"aws://{CLOUD}={_cloud(here)}",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        answered, _, _ = select.select([process.stdout], [], [], _START_LIMIT_S)
        line = process.stdout.readline().decode() if answered else ""
        if not line.startswith("ready "):
            said = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
            raise Failure(f"the embedded store did not start: {' '.join(said) or 'no answer'}")
        yield line.split()[1]
    finally:
        process.stdout.close()
        if here.keep:
            process.returncode = 0  # goes on without us
        else:
            _end(process)


def _store(here: Place) -> Path:
    return here.path / "store"


def _cloud(here: Place) -> Path:
    """Make the directory that plays a cloud, with what lies in it."""
    path = here.path / CLOUD
    path.mkdir()
    for name, content in cloud_objects().items():
        (path / name).write_bytes(content)
    return path


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_END_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _filled_bucket(
    client: Client, name: str, objects: Mapping[str, bytes], *, keep: bool
) -> Iterator[None]:
    """Put the objects into a new bucket, as any client of the cluster would."""
    bucket = client.bucket(name)
    try:
        bucket.create()
        for object_name, content in objects.items():
            bucket.object(object_name).put_content(content)
        yield
    except (AISError, requests.RequestException) as error:
        raise Failure(
            f"the cluster at {client.cluster().client.endpoint} refuses the demo: {error}"
        ) from None
    finally:
        if not keep:
            with contextlib.suppress(AISError, requests.RequestException):
                bucket.delete(missing_ok=True)


def _environment(here: Place, endpoint: str, bucket: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AISFS_")}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    return kept | {
        "PATH": programs,
        "AIS_ENDPOINT": endpoint,
        "BUCKET": bucket,
        "AISFS_CONFIG": os.devnull,
        "AISFS_STORE_NO_AIS_CLI": "yes",
        "AISFS_STAGING_STATE_DIR": str(here.path / "state"),
        "AISFS_LOG_FILE": str(here.path / "aisfs.log"),
    }
