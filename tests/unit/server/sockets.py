"""A real socket before a system in this process, for tests of what a connection may do."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from qubeward.server.gate import Endpoint
from qubeward.server.peers import Admitted
from qubeward.server.unix import Limits, Listener
from qubeward.wire.reply import Event, Failure, Ok, ReplyReader
from qubeward.wire.request import encode_request
from world import R4, Made, made_world, populate

LIST = encode_request("admin.vm.List", b"", b"dom0", b"dom0")


class Client:
    """A caller's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._messages = ReplyReader()
        self._events: list[Event] = []

    async def all(self, timeout_s: float = 10) -> bytes:
        """Return everything until the end."""
        async with asyncio.timeout(timeout_s):
            return await self.reader.read()

    async def answer(self) -> Ok | Failure | None:
        """Return the one answer, or None for an end without a word."""
        self._messages.feed(await self.all())
        return self._messages.end()

    async def event(self, timeout_s: float = 10) -> Event:
        """Return the next event of a stream."""
        async with asyncio.timeout(timeout_s):
            while not self._events:
                part = await self.reader.read(65536)
                assert part, "the stream ended"
                self._events += self._messages.feed(part)
        return self._events.pop(0)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    def end(self) -> None:
        self.writer.write_eof()

    def hang_up(self) -> None:
        self.writer.close()


@dataclass(slots=True)
class Served:
    """A system with a socket before it. `later` is what the listener's clock is ahead by.

    All clients are gone at the end.
    """

    made: Made
    listener: Listener
    path: Path
    later: float = 0.0
    clients: list[Client] = field(default_factory=list)

    async def connect(self) -> Client:
        self.clients.append(Client(*await asyncio.open_unix_connection(self.path)))
        return self.clients[-1]

    async def ask(self, request: bytes) -> Ok | Failure | None:
        """Send a whole request, and return its answer."""
        client = await self.connect()
        client.send(request)
        client.end()
        try:
            return await client.answer()
        finally:
            client.hang_up()

    async def subscribe(self, dest: str = "dom0") -> Client:
        """Open a stream of events, past its first."""
        client = await self.connect()
        client.send(encode_request("admin.Events", b"", b"dom0", dest.encode()))
        client.end()
        assert (await client.event()).name == "connection-established"
        return client

    def pass_time(self, seconds: float) -> None:
        """Let time pass for deadlines, and do what the daemon does each second."""
        self.later += seconds
        self.listener.sweep()

    async def until_gone(self, connections: int = 0) -> None:
        """Wait until no more than so many connections are left."""
        async with asyncio.timeout(10):
            while len(self.listener) > connections:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(0.001)


@asynccontextmanager
async def served(
    directory: Path,
    *,
    limits: Limits | None = None,
    admitted: Admitted | None = None,
    endpoint: Endpoint = R4,
    made: Made | None = None,
) -> AsyncIterator[Served]:
    """Put a socket before a system (one of each class, if none is given)."""
    async with made_world() as fresh:
        if made is None:
            made = fresh
            await populate(made)
        listener = Listener(
            made.corridor, endpoint, limits or Limits(), admitted or Admitted(os.geteuid(), None)
        )
        path = directory / "sock"
        serving = Served(made, listener, path)
        now = asyncio.get_running_loop().time
        listener.now = lambda: now() + serving.later
        await listener.open(path, None)
        try:
            yield serving
        finally:
            listener.close()
            for client in serving.clients:
                client.writer.transport.abort()
            await serving.until_gone()
