"""The program: the options before the command, and the commands that need only a daemon."""

from pathlib import Path

import click

from .. import __version__
from ..wire.dialect import Dialect
from .call import call, methods
from .completion import completion
from .console import console
from .events import events
from .features import features
from .labels import labels
from .life import kill, pause, shutdown, start, unpause
from .notes import notes
from .pools import pool
from .prefs import prefs
from .qubes import clone, create, ls, remove
from .session import Program, Session, examples
from .tags import tags
from .volumes import volume

_EPILOG = (
    "\b\nExit status:\n"
    "  0    done\n"
    "  1    a call failed; standard error says why\n"
    "  2    the command line makes no sense\n"
    "  3    no connection to the daemon\n"
    "  130  interrupted\n"
    "  200  console: another terminal is on it\n\n"
) + examples(
    "qubeward daemon                    serve this host",
    "qubeward template build mini       make a template that boots in seconds",
    "qubeward create work && qubeward start work && qubeward console work",
)


@click.group(cls=Program, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/"),
    show_default=True,
    envvar="QUBEWARD_ROOT",
    show_envvar=True,
    help="Where the daemon's files are, and its sockets.",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The daemon's socket, if it is elsewhere.",
)
@click.option(
    "--dialect",
    type=click.Choice([dialect.value for dialect in Dialect]),
    default=Dialect.R4.value,
    show_default=True,
    help="The spelling of the protocol: today's clients', or the draft page's.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="How long to wait for an answer.",
)
@click.version_option(__version__, prog_name="qubeward")
@click.pass_context
def program(ctx: click.Context, /, **_options: object) -> None:
    """Manage virtual machines ("qubes") through the Qubes Admin API."""
    ctx.obj = Session.of(ctx.params)


for _command in (
    ls,
    create,
    clone,
    remove,
    start,
    shutdown,
    kill,
    pause,
    unpause,
    prefs,
    tags,
    features,
    notes,
    labels,
    pool,
    volume,
    events,
    console,
    call,
    methods,
    completion,
):
    program.add_command(_command)
