"""Transformers at the gateway: define, list, look at, start, stop, delete.

AIS: `/v1/etl`. What runs or changes code needs the store's token; looking does not.
"""

import base64
from collections.abc import Callable
from typing import Any

from aiohttp import web

from aisfs.server.etl.definitions import name_problem, read_definition
from aisfs.server.etl.plans import choose_interpreter
from aisfs.server.etl.processes import usage
from aisfs.server.etl.registry import ABORTED, RUNNING, Etl
from aisfs.server.etl.storing import OBJECT_ROUTE, object_url, serve_object_route
from aisfs.server.etl.words import bad_path, missing, refuse_when_off
from aisfs.server.http.call import Call, decode_json, fold_keys
from aisfs.server.http.errors import AisError
from aisfs.server.http.replies import Reply, json_reply, text_reply
from aisfs_sdk import const


async def serve_etl(call: Call) -> web.StreamResponse:
    """Answer a request below `/v1/etl`."""
    refuse_when_off(call)
    parts = call.path.rstrip("/").split("/")[3:]
    if parts and parts[0] == OBJECT_ROUTE:
        return await serve_object_route(call)
    if call.node.role != "proxy":
        raise AisError(400, f"{{node}}: {call.method} {call.path} requires proxy mediation")
    if not parts:
        return await _serve_root(call)
    if problem := name_problem(parts[0], new=True):
        raise AisError(400, problem)
    if call.method == "GET":
        return _look(call, parts)
    call.store.trust.require_token(call)
    if call.method == "POST":
        return await _change(call, parts)
    if call.method == "DELETE" and len(parts) == 1:
        await call.store.etls.delete(_find(call, parts[0]), call.store.jobs)
        return Reply()
    raise bad_path(call)


async def _serve_root(call: Call) -> Reply:
    if call.method == "GET":
        return json_reply(_list(call))
    call.store.trust.require_token(call)
    if call.method != "PUT":
        raise bad_path(call)
    return await _init(call)


def _find(call: Call, name: str) -> Etl:
    etl = call.store.etls.find(name)
    if etl is None:
        raise missing(call, name)
    return etl


# ---- changes ------------------------------------------------------------------------------------


async def _init(call: Call) -> Reply:
    """Define a transformer and bring it up; the answer comes once it is ready.

    After a failed start the name stays taken, as Aborted, with 5.0; with 3.17 nothing stays.
    """
    rules = call.era.transformers
    fields = fold_keys(decode_json(await call.body(), "invalid etl.InitMsg: ETLSpecMsg error: "))
    if not isinstance(fields, dict):
        raise AisError(400, "invalid etl.InitMsg: ETLSpecMsg error: readObjectStart: expect {")
    definition = read_definition(fields, new=rules.newer_definitions)
    etls = call.store.etls
    if etls.find(definition.name) is not None:
        raise _taken(definition.name, new=rules.newer_words)
    await call.store.in_thread(choose_interpreter, definition)
    if etls.find(definition.name) is not None:
        raise _taken(definition.name, new=rules.newer_words)
    etl = etls.define(definition)
    try:
        await _start(call, etl)
    except BaseException:
        if not rules.keeps_failed:
            await etls.delete(etl, call.store.jobs)
        raise
    return text_reply(etl.job.id if etl.job else "")


def _taken(name: str, *, new: bool) -> AisError:
    text = f"etl job {name}" if new else f"etl[{name}]"
    return AisError(409 if new else 400, f"{{node}}: {text} already exists")


async def _start(call: Call, etl: Etl) -> None:
    label = call.store.targets[0].label
    try:
        await call.store.etls.start(etl, call.store.jobs, object_url(call, etl.name), label)
    except AisError as error:
        path = "/v1/txn/begin"
        raise AisError(
            error.status, error.message, error.tcode, at_target=True, url_path=path, method="POST"
        ) from error


