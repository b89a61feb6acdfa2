"""Blocking work, off the event loop, in pools of bounded size."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Threads:
    """A bounded pool of threads with a name that debuggers show."""

    def __init__(self, name: str, size: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the call in a thread and return its result. A cancelled wait doesn't stop it."""
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, lambda: work(*args, **kwargs))
        return await asyncio.shield(future)

    def close(self) -> None:
        """Take no more work; what runs goes on in the background."""
        self._executor.shutdown(wait=False, cancel_futures=True)
