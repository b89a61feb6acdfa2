"""`qubeward features`: features of a qube."""

import asyncio

import click

from ..client.properties import INHERITED, Features
from ..errors import FeatureNotFoundError
from .screen import print_json, print_table
from .session import Session, examples, run, safe
from .words import FEATURE, QUBE


@click.command(
    epilog=examples(
        "qubeward features work",
        "qubeward features work service.cups 1",
        "qubeward features work service.cups ''     # false",
        "qubeward features work service.cups --unset",
        "qubeward features work os --inherit template",
    )
)
@click.argument("qube", type=QUBE)
@click.argument("name", required=False, type=FEATURE)
@click.argument("value", required=False)
@click.option("--unset", is_flag=True, help="Make the feature absent.")
@click.option("--inherit", type=click.Choice(list(INHERITED)), help="Look there if it is absent.")
@click.option("--json", "as_json", is_flag=True, help="Print all as a JSON object.")
@click.pass_obj
def features(
    session: Session,
    qube: str,
    name: str | None,
    value: str | None,
    unset: bool,
    inherit: str | None,
    as_json: bool,
) -> None:
    """Show the features of a qube, show one, or set one. The empty value means false."""
    held = session.qube(qube).features
    if name is None:
        if unset or inherit:
            raise click.UsageError("name a feature")
        found = run(_all(held))
        if as_json:
            print_json(found)
        else:
            print_table(("FEATURE", "VALUE"), list(found.items()), bare=True)
    elif unset:
        if value is not None:
            raise click.UsageError("give a value, or --unset")
        run(held.remove(name))
    elif value is None:
        click.echo(safe(run(held.get(name, inherit=inherit))))
    else:
        run(held.set(name, value))


async def _all(held: Features) -> dict[str, str]:
    async def one(name: str) -> tuple[str, str] | None:
        try:
            return name, await held.get(name)
        except FeatureNotFoundError:  # removed since it was listed
            return None

    found = await asyncio.gather(*(one(name) for name in await held.names()))
    return dict(entry for entry in found if entry is not None)
