"""What transformers can be started with."""

from __future__ import annotations

from typing import Final

DEFAULT_ETL_RUNTIME: Final = "python3.8v2"
DEFAULT_ETL_COMM: Final = "hpush"
DEFAULT_ETL_TIMEOUT: Final = "5m"
DEFAULT_ETL_OBJ_TIMEOUT: Final = "45s"

# How the cluster and a transformer talk: the object is sent to it, it fetches the object, it stands
# behind a reverse proxy, it runs once per object with pipes, or there is a web socket.
ETL_COMM_HPUSH: Final = "hpush"
ETL_COMM_HPULL: Final = "hpull"
ETL_COMM_HREV: Final = "hrev"
ETL_COMM_IO: Final = "io"
ETL_COMM_WS: Final = "ws"

ETL_COMM_SPEC: Final = [ETL_COMM_HPUSH, ETL_COMM_HREV, ETL_COMM_HPULL]
ETL_COMM_CODE: Final = [ETL_COMM_IO, ETL_COMM_HPUSH, ETL_COMM_HREV, ETL_COMM_HPULL]
ETL_COMM_IMAGE: Final = [ETL_COMM_HPUSH, ETL_COMM_HPULL, ETL_COMM_WS]

ETL_SUPPORTED_PYTHON_VERSIONS: Final = ["3.10", "3.11"]
"""Interpreters of the runtimes for code (2023)."""

ETL_STAGE_RUNNING: Final = "Running"
