"""What clusters tell of transformers."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

__all__ = ["ETLDetails", "ETLInfo", "ETLObjErr", "decode_details", "decode_infos", "decode_logs"]


class ETLInfo(msgspec.Struct):
    """One transformer of a list; the counters are those of one target.

    Attributes:
        id: its name.
        xaction_id: id of its job.
        obj_count: objects transformed on the way to readers.
        in_bytes: as AIS names it; clusters of 2023 count results here.
        out_bytes: as AIS names it; clusters of 2023 count sources here.
        stage: `Running`, `Initializing`, `Aborted`; clusters of 2023 list running ones only.
    """

    id: str
    xaction_id: str = ""
    obj_count: int = 0
    in_bytes: int = 0
    out_bytes: int = 0
    stage: str = "Running"


class ETLObjErr(msgspec.Struct):
    """An object that a transformer failed on."""

    obj_name: str = ""
    msg: str = ""
    ecode: int = 0


class ETLDetails(msgspec.Struct):
    """How a transformer was started. What its form does not have is empty.

    Attributes:
        id: its name.
        communication: how the cluster talks to it, such as `hpush://`.
        timeout: of its start, such as "5m".
        code: of a transformer made from Python code.
        spec: of one made from a pod's specification.
        dependencies: packages, one a line, in base64.
        runtime: image that runs the code; newer clusters tell image, command and environment.
        chunk_size: bytes per piece that the code gets, 0 for whole objects.
        argument: what the code gets instead of bytes: "", "url" or "fqn".
        obj_timeout: for one object.
        obj_errors: objects that it failed on.
        init_msg: all that a newer cluster tells.
    """

    id: str = ""
    communication: str = ""
    timeout: str = ""
    code: bytes = b""
    spec: bytes = b""
    dependencies: str = ""
    runtime: Any = ""
    chunk_size: int = 0
    argument: str = ""
    obj_timeout: str = ""
    obj_errors: list[ETLObjErr] = msgspec.field(default_factory=list)
    init_msg: dict[str, Any] = msgspec.field(default_factory=dict)


def decode_infos(data: bytes) -> list[ETLInfo]:
    """Return the transformers that a reply lists."""
    return msgspec.json.decode(data, type=list[ETLInfo] | None, strict=False) or []


def decode_details(data: bytes) -> ETLDetails:
    """Return what a reply tells of one transformer, in either release's form.

    Raises:
        ValueError: it is none.
    """
    whole = msgspec.json.decode(data, type=dict[str, Any])
    told = whole.get("init_msg") or whole
    return ETLDetails(
        id=told.get("name") or told.get("id", ""),
        communication=told.get("communication", ""),
        timeout=str(told.get("init_timeout") or told.get("timeout") or ""),
        code=base64.b64decode(told.get("code") or ""),
        spec=base64.b64decode(told.get("spec") or ""),
        dependencies=told.get("dependencies") or "",
        runtime=told.get("runtime") or "",
        chunk_size=int(told.get("chunk_size") or 0),
        argument=told.get("argument") or ("url" if told.get("transform_url") else ""),
        obj_timeout=str(told.get("obj_timeout") or ""),
        obj_errors=msgspec.convert(whole.get("obj_errors") or [], list[ETLObjErr]),
        init_msg=told if told is not whole else {},
    )


def decode_logs(data: bytes) -> dict[str, str]:
    """Return the text that a transformer wrote, by target."""
    found = msgspec.json.decode(data, type=list[dict[str, Any]] | None) or []
    return {
        str(one.get("target_id", "")): base64.b64decode(one.get("logs") or "").decode(
            "utf-8", "replace"
        )
        for one in found
    }
