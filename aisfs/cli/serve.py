"""`aisfs serve`: the embedded store's own command."""

from aisfs.server.command import serve

__all__ = ["serve"]
