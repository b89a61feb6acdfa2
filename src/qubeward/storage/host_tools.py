"""The host's storage tools (LVM, ZFS): running one, and what it said when it refused.

They run as the host has them set up: its `lvm.conf` and environment say, for instance, whether udev
makes device nodes (`DM_DISABLE_UDEV=1` where there is none).
"""

import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from ..errors import StorageError
from ..host.process import Completed, ProgramError

_FOLDERS: Final = ("/usr/local/sbin", "/usr/sbin", "/sbin")
# One that is killed may leave a device suspended: the deadline is for what hangs, not for what is
# slow. Dropping a volume of many terabytes takes minutes.
_TIMEOUT_S: Final = 900
_DEVICE_TIMEOUT_S: Final = 15
_DEVICE_POLL_S: Final = 0.02
_PATH: Final = re.compile(r"(?<![\w/])/[\w.+:@%/-]+")
_MOST_WORDS: Final = 500


class Run(Protocol):
    """Runs a program to its end, as `host.process.run` does."""

    def __call__(
        self, argv: Sequence[str], *, timeout_s: float, env: Mapping[str, str], check: bool
    ) -> Completed:
        """Return what the program left, or raise `ProgramError`."""


def call(run: Run, what: str, argv: Sequence[str]) -> str:
    """Return what the tool printed, or raise `StorageError` about `what` with the tool's words."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_FOLDERS])
    env = {**os.environ, "PATH": path, "LC_ALL": "C"}
    try:
        done = run(argv, timeout_s=_TIMEOUT_S, env=env, check=False)
    except ProgramError as error:
        raise StorageError(what, f"the host's {argv[0]} can't be run: {error.why}") from error
    if done.returncode != 0:
        raise StorageError(what, f"{argv[0]}: {_words(done)}")
    return done.stdout.decode(errors="replace")


def await_device(what: str, path: Path) -> Path:
    """Return the path once the device is there: udev makes it a little later than the tool ends."""
    deadline_s = time.monotonic() + _DEVICE_TIMEOUT_S
    while not path.exists():
        if time.monotonic() > deadline_s:
            raise StorageError(what, f"its device did not appear in {_DEVICE_TIMEOUT_S} s")
        time.sleep(_DEVICE_POLL_S)
    return path


def _words(done: Completed) -> str:
    """Return why it refused, without warnings and the host's paths."""
    lines = (line.strip() for line in done.stderr.decode(errors="replace").splitlines())
    said = "; ".join(line for line in lines if line and not line.startswith("WARNING:"))
    said = said or f"exit status {done.returncode}"
    return _PATH.sub("(path)", said)[:_MOST_WORDS]
