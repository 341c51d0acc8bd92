"""`aisfs mount`: check everything that can be checked, start the daemon, wait until it serves.

Serves users and mount(8). The daemon is a fresh process (never a fork: a copy would keep /dev/fuse
open) in the caller's process group, the only one that an automounter lets pass. It gets its
configuration through standard input, since arguments and environment can be read by others, and
reports on descriptor 3: "progress" while it sends what earlier mounts owe, then "ready", or "error"
and one line for the user. `--update-fstab` leaves all that to mount(8) (`mount_helper`).
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aisfs.cli import MOUNT_FAILURE, Failure, mounts, tell_remarks
from aisfs.cli.daemon import REPORT_FD
from aisfs.cli.fstab import FSTAB, line_of, update
from aisfs.cli.helper_link import HELPER, install_helper
from aisfs.config import Config, ConfigError
from aisfs.setting_table import SETTINGS
from aisfs.setting_values import Kind
from aisfs.settings import load, places_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

_TRIES_OF_A_REQUEST = 3
_END_LIMIT_S = 10.0


def setting_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command one option for each setting."""
    for setting in reversed(SETTINGS):
        if setting.flag and setting.kind is Kind.SWITCH:
            command = click.option(f"--{setting.flag}", is_flag=True, help=setting.help)(command)
        elif setting.flag:
            kind = setting.kind.name
            command = click.option(f"--{setting.flag}", metavar=kind, help=setting.help)(command)
    return command


def _install_helper(ctx: click.Context, option: click.Parameter, value: bool) -> None:  # noqa: ARG001 - click's
    if value:
        for text in install_helper(Path("/")):
            print(text)
        ctx.exit()


def given_flags(flags: Mapping[str, str | bool | None]) -> dict[str, str]:
    """Return the flags that were given, as texts."""
    return {name: "yes" if text is True else str(text) for name, text in flags.items() if text}


@click.command(
    context_settings={"token_normalize_func": lambda name: name.replace("_", "-")},
    epilog="SIZE is written 256MiB, 1G or 64k; DURATION 1s, 500ms or 2m; MODE in octal.",
)
@click.argument("paths", nargs=-1, metavar="[SOURCE] MOUNTPOINT")
@click.option("-f", "--foreground", is_flag=True, help="stay in front and log to standard error")
@click.option("-o", "options", multiple=True, metavar="LIST", help="options as in mount(8)")
@click.option(
    "--config", metavar="FILE", default="", help="a TOML file with settings, maybe with both names"
)
@click.option("--update-fstab", is_flag=True, help="mount nothing: write the line for fstab")
@click.option("--fstab", metavar="FILE", default=FSTAB, show_default=True, help="the file for it")
@click.option(
    "--install-helper",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_install_helper,
    help="let mount(8) and fstab know aisfs, and exit",
)
@setting_flags
def mount(
    paths: tuple[str, ...],
    foreground: bool,
    options: tuple[str, ...],
    config: str,
    update_fstab: bool,
    fstab: str,
    **flags: str | bool | None,
) -> None:
    """Mount SOURCE at the empty directory MOUNTPOINT.

    SOURCE is ais://BUCKET[/PREFIX] (also s3, gs, az, oc), the URL of a gateway for all its buckets,
    or nothing for all buckets of AIS_ENDPOINT. Returns once the mount answers.
    """
    if len(paths) > 2:
        raise click.UsageError("too many names: give [SOURCE] MOUNTPOINT")
    if "" in paths:  # not all buckets, which is a source left out
        raise click.UsageError("a name is empty: is a variable of the shell unset?")
    loaded = configuration(paths, options, given_flags(flags), config)
    if update_fstab:
        _update_fstab(loaded, options, Path(fstab))
        return
    if problem := problem_of(loaded):
        raise Failure(problem, MOUNT_FAILURE)
    if foreground:
        _become_daemon(loaded)
    tell_remarks(loaded.remarks)
    problem = start_daemon(loaded)
    if problem:
        raise Failure(problem, MOUNT_FAILURE)


def configuration(
    names: Sequence[str], options: Sequence[str], flags: Mapping[str, str], file: str
) -> Config:
    """Return what is to be mounted and how.

    Args:
        names: [SOURCE] MOUNTPOINT; what is missing is looked up in the TOML file.
        options: texts of -o.
        flags: flat name → text.
        file: the TOML file; "" for the usual one.

    Raises:
        Failure: something of it cannot be used.
    """
    path = names[-1] if names else ""
    try:
        source, place = places_of(file, options) if len(names) < 2 else (names[0], "")
        path = path or place
        if not path:
            raise click.UsageError("where? Give [SOURCE] MOUNTPOINT, or --config FILE that has it")
        return load(source, mounts.resolve(path), options=options, flags=flags, file=file)
    except ConfigError as error:
        raise Failure(str(error), MOUNT_FAILURE) from None
    except (OSError, RuntimeError) as error:
        raise Failure(f"mount point {path}: {error}", MOUNT_FAILURE) from None


