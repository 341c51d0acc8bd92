"""The settings: whether they can be read, where they come from, what the environment adds."""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from aisfs.cli import mounts
from aisfs.cli.doctor.findings import Case, Finding, broken, ok, warning, within
from aisfs.config import ConfigError
from aisfs.setting_table import SETTINGS
from aisfs.setting_values import Kind
from aisfs.settings import load
from aisfs_sdk import const

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLIENTS_ONLY = {
    const.AIS_CONNECT_TIMEOUT,
    const.AIS_READ_TIMEOUT,
    const.AIS_MAX_CONN_POOL,
}
"""Variables of AIS's clients for which a mount has settings of its own."""

_CONTROL_FILE_S = 3.0


def settings(case: Case) -> Finding:
    """Read the settings as a mount would; those of a mount that runs are its own."""
    source = case.source
    if not source and case.there is not None:
        source = case.there.source if case.there.source != "ais://" else ""
    taken = "" if case.source else ",".join(_of_mount(case))
    try:
        case.config = load(
            source,
            case.mountpoint or Path("/"),
            options=[each for each in (taken, *case.options) if each],
            file=case.file,
        )
    except ConfigError as error:
        remedy = "mend what it names: 'aisfs mount --help' lists the settings and their ranges"
        return broken("config", "config", str(error), remedy)
    origins = sorted(set(case.config.origins.values()))
    where = f"settings come from {', '.join(origins)}" if origins else "all settings are defaults"
    if taken:
        where += f", some as {case.mountpoint} has them"
    elif case.there is not None and not case.source:
        where += f"; {case.mountpoint} does not tell those of its own: give them by -o"
    return ok("config", where, endpoint=case.config.store.endpoint, source=str(case.what))


def _of_mount(case: Case) -> Iterator[str]:
    """Yield words for -o by which a mount that runs reaches its cluster."""
    if case.there is None or mounts.probe(case.there.path) != 0:
        return
    file = case.there.path / ".aisfs" / "config.json"
    try:
        told = json.loads(within(_CONTROL_FILE_S, file.read_bytes))
    except (OSError, ValueError, TimeoutError):
        return
    for setting in SETTINGS:
        entry = told.get(setting.name, {})
        own = entry.get("origin") != "SOURCE"  # else it is in the mount's name already
        if setting.section == "store" and setting.flag and own and entry.get("value"):
            value = str(entry["value"]).replace("\\", "\\\\").replace(",", "\\,")
            yield f"{setting.flag}={value}"


def environment(case: Case) -> Finding:
    """Tell which variables have a say, and which look as if they should."""
    names = sorted(name for name in os.environ if name.startswith(("AIS_", "AISFS_")))
    texts = list(filter(None, (_in_words(name, case) for name in names)))
    known = {each.variable for each in SETTINGS if each.variable} | _CLIENTS_ONLY
    for name in names:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if name.startswith("AIS_") and name not in known | {const.AIS_SERVER_CRT} and near:
            words = f"{name} is no variable of aisfs and has no effect"
            return warning("environment", "unknown-variable", words, f"is {near[0]} meant?")
    proxies = [each for each in ("http_proxy", "https_proxy", "all_proxy") if _is_set(each)]
    if proxies:
        texts.append(f"{', '.join(proxies)}: not used, aisfs speaks to the cluster directly")
    return ok("environment", "; ".join(texts) or "no AIS_* or AISFS_* variable is set", set=names)


def _is_set(name: str) -> bool:
    return bool(os.environ.get(name) or os.environ.get(name.upper()))


def _in_words(name: str, case: Case) -> str:
    """Return what a variable says, and whether something goes before it; "" if it is not ours."""
    setting = next((each for each in SETTINGS if name in {each.variable, each.own_variable}), None)
    if setting is None:
        if name in _CLIENTS_ONLY:
            return f"{name}: not used, a mount has settings of its own for it"
        return ""
    value = "(hidden)" if setting.kind is Kind.TOKEN else os.environ[name]
    origin = case.config.origins.get(setting.name, "") if case.config else ""
    over = f" (but {origin} goes before it)" if origin and origin != name else ""
    return f"{name}={value}{over}"
