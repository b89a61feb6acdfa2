"""Work that outlives the call that began it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from .steps import survive


class Background:
    """Tasks in one group; none of them can end the daemon, and the end waits for them."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def create_task(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it to its end, on its own."""
        task = self._group.create_task(survive(coro, getattr(coro, "__qualname__", "work")))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, grace_s: float) -> None:
        """Wait for the tasks; cancel those that are still at it when the grace is over."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace_s)
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace_s)
