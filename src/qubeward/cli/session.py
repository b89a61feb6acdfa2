"""What every command has: which daemon to ask, in which dialect, and how to end on failure."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import click

from ..client.call import TIMEOUT_S, Client
from ..client.channel import INTERNAL_SOCKET, UnixSocket, socket_of
from ..client.errors import ConnectionFailedError
from ..client.qubes import Qube, Qubes
from ..errors import AdminError
from ..spec import METHODS
from ..wire.dialect import Dialect

T = TypeVar("T")

#: Exit statuses, as `qubeward --help` tells. 2, for words that make no sense, is click's own.
FAILED: Final = 1
NO_CONNECTION: Final = 3
INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True)
class Session:
    """The options that stand before the command."""

    root: Path
    socket: Path | None
    dialect: Dialect
    timeout_s: float

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> "Session":
        """Make a session of the parsed options."""
        return cls(
            root=Path(options.get("root") or "/"),
            socket=options.get("socket"),
            dialect=Dialect(options.get("dialect") or Dialect.R4.value),
            timeout_s=options.get("timeout") or TIMEOUT_S,
        )

    def client(self, method: str = "", *, timeout_s: float | None = None) -> Client:
        """Return a client of the daemon, at the socket where `method` is answered."""
        row = METHODS.get(method)
        if self.socket is not None:
            transport = UnixSocket(self.socket, self.dialect)
        elif row is not None and row.internal:
            transport = UnixSocket(self.root / INTERNAL_SOCKET)
        else:
            transport = socket_of(self.root, self.dialect)
        return Client(transport, timeout_s or self.timeout_s)

    def qubes(self, *, timeout_s: float | None = None) -> Qubes:
        """Return all qubes of the daemon."""
        return Qubes(self.client(timeout_s=timeout_s))

    def qube(self, name: str) -> Qube:
        """Return one qube."""
        return self.qubes()[name]


class FailedError(click.ClickException):
    """The command failed, and this is all that is said about it."""

    exit_code = FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        """Say why, on standard error."""
        complain(self.message)


class NoConnectionError(FailedError):
    """There is no daemon to ask."""

    exit_code = NO_CONNECTION


def complain(message: str) -> None:
    """Say what went wrong, on standard error."""
    click.echo(f"qubeward: {safe(message)}", err=True)


def safe(text: str) -> str:
    """Return the text without what a terminal would obey."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def examples(*lines: str) -> str:
    """Return the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do the work of a command."""
    return asyncio.run(work)


class Program(click.Group):
    """The root of all commands. It turns every foreseen failure into a line and a status."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except ConnectionFailedError as error:
            raise NoConnectionError(str(error)) from error
        except AdminError as error:
            raise FailedError(str(error)) from error
        except (KeyboardInterrupt, asyncio.CancelledError, click.Abort):
            raise click.exceptions.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # The reader of our output has left; Python would complain when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(FAILED) from None
        except OSError as error:
            raise FailedError(str(error)) from error
