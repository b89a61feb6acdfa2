"""Run steps in order; on failure undo them in reverse; after a crash, at boot.

An undo needs nothing but names, assumes that any step may have run, and may run twice. That is
what makes it usable after a crash.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ..errors import StoreError
from ..model.change import Change
from .journal import Journal

log = logging.getLogger(__name__)

Action = Callable[[], Awaitable[None]]


async def nothing() -> None:
    """Do nothing: the undo of a step that leaves nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """One effect on the world and the way back."""

    name: str
    do: Action
    undo: Action = nothing


@dataclass(frozen=True, slots=True)
class Plan:
    """A named sequence of steps about one qube.

    `about` is what recovery needs to undo the steps (names, uuids). `land` makes the result part
    of the state, in the same change that ends the journal's entry.
    """

    name: str
    about: dict[str, object]
    steps: Sequence[Step]
    land: Callable[[Change], None]


async def run(plan: Plan, journal: Journal) -> None:
    """Do every step of the plan and land it, or leave nothing of it."""
    entry = await journal.begin(plan.name, plan.about)
    try:
        for step in plan.steps:
            await step.do()
        with journal.system.change() as change:
            plan.land(change)
            journal.end(change, entry)
    except BaseException:
        await _give_up(plan, entry, journal)
        raise
    try:
        await journal.stored()
    except StoreError:  # anything else ends the wait, not what has landed
        await _give_up(plan, entry, journal)
        raise


async def _give_up(plan: Plan, entry: str, journal: Journal) -> None:
    await unwind(plan.steps, plan.name)
    await journal.close(entry)


async def unwind(steps: Sequence[Step], name: str) -> None:
    """Undo all steps, the last first; one that fails keeps none of the others from it."""
    for step in reversed(steps):
        try:
            await step.undo()
        except Exception:
            log.exception("undo of %s.%s", name, step.name)


async def survive(work: Awaitable[None], name: str) -> None:
    """Do work that nobody waits for; log what goes wrong, so that the daemon goes on."""
    try:
        await work
    except Exception:
        log.exception("in the background: %s", name)
