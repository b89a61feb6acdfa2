"""`qubeward events`: what happens, as it happens."""

import json
from contextlib import aclosing
from datetime import datetime

import click

from ..client.call import Client
from ..client.events import follow
from ..names import ADMIN
from ..wire.reply import Event
from .session import Session, complain, examples, run, safe
from .words import QUBE


@click.command(epilog=examples("qubeward events", "qubeward events work --json"))
@click.argument("qube", type=QUBE, default=ADMIN)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def events(session: Session, qube: str, as_json: bool) -> None:
    """Print events as they happen, of all qubes or of one.

    Interrupt it to end it: if the daemon goes away, its return is waited for. Each connection
    begins with `connection-established`: what happened before it was not heard.
    """
    run(_follow(session.client(), qube, as_json=as_json))


async def _follow(client: Client, qube: str, *, as_json: bool) -> None:
    def lost(error: Exception) -> None:
        complain(f"{error}; trying again")

    async with aclosing(follow(client, qube, on_loss=lost)) as stream:
        async for event in stream:
            print_event(event, as_json=as_json)


def print_event(event: Event, *, as_json: bool) -> None:
    """Print one event on one line, at once."""
    if as_json:
        row = {"subject": event.subject or None, "event": event.name, "fields": dict(event.fields)}
        click.echo(json.dumps(row, ensure_ascii=False))
        return
    now = datetime.now().astimezone().strftime("%H:%M:%S")
    fields = (f"{key}={value}" for key, value in event.fields)
    words = (now, event.subject or ADMIN, event.name, *fields)
    click.echo(safe(" ".join(words)).replace("\n", " "))
