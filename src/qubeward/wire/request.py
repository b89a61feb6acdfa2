"""Requests on the wire: `METHOD[+ARG] SRC name DEST NUL PAYLOAD`, then end of file.

The header is what qrexec writes to a socket service. DEST may also be spelled `keyword adminvm`.
Some methods have payloads of any length, of which only the beginning (`Head`) is read here.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from ..errors import ProtocolError
from ..untrusted import Untrusted

#: Bytes: method, argument, source and destination together.
HEADER_LIMIT = 4096
#: Bytes: header and payload together (ADMIN-API §0.1).
REQUEST_LIMIT = 65536
#: Bytes: the first line of a payload that is a stream.
HEAD_LIMIT = 4096

_ADMIN = b"dom0"


class Head(Enum):
    """How much of a streamed payload is wanted before the call can be judged."""

    NOTHING = "nothing"
    LINE = "a line"


class Request(NamedTuple):
    """One call, split but not believed."""

    method: bytes
    arg: Untrusted
    source: Untrusted
    dest: Untrusted
    payload: Untrusted


def _no_streams(_method: bytes) -> Head | None:
    return None


class RequestReader:
    """Collects the bytes of one request. No sockets, no clocks.

    Feed it bytes as they come, in any cuts, then call `end()` at end of file. It never holds more
    than `limit` bytes. `head_of` tells of a method whether its payload is a stream: of such a
    request `is_ready` becomes true once its head is whole, and it takes no more bytes; `begin()`
    then returns the request with that head as payload, and what came after it.
    """

    __slots__ = ("_buffer", "_head", "_head_of", "_header_limit", "_limit", "_nul", "_too_long",
                 "is_ready")  # fmt: skip

    def __init__(
        self,
        *,
        limit: int = REQUEST_LIMIT,
        header_limit: int = HEADER_LIMIT,
        head_of: Callable[[bytes], Head | None] = _no_streams,
    ) -> None:
        self._limit = limit
        self._header_limit = header_limit
        self._head_of = head_of
        self._buffer = bytearray()
        self._nul = -1
        self._head: Head | None = None
        self._too_long = False
        self.is_ready = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes, of any length; raise `ProtocolError` once they are too many."""
        if not self._too_long:
            seen = len(self._buffer)
            self._buffer += data
            if self._nul < 0:
                self._find_header(seen)
            self._check_head()
        if self._too_long:
            raise ProtocolError("request", f"longer than {self._limit} bytes")

    def _find_header(self, seen: int) -> None:
        self._nul = self._buffer.find(b"\0", seen)
        if 0 <= self._nul <= self._header_limit:
            call, _, _ = self._buffer[: self._nul].partition(b" ")
            self._head = self._head_of(bytes(call.partition(b"+")[0]))

    def _check_head(self) -> None:
        if self._head is None:
            if len(self._buffer) > self._limit:
                self._too_long = True
                self._buffer.clear()
            return
        first, limit = self._nul + 1, self._nul + 1 + HEAD_LIMIT
        self.is_ready = self._head is Head.NOTHING or self._buffer.find(b"\n", first, limit) >= 0
        if not self.is_ready and len(self._buffer) > limit:
            raise ProtocolError("payload", f"its first line is longer than {HEAD_LIMIT} bytes")

    @property
    def is_stream(self) -> bool:
        """Tell whether the request is one whose payload is a stream, as far as it is known."""
        return self._head is not None

    def end(self) -> Request:
        """Take the end of file, and return the request it completed."""
        if self._too_long:
            raise ProtocolError("request", f"longer than {self._limit} bytes")
        return self._request(bytes(self._buffer[self._nul + 1 :]) if self._nul >= 0 else b"")

    def begin(self) -> tuple[Request, bytes]:
        """Return the request whose head is whole, or was ended, and the bytes after the head."""
        payload = bytes(self._buffer[self._nul + 1 :])
        head, rest = b"", payload
        if self._head is Head.LINE:
            head, _, rest = payload.partition(b"\n")
        if len(head) > HEAD_LIMIT:
            raise ProtocolError("payload", f"its first line is longer than {HEAD_LIMIT} bytes")
        return self._request(head), rest

    def _request(self, payload: bytes) -> Request:
        if not 0 <= self._nul <= self._header_limit:
            raise ProtocolError("request", "header not ended by a zero byte")
        words = bytes(self._buffer[: self._nul]).split(b" ", 3)
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
