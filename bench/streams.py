"""A call whose payload is a file, as a client that wants to be quick sends it."""

import socket
from pathlib import Path

from .load import OK, UnexpectedAnswerError

_ZEROS = bytes(1 << 20)


def send_file(path: str, header: bytes, source: Path, size_bytes: int | None = None) -> None:
    """Send a header and a file, filled up with zeros to a size; wait for the answer."""
    with socket.socket(socket.AF_UNIX) as sock, source.open("rb") as file:
        sock.connect(path)
        sock.sendall(header)
        left = (size_bytes or 0) - sock.sendfile(file)
        while left > 0:
            sock.sendall(_ZEROS[:left])
            left -= len(_ZEROS)
        sock.shutdown(socket.SHUT_WR)
        answer = sock.recv(4096)
    if not answer.startswith(OK):
        raise UnexpectedAnswerError(f"{header!r}: {answer[:200]!r}")
