"""Work that outlives the call that began it."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from .steps import survive

log = logging.getLogger(__name__)


class Background:
    """Tasks in one group; none of them can end the daemon, and the end waits for them."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()
        self._chores: set[asyncio.Task[None]] = set()

    def create_task(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it to its end, on its own."""
        return self._run(coro, self._tasks)

    def create_chore(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run what is worth nothing once the daemon stops: the end doesn't wait for it."""
        return self._run(coro, self._chores)

    def _run(
        self, coro: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]
    ) -> asyncio.Task[None]:
        task = self._group.create_task(survive(coro, getattr(coro, "__qualname__", "work")))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(lambda _: coro.close())  # cancelled, it may never have begun
        return task

    async def drain(self, grace_s: float) -> None:
        """Wait for the tasks; cancel those that are still at it when the grace is over."""
        for chore in tuple(self._chores):
            chore.cancel()
        try:
            async with asyncio.timeout(grace_s):
                while self._tasks:  # one may begin another
                    await asyncio.wait(tuple(self._tasks))
        except TimeoutError:
            log.warning("%d operations were not over in time", len(self._tasks))
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace_s)
