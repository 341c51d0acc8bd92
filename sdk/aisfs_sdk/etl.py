"""A transformer of the cluster: starting it, looking at it, stopping it.

Clusters run transformers in containers and need Kubernetes for it; others refuse all of this with
`UnsupportedError`.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from aisfs_sdk import const, errors
from aisfs_sdk.eras import Feature
from aisfs_sdk.etl_config import ETLConfig
from aisfs_sdk.etl_start import START_S, EtlStart
from aisfs_sdk.etl_types import ETLDetails, decode_details, decode_infos, decode_logs

if TYPE_CHECKING:
    from types import TracebackType

    from aisfs_sdk.calls import Answer
    from aisfs_sdk.request_client import RequestClient


_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{4,30})[a-z0-9]")


class Etl(EtlStart):
    """A transformer, known by its name. Making one sends nothing.

    Args:
        client: sends its requests.
        name: 6 to 32 characters, of a-z, 0-9 and, within, "-".
    """

    def __init__(self, client: RequestClient, name: str) -> None:
        super().__init__(client, name)
        self._pipeline: list[str] = []

    def __repr__(self) -> str:
        return f"<Etl {self._name}>"

    def __rshift__(self, after: Etl) -> Etl:
        """Return this transformer followed by another one, for reads and copies."""
        joined = Etl(self._client, self._name)
        joined._pipeline = [*self._pipeline, after.name, *after.pipeline]
        return joined

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop and delete it, as far as that can be done."""
        for verb in (self.stop, self.delete):
            with contextlib.suppress(errors.AISError):
                verb()

    @property
    def pipeline(self) -> list[str]:
        """Names of the transformers that follow it."""
        return list(self._pipeline)

    def config(self, args: str | dict[str, Any] | None = None) -> ETLConfig:
        """Return what reads and copies through this transformer take, with its pipeline.

        Args:
            args: what it is told for this one use.
        """
        return ETLConfig(self._name, args, tuple(self._pipeline))

    # ---- what is there ----

    def view(self, job_id: str = "") -> ETLDetails:
        """Return how the transformer was started, and what it failed on.

        Newer clusters show running ones only.

        AIS: GET /v1/etl/NAME.

        Args:
            job_id: of a job that used it, whose failures are wanted (newer clusters).

        Raises:
            ErrETLNotFound: there is none of this name, or it does not run.
            UnsupportedError: the cluster runs no transformers.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        call = self._call(const.HTTP_METHOD_GET, self._name)
        if job_id:
            self._client.era.require(Feature.ETL_BY_NAME, str(call))
            call.query = f"{const.QPARAM_UUID}={quote(job_id, safe='')}"
        return decode_details(self._client.send(call).content)

    def logs(self, target_id: str = "") -> dict[str, str]:
        """Return what the transformer wrote on its standard output, by target.

        AIS: GET /v1/etl/NAME/logs.

        Args:
            target_id: only on this target.

        Raises:
            ErrETLNotFound, UnsupportedError, AISError, requests.RequestException: see `view`.
        """
        path = f"{self._name}/logs/{target_id}" if target_id else f"{self._name}/logs"
        return decode_logs(self._send(const.HTTP_METHOD_GET, path).content)

    # ---- going on, stopping, ending ----

    def start(self) -> None:
        """Start the transformer again after `stop`. One that runs is left alone.

        AIS: POST /v1/etl/NAME/start.

        Raises:
            ErrETLNotFound: there is none of this name.
            UnsupportedError: the cluster runs no transformers.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        if not self._client.era.has(Feature.ETL_BY_NAME) and self._runs():
            # Clusters of 2023 lose a transformer that is started while it runs.
            return
        call = self._call(const.HTTP_METHOD_POST, f"{self._name}/start")
        call.slow = True
        call.deadline_s = max(call.deadline_s, START_S)
        self._client.send(call)

    def stop(self) -> None:
        """Stop the transformer; what it is made of stays, for `start`.

        Clusters end all running transforms of buckets by this, also those of other transformers.

        AIS: POST /v1/etl/NAME/stop.

        Raises:
            ErrETLNotFound, UnsupportedError, AISError, requests.RequestException: see `start`.
        """
        self._send(const.HTTP_METHOD_POST, f"{self._name}/stop")

    def delete(self) -> None:
        """Delete the transformer, which must have been stopped before.

        AIS: DELETE /v1/etl/NAME.

        Raises:
            ConflictError: it runs, and the cluster would forget it, but go on running it.
            ErrETLNotFound, UnsupportedError, AISError, requests.RequestException: see `start`.
        """
        call = self._call(const.HTTP_METHOD_DELETE, self._name)
        if not self._client.era.has(Feature.ETL_BY_NAME) and self._runs():
            raise errors.ConflictError(0, f"{self._name} is running: stop it first", str(call))
        self._client.send(call)

    def _runs(self) -> bool:
        infos = decode_infos(self._send(const.HTTP_METHOD_GET, "").content)
        return any(info.id == self._name for info in infos)

    def _send(self, method: str, path: str) -> Answer:
        return self._client.send(self._call(method, path))


def validate_etl_name(name: str) -> None:
    """Check that a transformer can have this name.

    Raises:
        ValueError: it cannot.
    """
    if not _NAME.fullmatch(name):
        msg = f'an ETL\'s name has 6 to 32 characters, of a-z, 0-9 and, within, "-"; not {name!r}'
        raise ValueError(msg)
