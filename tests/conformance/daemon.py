"""A real daemon as a process of its own, on a directory of its own, for calls over its sockets."""

import os
import socket
import subprocess  # a test may
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SRC = Path(__file__).parents[2] / "src"
KERNELS = ("6.12.63-1.fc41", "6.6.119-1.fc41")
SETTINGS = (
    "hypervisor.driver=fake",
    "hypervisor.fake.memory_mib=16384",
    "hypervisor.fake.cpus=4",
    "storage.default_driver=file-reflink",
    "storage.reflink_fallback=true",
    "log.level=warning",
)
_MAIN = (
    "import sys; from pathlib import Path; from qubeward.daemon.main import run; "
    "sys.exit(run(Path(sys.argv[1]), sys.argv[2:]))"
)
_READY_S = 30


@contextmanager
def daemon(root: Path) -> Iterator[Path]:
    """Run a fresh daemon with the host and kernels of the vectors' README; yield its `run`."""
    for version in KERNELS:
        directory = root / "var/lib/qubes/vm-kernels" / version
        directory.mkdir(parents=True)
        for name in ("vmlinuz", "initramfs"):
            (directory / name).write_bytes(b"not a kernel")
        with (directory / "modules.img").open("wb") as image:
            image.truncate(1 << 20)
    log = root / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN, str(root), *SETTINGS],
            env={**os.environ, "PYTHONPATH": str(SRC)},
            stdout=output,
            stderr=output,
        )
    try:
        end = time.monotonic() + _READY_S
        while not (root / "run/qubeward/draft.sock").is_socket():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield root / "run"
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(_READY_S)


def exchange(path: Path, request: bytes, timeout_s: float = 20) -> bytes:
    """Send a whole request and return all that comes back, or what came before a reset."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout_s)
        sock.connect(str(path))
        try:
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # refused before the end of the request: the answer says why
        answer = bytearray()
        while part := sock.recv(1 << 16):
            answer += part
    return bytes(answer)
