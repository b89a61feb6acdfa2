"""The console: bytes both ways, until the guest ends or the escape is typed."""

import fcntl
import os
import pty
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import qubeward
from qubeward.__main__ import program
from qubeward.cli import console
from qubeward.client import Qube

from .conftest import Typed

ESCAPE = b"\x1d"

PROGRAM = f"""
import sys
sys.path.insert(0, {str(Path(qubeward.__file__).parents[1])!r})
from qubeward.client import Qube
from qubeward.__main__ import main
async def path(_qube):
    return sys.argv[1]
Qube.console = path
sys.exit(main(["--root", sys.argv[2], "console", "work"]))
"""


class Ends:
    """A guest's tty, and pipes in place of a terminal."""

    def __init__(self) -> None:
        self.guest, self.tty = pty.openpty()
        self.path = os.ttyname(self.tty)
        self.source, self.keys = os.pipe()
        self.shown, self.sink = os.pipe()

    def splice(
        self, escape: bytes | None = None, linger_s: float | None = None
    ) -> threading.Thread:
        thread = threading.Thread(
            target=console.splice,
            args=(self.tty, self.source, self.sink),
            kwargs={"escape": escape, "linger_s": linger_s},
            daemon=True,
        )
        thread.start()
        return thread

    def close(self) -> None:
        for fd in (self.guest, self.tty, self.source, self.keys, self.shown, self.sink):
            if fd >= 0:
                os.close(fd)

    def end_of_input(self) -> None:
        os.close(self.keys)
        self.keys = -1

    def guest_ends(self) -> None:
        os.close(self.guest)
        self.guest = -1


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    tty.setraw(ends.tty)  # as QEMU does
    yield ends
    ends.close()


def test_bytes_go_both_ways(ends: Ends) -> None:
    thread = ends.splice()
    os.write(ends.keys, b"\x03\x1d\xff")
    assert os.read(ends.guest, 10) == b"\x03\x1d\xff"
    os.write(ends.guest, b"login: \xff")
    assert os.read(ends.shown, 20) == b"login: \xff"
    ends.guest_ends()
    thread.join(5)
    assert not thread.is_alive()


def test_the_escape_leaves_after_what_was_typed_before_it(ends: Ends) -> None:
    thread = ends.splice(ESCAPE)
    os.write(ends.keys, b"ls\r" + ESCAPE + b"rm")
    thread.join(5)
    assert not thread.is_alive()
    assert os.read(ends.guest, 10) == b"ls\r"


def test_after_the_end_of_input_it_lingers(ends: Ends) -> None:
    thread = ends.splice(linger_s=0.1)
    ends.end_of_input()
    thread.join(5)
    assert not thread.is_alive()


@pytest.fixture
def running(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> Ends:
    async def path(_qube: Qube) -> str:
        return ends.path

    monkeypatch.setattr(Qube, "console", path)
    return ends


def test_the_second_user_exits_200(tmp_path: Path, running: Ends) -> None:
    lock = tmp_path / "run/qubes/work.terminal.lock"
    lock.parent.mkdir(parents=True)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found = CliRunner().invoke(program, ["--root", str(tmp_path), "console", "work"])
    assert found.exit_code == 200
    assert found.stderr == "qubeward: another terminal is on the console of work\n"


def test_a_name_that_is_none_makes_no_lock(tmp_path: Path, running: Ends) -> None:
    found = CliRunner().invoke(program, ["--root", str(tmp_path), "console", "../../x"])
    assert found.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_terminal_is_raw_and_given_back(ends: Ends, tmp_path: Path) -> None:
    # The program in a terminal of its own, as a user has it.
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, ends.path, str(tmp_path)])
    try:
        read_until(terminal, b"Ctrl-] leaves\r\n")
        os.write(terminal, b"\x03ls\r")
        assert read_until(ends.guest, b"\r") == b"\x03ls\r"
        os.write(ends.guest, b"\x1b[1mbold")
        assert read_until(terminal, b"bold") == b"\x1b[1mbold"
        assert not termios.tcgetattr(terminal)[3] & termios.ECHO
        os.write(terminal, ESCAPE)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert termios.tcgetattr(terminal)[3] & termios.ECHO
    finally:
        os.close(terminal)


def read_until(fd: int, end: bytes) -> bytes:
    found = b""
    while not found.endswith(end):
        assert select.select([fd], [], [], 20)[0], found
        found += os.read(fd, 4096)
    return found


def test_dom0_has_no_console(typed: Typed) -> None:
    assert "no console" in typed.fails("console", "dom0")
    assert "not running" in typed.fails("console", "work")
