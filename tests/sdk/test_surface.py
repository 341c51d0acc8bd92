"""The documented interface is there, under its names, with its arguments and defaults."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aisfs_sdk import etl_messages

LINES = [
    line
    for line in (Path(__file__).parent / "surface.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
CALLS = [line for line in LINES if "(" in line]
PROPERTIES = [line.split()[0] for line in LINES if line.endswith(" property")]
FIELDS = [line.split()[1:] for line in LINES if line.startswith("fields ")]
NAMES = [
    f"{line.split()[0]}:{name}"
    for line in LINES
    if "(" not in line and not line.endswith(" property") and not line.startswith("fields ")
    for name in line.split()[1:]
]


def found(path: str) -> Any:
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing: Any = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for name in parts[cut:]:
            thing = inspect.getattr_static(thing, name)
        return thing
    raise AssertionError(path)


@pytest.mark.parametrize("line", NAMES)
def test_names_can_be_imported_from_their_modules(line: str) -> None:
    module, name = line.split(":")
    assert getattr(importlib.import_module(module), name) is not None


@pytest.mark.parametrize("path", PROPERTIES)
def test_attributes_are_properties_with_a_text(path: str) -> None:
    thing = found(path)
    assert isinstance(thing, property)
    assert thing.__doc__


@pytest.mark.parametrize("line", FIELDS, ids=lambda line: str(line[0]))
def test_models_have_their_fields(line: list[str]) -> None:
    model = found(line[0])
    known = set(model.__struct_fields__) | {name for name in dir(model) if name[0] != "_"}
    assert set(line[1:]) <= known


@pytest.mark.parametrize("line", CALLS)
def test_calls_take_the_documented_arguments(line: str) -> None:
    path, _, rest = line.partition("(")
    rest = rest.replace("RUNTIME", repr(etl_messages.default_runtime()))
    documented = ast.parse(f"def f({rest}: pass", mode="exec").body[0]
    assert isinstance(documented, ast.FunctionDef)
    names = [argument.arg for argument in documented.args.args]
    defaults = [ast.literal_eval(node) for node in documented.args.defaults]
    thing = found(path)
    ours = list(inspect.signature(thing).parameters.values())
    if not inspect.isclass(thing):
        ours = ours[1:]
    assert [parameter.name for parameter in ours[: len(names)]] == names
    required = len(names) - len(defaults)
    assert [parameter.default for parameter in ours[required : len(names)]] == defaults
    for parameter in ours[:required]:
        # What is required may have a default here only where nothing is lost by it.
        assert parameter.default is parameter.empty or path.endswith("get_full_url")
    for parameter in ours[len(names) :]:
        assert parameter.default is not parameter.empty or parameter.kind is parameter.VAR_KEYWORD
    function = thing.__init__ if inspect.isclass(thing) else thing
    assert thing.__doc__ or function.__doc__ or path.endswith("__")


def test_light_modules_load_nothing_else() -> None:
    code = (
        "import sys, aisfs_sdk.smap, aisfs_sdk.const; "
        "print([name for name in ('requests', 'urllib3', 'aisfs_sdk.client') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_public_names_are_listed_and_others_are_refused() -> None:
    import aisfs_sdk  # noqa: PLC0415 - the subject

    assert set(aisfs_sdk.__all__) <= set(dir(aisfs_sdk))
    for name in aisfs_sdk.__all__:
        assert getattr(aisfs_sdk, name).__name__ == name
    with pytest.raises(AttributeError):
        _ = aisfs_sdk.nothing
