"""The same fixtures as for the mount tests: these are mounts, too."""

from tests.mount.conftest import bucket, endpoint, mount

__all__ = ["bucket", "endpoint", "mount"]
