"""Sorting the records of many shards into new shards (dSort)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aisfs_sdk import const
from aisfs_sdk.calls import JSON_HEADERS, Call
from aisfs_sdk.dsort_types import DsortMetrics, JobInfo, decode_dsort
from aisfs_sdk.eras import Feature
from aisfs_sdk.job import Clock, text_of
from aisfs_sdk.job_types import WaitResult
from aisfs_sdk.types import encode_message
from aisfs_sdk.urls import query_string
from aisfs_sdk.utils import validate_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aisfs_sdk.request_client import RequestClient

_PATH = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_SORT}"


class Dsort:
    """A dSort. Making one sends nothing.

    Args:
        client: sends its requests.
        dsort_id: of one that was started before.
    """

    def __init__(self, client: RequestClient, dsort_id: str = "") -> None:
        self._client = client
        self._dsort_id = dsort_id

    def __repr__(self) -> str:
        return f"<Dsort {self._dsort_id}>"

    @property
    def dsort_id(self) -> str:
        """Id of the dSort, "" before it is started."""
        return self._dsort_id

    def start(self, spec_file: str | Path | Mapping[str, Any]) -> str:
        """Start sorting.

        Releases differ in how they write input, names and endings; either form is sent in the
        cluster's own.

        AIS: POST /v1/sort.

        Args:
            spec_file: path of a JSON file that describes it (or YAML, where PyYAML is installed),
                or the description itself.

        Returns:
            Id of the dSort, which this object has from then on.

        Raises:
            ValueError: the path names no file, or the file is no such description.
            UnsupportedError: the cluster is built without dSort.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        described = _read(spec_file) if isinstance(spec_file, str | Path) else dict(spec_file)
        call = self._call(const.HTTP_METHOD_POST)
        new = self._client.era.has(Feature.ETL_BY_NAME)
        message = _spec_of_now(described) if new else _spec_of_2023(described)
        call.headers, call.body = JSON_HEADERS, encode_message(message)
        self._dsort_id = text_of(self._client.send(call))
        return self._dsort_id

    def abort(self) -> None:
        """Stop it.

        AIS: DELETE /v1/sort/abort.

        Raises:
            UnsupportedError: the cluster is built without dSort.
            AISError: the cluster knows no such dSort, or refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        call = self._call(const.HTTP_METHOD_DELETE, "/abort")
        call.query = self._query()
        self._client.send(call)

    def get_job_info(self) -> dict[str, JobInfo]:
        """Return how far each target is.

        AIS: GET /v1/sort.

        Raises:
            UnsupportedError, AISError, requests.RequestException: see `abort`.
        """
        call = self._call(const.HTTP_METHOD_GET)
        call.query = self._query()
        return decode_dsort(self._client.send(call).content)

    def metrics(self) -> dict[str, DsortMetrics]:
        """Return the metrics of each target: a part of `get_job_info`, by the name of 2023.

        AIS: GET /v1/sort.

        Raises:
            UnsupportedError, AISError, requests.RequestException: see `abort`.
        """
        return {target: info.metrics for target, info in self.get_job_info().items()}

    def wait(
        self, timeout: float = const.DEFAULT_DSORT_WAIT_TIMEOUT, verbose: bool = True
    ) -> WaitResult:
        """Wait until every target has made its shards, or one was stopped.

        Args:
            timeout: longest time to wait, in seconds.
            verbose: log, at level INFO, that it is waited for.

        Returns:
            How it ended; it is true if it was not stopped.

        Raises:
            Timeout: it has not ended in time.
            UnsupportedError, AISError, requests.RequestException: see `abort`.
        """
        clock = Clock(timeout, verbose, self)
        while True:
            found = self.metrics()
            if any(metrics.aborted for metrics in found.values()):
                texts = [text for metrics in found.values() for text in metrics.errors or ()]
                return WaitResult(self._dsort_id, False, texts[0] if texts else "aborted")
            if found and all(metrics.shard_creation.finished for metrics in found.values()):
                return WaitResult(self._dsort_id, True)
            clock.sleep("dsort to finish")

    def _query(self) -> str:
        return query_string({const.QPARAM_UUID: self._dsort_id})

    def _call(self, method: str, path: str = "") -> Call:
        return Call(method, _PATH + path, subject=f"dsort {self._dsort_id}".rstrip())


def _read(path: str | Path) -> dict[str, Any]:
    validate_file(path)
    text = Path(path).read_text(encoding=const.UTF_ENCODING)
    if Path(path).suffix in {".yaml", ".yml"}:
        import yaml  # type: ignore[import-untyped, unused-ignore] # noqa: PLC0415 - optional

        found = yaml.safe_load(text)
    else:
        found = json.loads(text)
    if not isinstance(found, dict):
        msg = f"{path} does not describe a dSort: it holds no JSON object"
        raise ValueError(msg)  # noqa: TRY004 - documented
    return found


_OLD_NAMES = {
    "input_bck": "bck",
    "input_extension": "extension",
    "ekm_file": "order_file",
    "ekm_file_sep": "order_file_sep",
}


def _spec_of_2023(spec: Mapping[str, Any]) -> dict[str, Any]:
    sent = {_OLD_NAMES.get(key, key): value for key, value in spec.items()}
    shape = sent.get("input_format")
    if isinstance(shape, dict) and "template" in shape:
        sent["input_format"] = shape["template"]
    return sent


def _spec_of_now(spec: Mapping[str, Any]) -> dict[str, Any]:
    new_names = {old: new for new, old in _OLD_NAMES.items()}
    sent = {new_names.get(key, key): value for key, value in spec.items()}
    if isinstance(sent.get("input_format"), str):
        sent["input_format"] = {"template": sent["input_format"]}
    # Without it the gateway cannot choose a sorter: it misreads the answers of its own targets.
    sent.setdefault("dsorter_type", "dsort_general")
    # These drop the connection without an answer where they are missing.
    for key in ("output_format", "output_shard_size"):
        if not sent.get(key) and not (key == "output_format" and sent.get("ekm_file")):
            msg = f"the description of a dSort needs {key}"
            raise ValueError(msg)
    return sent
