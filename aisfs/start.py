"""Where the commands begin. Ctrl-C is quiet from here on, while the rest is still to be imported.

Python raises `KeyboardInterrupt` wherever it is, and prints its traceback if nobody catches it: for
the tenth of a second that the imports take, nobody could. Until a command calls
`aisfs.cli.catch_interrupts`, the signal ends the process, as it ends programs without a handler.
"""

import signal
from typing import NoReturn


def aisfs() -> NoReturn:
    """Run the command line `aisfs`."""
    _die_of_interrupts()
    from aisfs.cli import main  # noqa: PLC0415 - what this module is for

    main()


def mount_helper() -> NoReturn:
    """Run `mount.aisfs`, which mount(8) calls."""
    _die_of_interrupts()
    from aisfs.cli.mount_helper import main  # noqa: PLC0415 - what this module is for

    main()


def _die_of_interrupts() -> None:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else they are ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
