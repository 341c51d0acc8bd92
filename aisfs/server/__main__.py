"""Run the store alone: `python -m aisfs.server`, with the options of `aisfs serve`."""

import argparse
import sys
from pathlib import Path

from aisfs.server.runner import Options, StartError, serve


def main() -> int:
    """Parse the options and serve; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m aisfs.server", description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--targets", type=int, default=3)
    parser.add_argument("--request-log", type=Path)
    parser.add_argument("--import", type=Path, dest="import_from")
    parser.add_argument("--faults", action="store_true")
    try:
        serve(Options(**vars(parser.parse_args())))
    except StartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