async def _change(call: Call, parts: list[str]) -> Reply:
    if len(parts) == 1:
        raise AisError(400, f"URL '{call.path[1:]}' is too short: expected 4 items, got 3")
    if len(parts) > 2 or parts[1] not in {const.ACT_START, "stop"}:
        if not call.era.transformers.newer_words:
            raise bad_path(call)
        raise AisError(400, f'invalid action "invalid operation: {parts[1]}"')
    etl = _find(call, parts[0])
    if parts[1] == "stop":
        await call.store.etls.stop(etl, call.store.jobs)
        return Reply()
    if etl.stage != ABORTED:
        text = f"can't start ETL[{etl.name}] during {etl.stage} stage"
        raise AisError(400, f'invalid action "{text}"')
    await _start(call, etl)
    return text_reply(etl.job.id if etl.job else "")


# ---- questions ----------------------------------------------------------------------------------


def _list(call: Call) -> list[dict[str, Any]]:
    if call.era.transformers.lists_stopped:
        return [_info(etl) for etl in call.store.etls.all()]
    running = [etl for etl in call.store.etls.all() if etl.stage == RUNNING]
    return [_old_info(etl) for etl in running]


def _info(etl: Etl) -> dict[str, Any]:
    up = etl.stage == RUNNING and etl.job is not None
    return {
        "id": etl.name,
        "stage": etl.stage,
        "xaction_id": etl.job.id if up and etl.job else "",
        "obj_count": etl.objects if up else 0,
        "in_bytes": 0,
        "out_bytes": 0,
    }


def _old_info(etl: Etl) -> dict[str, Any]:
    """Return the entry of 3.17, whose two byte counts are named the wrong way round."""
    return {
        "id": etl.name,
        "xaction_id": etl.job.id if etl.job else "",
        "obj_count": 0,
        "in_bytes": etl.written,
        "out_bytes": etl.read,
    }


def _look(call: Call, parts: list[str]) -> Reply:
    name = parts[0]
    if len(parts) == 1:
        return _details(call, name)
    question = _QUESTIONS.get(parts[1])
    if question is None or len(parts) > (3 if parts[1] == "logs" else 2):
        raise bad_path(call)
    targets = [target.id for target in call.store.targets]
    if len(parts) == 3:
        if parts[2] not in targets:
            raise AisError(400, f'unknown target "{parts[2]}"')
        targets = [parts[2]]
    etl = call.store.etls.running(name)
    if etl is None:
        error = missing(call, name, at_target=True)
        if parts[1] == "logs" and not call.era.transformers.missing_logs_refused:
            error.status = 400
        raise error
    # One process serves all targets, so each of them says the same of it.
    answer = question(etl)
    return json_reply([{"target_id": target, **answer} for target in targets])


def _details(call: Call, name: str) -> Reply:
    etl = _find(call, name)
    if not call.era.transformers.shows_details:
        return json_reply(etl.definition.view)
    if etl.stage != RUNNING:
        raise missing(call, name, at_target=True, url_path=f"/v1/etl/{name}/details")
    if etl.definition.form == "code":
        view = etl.definition.view
    else:
        view = {"init_msg": etl.definition.view}
    job_id = call.query.text(const.QPARAM_UUID)
    errors = list(etl.job_errors.get(job_id, ()) if job_id else etl.errors)
    return json_reply({**view, "obj_errors": errors} if errors else view)


def _logs(etl: Etl) -> dict[str, Any]:
    data = etl.process.log() if etl.process is not None else b""
    return {"logs": base64.b64encode(data).decode()}


def _health(etl: Etl) -> dict[str, Any]:
    return {"health_status": etl.stage}


def _metrics(etl: Etl) -> dict[str, Any]:
    """Return CPU seconds used and bytes held by all processes of a transformer."""
    seconds, memory = usage(etl.process.pid) if etl.process is not None else (0.0, 0)
    return {"cpu": round(seconds, 3), "mem": memory}


_QUESTIONS: dict[str, Callable[[Etl], dict[str, Any]]] = {
    "logs": _logs,
    "health": _health,
    "metrics": _metrics,
}
