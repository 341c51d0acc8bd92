"""All checks in their order, and which of them need which.

What cannot be looked at because something before it is broken is said to be not checked, so that
one cause gives one finding. A check that fails in an unforeseen way is a finding, too: whoever
asks what is wrong gets an answer, never a traceback.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import requests

from aisfs.cli.doctor import cluster, configuration, gateway, machine, mountpoint, uses
from aisfs.cli.doctor.findings import Case, Finding, State, broken, not_checked
from aisfs.errors import FsError
from aisfs.store.failures import told_as_fs_error
from aisfs_sdk import AISError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        needs: checks without which this one can tell nothing.
    """

    name: str
    look: Callable[[Case], Finding]
    needs: tuple[str, ...] = ()


CHECKS = (
    Check("kernel", machine.kernel),
    Check("fuse", machine.fuse),
    Check("apparmor", machine.apparmor),
    Check("config", configuration.settings),
    Check("environment", configuration.environment),
    Check("state-dir", machine.state_room, ("config",)),
    Check("cache-dir", machine.cache_room, ("config",)),
    Check("mount point", mountpoint.mount_point),
    Check("allow-other", mountpoint.allow_other, ("config",)),
    Check("endpoint", gateway.endpoint, ("config",)),
    Check("tls", gateway.tls, ("endpoint",)),
    Check("clock", gateway.clock, ("endpoint",)),
    Check("gateway", gateway.gateway, ("tls",)),
    Check("token", gateway.token, ("gateway",)),
    Check("cluster", cluster.release, ("token",)),
    Check("targets", cluster.targets, ("cluster",)),
    Check("bucket", uses.bucket, ("cluster",)),
    Check("listing", uses.listing, ("targets", "bucket")),
    Check("direct reads", uses.direct_reads, ("targets", "bucket")),
    Check("writes", uses.writes, ("targets", "bucket")),
    Check("transformers", uses.transformers, ("cluster",)),
    Check("cloud buckets", uses.cloud_buckets, ("cluster",)),
)


def examine(case: Case) -> Iterator[Finding]:
    """Do all checks, and yield what each found; never raises."""
    roots: dict[str, str] = {}  # what cannot be looked at, or is broken → what has to be mended
    for check in CHECKS:
        root = next((roots[need] for need in check.needs if need in roots), "")
        if root:
            finding = not_checked(check.name, f"first '{root}' has to be mended")
        else:
            finding = _look(check, case)
        if root or finding.state is State.BROKEN:
            roots[check.name] = root or check.name
        yield _discreet(finding, case)


def _look(check: Check, case: Case) -> Finding:
    try:
        return check.look(case)
    except (AISError, requests.RequestException, OSError) as error:
        return broken(check.name, "no-answer", _in_words(check, error), "see the cluster's logs")
    except Exception as error:  # noqa: BLE001 - a bug, too, must not keep the other checks from us
        words = f"this check itself failed ({type(error).__name__}: {error})"
        return broken(check.name, "bug", words, "please report it")


def _in_words(check: Check, error: Exception) -> str:
    try:
        with told_as_fs_error(f"looking at {check.name}"):
            raise error
    except FsError as told:
        return str(told)


_USER = re.compile(r"(?<=://)[^/@\s'\"]*@")
"""A user name and password in a URL, which no endpoint may have, but which may be given."""


def _discreet(finding: Finding, case: Case) -> Finding:
    """Return a finding without secrets: servers repeat what they were sent."""
    secrets = {case.store.token}
    if case.client is not None:
        secrets.add(case.client.request_client.token)

    def clean(text: str) -> str:
        for secret in filter(None, secrets):
            text = text.replace(secret, "(token)")
        return _USER.sub("", text)

    return replace(finding, words=clean(finding.words), remedy=clean(finding.remedy))