def _update_fstab(config: Config, options: Sequence[str], file: Path) -> None:
    line = line_of(config, options)
    changed = update(file, config.mountpoint, line)
    print(f"{file} {'has now' if changed else 'already has'} the line\n{line}")
    if not Path(HELPER).exists():
        print("mount(8) does not know aisfs yet: 'aisfs mount --install-helper' as root")
    print(f"'mount {config.mountpoint}' mounts it; with systemd, 'systemctl daemon-reload' first")


def problem_of(config: Config) -> str:
    """Return in one line what keeps the mount from being made, with what to do, or ""."""
    return next(iter(_problems(config)), "")


def _problems(config: Config) -> Iterable[str]:
    """Yield what keeps the mount from being made, with what to do, most basic first."""
    path = config.mountpoint
    there = mounts.mounted_at(path)
    if there is not None and not mounts.is_stale(mounts.probe(path)):
        yield f"{path} already shows {there.source}: 'aisfs umount {path}' first, or take another"
    elif there is not None:
        yield (
            f"{path} is a stale mount, its daemon has died: "
            f"'fusermount3 -uz {path}' first, then mount again"
        )
    elif problem := mounts.directory_problem(path, nonempty=config.mount.nonempty):
        yield str(problem)
    if problem := mounts.fuse_problem():
        yield str(problem)
    if config.mount.allow_other and (problem := mounts.others_problem()):
        yield str(problem)


def _daemon_command(config: Config, *words: str) -> list[str]:
    """Return the daemon's arguments; -P keeps a folder `aisfs` in the user's own out of the way."""
    names = (str(config.source), os.fspath(config.mountpoint))
    return [sys.executable, "-P", *mounts.DAEMON_WORDS, *words, *names]


def _daemon_environment() -> dict[str, str]:
    """Return our environment without tokens: they go with the rest of the configuration."""
    tokens = [each for each in SETTINGS if each.kind is Kind.TOKEN]
    secret = {name for each in tokens for name in (each.variable, each.own_variable)}
    return {name: value for name, value in os.environ.items() if name not in secret}


def _configuration_file(config: Config) -> int:
    """Return a descriptor that reads the configuration, without a name in any file system."""
    descriptor = os.memfd_create("aisfs-config")
    os.write(descriptor, config.to_json())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _become_daemon(config: Config) -> None:
    """Turn this process into the daemon, in front."""
    os.dup2(_configuration_file(config), 0)
    sys.stdout.flush()
    command = _daemon_command(config, "--front")
    os.execve(sys.executable, command, _daemon_environment())  # noqa: S606 - our own program


def start_daemon(config: Config) -> str:
    """Start the daemon and wait until its mount answers.

    Returns:
        "" when it does. Else one line that says why not; then no daemon and no mount are left.

    Raises:
        KeyboardInterrupt: the user gave up; then, too, nothing is left.
    """
    try:
        config.log_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        log = os.open(config.log_file, flags, 0o600)
    except OSError as error:
        return f"cannot write the log {config.log_file} ({error.strerror}): give log-file=FILE"
    settings = _configuration_file(config)
    reader, writer = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        _daemon_command(config),
        _daemon_environment(),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, settings, 0),
            (os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0),
            (os.POSIX_SPAWN_DUP2, log, 2),
            (os.POSIX_SPAWN_DUP2, writer, REPORT_FD),
        ],
    )
    for descriptor in (settings, log, writer):
        os.close(descriptor)
    answer, code = "", 0
    try:
        answer = _read_report(reader, _report_limit_s(config))
    finally:
        os.close(reader)
        if answer != "ready":
            code = _end(pid)
            _take_down_leftover(config.mountpoint)
    if answer == "ready":
        return ""
    if answer.startswith("error "):
        return answer.removeprefix("error ")
    how = f"ended with {code}" if answer == "" else "did not answer in time"
    return f"the daemon {how} before the mount was up: see {config.log_file}"


def _report_limit_s(config: Config) -> float:
    """Longer than the daemon's own limits, so that its words reach the user and not ours."""
    each = config.store.connect_timeout_s + config.store.first_byte_timeout_s
    return 30 + _TRIES_OF_A_REQUEST * each


def _read_report(reader: int, limit_s: float) -> str:
    """Return the last line of a report, and show the others on standard error.

    Returns:
        "" when the writer has gone, "late" when nothing more came in time.
    """
    deadline = time.monotonic() + limit_s
    report, shown = b"", b""
    while True:
        line, ended, rest = report.partition(b"\n")
        if ended and not line.startswith(b"progress "):
            return line.decode("utf-8", "replace").strip()
        if ended:
            report, deadline = rest, time.monotonic() + limit_s
            if line != shown:
                shown = line
                text = line.removeprefix(b"progress ").decode("utf-8", "replace")
                print("aisfs:", text, file=sys.stderr, flush=True)
            continue
        if not select.select([reader], [], [], max(0, deadline - time.monotonic()))[0]:
            return "late"
        part = os.read(reader, 4096)
        if not part:
            return report.decode("utf-8", "replace").strip()
        report += part


def _end(pid: int) -> int:
    """End a child that is of no more use and return its exit code."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if mounts.wait_for_exit(pid, 0):
            break
        os.kill(pid, number)
        mounts.wait_for_exit(pid, _END_LIMIT_S)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _take_down_leftover(path: Path) -> None:
    if mounts.mounted_at(path):
        mounts.unmount(path, lazy=True)
