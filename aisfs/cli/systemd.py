"""`aisfs systemd`: put the units that run mounts as services where systemd looks, or remove them.

The units lie in the package (`systemd/` of the source tree) with `/usr/bin/aisfs` as the program;
installing puts the one in that runs the command.
"""

from __future__ import annotations

from pathlib import Path

import click
import platformdirs

import aisfs
from aisfs.cli import Failure
from aisfs.cli.helper_link import install_helper, program, remove_helper

UNIT = "aisfs@.service"

_PLACEHOLDER = "/usr/bin/aisfs"
_SYSTEM = "etc/systemd/system"


@click.group()
def systemd() -> None:
    """Install the units that run mounts as services.

    Then 'systemctl enable --now aisfs@NAME' mounts what /etc/aisfs/NAME.toml says: source =
    "ais://BUCKET" and mountpoint = "/mnt/NAME" in its first lines, settings below.
    """


_user = click.option("--user", is_flag=True, help="for this user's own services")
_root = click.option("--root", metavar="DIR", default="/", help="where another system lies")


@systemd.command()
@_user
@_root
def install(user: bool, root: str) -> None:
    """Install the unit aisfs@.service, and for the system the link for mount(8)."""
    unit = _place(root, user=user)
    text = unit_text(user=user).replace(_PLACEHOLDER, _quoted(program("aisfs")))
    try:
        unit.parent.mkdir(parents=True, exist_ok=True)
        unit.write_text(text, "utf-8")
    except OSError as error:
        raise Failure(_refusal(unit, error, "written")) from None
    print(unit)
    for done in [] if user else install_helper(Path(root)):
        print(done)
    print(f"then: {_control(user=user)} daemon-reload && {_control(user=user)} start aisfs@NAME")


@systemd.command()
@_user
@_root
def uninstall(user: bool, root: str) -> None:
    """Remove what `install` installed."""
    unit = _place(root, user=user)
    try:
        unit.unlink()
    except FileNotFoundError:
        print(f"{unit} is not there")
    except OSError as error:
        raise Failure(_refusal(unit, error, "removed")) from None
    else:
        print(f"{unit} is removed; then: {_control(user=user)} daemon-reload")
    for done in [] if user else remove_helper(Path(root)):
        print(done)


def unit_text(*, user: bool) -> str:
    """Return the unit as it lies in the package."""
    return (units() / ("user" if user else "") / UNIT).read_text("utf-8")


def units() -> Path:
    """Return the directory of all units: in the package, or beside it in a source tree."""
    package = Path(aisfs.__file__).parent
    packed = package / "systemd"
    return packed if packed.is_dir() else package.parent / "systemd"


def _place(root: str, *, user: bool) -> Path:
    if user:
        home = platformdirs.user_config_path("systemd")
        return Path(root) / str(home / "user" / UNIT).lstrip("/")
    return Path(root) / _SYSTEM / UNIT


def _quoted(path: Path) -> str:
    """Return a path as it may stand in a unit."""
    text = str(path).replace("%", "%%")
    return f'"{text}"' if " " in text else text


def _control(*, user: bool) -> str:
    return "systemctl --user" if user else "systemctl"


def _refusal(unit: Path, error: OSError, what: str) -> str:
    return f"{unit} cannot be {what} ({error.strerror}): do it as root, or with --user"
