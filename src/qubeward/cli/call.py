"""`qubeward call` and `qubeward methods`: any call, and which there are."""

import sys
from contextlib import aclosing
from typing import Any, Final

import click

from ..client.call import Client, messages, outgoing_of
from ..client.errors import ConnectionFailedError, error_of
from ..names import ADMIN
from ..spec import METHODS, AnyMethod, describe
from ..spec.method import PerDialect
from ..untrusted import NOTHING
from ..wire.dialect import Dialect
from ..wire.reply import Event, Failure
from .events import print_event
from .screen import print_json, print_table
from .session import Session, examples, run
from .words import METHOD, QUBE

_HEADS: Final = ("METHOD", "DEST", "ARGUMENT", "PAYLOAD", "REPLY", "SUMMARY")


@click.command(
    epilog=examples(
        "qubeward call admin.vm.List dom0",
        "qubeward call admin.vm.tag.Set work personal",
        "echo -n 400 | qubeward call admin.vm.property.Set work memory",
        "qubeward call admin.vm.property.Set work memory --payload 400",
    )
)
@click.argument("method", type=METHOD)
@click.argument("dest", type=QUBE)
@click.argument("arg", default="")
@click.option("--payload", help="The payload; without it, standard input unless it's a terminal.")
@click.option("--json", "as_json", is_flag=True, help="Print events as one JSON object a line.")
@click.pass_obj
def call(
    session: Session, method: str, dest: str, arg: str, payload: str | None, as_json: bool
) -> None:
    """Make one call, and print the reply as it is.

    METHOD need not be one that this program knows. Events are printed as they come.
    """
    body = _payload(method) if payload is None else payload.encode("utf-8", "surrogateescape")
    words = arg.encode("utf-8", "surrogateescape")
    row = METHODS.get(method)
    if row is not None and row.stream:
        run(_events(session.client(method), method, dest, words, body, as_json=as_json))
        return
    reply = run(session.client(method).call_raw(method, dest, words, body))
    # As it is, but not with the prompt on its end.
    click.echo(reply, nl=sys.stdout.isatty() and not reply.endswith(b"\n"))


def _payload(method: str) -> bytes:
    row = METHODS.get(method)
    if (row is not None and row.payload is NOTHING) or sys.stdin.isatty():
        return b""
    return sys.stdin.buffer.read()


async def _events(
    client: Client, method: str, dest: str, arg: bytes, payload: bytes, *, as_json: bool
) -> None:
    stream = messages(client.transport, outgoing_of(method, dest, arg, payload))
    async with aclosing(stream):
        async for message in stream:
            if isinstance(message, Failure):
                raise error_of(message)
            if isinstance(message, Event):
                print_event(message, as_json=as_json)
    raise ConnectionFailedError("the server ended the stream of events")


@click.command(epilog=examples("qubeward methods", "qubeward methods volume"))
@click.argument("word", default="")
@click.option("--json", "as_json", is_flag=True, help="Print what the daemon itself says.")
@click.pass_obj
def methods(session: Session, word: str, as_json: bool) -> None:
    """List the calls there are, or those with WORD in the name."""
    if as_json:
        found = run(session.client().call(describe.DESCRIBE, ADMIN))
        found["methods"] = [row for row in found["methods"] if word in row["name"]]
        print_json(found)
        return
    rows = [row for row in METHODS.values() if word in row.name]
    print_table(_HEADS, [_cells(row, session.dialect) for row in rows])


def _cells(row: AnyMethod, dialect: Dialect) -> tuple[str, ...]:
    reply = "events" if row.stream else _grammar(row.reply, dialect)
    arg, payload = _grammar(row.arg, dialect), _grammar(row.payload, dialect)
    return (row.name, row.dest.value, arg, payload, reply, row.summary)


def _grammar(codec: Any, dialect: Dialect) -> str:
    if isinstance(codec, PerDialect):
        codec = codec.r4 if dialect is Dialect.R4 else codec.draft
    return str(codec.name)
