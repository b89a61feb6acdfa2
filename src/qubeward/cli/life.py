"""`qubeward start`, `shutdown`, `kill`, `pause` and `unpause`: the life of qubes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import click

from ..client.qubes import Qube
from ..errors import AdminError
from .screen import spinner
from .session import FAILED, Session, complain, examples, run
from .words import QUBE, names

#: Qubes that are dealt with at a time.
_AT_ONCE: Final = 32

_qubes = click.argument("qube", nargs=-1, required=True, type=QUBE)


@click.command(epilog=examples("qubeward start work", "qubeward start work mail"))
@_qubes
@click.pass_obj
def start(session: Session, qube: tuple[str, ...]) -> None:
    """Start qubes, each after its netvm; return when they are up."""
    each(session, qube, "starting", Qube.start)


@click.command(epilog=examples("qubeward shutdown --wait work mail"))
@_qubes
@click.option("--force", is_flag=True, help="Also while other qubes depend on it.")
@click.option("--wait", is_flag=True, help="Return when they are off.")
@click.pass_obj
def shutdown(session: Session, qube: tuple[str, ...], force: bool, wait: bool) -> None:
    """Ask qubes to power off."""
    each(session, qube, "shutting down", lambda q: q.shutdown(force=force, wait=wait))


@click.command()
@_qubes
@click.pass_obj
def kill(session: Session, qube: tuple[str, ...]) -> None:
    """End qubes at once, as if the power failed."""
    each(session, qube, "killing", Qube.kill)


@click.command()
@_qubes
@click.pass_obj
def pause(session: Session, qube: tuple[str, ...]) -> None:
    """Stop the processors of running qubes."""
    each(session, qube, "pausing", Qube.pause)


@click.command()
@_qubes
@click.pass_obj
def unpause(session: Session, qube: tuple[str, ...]) -> None:
    """Let paused qubes run again."""
    each(session, qube, "unpausing", Qube.unpause)


def each(
    session: Session, words: Sequence[str], doing: str, act: Callable[[Qube], Awaitable[None]]
) -> None:
    """Do something to several qubes at once; tell each failure, and fail at the end if any."""
    chosen = names(words)
    with spinner(f"{doing} {', '.join(chosen)}"):
        failures = run(_all(session, chosen, act))
    for name, failure in zip(chosen, failures, strict=True):
        if failure is not None:
            complain(failure if name in failure else f"{name}: {failure}")
    if any(failures):
        raise click.exceptions.Exit(FAILED)


async def _all(
    session: Session, chosen: Sequence[str], act: Callable[[Qube], Awaitable[None]]
) -> list[str | None]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> str | None:
        async with turns:
            try:
                await act(session.qube(name))
            except AdminError as error:
                return str(error)
            return None

    return await asyncio.gather(*(one(name) for name in chosen))
