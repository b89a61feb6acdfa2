"""`qubeward notes`: what is to be remembered about a qube."""

import sys

import click

from .session import FailedError, Session, examples, run, safe
from .words import QUBE


@click.command(
    epilog=examples(
        "qubeward notes work",
        "qubeward notes work --edit",
        "echo 'for the accounts' | qubeward notes work --set",
    )
)
@click.argument("qube", type=QUBE)
@click.option("--set", "from_input", is_flag=True, help="Replace them by standard input.")
@click.option("--edit", is_flag=True, help="Edit them, in $VISUAL or $EDITOR.")
@click.pass_obj
def notes(session: Session, qube: str, from_input: bool, edit: bool) -> None:
    """Show the notes about a qube, or replace them."""
    held = session.qube(qube).notes
    if from_input:
        try:
            text = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError:
            raise FailedError("the notes are not UTF-8") from None
        run(held.set(text))
    elif edit:
        edited = click.edit(run(held.get()), extension=".txt")
        if edited is not None:
            run(held.set(edited))
    else:
        text = run(held.get())
        click.echo(safe(text), nl=bool(text) and not text.endswith("\n"))
