"""Processes that are measured: started, asked when they are ready, clocked, and ended."""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .load import call

_READY_S = 120.0
#: sun_path without its final zero (unix(7)).
_MOST_BYTES = 107


class ServerError(Exception):
    """A measured program did not come up, or went away."""


@dataclass(frozen=True, slots=True)
class Server:
    """A socket, and the process behind it."""

    path: str
    pid: int
    #: Seconds of wall and of CPU time from its start to its first answer.
    start_s: float = 0.0
    start_cpu_s: float = 0.0

    def cpu_s(self) -> float:
        """Return the CPU time of all its threads so far, in seconds."""
        # The clock that clock_getcpuclockid(3) returns: readable for any process, in nanoseconds.
        return time.clock_gettime(~self.pid << 3 | 2)

    def rss_mib(self) -> float:
        """Return its resident memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise ServerError("the server is gone")


def behind(path: str) -> Server:
    """Return the server that listens on a socket, whoever started it."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, _, _ = struct.unpack("3i", raw)
    return Server(path, pid)


def _until_ready(process: "subprocess.Popen[bytes]", path: str, request: bytes) -> None:
    end = time.perf_counter() + _READY_S
    while time.perf_counter() < end:
        if process.poll() is not None:
            raise ServerError(f"{process.args!r} ended with status {process.returncode}")
        with contextlib.suppress(OSError):
            if call(path, request):
                return
        time.sleep(0.002)
    raise ServerError(f"{process.args!r} is not ready after {_READY_S} s")


@contextlib.contextmanager
def started(
    command: Sequence[str], path: Path, request: bytes, log: Path | None = None
) -> Iterator[Server]:
    """Run a server until the block ends; it is ready when it has answered the request."""
    if len(os.fsencode(path)) > _MOST_BYTES:
        raise ServerError(f"{path} is too long for a socket: choose another --dir")
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
        try:
            _until_ready(process, str(path), request)
            start_s = time.perf_counter() - begin
            ready = Server(str(path), process.pid)
            yield Server(str(path), process.pid, start_s, ready.cpu_s())
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def daemon(root: Path, loop: str = "asyncio") -> "contextlib.AbstractContextManager[Server]":
    """Run the daemon below a root, with the fake hypervisor."""
    arguments = ("--root", str(root), "daemon", "--set", "hypervisor.driver=fake")
    program = ("qubeward",) if loop == "asyncio" else ("bench.loops", loop)
    request = b"admin.property.Get+stats_interval dom0 name dom0\0"
    log = root / "bench.log"
    return started((*program, *arguments), root / "run/qubesd.sock", request, log)


def floor(
    directory: Path, reply: bytes, *, form: str = "protocol", loop: str = "asyncio"
) -> "contextlib.AbstractContextManager[Server]":
    """Run the floor with one canned reply."""
    directory.mkdir(parents=True, exist_ok=True)
    canned, path = directory / "reply", directory / "floor.sock"
    path.unlink(missing_ok=True)
    canned.write_bytes(reply)
    return started(("bench.floor", str(path), str(canned), form, loop), path, b"ready?\0")


class Generator:
    """The load generator's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.load"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, job: str) -> str:
        """Have it do a job; return its result."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{job}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it."""
        self._process.communicate()
