"""The ways to start a transformer: from a pod's description, an image, a class, or a function.

Clusters of 2023 take functions as they are; to those of now they go as a class.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from aisfs_sdk import const, errors, etl_const, etl_messages
from aisfs_sdk.calls import JSON_HEADERS, Call
from aisfs_sdk.eras import Feature
from aisfs_sdk.etl_server import ETLServer, server_of
from aisfs_sdk.job import text_of
from aisfs_sdk.types import encode_message

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aisfs_sdk.request_client import RequestClient

S = TypeVar("S", bound=ETLServer)

_NO_CODE = "invalid etl.InitMsg"
"""How clusters that take no code begin their refusal."""

_KINDS_OF_NOW = tuple(f"{kind}://" for kind in etl_const.ETL_COMM_IMAGE)

_PATH = f"/{const.URL_PATH_VERSION}/{const.URL_PATH_ETL}"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_MAX_CHUNK = 1 << 20
_SPARE_S = 30.0
"""Beyond the time that a start may take: the cluster cleans up before it reports a failure."""


class EtlStart:
    """What starts a transformer; `Etl` is what goes on with it."""

    def __init__(self, client: RequestClient, name: str) -> None:
        self._client = client
        self._name = name

    @property
    def name(self) -> str:
        """Name of the transformer."""
        return self._name

    # ---- starting a new one ----

    def init_spec(
        self,
        template: str,
        communication_type: str = etl_const.DEFAULT_ETL_COMM,
        timeout: str = etl_const.DEFAULT_ETL_TIMEOUT,
        arg_type: str = "",
    ) -> str:
        """Start a transformer from the specification of a Kubernetes pod.

        AIS: PUT /v1/etl.

        Args:
            template: the specification, in YAML; see `etl_templates`.
            communication_type: `hpush`, `hpull`, or `hrev` (clusters of 2023).
            timeout: for its start, such as "5m".
            arg_type: what it gets instead of the object's bytes: "url" or "fqn" (clusters of 2024).

        Returns:
            Id of its job.

        Raises:
            ValueError: there is no such communication type.
            ErrETLAlreadyExists: the name is taken.
            UnsupportedError: the cluster runs no transformers.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        comm = etl_messages.check_communication(communication_type, etl_const.ETL_COMM_SPEC)
        message = self._message(comm, timeout)
        message["spec"] = etl_messages.encoded(template)
        if arg_type:
            message["argument"] = arg_type
        return self._init(message, timeout)

    def init_code(  # noqa: PLR0917 - as documented
        self,
        transform: Callable[..., Any],
        dependencies: list[str] | None = None,
        preimported_modules: list[str] | None = None,
        runtime: str = etl_messages.default_runtime(),
        communication_type: str = etl_const.DEFAULT_ETL_COMM,
        timeout: str = etl_const.DEFAULT_ETL_TIMEOUT,
        chunk_size: int | None = None,
        transform_url: bool = False,
        arg_type: str = "",
    ) -> str:
        """Start a transformer from a Python function.

        The function gets the object's bytes and returns the result's. With `chunk_size` it gets a
        reader, to be iterated for pieces, and a writer with `write`. With `transform_url` it gets
        the object's URL.

        Newer clusters take no code. For them the same function is wrapped into a server, see
        `etl_server`, that runs in a container with our version of Python.

        AIS: PUT /v1/etl.

        Args:
            transform: the function.
            dependencies: packages that it needs, such as `["numpy==2.1"]`.
            preimported_modules: modules to import before it is unpickled.
            runtime: `python3.8v2`, `python3.10v2` or `python3.11v2` (clusters of 2023).
            communication_type: `hpush`, `hpull`, `hrev` or `io` (the last two: clusters of 2023).
            timeout: for its start, such as "5m".
            chunk_size: bytes per piece, up to 1 MiB; None for whole objects.
            transform_url: pass the object's URL.
            arg_type: the same for "url", by the name of 2024.

        Returns:
            Id of its job.

        Raises:
            ValueError: there is no such communication type, or the chunk size is out of bounds.
            ErrETLAlreadyExists: the name is taken.
            UnsupportedError: the cluster runs no transformers.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        comm = etl_messages.check_communication(communication_type, etl_const.ETL_COMM_CODE)
        if chunk_size is not None and not 0 <= chunk_size <= _MAX_CHUNK:
            msg = f"chunk_size is 0 to {_MAX_CHUNK}, not {chunk_size}"
            raise ValueError(msg)
        by_url = transform_url or arg_type == "url"
        runs = comm.startswith(etl_const.ETL_COMM_IO)
        text = etl_messages.code_text(transform, preimported_modules, runs=runs)
        needed = "\n".join(etl_messages.requirements(dependencies))
        message: dict[str, Any] = {
            "id": self._name,
            "runtime": runtime,
            "communication": comm,
            "timeout": timeout,
            "funcs": {"transform": "transform"},
            "code": etl_messages.encoded(text),
            "dependencies": etl_messages.encoded(needed),
            "transform_url": by_url,
        }
        if chunk_size:
            message["chunk_size"] = chunk_size
        if not self._client.era.has(Feature.ETL_BY_NAME):
            return self._init(message, timeout)
        message |= {"name": self._name, "init_timeout": timeout}
        try:
            return self._init(message, timeout)
        except errors.InvalidRequestError as error:
            if not error.message.startswith(_NO_CODE):
                raise
        server = server_of(transform, chunk_size or 0, by_url=by_url)
        image, environment = etl_messages.class_runtime(
            server, dependencies, preimported_modules, transform
        )
        kind = comm if comm in _KINDS_OF_NOW else etl_const.ETL_COMM_HPUSH
        if by_url:
            kind = etl_const.ETL_COMM_HPULL
        return self.init(
            image,
            None,  # the image's own start
            kind,
            timeout,
            etl_const.DEFAULT_ETL_OBJ_TIMEOUT,
            True,  # `ETLServer` sends results on
            False,
            **environment,
        )

    def init(  # noqa: PLR0917 - as documented
        self,
        image: str,
        command: Sequence[str] | str | None = None,
        comm_type: str = etl_const.DEFAULT_ETL_COMM,
        init_timeout: str = etl_const.DEFAULT_ETL_TIMEOUT,
        obj_timeout: str = etl_const.DEFAULT_ETL_OBJ_TIMEOUT,
        direct_put: bool = False,
        direct_file_access: bool = False,
        **env: str,
    ) -> str:
        """Start a transformer from a container image.

        AIS: PUT /v1/etl.

        Args:
            image: of the container.
            command: words of the command that it runs, or one text; None for the image's own.
            comm_type: `hpush`, `hpull` or `ws`.
            init_timeout: for its start, such as "5m".
            obj_timeout: for one object.
            direct_put: it sends results on by itself.
            direct_file_access: it reads the object's file itself.
            env: variables of its environment.

        Returns:
            Id of its job.

        Raises:
            ValueError: there is no such communication type.
            ErrETLAlreadyExists: the name is taken.
            UnsupportedError: the cluster runs no transformers, or is too old for images.
            AISError: the cluster refused or failed it otherwise.
            requests.RequestException: the network failed.
        """
        comm = etl_messages.check_communication(comm_type, etl_const.ETL_COMM_IMAGE)
        self._client.era.require(Feature.ETL_BY_NAME, f"init of {self!r}")
        if direct_file_access:
            env["ETL_DIRECT_FQN"] = "true"
        runtime: dict[str, Any] = {"image": image}
        if command is not None:
            runtime["command"] = shlex.split(command) if isinstance(command, str) else list(command)
        if env:
            runtime["env"] = [{"name": name, "value": str(value)} for name, value in env.items()]
        message = self._message(comm, init_timeout)
        message |= {
            "obj_timeout": obj_timeout, "support_direct_put": direct_put, "runtime": runtime
        }  # fmt: skip
        return self._init(message, init_timeout)

    def init_class(
        self,
        *,
        dependencies: Sequence[str] | None = None,
        os_packages: Sequence[str] | None = None,
        comm_type: str = etl_const.DEFAULT_ETL_COMM,
        init_timeout: str = etl_const.DEFAULT_ETL_TIMEOUT,
        obj_timeout: str = etl_const.DEFAULT_ETL_OBJ_TIMEOUT,
        direct_put: bool = True,
        direct_file_access: bool = False,
        **env: str,
    ) -> Callable[[type[S]], type[S]]:
        """Return a decorator that starts a transformer from a class, see `etl_server`.

        It runs in a container with our version of Python.

        AIS: PUT /v1/etl.

        Args:
            dependencies: packages that the class needs.
            os_packages: packages of the operating system that it needs, told in `OS_PACKAGES`.
            comm_type: `hpush` or `hpull`.
            init_timeout: for its start, such as "5m".
            obj_timeout: for one object.
            direct_put: it sends results on by itself, as `ETLServer` does.
            direct_file_access: `transform` gets the path of the object's file.
            env: further variables of its environment.

        Returns:
            The decorator; it returns the class as it is.

        Raises:
            TypeError: (the decorator) the class does not derive from `ETLServer`.
            ValueError, AISError, requests.RequestException: (the decorator) see `init`.
        """

        def decorate(server: type[S]) -> type[S]:
            given: object = server
            if not (isinstance(given, type) and issubclass(given, ETLServer)):
                msg = f"{given!r} does not derive from ETLServer"
                raise TypeError(msg)
            image, environment = etl_messages.class_runtime(given, dependencies)
            if os_packages:
                environment["OS_PACKAGES"] = ",".join(os_packages)
            self.init(
                image,
                None,  # the image's own start
                comm_type,
                init_timeout,
                obj_timeout,
                direct_put,
                direct_file_access,
                **environment,
                **env,
            )
            return server

        return decorate

    def _message(self, comm: str, timeout: str) -> dict[str, Any]:
        """Return what every message has, under the keys that the cluster reads."""
        if self._client.era.has(Feature.ETL_BY_NAME):
            return {"name": self._name, "init_timeout": timeout, "communication": comm}
        return {"id": self._name, "timeout": timeout, "communication": comm}

    def _init(self, message: dict[str, Any], timeout: str) -> str:
        call = self._call(const.HTTP_METHOD_PUT, "")
        call.headers, call.body = JSON_HEADERS, encode_message(message)
        call.repeatable, call.slow = False, True
        call.deadline_s = max(call.deadline_s, seconds(timeout) + _SPARE_S)
        return text_of(self._client.send(call))

    def _call(self, method: str, path: str) -> Call:
        words = f"etl {self._name}{path.removeprefix(self._name)}"
        return Call(method, f"{_PATH}/{quote(path)}" if path else _PATH, subject=words)


def seconds(duration: str) -> float:
    """Return the seconds of a duration such as "5m" or "1h30m", 0 if it is none."""
    return sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(duration))


START_S = seconds(etl_const.DEFAULT_ETL_TIMEOUT) + _SPARE_S
"""Longest time of a start that says nothing of its own."""
