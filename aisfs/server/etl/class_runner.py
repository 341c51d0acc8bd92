"""Serves a class of a user: a file of its own, run with the user's environment.

The class arrives pickled, in base64, in the file that AISFS_ETL_CLASS names, and brings its own
server: it is made without arguments, told host and port, and started. Nothing else is asked of it,
so the classes of any SDK will do that follow this.
"""

from __future__ import annotations

import base64
import os
import pickle
import sys
import traceback
from pathlib import Path

HOST = "127.0.0.1"


def main() -> None:
    """Make the server and run it."""
    # Not this file's folder, whose modules would hide others of the same names.
    sys.path[0] = str(Path.cwd())
    try:
        kind = pickle.loads(base64.b64decode(Path(os.environ["AISFS_ETL_CLASS"]).read_bytes()))
    except Exception as error:
        traceback.print_exc()
        python = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
        sys.exit(f"cannot load the class under {python}: {error!r}")
    server = kind()
    server.host, server.port = HOST, int(os.environ["PORT"])
    server.start()


if __name__ == "__main__":
    main()
