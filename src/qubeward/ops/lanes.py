"""One plan at a time for each qube; others wait. Kill goes past, and makes the holder fail."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from ..errors import QubeError


@dataclass(slots=True)
class _Lane:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    holder: str = ""
    users: int = 0
    interrupted: bool = False


class Hold:
    """A lane that is held: ask it between steps whether to go on."""

    def __init__(self, lane: _Lane, name: str) -> None:
        self._lane = lane
        self._name = name

    def check(self) -> None:
        """Raise `QubeError` if the qube was killed meanwhile."""
        if self._lane.interrupted:
            raise QubeError(self._name, "killed meanwhile")


class Lanes:
    """The lanes of all qubes, by uuid."""

    def __init__(self) -> None:
        self._lanes: dict[UUID, _Lane] = {}

    @asynccontextmanager
    async def hold(self, uuid: UUID, name: str, reason: str) -> AsyncIterator[Hold]:
        """Wait for the qube's lane and hold it. `reason` is what others see they wait for."""
        lane = self._lanes.setdefault(uuid, _Lane())
        lane.users += 1
        try:
            async with lane.lock:
                lane.holder, lane.interrupted = reason, False
                try:
                    yield Hold(lane, name)
                finally:
                    lane.holder = ""
        finally:
            lane.users -= 1
            if not lane.users:
                self._lanes.pop(uuid, None)

    @asynccontextmanager
    async def hold_all(self, uuids: Iterable[UUID], reason: str) -> AsyncIterator[None]:
        """Hold several lanes, taken in the order of uuids so that no two callers deadlock."""
        async with AsyncExitStack() as stack:
            for uuid in sorted(set(uuids)):
                await stack.enter_async_context(self.hold(uuid, str(uuid), reason))
            yield

    def holder(self, uuid: UUID) -> str:
        """Return what the lane is held for, or the empty string."""
        lane = self._lanes.get(uuid)
        return lane.holder if lane else ""

    def interrupt(self, uuid: UUID) -> None:
        """Make the holder fail at its next step."""
        lane = self._lanes.get(uuid)
        if lane is not None and lane.lock.locked():
            lane.interrupted = True
