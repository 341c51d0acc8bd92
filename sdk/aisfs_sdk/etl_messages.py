"""How transformers are described to a cluster: by a pod, by an image, or by Python code."""

from __future__ import annotations

import base64
import contextlib
import sys
from typing import TYPE_CHECKING, Any

import cloudpickle

from aisfs_sdk import etl_const, etl_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import ModuleType

_CODE = """\
import base64
import importlib
import pickle

for name in {modules!r}:
    importlib.import_module(name)
transform = pickle.loads(base64.b64decode("{payload}"))
"""


def default_runtime() -> str:
    """Return the runtime of 2023 that has our interpreter, else the oldest."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if version in etl_const.ETL_SUPPORTED_PYTHON_VERSIONS:
        return f"python{version}v2"
    return etl_const.DEFAULT_ETL_RUNTIME


def check_communication(communication_type: str, known: Sequence[str]) -> str:
    """Return a way of communication as messages have it, `hpush://`.

    Raises:
        ValueError: it is not one of those known.
    """
    name = communication_type.removesuffix("://")
    if name not in known:
        msg = f"communication_type is one of {', '.join(known)}, not {communication_type!r}"
        raise ValueError(msg)
    return f"{name}://"


def encoded(text: str | bytes) -> str:
    """Return text or bytes in base64."""
    data = text.encode() if isinstance(text, str) else text
    return base64.b64encode(data).decode("ascii")


def code_text(transform: Callable[..., Any], modules: Sequence[str] | None, *, runs: bool) -> str:
    """Return a module that binds `transform`.

    Args:
        transform: what is to be bound.
        modules: to import before it is.
        runs: the module is a script that calls it.
    """
    text = _CODE.format(modules=list(modules or ()), payload=encoded(pickled(transform)))
    return f"{text}transform()\n" if runs else text


def requirements(dependencies: Sequence[str] | None) -> list[str]:
    """Return what has to be installed for code: what it needs, and what unpickles it."""
    return [*(dependencies or ()), f"cloudpickle=={cloudpickle.__version__}"]


def class_runtime(
    server: type[etl_server.ETLServer],
    dependencies: Sequence[str] | None,
    modules: Sequence[str] | None = None,
    function: Callable[..., Any] | None = None,
) -> tuple[str, dict[str, str]]:
    """Return image and environment that run a server class; the image's own command starts it.

    Args:
        server: the class.
        dependencies: packages that it needs.
        modules: to import before it is unpickled.
        function: that the class is made around, if it is.
    """
    with _by_value(etl_server), _by_value(_module_of(function)):
        shipped = etl_server.Shipped(pickled(server), tuple(modules or ()))
        payload = encoded(cloudpickle.dumps(shipped))
    image = f"aistorage/runtime_python:{sys.version_info[0]}.{sys.version_info[1]}"
    environment = {"ETL_CLASS_PAYLOAD": payload}
    if dependencies:
        environment["PACKAGES"] = ",".join(dependencies)
    return image, environment


def pickled(thing: Any) -> bytes:
    """Return a function or class as bytes that need no module of the caller's."""
    with _by_value(_module_of(thing)):
        data: bytes = cloudpickle.dumps(thing)
    return data


def _module_of(thing: Any) -> ModuleType | None:
    return sys.modules.get(getattr(thing, "__module__", None) or "")


@contextlib.contextmanager
def _by_value(module: ModuleType | None) -> Iterator[None]:
    """Let things of a module be written out, where it is the caller's own, not a package's."""
    file = getattr(module, "__file__", None) or ""
    ours = module is etl_server
    own = ours or (
        module is not None
        and file
        and not any(
            part in file
            for part in ("site-packages", "dist-packages", sys.base_prefix + "/lib/python")
        )
    )
    if not own or module is None or module.__name__ in cloudpickle.list_registry_pickle_by_value():
        yield
        return
    cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        cloudpickle.unregister_pickle_by_value(module)
