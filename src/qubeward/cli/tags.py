"""`qubeward tags`: tags of a qube."""

from collections.abc import Sequence

import click

from ..client.properties import Tags
from .screen import print_json
from .session import FAILED, Session, examples, run
from .words import QUBE, TAG


@click.command(
    epilog=examples(
        "qubeward tags work",
        "qubeward tags work --add personal --remove old",
        "qubeward tags work --has personal && echo yes",
    )
)
@click.argument("qube", type=QUBE)
@click.option("--add", multiple=True, metavar="TAG", help="Add a tag; repeat.")
@click.option("--remove", multiple=True, type=TAG, metavar="TAG", help="Take a tag off; repeat.")
@click.option("--has", type=TAG, metavar="TAG", help="Exit 0 if the qube has the tag, else 1.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@click.pass_obj
def tags(
    session: Session,
    qube: str,
    add: tuple[str, ...],
    remove: tuple[str, ...],
    has: str | None,
    as_json: bool,
) -> None:
    """Show the tags of a qube, one a line, or change them."""
    held = session.qube(qube).tags
    if has is not None:
        if not run(held.has(has)):
            raise click.exceptions.Exit(FAILED)
    elif add or remove:
        run(_change(held, add, remove))
    elif as_json:
        print_json(list(run(held.all())))
    else:
        click.echo("".join(f"{name}\n" for name in run(held.all())), nl=False)


async def _change(held: Tags, add: Sequence[str], remove: Sequence[str]) -> None:
    for name in add:
        await held.add(name)
    for name in remove:
        await held.remove(name)
