"""Specifications of pods with well-known transformers, to be filled in and given to `init_spec`.

    MD5.format(communication_type="hpush://")

Values that are not given are left empty. Each is one pod with one container, whose port is named
`default` and which tells at `/health` that it is ready, as AIS asks for.
"""

from __future__ import annotations

import string
from typing import Any

__all__ = [
    "COMPRESS",
    "ECHO",
    "FACE_DETECTION_TRANSFORMER",
    "FFMPEG",
    "GO_ECHO",
    "GO_HELLO_WORLD",
    "HELLO_WORLD",
    "KERAS_TRANSFORMER",
    "MD5",
    "TAR2TF",
    "TORCHVISION_TRANSFORMER",
]


class _Values(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "hpush://" if key == "communication_type" else ""


class _Template(str):
    """A text with places to fill in."""

    __slots__ = ()

    def format(self, *args: object, **kwargs: object) -> str:
        """Return the text with its places filled in; those not named become empty."""
        return string.Formatter().vformat(self, args, _Values(kwargs))


def _pod(name: str, command: str = "", environment: tuple[str, ...] = ()) -> _Template:
    """Return the template of a pod.

    Args:
        name: of the transformer, which its image bears as well.
        command: list of words in YAML's flow form, "" for the image's own.
        environment: names of variables whose values are places of the template.
    """
    lines = [
        "apiVersion: v1",
        "kind: Pod",
        "metadata:",
        f"  name: transformer-{name}",
        "  annotations:",
        '    communication_type: "{communication_type}"',
        "    wait_timeout: 5m",
        "spec:",
        "  containers:",
        "    - name: server",
        f"      image: aistorage/transformer_{name.replace('-', '_')}:latest",
        "      imagePullPolicy: IfNotPresent",
        "      ports:",
        "        - name: default",
        "          containerPort: 8000",
    ]
    if command:
        lines.append(f"      command: {command}")
    if environment:
        lines.append("      env:")
    for variable in environment:
        place = {"TRANSFORM": "transform", "OPTIONS": "ffmpeg_options"}.get(
            variable, variable.lower()
        )
        lines += [f"        - name: {variable}", f"          value: '{{{place}}}'"]
    lines += [
        "      readinessProbe:",
        "        httpGet:",
        "          path: /health",
        "          port: default",
        "",
    ]
    return _Template("\n".join(lines))


_PYTHON = '["python3", "/code/server.py", "--listen", "0.0.0.0", "--port", "8000"'

MD5 = _pod("md5")
"""The MD5 of the object, as text."""
HELLO_WORLD = _pod("hello-world")
"""A greeting instead of every object."""
GO_HELLO_WORLD = _pod("hello-world-go")
"""The same from a program in Go."""
ECHO = _pod("echo")
"""The object as it is."""
GO_ECHO = _pod("echo-go")
"""The same from a program in Go."""
TAR2TF = _pod("tar2tf", '["./server", "-l", "0.0.0.0", "-p", "8000", "{arg}", "{val}"]')
"""A TFRecord of a TAR; `arg` and `val` are further arguments of its server."""
COMPRESS = _pod("compress", f'{_PYTHON}, "{{arg1}}", "{{val1}}", "{{arg2}}", "{{val2}}"]')
"""The object compressed, or decompressed; `arg1` to `val2` are arguments of its server."""
KERAS_TRANSFORMER = _pod("keras", "", ("FORMAT", "TRANSFORM"))
"""An image after the Keras operations of `transform` (JSON), stored as `format`."""
FFMPEG = _pod("ffmpeg", "", ("FORMAT", "OPTIONS"))
"""Audio or video converted to `format`, with `ffmpeg_options` (JSON)."""
TORCHVISION_TRANSFORMER = _pod("torchvision", "", ("FORMAT", "TRANSFORM"))
"""An image after the Torchvision operations of `transform` (JSON), stored as `format`."""
FACE_DETECTION_TRANSFORMER = _pod("face-detection", "", ("FORMAT",))
"""An image in which faces are marked, stored as `format`."""
