"""aisfs: NVIDIA AIStore mounted as a filesystem."""

__version__ = "0.1.0"
