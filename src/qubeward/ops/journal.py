"""Durable notes of what is under way, in the store beside the state."""

import asyncio
import logging
from typing import Any, Protocol
from uuid import uuid4

from ..errors import StoreError
from ..model.change import Change
from ..model.system import System

log = logging.getLogger(__name__)


class Stored(Protocol):
    """Who knows when a change is on disk (the store's ledger)."""

    def when_stored(self, sequence: int, waiter: Any) -> None:
        """Call `waiter(error or None)` once all up to the sequence is stored or undone."""


class Journal:
    """Entries of plans that have begun and not ended."""

    def __init__(self, system: System, ledger: Stored) -> None:
        self.system = system
        self._ledger = ledger

    async def stored(self) -> None:
        """Wait until all that was changed so far is on disk; raise `StoreError` if it can't be."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def waiter(error: StoreError | None) -> None:
            if done.done():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self._ledger.when_stored(self.system.sequence, waiter)
        await done

    async def begin(self, plan: str, about: dict[str, object]) -> str:
        """Note, durably, that a plan begins; return the entry's id."""
        entry = str(uuid4())
        with self.system.change() as change:
            change.write("journal", (entry,), (plan, about))
        await self.stored()
        return entry

    def end(self, change: Change, entry: str) -> None:
        """End the entry as part of a change."""
        change.write("journal", (entry,), None)

    async def close(self, entry: str) -> None:
        """End the entry of a plan that was undone. If that can't be stored, recovery undoes."""
        try:
            with self.system.change() as change:
                self.end(change, entry)
            await self.stored()
        except StoreError:
            log.warning("journal entry %s stays until the next start", entry)
