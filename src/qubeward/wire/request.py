"""Requests on the wire: `METHOD[+ARG] SRC name DEST NUL PAYLOAD`, then end of file.

The header is what qrexec writes to a socket service. DEST may also be spelled `keyword adminvm`.
"""

from typing import NamedTuple

from ..errors import ProtocolError
from ..untrusted import Untrusted

#: Bytes: method, argument, source and destination together.
HEADER_LIMIT = 4096
#: Bytes: header and payload together (ADMIN-API §0.1).
REQUEST_LIMIT = 65536

_ADMIN = b"dom0"


class Request(NamedTuple):
    """One call, split but not believed."""

    method: bytes
    arg: Untrusted
    source: Untrusted
    dest: Untrusted
    payload: Untrusted


class RequestReader:
    """Collects the bytes of one request. No sockets, no clocks.

    Feed it bytes as they come, in any cuts, then call `end()` at end of file. It never holds more
    than `limit` bytes.
    """

    __slots__ = ("_chunks", "_header_limit", "_length", "_limit")

    def __init__(self, *, limit: int = REQUEST_LIMIT, header_limit: int = HEADER_LIMIT) -> None:
        self._limit = limit
        self._header_limit = header_limit
        self._chunks: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes, of any length; raise `ProtocolError` once they are too many."""
        self._length += len(data)
        if self._length > self._limit:
            self._chunks.clear()
            raise ProtocolError("request", f"longer than {self._limit} bytes")
        self._chunks.append(data)

    def end(self) -> Request:
        """Take the end of file, and return the request it completed."""
        if self._length > self._limit:
            raise ProtocolError("request", f"longer than {self._limit} bytes")
        head, zero, payload = b"".join(self._chunks).partition(b"\0")
        if not zero or len(head) > self._header_limit:
            raise ProtocolError("request", "header not ended by a zero byte")
        words = head.split(b" ", 3)
        if len(words) != 4:
            raise ProtocolError("request", "header is not: call source name dest")
        call, source, kind, dest = words
        if kind == b"keyword" and dest == b"adminvm":
            dest = _ADMIN
        elif kind != b"name":
            raise ProtocolError("request", "destination type is neither name nor keyword adminvm")
        method, _, arg = call.partition(b"+")
        return Request(
            method, Untrusted(arg), Untrusted(source), Untrusted(dest), Untrusted(payload)
        )


def encode_request(
    method: str, arg: bytes, source: bytes, dest: bytes, payload: bytes = b""
) -> bytes:
    """Spell a request, as clients do. Raises `ProtocolError` for what the header can't carry."""
    call = method.encode("ascii") + b"+" + arg
    if any(mark in word for word in (call, source) for mark in (b" ", b"\0")) or b"\0" in dest:
        raise ProtocolError("request", "a space or a zero byte in the header")
    return b" ".join((call, source, b"name", dest)) + b"\0" + payload
