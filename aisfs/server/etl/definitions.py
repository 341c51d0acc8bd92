"""What a client wants to run: the three forms of an init request, read and checked.

AIS: `PUT /v1/etl`. A pod spec (both releases), Python code (3.17; here also with 5.0), an image
with a command or a class (5.0). The words of refusals are those of the release that the store is
like.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

import yaml

from aisfs.server.etl.durations import parse_duration, show_duration
from aisfs.server.http.errors import AisError

MIN_NAME, MAX_NAME = 6, 32
MAX_CHUNK = 1 << 20
DEFAULT_INIT_S, DEFAULT_OBJECT_S = 45.0, 10.0
"""AIS 5.0 uses these when a message names none."""

CLASS_PAYLOAD = "ETL_CLASS_PAYLOAD"
NEW_KINDS = ("hpush", "hpull", "ws")
OLD_KINDS = ("hpush", "hpull", "hrev", "io")
SUFFIX = "://"
_NAME = re.compile(r"[a-z0-9-]+")
_RUNTIME = re.compile(r"python3\.\d{1,2}(v2)?")


@dataclass(frozen=True, slots=True)
class Definition:
    """A transformer as its client defined it.

    Attributes:
        name: Its name.
        form: `code`, `spec`, `class` or `command`.
        kind: How it is called: `hpush`, `hpull`, `hrev`, `io`, `ws`.
        init_s: Seconds that it may take to become ready.
        object_s: Seconds that one object may take.
        direct_put: Whether the client says that it sends results on by itself.
        view: The message as details show it.
    """

    name: str
    form: str
    kind: str
    init_s: float
    object_s: float
    direct_put: bool
    view: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """What a pod spec says that matters here."""

    command: list[str]
    env: dict[str, str]
    port: int
    probe: str
    direct_put: bool = False


def etl_error(name: str, text: str) -> AisError:
    """Return a refusal with the context that AIS puts before it."""
    context = f'[etl="{name}"]' if name else "[]"
    return AisError(400, f"{context} {text}", "ErrETL")


def name_problem(name: str, *, new: bool) -> str:
    """Return why a name is none, empty if it is one."""
    if not name and new:
        return f'ETL name "{name}" is empty'
    if len(name) < MIN_NAME:
        return f'ETL name "{name}" is too short'
    if len(name) > MAX_NAME:
        return f'ETL name "{name}" is too long'
    if not _NAME.fullmatch(name):
        return f'ETL name "{name}" is invalid: can only contain [a-z0-9-]'
    return ""


def read_definition(fields: dict[str, Any], *, new: bool) -> Definition:
    """Read an init message.

    Args:
        fields: The decoded message.
        new: Whether to be like AIS 5.0, else like 3.17.

    Raises:
        AisError: 400 with the reason.
    """
    if "code" in fields:
        return _read_code(fields)
    if new:
        return _read_new(fields)
    if "spec" in fields:
        return _read_old_spec(fields)
    shown = " ".join(sorted(fields))
    raise AisError(400, f"invalid etl.InitMsg: map[{shown}]")


# ---- parts --------------------------------------------------------------------------------------


def _text(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise AisError(400, f'invalid etl.InitMsg: {key}: ReadString: expects " or n')
    return value


def _seconds(fields: dict[str, Any], key: str, default: float) -> float:
    text = _text(fields, key)
    try:
        return parse_duration(text) or default if text else default
    except ValueError as error:
        raise AisError(400, f"invalid etl.InitMsg: {key}: {error}") from error


def decode_base64(fields: dict[str, Any], key: str) -> bytes:
    """Return the bytes of a field.

    Raises:
        AisError: 400 when it is no base64.
    """
    try:
        return base64.b64decode(_text(fields, key), validate=True)
    except (binascii.Error, ValueError) as error:
        raise AisError(400, f"invalid etl.InitMsg: {key}: {error}") from error


# ---- Python code --------------------------------------------------------------------------------


def _read_code(fields: dict[str, Any]) -> Definition:
    name = _text(fields, "id") or _text(fields, "name")
    if problem := name_problem(name, new=False):
        raise AisError(400, problem)
    communication = _text(fields, "communication") or "hpush://"
    runtime = _text(fields, "runtime")
    _check_runtime(runtime, communication)
    kind = communication.removesuffix(SUFFIX)
    where = f'(comm-type "{communication}", funcs {{Transform:}})'
    if kind not in OLD_KINDS or not communication.endswith(SUFFIX):
        raise AisError(400, f'unsupported comm-type "{communication}" ("{runtime}")')
    if not decode_base64(fields, "code"):
        raise AisError(400, f'source code is empty ("{runtime}")')
    decode_base64(fields, "dependencies")
    funcs = fields.get("funcs") or {}
    transform = funcs.get("transform") if isinstance(funcs, dict) else None
    if not isinstance(transform, str) or not transform.isidentifier():
        raise AisError(400, f"transform function cannot be empty {where}")
    chunk = fields.get("chunk_size") or 0
    if not isinstance(chunk, int) or not 0 <= chunk <= MAX_CHUNK:
        raise AisError(
            400,
            f"chunk-size {chunk} is invalid, expecting 0 <= chunk-size <= MiB "
            f'("{communication}", comm-type "{runtime}")',
        )
    argument = _argument(fields, kind)
    init_s = _seconds(fields, "timeout", DEFAULT_INIT_S)
    view = {
        "id": name,
        "communication": communication,
        "timeout": _text(fields, "timeout") or "0s",
        "code": _text(fields, "code"),
        "dependencies": _text(fields, "dependencies"),
        "runtime": runtime,
        "transform_url": argument == "url",
        "Funcs": {"transform": transform},
        "chunk_size": chunk,
        "flags": fields.get("flags") or 0,
    }
    if "argument" in fields:
        view["argument"] = argument
    object_s = _seconds(fields, "obj_timeout", init_s)
    return Definition(name, "code", kind, init_s, object_s, direct_put=True, view=view)


def _check_runtime(runtime: str, communication: str) -> None:
    if not runtime:
        raise AisError(400, f'runtime is not specified (comm-type "{communication}")')
    if not _RUNTIME.fullmatch(runtime):
        raise AisError(
            400,
            f'unsupported runtime "{runtime}" (supported: python3.Nv2 for a Python that is here)',
        )


def _argument(fields: dict[str, Any], kind: str) -> str:
    argument = _text(fields, "argument")
    if fields.get("transform_url"):
        argument = "url"
    if argument not in {"", "url"} or (argument == "url" and kind != "hpull"):
        raise AisError(
            400, f'unsupported argument "{argument}" with {kind}://: only url with hpull'
        )
    return argument


# ---- pod specs ----------------------------------------------------------------------------------


def read_pod(name: str, data: bytes) -> Pod:
    """Read a pod spec.

    Raises:
        AisError: 400 ErrETL with the reason.
    """
    text = data.decode("utf-8", "replace")
    try:
        spec = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise etl_error(name, f"failed to parse pod spec: yaml: {reason}") from error
    if not isinstance(spec, dict) or not spec.get("kind"):
        quoted = text.replace("\n", "\\n")
        raise etl_error(
            name, f"failed to parse pod spec: Object 'Kind' is missing in '{text}'\n\"{quoted}\""
        )
    if spec["kind"] != "Pod":
        raise etl_error(name, f"expected pod spec, got: {spec['kind']}")
    return _read_container(name, spec)


def _read_container(name: str, spec: dict[str, Any]) -> Pod:
    inner = spec.get("spec")
    containers = inner.get("containers") if isinstance(inner, dict) else None
    if not isinstance(containers, list) or len(containers) != 1:
        raise etl_error(name, "unsupported number of containers, expected: 1")
    container = containers[0] if isinstance(containers[0], dict) else {}
    ports = container.get("ports") or []
    if len(ports) != 1:
        raise etl_error(name, "unsupported number of ports, expected: 1")
    if ports[0].get("name") != "default":
        raise etl_error(name, f'expected port name: "default", got: "{ports[0].get("name")}"')
    probe = container.get("readinessProbe")
    if not isinstance(probe, dict):
        raise etl_error(name, "readinessProbe section is required in a container spec")
    path = (probe.get("httpGet") or {}).get("path")
    if not path:
        raise etl_error(name, "readinessProbe.httpGet.path is required in a container spec")
    words = [*(container.get("command") or []), *(container.get("args") or [])]
    env = {
        str(pair.get("name")): str(pair.get("value") or "")
        for pair in container.get("env") or []
        if isinstance(pair, dict)
    }
    port = ports[0].get("containerPort") or 0
    command = [str(word) for word in words] if container.get("command") else []
    annotations = (spec.get("metadata") or {}).get("annotations") or {}
    direct_put = str(annotations.get("support_direct_put")).lower() == "true"
    return Pod(command, env, int(port), "/" + str(path).lstrip("/"), direct_put)


def _no_images(name: str) -> AisError:
    return etl_error(
        name,
        "images cannot be run by this embedded store: give a command (with its arguments) that "
        "runs on this machine, or a Python class or function",
    )


def _read_old_spec(fields: dict[str, Any]) -> Definition:
    name = _text(fields, "id")
    if problem := name_problem(name, new=False):
        raise AisError(400, problem)
    communication = _text(fields, "communication") or "hpush://"
    kind = communication.removesuffix(SUFFIX)
    if kind not in OLD_KINDS or not communication.endswith(SUFFIX):
        raise etl_error(name, f'unknown communication type: "{communication}"')
    init_s = _seconds(fields, "timeout", DEFAULT_INIT_S)
    pod = read_pod(name, decode_base64(fields, "spec"))
    if not pod.command:
        raise _no_images(name)
    view = {
        "id": name,
        "communication": communication,
        "timeout": _text(fields, "timeout") or "0s",
        "spec": _text(fields, "spec"),
    }
    return Definition(name, "spec", kind, init_s, init_s, direct_put=False, view=view)


# ---- AIS 5.0 ------------------------------------------------------------------------------------


def _read_new(fields: dict[str, Any]) -> Definition:
    """Read a message of 5.0: with a runtime, else with a pod spec; a refusal tells of both."""
    name = _text(fields, "name")
    communication = _text(fields, "communication") or "hpush://"
    init_s = _seconds(fields, "init_timeout", DEFAULT_INIT_S)
    object_s = _seconds(fields, "obj_timeout", DEFAULT_OBJECT_S)
    runtime = fields.get("runtime")
    common: dict[str, Any] = {
        "name": name,
        "communication": communication,
        "init_timeout": show_duration(init_s),
        "obj_timeout": show_duration(object_s),
    }
    direct_put = bool(fields.get("support_direct_put"))
    if direct_put:
        common["support_direct_put"] = True
    first = _runtime_problem(fields, name, communication, runtime)
    kind = communication.removesuffix(SUFFIX)
    if not first:
        assert isinstance(runtime, dict)
        form = _runtime_form(name, runtime)
        view = {**common, "runtime": runtime, "resources": fields.get("resources") or {}}
        return Definition(name, form, kind, init_s, object_s, direct_put, view)
    try:
        pod = read_pod(name, decode_base64(fields, "spec"))
        second = _common_problem(fields, name, communication)
    except AisError as error:
        if error.tcode != "ErrETL":
            raise
        pod, second = Pod([], {}, 0, ""), error.message
    if second:
        raise AisError(
            400, f"invalid etl.InitMsg: ETLSpecMsg error: {first}; InitSpecMsg error: {second}"
        )
    if not pod.command:
        raise _no_images(name)
    direct_put = direct_put or pod.direct_put
    if direct_put:
        common["support_direct_put"] = True
    view = {"spec": _text(fields, "spec"), **common}
    return Definition(name, "spec", kind, init_s, object_s, direct_put, view)


def _common_problem(fields: dict[str, Any], name: str, communication: str) -> str:
    """Return what is wrong with the part that both forms share."""
    shown = [_text(fields, key) or "0s" for key in ("init_timeout", "obj_timeout")]
    message = f"[init-etl-spec[{name}-{communication}], env=[], timeout=({', '.join(shown)})]"
    if problem := name_problem(name, new=True):
        return f"{problem} {message}"
    kind = communication.removesuffix(SUFFIX)
    if kind not in NEW_KINDS or not communication.endswith(SUFFIX):
        return f'[etl="{name}"] unknown comm-type "{communication}" {message}'
    if kind == "ws" and not fields.get("support_direct_put"):
        return (
            "WebSocket without direct put is not supported yet. Ensure that the "
            "`metadata.annotations.support_direct_put` annotation is set to `true` and that your "
            "ETL server properly implements the direct put mechanism"
        )
    return ""


def _runtime_problem(fields: dict[str, Any], name: str, communication: str, runtime: object) -> str:
    if runtime is not None and not isinstance(runtime, dict):
        return "etl.ETLSpecMsg.Runtime: readObjectStart: expect { or n"
    problem = name_problem(name, new=True) and _common_problem(fields, name, communication)
    if problem:
        return problem
    if not runtime or not runtime.get("image"):
        return f'[etl="{name}"] runtime.image must be specified'
    return _common_problem(fields, name, communication)


def runtime_env(runtime: dict[str, Any]) -> dict[str, str]:
    """Return the variables of a runtime."""
    pairs = runtime.get("env") or []
    return {
        str(pair["name"]): str(pair.get("value") or "")
        for pair in pairs
        if isinstance(pair, dict) and pair.get("name")
    }


def _runtime_form(name: str, runtime: dict[str, Any]) -> str:
    env = runtime_env(runtime)
    if env.get("OS_PACKAGES"):
        raise etl_error(
            name, f"system packages are not installed by this store: {env['OS_PACKAGES']}"
        )
    if CLASS_PAYLOAD in env:
        return "class"
    command = runtime.get("command")
    if not isinstance(command, list) or not command:
        raise _no_images(name)
    return "command"
