"""Ways to a server: a transport carries one call there and the bytes of the answer back.

A qrexec transport would be one more class here: it has no header to write, since qrexec carries
the method and the destination itself.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from ..names import ADMIN
from ..wire.dialect import Dialect
from ..wire.request import encode_request
from .errors import ConnectionFailedError

#: Where each dialect is spoken, below the server's root; and the calls of the host's own programs.
SOCKETS: Final = {Dialect.R4: "run/qubesd.sock", Dialect.DRAFT: "run/qubeward/draft.sock"}
INTERNAL_SOCKET: Final = "run/qubesd.internal.sock"

_CHUNK_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One call, spelled."""

    method: str
    arg: bytes
    dest: bytes
    payload: bytes
    #: What comes after the payload, however long it is.
    body: AsyncIterator[bytes] | None = None

    def encode(self, source: str) -> bytes:
        """Spell the whole request, for channels where the caller says who it is."""
        return encode_request(
            self.method, self.arg, source.encode("ascii"), self.dest, self.payload
        )


class Transport(Protocol):
    """A way to one server, which may be used for any number of calls at a time."""

    @property
    def dialect(self) -> Dialect:
        """The spelling that the other end speaks."""

    def exchange(self, call: Outgoing) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Send a call, and give the bytes of its answer as they come, to their end.

        Leaving the block hangs up. Raises `ConnectionFailedError`, on entry or between bytes, and
        the `ProtocolError` of what can't be spelled.
        """


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A daemon's socket on this host. Who may write to it may name any source."""

    path: Path
    dialect: Dialect = Dialect.R4
    source: str = ADMIN

    @asynccontextmanager
    async def exchange(self, call: Outgoing) -> AsyncIterator[AsyncIterator[bytes]]:
        """Make one connection, as the protocol wants for each call."""
        request = call.encode(self.source)
        reader, writer = await self._connect()
        sending: asyncio.Future[None] | None = None
        try:
            if call.body is None:
                await _send(writer, request, None)
            else:  # beside reading: a server that refuses a long payload answers in its middle
                sending = asyncio.ensure_future(_send(writer, request, call.body))
            yield self._chunks(reader)
        except BaseException:
            if sending is not None and sending.done() and (error := sending.exception()):
                raise error from None  # the caller's own body raised it; the rest follows from that
            raise
        finally:
            if sending is not None:
                sending.cancel()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            # The path may pass the 107 bytes of sun_path; by way of its directory it never does.
            directory = os.open(self.path.parent, os.O_PATH | os.O_DIRECTORY)
            try:
                name = f"/proc/self/fd/{directory}/{self.path.name}"
                return await asyncio.open_unix_connection(name, limit=_CHUNK_BYTES)
            finally:
                os.close(directory)
        except FileNotFoundError:
            why = "no such socket: is the daemon running there? (qubeward daemon)"
        except ConnectionRefusedError:
            why = "nobody listens: the daemon has ended; start it again (qubeward daemon)"
        except PermissionError:
            why = "permission denied: be root, or in the group qubes"
        except OSError as error:
            why = str(error.strerror or error)
        raise ConnectionFailedError(f"{self.path}: {why}")

    async def _chunks(self, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
        while True:
            try:
                chunk = await reader.read(_CHUNK_BYTES)
            except OSError as error:
                raise ConnectionFailedError(
                    f"{self.path}: the connection broke: {error.strerror or error}"
                ) from error
            if not chunk:
                return
            yield chunk


async def _send(
    writer: asyncio.StreamWriter, request: bytes, body: AsyncIterator[bytes] | None
) -> None:
    # A server that refuses the connection answers at once, and may not read any more.
    with contextlib.suppress(ConnectionError):
        writer.write(request)
        await writer.drain()
        if body is not None:
            await _send_body(writer, body)
        writer.write_eof()


async def _send_body(writer: asyncio.StreamWriter, body: AsyncIterator[bytes]) -> None:
    is_whole = False
    try:
        async for chunk in body:
            writer.write(chunk)
            await writer.drain()
        is_whole = True
    finally:
        if not is_whole:  # an ordinary end would pass for the end of the data
            writer.transport.abort()


@dataclass(frozen=True, slots=True)
class InProcess:
    """A server in this process: `serve` is given a request, and yields the bytes of its answer."""

    serve: Callable[[bytes], AsyncIterator[bytes]]
    dialect: Dialect = Dialect.R4
    source: str = ADMIN

    @asynccontextmanager
    async def exchange(self, call: Outgoing) -> AsyncIterator[AsyncIterator[bytes]]:
        """Hand the request over."""
        yield self.serve(call.encode(self.source))


def socket_of(root: Path, dialect: Dialect = Dialect.R4) -> UnixSocket:
    """Return the way to the daemon that serves a root."""
    return UnixSocket(root / SOCKETS[dialect], dialect)
