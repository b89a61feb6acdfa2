"""The floor: a bare asyncio server that reads a request to its end and answers canned bytes.

No server on this event loop can be faster, so a ratio to it tells what the daemon adds, on any
machine. Run as `python -m bench.floor SOCKET REPLY_FILE protocol|streams asyncio|uvloop`.
"""

import asyncio
import sys
from pathlib import Path
from typing import cast

from .loops import choose


class Bare(asyncio.Protocol):
    """The fastest form: callbacks, no task, no parsing."""

    def __init__(self, reply: bytes) -> None:
        self._reply = reply
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def eof_received(self) -> bool:
        assert self._transport is not None
        self._transport.write(self._reply)
        self._transport.close()
        return True


async def _protocol(path: str, reply: bytes) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: Bare(reply), path, backlog=1024)
    await server.serve_forever()


async def _streams(path: str, reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(reply)
        writer.close()

    server = await asyncio.start_unix_server(answer, path, backlog=1024)
    await server.serve_forever()


FORMS = {"protocol": _protocol, "streams": _streams}


def main(path: str, reply_file: str, form: str, loop: str) -> None:
    """Serve until killed."""
    choose(loop)
    asyncio.run(FORMS[form](path, Path(reply_file).read_bytes()))


if __name__ == "__main__":
    main(*sys.argv[1:])
