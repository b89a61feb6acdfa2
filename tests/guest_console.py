"""The console of a mini guest that a daemon runs, in the test's hands."""

import os
import re
import time
from dataclasses import dataclass, field

from daemon_process import DaemonProcess, until

_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r")


@dataclass
class GuestConsole:
    """The root shell of a qube. It goes on while the daemon is gone: QEMU has it."""

    daemon: DaemonProcess
    qube: str
    _begin: int = field(default=0, init=False)
    _tty: str = field(default="", init=False)

    def text(self) -> str:
        """Return what it has shown since the last `rewind`."""
        return _CONTROL.sub("", self.daemon.console(self.qube)[self._begin :])

    def rewind(self) -> None:
        """Forget what it has shown: for before a start."""
        self._begin, self._tty = len(self.daemon.console(self.qube)), ""

    def boot(self) -> None:
        """Start the qube, and wait for its shell."""
        self.rewind()
        self.daemon.call("admin.vm.Start", self.qube)
        self.wait_up()

    @property
    def is_up(self) -> bool:
        """Say whether its shell waits for a line."""
        _, is_up, after = self.text().partition(f"qubeward: qube {self.qube} is up")
        return bool(is_up) and f"root@{self.qube}:" in after

    def wait_up(self, timeout_s: float = 90) -> None:
        """Wait for its shell."""
        until(lambda: self.is_up, timeout_s)

    def run(self, line: str, timeout_s: float = 60) -> str:
        """Type a command at the shell and return what it printed."""
        if not self._tty:
            self._tty = self.daemon.call("admin.vm.Console", self.qube)
        after = len(self.text())
        tty = os.open(self._tty, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        try:
            # The quotes keep what is typed, and echoed, from looking like what is printed.
            os.write(tty, f"echo =be''gin=; {line}; echo =e''nd=\n".encode())
            end = time.monotonic() + timeout_s
            while "\n=end=\n" not in (shown := self.text()[after:]):
                assert time.monotonic() < end, f"no end of {line!r} in {shown!r}"
                # QEMU waits for who has the tty open and doesn't read.
                try:
                    os.read(tty, 65536)
                except BlockingIOError:
                    time.sleep(0.05)
        finally:
            os.close(tty)
        return shown.partition("\n=begin=\n")[2].partition("=end=\n")[0].strip()
