"""`qubeward ls`, `create` and `remove`: which qubes there are."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import click

from ..client.qubes import Qube, Qubes
from ..errors import AdminError, QubeNotFoundError
from ..names import PropertyName
from ..spec.classes import APP_VM, CREATABLE
from ..spec.property_body import Reading
from ..spec.vm_body import Row
from .life import each
from .prefs import value_text, wire_text
from .screen import print_json, print_table, spinner
from .session import FAILED, Session, examples, run
from .words import ASSIGNMENT, LABEL, PLACE, POOL, QUBE, names

_PROPERTIES: Final = tuple(PropertyName(n) for n in ("label", "template", "netvm", "ip", "memory"))
_HEADS: Final = ("NAME", "CLASS", "STATE", *(name.upper() for name in _PROPERTIES))
_STYLES: Final[Mapping[str, Mapping[str, str]]] = {
    "STATE": {
        "Running": "green",
        "Halted": "dim",
        "Transient": "cyan",
        "Halting": "cyan",
        "Paused": "yellow",
        "Crashed": "bold red",
    },
    "LABEL": {
        "red": "red",
        "orange": "dark_orange",
        "yellow": "yellow",
        "green": "green",
        "gray": "bright_black",
        "blue": "blue",
        "purple": "magenta",
    },
}
#: Connections at a time.
_AT_ONCE: Final = 64


@click.command(
    epilog=examples("qubeward ls", "qubeward ls --json work", "qubeward ls --names | wc -l")
)
@click.argument("qube", nargs=-1, type=QUBE)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.option("--names", "only_names", is_flag=True, help="Print names, one a line.")
@click.pass_obj
def ls(session: Session, qube: tuple[str, ...], as_json: bool, only_names: bool) -> None:
    """List qubes: all, or those that are named."""
    if only_names:
        click.echo("".join(f"{r.name}\n" for r in run(_rows(session.qubes(), qube))), nl=False)
        return
    found = run(_table(session.qubes(), qube))
    if as_json:
        print_json([_plain(row, readings) for row, readings in found])
        return
    print_table(_HEADS, [_cells(row, readings) for row, readings in found], _STYLES)


async def _rows(qubes: Qubes, wanted: Sequence[str]) -> list[Row]:
    rows = await qubes.rows()
    for name in wanted:
        if name not in {row.name for row in rows}:
            raise QubeNotFoundError(name)
    return [row for row in rows if not wanted or row.name in wanted]


Readings = Mapping[PropertyName, Reading]


async def _table(qubes: Qubes, wanted: Sequence[str]) -> list[tuple[Row, Readings]]:
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(row: Row) -> tuple[Row, Readings] | None:
        async with turns:
            try:
                return row, await qubes[row.name].properties.all()
            except QubeNotFoundError:  # removed since it was listed
                return None

    rows = await _rows(qubes, wanted)
    found = await asyncio.gather(*(one(row) for row in rows))
    return [entry for entry in found if entry is not None]


def _cells(row: Row, readings: Readings) -> tuple[str, ...]:
    texts = (readings[name].text if name in readings else "" for name in _PROPERTIES)
    return (row.name, row.klass, row.state.value, *(text or "-" for text in texts))


def _plain(row: Row, readings: Readings) -> dict[str, object]:
    found: dict[str, object] = {"name": row.name, "class": row.klass, "state": row.state.value}
    for name in _PROPERTIES:
        reading = readings.get(name)
        found[name] = None if reading is None else value_text(reading)
    return found


_pool = click.option("--pool", type=POOL, help="The pool for all volumes.")
_volume = click.option(
    "--volume", multiple=True, type=PLACE, metavar="VOLUME=POOL", help="The pool for one; repeat."
)


@click.command(
    epilog=examples(
        "qubeward create work",
        "qubeward create mail --template debian --label yellow --property memory=800",
        "qubeward create base --class TemplateVM --label black",
    )
)
@click.argument("name")
@click.option(
    "--class",
    "klass",
    type=click.Choice([row.name for row in CREATABLE]),
    default=APP_VM.name,
    show_default=True,
)
@click.option("--template", type=QUBE, help="What it is based on; without it, the default.")
@click.option("--label", type=LABEL, default="red", show_default=True)
@click.option(
    "--property", "properties", multiple=True, type=ASSIGNMENT, help="A property to set; repeat."
)
@_pool
@_volume
@click.pass_obj
def create(
    session: Session,
    /,
    name: str,
    properties: tuple[tuple[str, str], ...],
    pool: str | None,
    volume: tuple[tuple[str, str], ...],
    **options: str | None,
) -> None:
    """Create a qube. If a property can't be set, nothing is left of it."""
    run(_create(session.qubes(), name, properties, _pools(pool, volume), options))


def _pools(pool: str | None, volumes: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Return which pool each volume is to be in; by no name, all of them."""
    if pool is not None and volumes:
        raise click.UsageError("--pool is for all volumes, --volume for single ones: not both")
    return dict(volumes) if pool is None else {"": pool}


async def _create(
    qubes: Qubes,
    name: str,
    properties: Sequence[tuple[str, str]],
    pools: Mapping[str, str],
    options: Mapping[str, str | None],
) -> None:
    qube = await qubes.create(
        name,
        klass=options["klass"] or APP_VM.name,
        label=options["label"] or "red",
        template=options["template"],
        pools=pools,
    )
    try:
        for key, text in properties:
            await qube.properties.set(key, wire_text(key, text))
    except AdminError:
        await qube.remove()
        raise


@click.command(
    epilog=examples("qubeward clone work work2", "qubeward clone work work2 --volume private=ssd")
)
@click.argument("qube", type=QUBE)
@click.argument("name")
@_pool
@_volume
@click.pass_obj
def clone(
    session: Session,
    qube: str,
    name: str,
    pool: str | None,
    volume: tuple[tuple[str, str], ...],
) -> None:
    """Make a qube NAME like QUBE: its settings, and what its volumes held at its last stop.

    QUBE may run. Its tags, features, properties and notes are copied; addresses are not.
    """
    with spinner(f"cloning {qube}"):
        run(session.qube(qube).clone(name, _pools(pool, volume)))


@click.command(epilog=examples("qubeward remove old", "qubeward remove --yes old older"))
@click.argument("qube", nargs=-1, required=True, type=QUBE)
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.pass_obj
def remove(session: Session, qube: tuple[str, ...], yes: bool) -> None:
    """Remove halted qubes with all that is on their disks."""
    chosen = names(qube)
    question = f"Remove {', '.join(chosen)}, with all data?"
    if not yes and not click.confirm(question, err=True):
        raise click.exceptions.Exit(FAILED)
    each(session, chosen, "removing", Qube.remove)
