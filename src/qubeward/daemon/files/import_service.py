"""Pass a call whose payload is a stream on to the daemon: its method is the name of this file.

Usage: admin.vm.volume.Import VOLUME <DATA, with the qube in QREXEC_REQUESTED_TARGET and the caller
in QREXEC_REMOTE_DOMAIN, as qrexec and clients of Qubes OS call it. Prints the daemon's answer.

Made by the daemon of qubeward at each of its starts: changes are lost.
"""

import os
import socket
import sys
import threading

SOCKET = "@SOCKET@"
CHUNK_BYTES = 1 << 20


def connect() -> socket.socket:
    """Connect, by way of the directory: the path may be too long for a socket's name."""
    directory = os.open(os.path.dirname(SOCKET), os.O_PATH | os.O_DIRECTORY)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(f"/proc/self/fd/{directory}/{os.path.basename(SOCKET)}")
    finally:
        os.close(directory)
    return sock


def send(sock: socket.socket, header: bytes) -> None:
    """Send the call; who refuses it answers, and may stop to read."""
    try:
        sock.sendall(header)
        while chunk := os.read(0, CHUNK_BYTES):
            sock.sendall(chunk)
        sock.shutdown(socket.SHUT_WR)
    except ConnectionError:
        pass


def main() -> int:
    """Pass one call on."""
    method = os.path.basename(sys.argv[0])
    argument = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("QREXEC_SERVICE_ARGUMENT", "")
    caller = os.environ.get("QREXEC_REMOTE_DOMAIN", "dom0")
    target = os.environ.get("QREXEC_REQUESTED_TARGET", "dom0")
    words = f"{method}+{argument} {caller} name {target}"
    if words.count(" ") != 3 or "\0" in words or not words.isascii():
        sys.stdout.write("2\0ProtocolError\0\0Invalid %s: %s\0request\0a space, or not ASCII\0")
        return 0
    try:
        sock = connect()
    except OSError as error:
        print(f"{method}: {SOCKET}: {error.strerror}", file=sys.stderr)
        return 1
    header = words.encode("ascii") + b"\0"
    threading.Thread(target=send, args=(sock, header), daemon=True).start()
    while chunk := sock.recv(CHUNK_BYTES):
        os.write(1, chunk)
    return 0


if __name__ == "__main__":
    sys.exit(main())
