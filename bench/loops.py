"""Which event loop a measured program runs on, and a way to run any of ours on it.

Run as `python -m bench.loops asyncio|uvloop PROGRAM-ARGUMENTS…` it is the daemon on that loop.
"""

import asyncio
import importlib
import sys

LOOPS = ("asyncio", "uvloop")


def choose(name: str) -> None:
    """Make `asyncio.run` use this loop. Raises `ModuleNotFoundError` if it isn't installed."""
    if name == "uvloop":
        uvloop = importlib.import_module("uvloop")
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


if __name__ == "__main__":
    choose(sys.argv.pop(1))
    from qubeward.__main__ import main

    sys.exit(main())
