"""From a definition to a program: what is run, with which variables, on which port."""

import json
import os
import re
import secrets
import socket
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path

from aisfs.server.etl.definitions import (
    CLASS_PAYLOAD,
    Definition,
    decode_base64,
    read_pod,
    runtime_env,
)
from aisfs.server.etl.environments import Interpreter, find_interpreter, own_interpreter
from aisfs.server.etl.processes import Order, free_port, listen

CODE_RUNNER = Path(__file__).with_name("code_runner.py")
CLASS_RUNNER = Path(__file__).with_name("class_runner.py")
CONTAINER_PORT = 8000
"""The port on which AIS 5.0 calls containers that no pod spec describes."""

HEALTH = "/health"
_SDK_EXTRAS = (b"fastapi_server", b"flask_server")


@dataclass(slots=True)
class Plan:
    """A program to be.

    Attributes:
        argv: The program and its arguments.
        env: Its own variables.
        port: Where it will listen.
        probe: Path that answers 2xx or 3xx once it is ready.
        key: What its callers must show; empty for programs that know no such thing.
        requirements: Packages that it needs.
        interpreter: The Python that runs it, or the packages' one.
        sock: The socket that it inherits, if the store listens for it.
    """

    argv: list[str]
    env: dict[str, str]
    port: int
    probe: str
    key: str
    requirements: list[str]
    interpreter: Interpreter
    sock: socket.socket | None = None

    def order(self, directory: Path, packages: Path | None) -> Order:
        """Return the order for the launcher."""
        env = dict(self.env)
        if packages is not None:
            env["PYTHONPATH"] = str(packages)
        keep = (self.sock.fileno(),) if self.sock is not None else ()
        return Order(self.argv, env, directory, keep)

    def close(self) -> None:
        """Close the socket on this side; the program has its own descriptor."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def choose_interpreter(definition: Definition) -> Interpreter:
    """Return the Python for a definition: the one that its code was made by. Blocks.

    Raises:
        AisError: 400 when it is not on this machine.
    """
    if definition.form == "code":
        return find_interpreter(definition.view["runtime"])
    if definition.form == "class":
        tag = str(definition.view["runtime"]["image"]).rpartition(":")[2]
        if re.fullmatch(r"3\.\d{1,2}", tag):
            return find_interpreter(f"python{tag}")
    return own_interpreter()


def make_plan(
    definition: Definition, directory: Path, target_url: str, authority: Path | None = None
) -> Plan:
    """Return how to run a definition.

    Args:
        definition: What to run.
        directory: The transformer's own directory; code is written into it.
        target_url: Where the program finds objects.
        authority: Certificates to trust besides the machine's, for a store that speaks HTTPS.

    Raises:
        AisError: 400 when this machine cannot run it.
    """
    shared = {
        "AIS_TARGET_URL": target_url,
        "direct_put": "true" if definition.direct_put else "false",
        "HOSTNAME": definition.name,
    }
    if authority is not None:
        bundle = str(_write_bundle(directory, authority))
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AIS_CLIENT_CA")
        shared |= dict.fromkeys(names, bundle)
    if definition.form == "code":
        return _plan_code(definition, directory, shared)
    if definition.form == "class":
        return _plan_class(definition, directory, shared)
    return _plan_command(definition, shared)


def _write_bundle(directory: Path, authority: Path) -> Path:
    """Write the machine's certificates and the store's own into one file."""
    known = ssl.get_default_verify_paths().cafile
    texts = [Path(file).read_text() for file in (known, authority) if file]
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    bundle = directory / "authorities.pem"
    bundle.write_text("\n".join(texts))
    return bundle


def requirements(definition: Definition) -> list[str]:
    """Return the requirement lines of a definition's Python code."""
    lines = decode_base64(definition.view, "dependencies").decode("utf-8", "replace")
    return lines.splitlines()


