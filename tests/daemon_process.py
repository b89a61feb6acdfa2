"""A real daemon in a process of its own, on a root of its own, and calls to it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qubeward.wire.reply import Failure, Ok, ReplyReader
from qubeward.wire.request import encode_request

SOURCE = Path(__file__).resolve().parent.parent / "src"
R4, INTERNAL, DRAFT = "run/qubesd.sock", "run/qubesd.internal.sock", "run/qubeward/draft.sock"


class CallFailedError(AssertionError):
    def __init__(self, failure: Failure) -> None:
        super().__init__(f"{failure.wire_name}: {failure}")
        self.failure = failure


@dataclass
class DaemonProcess:
    root: Path
    settings: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.root / "daemon.log"

    def start(self, timeout_s: float = 60) -> None:
        """Start it, and return once it serves."""
        (self.root / R4).unlink(missing_ok=True)
        options = [word for setting in self.settings for word in ("--set", setting)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "qubeward", "--root", str(self.root), "daemon", *options],
                env={**os.environ, "PYTHONPATH": str(SOURCE)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until(lambda: self._serves() or self.process.poll() is not None, timeout_s)
        assert self.process.poll() is None, self.log.read_text()

    def _serves(self) -> bool:
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(str(self.root / DRAFT))
            except OSError:
                return False
            return True

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s: float = 60) -> int:
        """End it as an administrator does; return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def call(
        self, method: str, dest: str = "dom0", arg: str = "", payload: str | bytes = b"",
        *, source: str = "dom0", where: str = R4, timeout_s: float = 90,
    ) -> str:  # fmt: skip
        """Make a call; return its reply, or raise `CallFailedError`."""
        body = payload.encode() if isinstance(payload, str) else payload
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(timeout_s)
            sock.connect(str(self.root / where))
            sock.sendall(encode_request(method, arg.encode(), source.encode(), dest.encode(), body))
            sock.shutdown(socket.SHUT_WR)
            reader = ReplyReader()
            while data := sock.recv(65536):
                reader.feed(data)
        reply = reader.end()
        if isinstance(reply, Failure):
            raise CallFailedError(reply)
        assert isinstance(reply, Ok), "an empty answer"
        return reply.content.decode()

    def state(self, qube: str) -> str:
        """Return a qube's state."""
        words = self.call("admin.vm.List", qube).split()
        return next(w for w in words if w.startswith("state=")).removeprefix("state=")

    def console(self, qube: str) -> str:
        """Return what a qube's console has shown."""
        log = self.root / "var/log/qubeward/console" / f"{qube}.log"
        return log.read_text(errors="replace") if log.exists() else ""


def until(condition, timeout_s: float = 30, every_s: float = 0.02) -> None:
    """Wait until the condition holds; fail if it doesn't in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not within {timeout_s} s"
        time.sleep(every_s)


@contextmanager
def event_stream(daemon: DaemonProcess, dest: str = "dom0") -> Iterator["Events"]:
    """Open a stream of events, from the first to the end of the block."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(daemon.root / R4))
        sock.sendall(encode_request("admin.Events", b"", b"dom0", dest.encode()))
        sock.shutdown(socket.SHUT_WR)
        events = Events(sock)
        events.until("connection-established")
        yield events


class Events:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._reader = ReplyReader()
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    def read(self, timeout_s: float) -> None:
        """Take in what has come."""
        self._sock.settimeout(timeout_s)
        try:
            data = self._sock.recv(65536)
        except (TimeoutError, BlockingIOError):
            return
        for event in self._reader.feed(data):
            self.seen.append((event.subject, event.name, dict(event.fields)))

    def until(self, name: str, timeout_s: float = 30) -> None:
        """Wait for an event of this name."""
        end = time.monotonic() + timeout_s
        while name not in (seen for _, seen, _ in self.seen):
            assert time.monotonic() < end, f"no {name} in {self.seen}"
            self.read(0.1)

    def names(self, subject: str) -> list[str]:
        """Return the names of the events of a subject, in order."""
        return [name for of, name, _ in self.seen if of == subject]
