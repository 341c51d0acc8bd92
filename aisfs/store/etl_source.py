"""A transformer from the text of a Python file, of which nothing runs here.

Serves `ais_work`. What is sent to the cluster is a function that runs the text where it is called.
"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from aisfs.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

NAME = "transform"


def transform_of(text: bytes, file: str) -> Callable[[bytes], bytes]:
    """Return a function that calls `transform` of a Python file.

    Args:
        text: the file's content; it has to define `transform(data)`, bytes to bytes.
        file: how it is named to people.

    Raises:
        Invalid: it is no Python, or defines no `transform`.
    """
    try:
        source = text.decode()
        tree = ast.parse(source, file)
        compile(tree, file, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise Invalid(f"{file} is no Python: {error}") from None
    if NAME not in _defined(tree):
        raise Invalid(f"{file} defines no function {NAME}(data)")
    name, namespace = NAME, dict[str, Any]()

    def transform(data: bytes) -> bytes:
        if not namespace:
            exec(compile(source, file, "exec"), namespace)  # noqa: S102 - this runs on the cluster
        result: bytes = namespace[name](data)
        return result

    # Functions of this module are written out by value only: the cluster has no aisfs.
    transform.__module__ = "__main__"
    return transform


def _defined(tree: ast.Module) -> set[str]:
    """Return the names that a module defines at its top."""
    names = set()
    for statement in tree.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.add(statement.name)
        elif isinstance(statement, ast.Assign):
            names |= {target.id for target in statement.targets if isinstance(target, ast.Name)}
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in statement.names}
    return names
