"""`qubeward labels`: the labels that qubes wear."""

import asyncio

import click

from ..client.call import Client
from ..names import ADMIN, LabelName
from ..spec import label as rows
from ..spec.label import Color
from .screen import print_json, print_table
from .session import Session, examples, run
from .words import LABEL


@click.group(
    invoke_without_command=True,
    epilog=examples("qubeward labels", "qubeward labels add teal 0x008080"),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_context
def labels(ctx: click.Context, as_json: bool) -> None:
    """Show the labels, by index; add one, or remove one."""
    if ctx.invoked_subcommand is not None:
        return
    found = run(_all(ctx.obj.client()))
    if as_json:
        print_json([{"index": i, "name": name, "color": color} for i, name, color in found])
        return
    cells = [(str(i), name, color) for i, name, color in found]
    styles = {str(color): f"#{color[2:]}" for _, _, color in found}
    print_table(("INDEX", "LABEL", "COLOR"), cells, {"COLOR": styles}, bare=True)


@labels.command()
@click.argument("name")
@click.argument("color", metavar="0xRRGGBB")
@click.pass_obj
def add(session: Session, name: str, color: str) -> None:
    """Make a label of a color."""
    run(session.client().call(rows.CREATE, ADMIN, LabelName(name), Color(color)))


@labels.command()
@click.argument("name", type=LABEL)
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """Remove a label that no qube wears."""
    run(session.client().call(rows.REMOVE, ADMIN, LabelName(name)))


async def _all(client: Client) -> list[tuple[int, LabelName, Color]]:
    async def one(name: LabelName) -> tuple[int, LabelName, Color]:
        index, color = await asyncio.gather(
            client.call(rows.INDEX, ADMIN, name), client.call(rows.GET, ADMIN, name)
        )
        return index, name, color

    found = await client.call(rows.LIST, ADMIN, None)
    return sorted(await asyncio.gather(*(one(name) for name in found)))
