"""Run the store alone: `python -m aisfs.server`, with the options of `aisfs serve`."""

from aisfs.server.command import serve

if __name__ == "__main__":
    serve(prog_name="python -m aisfs.server")
