"""Run the command line: `python -m aisfs`."""

from aisfs.start import aisfs

aisfs()
