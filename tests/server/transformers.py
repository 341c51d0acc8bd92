"""Transformers for tests: init messages as clients of both eras send them, and their requests."""

import base64
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import cloudpickle

from tests.server import wire
from tests.support.store import StoreProcess
from tests.support.waiting import wait_until

SERVER = Path(__file__).with_name("transformer_server.py")
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}v2"
PINNED = f"cloudpickle=={cloudpickle.__version__}"
GONE_S = 10.0


def encoded(text: str) -> str:
    """Return text in base64."""
    return base64.b64encode(text.encode()).decode()


def module_text(function: Callable[..., Any], preimported: tuple[str, ...] = ()) -> str:
    """Return the module that the client of 2023 sends for a function."""
    cloudpickle.register_pickle_by_value(sys.modules[function.__module__])
    payload = base64.b64encode(cloudpickle.dumps(function)).decode()
    return (
        "import base64, importlib, pickle\n"
        f"for name in {list(preimported)!r}:\n    importlib.import_module(name)\n"
        f'transform = pickle.loads(base64.b64decode("{payload}"))\n'
    )


def code_message(name: str, code: str, **more: Any) -> dict[str, Any]:
    """Return the init message of Python code."""
    return {
        "id": name,
        "runtime": RUNTIME,
        "communication": "hpush://",
        "timeout": "20s",
        "funcs": {"transform": "transform"},
        "code": encoded(code),
        "dependencies": encoded(PINNED),
        **more,
    }


def command_message(name: str, *words: str, **more: Any) -> dict[str, Any]:
    """Return the init message of AIS 5.0 for the test server in another file."""
    command = ["python", str(SERVER), "--port", "8000", *words]
    return {
        "name": name,
        "communication": "hpush://",
        "init_timeout": "20s",
        "obj_timeout": "10s",
        "runtime": {"image": "local/transformer", "command": command},
        **more,
    }


def pod(command: list[str] | None, path: str = "/health") -> str:
    """Return a pod spec in base64."""
    words = f"      command: {json.dumps(command)}\n" if command else ""
    return encoded(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: test\nspec:\n  containers:\n"
        f"    - name: server\n      image: local/transformer\n{words}"
        "      ports:\n        - name: default\n          containerPort: 8000\n"
        "      readinessProbe:\n        httpGet:\n"
        f"          path: {path}\n          port: default\n"
    )


def bearer(store: StoreProcess) -> list[tuple[str, str]]:
    """Return the header that carries the store's token."""
    token = (store.data / "token").read_text().strip()
    return [("Authorization", f"Bearer {token}")]


def ask(store: StoreProcess, method: str, path: str, body: Any = None) -> wire.Answer:
    """Send a request with the token."""
    data = None if body is None else json.dumps(body).encode()
    return wire.follow(store.endpoint, method, path, bearer(store), data)


def init(store: StoreProcess, message: dict[str, Any]) -> str:
    """Bring a transformer up; returns its job id."""
    answer = ask(store, "PUT", "/v1/etl", message)
    assert answer.status == 200, answer
    return answer.body.decode()


def refused(store: StoreProcess, message: dict[str, Any]) -> tuple[int, str]:
    """Fail to bring a transformer up; returns status and message."""
    answer = ask(store, "PUT", "/v1/etl", message)
    assert answer.status >= 400, answer
    return answer.status, json.loads(answer.body)["message"]


def delete(store: StoreProcess, name: str) -> None:
    """Delete a transformer."""
    assert ask(store, "DELETE", f"/v1/etl/{name}").status == 200


def put(store: StoreProcess, path: str, data: bytes) -> None:
    """Store an object."""
    answer = wire.follow_by_markers(store.endpoint, "PUT", f"/v1/objects/{path}?provider=ais", data)
    assert answer.status == 200, answer


def get(store: StoreProcess, path: str, **query: str) -> wire.Answer:
    """Read an object; `etl_name` and so on go into the query."""
    return wire.follow(store.endpoint, "GET", f"/v1/objects/{path}?{urlencode(query)}")


def begin(store: StoreProcess, source: str, target: str, value: dict[str, Any]) -> str:
    """Start transforming a bucket; returns the job."""
    path = f"/v1/buckets/{source}?provider=ais&bck_to=ais%2F%40%23%2F{target}%2F"
    answer = ask(store, "POST", path, {"action": "etl-bck", "value": value})
    assert answer.status == 200, answer
    return answer.body.decode()


def transform(
    store: StoreProcess, source: str, target: str, value: dict[str, Any]
) -> dict[str, Any]:
    """Transform a bucket; returns the status at the end."""
    return wire.wait_for_job(store.endpoint, begin(store, source, target, value))


def transform_selected(store: StoreProcess, source: str, value: dict[str, Any]) -> dict[str, Any]:
    """Transform selected objects; returns the status at the end."""
    message = {"action": "etl-listrange", "value": value}
    answer = ask(store, "POST", f"/v1/buckets/{source}?provider=ais", message)
    assert answer.status == 200, answer
    return wire.wait_for_job(store.endpoint, answer.body.decode())


def family(pid: int) -> list[int]:
    """Return the descendants of a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        children = [child for child, of in parents.items() if of == parent]
        found += children
        waiting += children
    return found


def alive(pid: int) -> bool:
    """Tell whether a process exists and is more than a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] not in {"Z", "X"}


def listed(store: StoreProcess) -> list[dict[str, Any]]:
    """Return what the store tells of all its ETLs."""
    items: list[dict[str, Any]] = json.loads(ask(store, "GET", "/v1/etl").body)
    return items


def wait_until_aborted(store: StoreProcess, name: str) -> None:
    """Wait until the store has noticed that the process of an ETL ended."""

    def stage() -> Any:
        return next(item for item in listed(store) if item["id"] == name)["stage"]

    wait_until(lambda: stage() == "Aborted", f"{name} is aborted", told=stage)


def all_gone(pids: list[int]) -> bool:
    """Wait until none of the processes is left."""
    deadline = time.monotonic() + GONE_S
    while time.monotonic() < deadline:
        if not any(map(alive, pids)):
            return True
        time.sleep(0.02)
    return False
