"""`qubeward console`: this terminal on a qube's console."""

import errno
import fcntl
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click

from ..names import QUBE as QUBE_NAME
from .session import FailedError, Session, examples, run
from .words import QUBE

_ESCAPE: Final = b"\x1d"  # Ctrl-]
_CHUNK_BYTES: Final = 4096


class TakenError(FailedError):
    """Another terminal is on the console; the status is upstream's."""

    exit_code = 200


@click.command(
    epilog=examples(
        "qubeward console work",
        "echo poweroff | qubeward console work",
        "echo uname -r | qubeward console work --linger 2",
    )
)
@click.argument("qube", type=QUBE)
@click.option(
    "--linger",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="After the end of standard input, leave once the qube was silent for so long.",
)
@click.pass_obj
def console(session: Session, qube: str, linger: float | None) -> None:
    """Attach this terminal to the console of a running qube. Ctrl-] leaves.

    Standard input and output may be pipes: then it ends when the qube does. One terminal at a
    time: if another is on the console, the exit status is 200.
    """
    name = QUBE_NAME.decode(qube.encode("utf-8", "surrogateescape"))
    path = run(session.qube(name).console())
    if not path:
        raise FailedError(f"{name} has no console")
    with ExitStack() as stack:
        stack.enter_context(_only_one(session.root / "run/qubes" / f"{name}.terminal.lock", name))
        guest = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        stack.callback(os.close, guest)
        escape = None
        if sys.stdin.isatty():
            stack.enter_context(_raw(sys.stdin.fileno()))
            # Once Ctrl-C is the guest's. A raw terminal wants its carriage return, too.
            click.echo(f"qubeward: on the console of {name}; Ctrl-] leaves\r", err=True)
            escape = _ESCAPE
        splice(guest, sys.stdin.fileno(), sys.stdout.fileno(), escape=escape, linger_s=linger)


@contextmanager
def _only_one(path: Path, name: str) -> Iterator[None]:
    """Hold the console's lock, which upstream's clients take too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(path, flags, 0o660)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TakenError(f"another terminal is on the console of {name}") from None
        yield
    finally:
        os.close(lock)


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    """Let every key pass, and give the terminal back as it was."""
    before = termios.tcgetattr(terminal)
    tty.setraw(terminal, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, before)


def splice(
    guest: int, source: int, sink: int, *, escape: bytes | None, linger_s: float | None
) -> None:
    """Carry bytes both ways until the guest's end closes, or `escape` is typed.

    `linger_s`: once the source has ended, until the guest was silent for so long; None: for ever.
    """
    from_user = True
    while True:
        sources = [guest, source] if from_user else [guest]
        ready = select.select(sources, [], [], None if from_user else linger_s)[0]
        if not ready:
            return
        if guest in ready:
            data = _read_guest(guest)
            if not data:
                return
            _write_all(sink, data)
        if source in ready:
            data = os.read(source, _CHUNK_BYTES)
            typed, left, _ = data.partition(escape) if escape else (data, b"", b"")
            _write_all(guest, typed)
            if left:
                return
            from_user = bool(data)


def _read_guest(guest: int) -> bytes:
    try:
        return os.read(guest, _CHUNK_BYTES)
    except OSError as error:
        if error.errno == errno.EIO:  # the other end of the tty is closed: the qube is off
            return b""
        raise


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]
