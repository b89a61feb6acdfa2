"""The sockets: who may connect, how much, how long; and one protocol object a connection."""

import asyncio
import contextlib
import os
import resource
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ..errors import AdminError, BusyError, PermissionDeniedError, ProtocolError
from ..host.threads import Threads
from ..wire.reply import encode_failure
from ..wire.request import RequestReader
from .gate import HEADS, Endpoint
from .incoming import SocketIncoming
from .peers import Admitted
from .serve import Corridor
from .streams import Stream, Streams

#: sun_path, with its final zero (unix(7)).
_PATH_LIMIT = 107
_BACKLOG = 1024
_MOST_FILES = 65536
_FILES_KEPT_BACK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection and all of them may take. Bytes and seconds."""

    request_bytes: int = 65536
    header_bytes: int = 4096
    read_deadline_s: float = 30.0
    write_deadline_s: float = 60.0
    connections: int = 10_000
    stream_idle_s: float = 300.0


def most_connections(sockets: int) -> int:
    """Raise the limit of open files as far as it goes; return the connections a socket may have.

    Some files are kept back, for the store, disks and guests.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > _MOST_FILES:
        hard = _MOST_FILES
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    )
    return max(1, (hard - _FILES_KEPT_BACK) // sockets)


class Connection(asyncio.Protocol):
    """One request and its answer, or one stream."""

    __slots__ = ("_closing", "_end_stream", "_lingering", "_listener", "_reader", "_refusal",
                 "_stream", "_touched", "deadline", "served", "transport")  # fmt: skip

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        limits = listener.limits
        self._reader = RequestReader(
            limit=limits.request_bytes, header_limit=limits.header_bytes, head_of=HEADS.get
        )
        self._lingering = False
        self._refusal: bytes | None = None
        self._stream: Stream | None = None
        self._end_stream: Callable[[], None] | None = None
        self._closing = False
        self._touched = False
        self.served = False
        self.deadline: float = 0.0
        self.transport: asyncio.Transport | None = None

    # From the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection in, or refuse it."""
        # A cast: not every event loop's transport is a subclass of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self._refusal = self._listener.take(self, transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Collect the request; what is too long is read on, and refused at its end."""
        self._touched = True
        if self._refusal is None and not self.served:
            try:
                self._reader.feed(data)
            except ProtocolError as error:
                self._refusal = encode_failure(error)
                if self._reader.is_stream:  # it may be as long as it likes: answer now
                    self._lingering = True
                    self._serve()
            else:
                if self._reader.is_ready:
                    self._receive()

    def eof_received(self) -> bool:
        """Serve the request, which is whole now."""
        if not self.served and self._refusal is None and self._reader.is_stream:
            self._receive()
        else:
            self._serve()
        return not (self._lingering and self._closing)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection; its operation goes on, its stream ends."""
        self._closing = True
        self.transport = None
        if self._end_stream is not None:
            self._end_stream()
        self._listener.forget(self)

    def pause_writing(self) -> None:
        """Hold a stream's events back: the reader is slow."""
        if self._stream is not None:
            self._stream.pause()

    def resume_writing(self) -> None:
        """Send what was held back."""
        if self._stream is not None:
            self._stream.resume()

    # From the corridor.

    def _serve(self) -> None:
        if self.served:
            return
        self.served = True
        if self._refusal is not None:
            self.answer(self._refusal)
        else:
            self._listener.corridor.serve(self._reader, self._listener.endpoint, self)

    def _receive(self) -> None:
        """Have the payload taken in by whoever serves the call: no more of it is read here."""
        if self.transport is None:
            return
        self.served = self._lingering = True
        self.transport.pause_reading()
        listener = self._listener
        fd = self.transport.get_extra_info("socket").fileno()
        incoming = SocketIncoming(fd, listener.receiving, listener.limits.stream_idle_s)
        listener.corridor.receive(self._reader, listener.endpoint, self, incoming)

    def answer(self, data: bytes) -> None:
        """Send the one answer, and close."""
        if self._lingering:
            self._linger(data)
        else:
            self.close_after(data)

    def _linger(self, last: bytes) -> None:
        """Send the answer, and read on for a while: closed unread, the sender might not get it."""
        if self.transport is None or self._closing:
            return
        self._closing = True
        self.deadline = self._listener.now() + self._listener.limits.write_deadline_s
        self.transport.write(last)
        self.transport.write_eof()
        self.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send bytes of a stream."""
        if self.transport is not None and not self._closing:
            self.transport.write(data)

    def close_after(self, last: bytes) -> None:
        """Send last bytes, and close; the sweep aborts if they aren't read in time."""
        if self.transport is None or self._closing:
            return
        self._closing = True
        self.deadline = self._listener.now() + self._listener.limits.write_deadline_s
        self.transport.write(last)
        self.transport.close()

    def stream(self, stream: Stream, streams: Streams) -> None:
        """Become a stream of events."""
        if self.transport is None:
            return
        self.deadline = 0.0
        self._stream = stream
        self.transport.set_write_buffer_limits(high=65536)
        self._end_stream = streams.add(stream)

    # From the sweep.

    def abort(self) -> None:
        """Close at once, whatever is still to be sent."""
        if self.transport is not None:
            self.transport.abort()

    def expire(self) -> None:
        """Deal with a connection that took too long to speak, or to listen."""
        if self._closing or not self._touched:
            self.abort()
        elif not self.served:
            self.refuse(ProtocolError("request", "no end of it in time"))

    def refuse(self, error: AdminError) -> None:
        """Answer a request that isn't whole, and won't be waited for."""
        self.served = True
        if self._touched:
            self.answer(encode_failure(error))
        else:
            self.abort()

    @property
    def may_expire(self) -> bool:
        """Tell whether it is its peer whom the connection waits for, not an operation."""
        return not self.served or self._closing or self.transport is None

    @property
    def has_stream(self) -> bool:
        """Tell whether the connection is a stream of events."""
        return self._stream is not None

    def has_hung_up(self) -> bool:
        """Tell whether who waits for an answer or events has closed its end altogether."""
        if not self.served or self.transport is None:
            return False
        fd = self.transport.get_extra_info("socket").fileno()
        poll = select.poll()
        poll.register(fd, 0)  # a hang-up is reported without being asked for
        return any(flags & select.POLLHUP for _, flags in poll.poll(0))


class Listener:
    """One listening socket and its connections."""

    def __init__(
        self,
        corridor: Corridor,
        endpoint: Endpoint,
        limits: Limits,
        admitted: Admitted,
        receiving: Threads | None = None,
    ) -> None:
        self.corridor = corridor
        self.endpoint = endpoint
        self.limits = limits
        self._admitted = admitted
        self._connections: dict[Connection, None] = {}
        self.receiving = receiving or Threads("incoming", 1)
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self.now: Callable[[], float] = asyncio.get_running_loop().time

    def __len__(self) -> int:
        return len(self._connections)

    def take(self, connection: Connection, sock: socket.socket) -> bytes | None:
        """Take a new connection in; return the answer that refuses it, if it is refused."""
        self._connections[connection] = None
        connection.deadline = self.now() + self.limits.read_deadline_s
        if len(self._connections) > self.limits.connections:
            connection.served = True
            self._drain(sock)
            connection.answer(encode_failure(BusyError("too many connections")))
            return b""
        if not self._admitted.admits(sock):
            return encode_failure(PermissionDeniedError())
        return None

    def _drain(self, sock: socket.socket) -> None:
        """Read what is there already: unread, it makes the kernel reset the answer's way."""
        with contextlib.suppress(OSError):
            os.read(sock.fileno(), self.limits.request_bytes)

    def forget(self, connection: Connection) -> None:
        """Let a closed connection go."""
        self._connections.pop(connection, None)

    async def open(self, path: Path, group: int | None) -> None:
        """Listen at the path; a stale socket there is replaced."""
        sock = bind(path, group)
        loop = asyncio.get_running_loop()
        self._path = path
        self._server = await loop.create_unix_server(
            lambda: Connection(self), sock=sock, backlog=_BACKLOG
        )

    def sweep(self) -> None:
        """Expire connections that took too long. Called about once a second."""
        now = self.now()
        for connection in tuple(self._connections):
            if connection.deadline and connection.deadline <= now and connection.may_expire:
                connection.expire()
            elif connection.has_hung_up():
                connection.abort()

    def close(self) -> None:
        """Take no more connections, and end the streams; answers under way still go out."""
        if self._server is not None:
            self._server.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        for connection in tuple(self._connections):
            if connection.has_stream:
                connection.close_after(b"")
            elif not connection.served:
                connection.refuse(BusyError("it is stopping"))


def bind(path: Path, group: int | None) -> socket.socket:
    """Bind a socket at the path, mode 0660, and return it; a path too long goes round.

    A path over 107 bytes doesn't fit `sun_path`; the same file by way of its open directory does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        name = str(path)
        if len(os.fsencode(name)) > _PATH_LIMIT:
            name = f"/proc/self/fd/{directory}/{path.name}"
        # Nobody may connect before the mode is set: bind with no rights for others, then open up.
        before = os.umask(0o177)
        try:
            sock.bind(name)
        finally:
            os.umask(before)
    except BaseException:
        sock.close()
        raise
    finally:
        os.close(directory)
    if group is not None:
        with contextlib.suppress(PermissionError):
            os.chown(path, -1, group)
    path.chmod(0o660)
    return sock
