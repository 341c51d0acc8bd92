"""Run the command line: `python -m aisfs`."""

from aisfs.cli import main

main()
