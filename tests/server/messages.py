"""Control messages to a store, and the jobs that they start."""

import json
from typing import Any

from tests.server import wire
from tests.support.store import StoreProcess


def send(
    store: StoreProcess, method: str, target: str, action: str, value: Any = None
) -> wire.Answer:
    """Send a control message."""
    message = json.dumps({"action": action, "value": value}).encode()
    return wire.follow(store.endpoint, method, target, [], message)


def run(
    store: StoreProcess, method: str, target: str, action: str, value: Any = None
) -> dict[str, Any]:
    """Start a job and return its status at its end."""
    answer = send(store, method, target, action, value)
    assert answer.status == 200, answer
    return wire.wait_for_job(store.endpoint, answer.body.decode())
