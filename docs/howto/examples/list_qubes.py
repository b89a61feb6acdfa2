"""List the qubes: a client in thirty lines, with nothing but Python.

`python3 list_qubes.py SOCKET`
"""

import socket
import sys


def ask(path: str, method: str, dest: str, arg: str = "", payload: bytes = b"") -> bytes:
    """Make a call as dom0, and return what it answers; `RuntimeError` if that is an error."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(f"{method}+{arg} dom0 name {dest}\0".encode() + payload)
        sock.shutdown(socket.SHUT_WR)  # nothing happens before the end of the request
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    kind, _, content = answer.partition(b"\0")
    if kind == b"2":
        name, _traceback, text, *fields = content.decode().split("\0")[:-1]
        raise RuntimeError(f"{name}: {text % tuple(fields)}")
    return content


def main(path: str) -> None:
    """Print each qube and its state."""
    for line in ask(path, "admin.vm.List", "dom0").decode().splitlines():
        name, *fields = line.split()
        sys.stdout.write(f"{name}: {dict(field.split('=') for field in fields)['state']}\n")


if __name__ == "__main__":
    main(sys.argv[1])