def _plan_code(definition: Definition, directory: Path, shared: dict[str, str]) -> Plan:
    interpreter = choose_interpreter(definition)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    code = directory / "code.py"
    code.write_bytes(decode_base64(definition.view, "code"))
    command = [interpreter.path, "-u", str(code)] if definition.kind == "io" else None
    extra = {
        "CHUNK_SIZE": str(definition.view["chunk_size"] or ""),
        "ARG_TYPE": "url" if definition.view["transform_url"] else "",
        "FLAGS": str(definition.view["flags"] or ""),
        "FUNC_TRANSFORM": definition.view["Funcs"]["transform"],
        "AISFS_ETL_CODE": str(code),
    }
    return _plan_runner(definition, {**shared, **extra}, command, interpreter)


def _plan_runner(
    definition: Definition,
    env: dict[str, str],
    command: list[str] | None,
    interpreter: Interpreter,
) -> Plan:
    """Return the plan of the store's own runner, for a function or a command per object."""
    sock = listen()
    key = secrets.token_urlsafe(24)
    env = {
        **env,
        "MOD_NAME": "code",
        "COMM_TYPE": f"{definition.kind}://",
        "AISFS_ETL_KEY": key,
        "AISFS_ETL_FD": str(sock.fileno()),
        "AISFS_ETL_COMMAND": json.dumps(command),
    }
    env.setdefault("AISFS_ETL_CODE", "")
    port: int = sock.getsockname()[1]
    lines = requirements(definition) if definition.form == "code" else []
    argv = [interpreter.path, str(CODE_RUNNER)]
    return Plan(argv, env, port, HEALTH, key, lines, interpreter, sock)


def _plan_class(definition: Definition, directory: Path, shared: dict[str, str]) -> Plan:
    runtime = definition.view["runtime"]
    env = runtime_env(runtime)
    lines = [line for line in env.get("PACKAGES", "").split(",") if line.strip()]
    lines += _sdk_requirement(env[CLASS_PAYLOAD])
    port, interpreter = free_port(), choose_interpreter(definition)
    # In a file, as a variable holds 128 KiB at most.
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    payload = directory / "class.b64"
    payload.write_text(env.pop(CLASS_PAYLOAD))
    env = {**shared, **env, "PORT": str(port), "AISFS_ETL_CLASS": str(payload)}
    argv = [interpreter.path, str(CLASS_RUNNER)]
    return Plan(argv, env, port, HEALTH, "", lines, interpreter)


def _sdk_requirement(payload: str) -> list[str]:
    """Return what the image of the official SDK would have: its web frameworks."""
    data = decode_base64({"payload": payload}, "payload")
    if b"aistore.sdk" not in data:
        return []
    return ["aistore[etl]"] if any(name in data for name in _SDK_EXTRAS) else ["aistore"]


def _plan_command(definition: Definition, shared: dict[str, str]) -> Plan:
    if definition.form == "spec":
        pod = read_pod(definition.name, decode_base64(definition.view, "spec"))
        command, env, place, probe = pod.command, pod.env, pod.port or CONTAINER_PORT, pod.probe
    else:
        runtime = definition.view["runtime"]
        command, env = [str(word) for word in runtime["command"]], runtime_env(runtime)
        place, probe = CONTAINER_PORT, HEALTH
    shared = {**shared, "PATH": _path_with_own_python()}
    if definition.kind == "io":
        return _plan_runner(definition, {**shared, **env}, command, own_interpreter())
    port = free_port()
    argv = [_localized(word, place, port) for word in command]
    env = {name: str(port) if value == str(place) else value for name, value in env.items()}
    env = {**shared, **env, "PORT": str(port), "HOST": "127.0.0.1"}
    return Plan(argv, env, port, probe, "", [], own_interpreter())


def _localized(word: str, place: int, port: int) -> str:
    """Return a word of a command with the container's port and address replaced by the real ones.

    On one machine the port of a container may be taken, and every user could reach 0.0.0.0.
    """
    word = re.sub(rf"(?<![\d.]){place}(?![\d.])", str(port), word)
    return word.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 -- replaced, not used


def _path_with_own_python() -> str:
    """Return PATH with the store's own Python first, which is what `python` in a command means."""
    path = os.environ.get("PATH", os.defpath)
    return f"{Path(sys.executable).parent}{os.pathsep}{path}"
