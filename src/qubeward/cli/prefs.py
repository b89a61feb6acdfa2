"""`qubeward prefs`: properties of qubes, and of the system."""

from collections.abc import Mapping

import click

from ..client.properties import Properties, value_of
from ..errors import AdminError
from ..names import ADMIN, PropertyName
from ..spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES
from ..spec.property_body import Kind, Reading
from .screen import print_json, print_table
from .session import Session, examples, run, safe
from .words import PROPERTY, QUBE_OR_PROPERTY

_HEADS = ("PROPERTY", "SET", "VALUE")


@click.command(
    epilog=examples(
        "qubeward prefs work",
        "qubeward prefs work memory 800",
        "qubeward prefs work netvm none",
        "qubeward prefs work memory --default",
        "qubeward prefs --system default_template debian",
    )
)
@click.argument("qube", required=False, type=QUBE_OR_PROPERTY)
@click.argument("name", required=False, type=PROPERTY)
@click.argument("value", required=False)
@click.option(
    "--system",
    "--global",
    "system",
    is_flag=True,
    is_eager=True,
    help="The system's properties; no QUBE, or dom0.",
)
@click.option("--default", "--unset", "reset", is_flag=True, help="Set it back to its default.")
@click.option("--explain", is_flag=True, help="Print what the property is for.")
@click.option("--json", "as_json", is_flag=True, help="Print all as a JSON object.")
@click.pass_obj
def prefs(
    session: Session,
    qube: str | None,
    name: str | None,
    value: str | None,
    system: bool,
    reset: bool,
    explain: bool,
    as_json: bool,
) -> None:
    """Show the properties of a qube, show one, or set one."""
    if system and qube != ADMIN:
        qube, name, value = ADMIN, qube, name or value
    if qube is None:
        raise click.UsageError("name a QUBE, or give --system")
    properties = Properties(session.client(), qube, system=system)
    if name is None:
        if reset or explain:
            raise click.UsageError("name a property")
        _show(run(properties.all()), as_json=as_json)
    elif explain:
        click.echo(run(properties.explain(name)))
    elif reset:
        if value is not None:
            raise click.UsageError("give a value, or --default")
        run(properties.reset(name))
    elif value is None:
        click.echo(safe(run(properties.read(name)).text))
    else:
        run(properties.set(name, wire_text(name, value, system=system)))


def wire_text(name: str, value: str, *, system: bool = False) -> str:
    """Return the value as the wire has it: no qube at all, which people call none, is no text."""
    row = (SYSTEM_PROPERTIES if system else QUBE_PROPERTIES).get(PropertyName(name))
    is_qube = row is not None and row.kind is Kind.VM
    return "" if is_qube and value.lower() == "none" else value


def value_text(reading: Reading) -> str | int | bool | None:
    """Return a value for JSON; one that is not of its kind stays text."""
    try:
        return value_of(reading.kind, reading.text)
    except AdminError:
        return reading.text


def _show(readings: Mapping[PropertyName, Reading], *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                name: {
                    "value": value_text(reading),
                    "type": reading.kind.value,
                    "is_default": reading.is_default,
                }
                for name, reading in readings.items()
            }
        )
        return
    rows = [(name, "-" if r.is_default else "set", r.text) for name, r in readings.items()]
    print_table(_HEADS, sorted(rows), {"SET": {"-": "dim", "set": "green"}}, bare=True)
