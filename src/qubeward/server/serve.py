"""One call from bytes to bytes. Whatever happens, the caller gets one answer."""

import asyncio
import logging
import secrets
from typing import Any, Protocol

from ..api.call import Call
from ..api.event import wanted
from ..errors import AdminError, BusyError, InternalError, StoreError
from ..ops.incoming import Incoming
from ..ops.journal import Stored
from ..ops.world import World
from ..wire.reply import encode_failure, encode_ok
from ..wire.request import RequestReader
from .gate import Admission, Endpoint, Gate
from .streams import Stream, Streams

log = logging.getLogger(__name__)


class Peer(Protocol):
    """The connection that a call came in on."""

    def answer(self, data: bytes) -> None:
        """Send the one answer, and close."""

    def stream(self, stream: Stream, streams: Streams) -> None:
        """Become a stream of events."""

    def write(self, data: bytes) -> None:
        """Send bytes of a stream."""

    def close_after(self, last: bytes) -> None:
        """Send the last bytes of a stream, and close."""


class Arriving(Incoming, Protocol):
    """The rest of a payload, as the connection has it."""

    def begin(self, rest: bytes) -> None:
        """Take what was read of it already."""

    def close(self) -> None:
        """Let go of it, read or not."""


class Corridor:
    """The way of every call: gate, handler, disk, answer. It has the daemon's broad `except`."""

    def __init__(self, world: World, gate: Gate, ledger: Stored, streams: Streams) -> None:
        self._world = world
        self._gate = gate
        self._ledger = ledger
        self._streams = streams
        #: Calls that are being worked on by tasks.
        self.under_way = 0

    def serve(self, reader: RequestReader, endpoint: Endpoint, peer: Peer) -> None:
        """Answer a request that is whole. Returns at once; the answer may come later."""
        try:
            admission, call = self._gate.admit(reader.end(), endpoint)
            if admission.route.method.stream:
                self._open_stream(call, peer)
                return
            if admission.route.waits:
                self.under_way += 1
                self._world.tasks.create_task(self._work(admission, call, peer))
                return
            body = encode_ok(admission.reply.encode(admission.route.handler(call)))
        except AdminError as error:
            body = encode_failure(error)
        except Exception:  # noqa: BLE001  # the one place that answers for every bug
            body = _incident()
        self._answer(peer, body)

    async def _work(self, admission: Admission, call: Call[Any, Any], peer: Peer) -> None:
        """Do a call that takes a while. It goes on even if the caller hangs up."""
        try:
            result = await admission.route.handler(call)
            body = encode_ok(admission.reply.encode(result))
        except AdminError as error:
            body = encode_failure(error)
        except asyncio.CancelledError:
            peer.answer(encode_failure(BusyError("it is stopping")))
            raise
        except Exception:  # noqa: BLE001  # the one place that answers for every bug
            body = _incident()
        finally:
            self.under_way -= 1
        self._answer(peer, body)

    def _answer(self, peer: Peer, body: bytes) -> None:
        """Answer once all that the answer may rest on is on disk."""

        def stored(error: StoreError | None) -> None:
            peer.answer(body if error is None else encode_failure(error))

        self._ledger.when_stored(self._world.system.sequence, stored)

    def receive(
        self, reader: RequestReader, endpoint: Endpoint, peer: Peer, incoming: Arriving
    ) -> None:
        """Answer a request whose payload is a stream; its beginning is whole."""
        try:
            request, rest = reader.begin()
            incoming.begin(rest)
            admission, call = self._gate.admit(request, endpoint, incoming)
        except AdminError as error:
            body = encode_failure(error)
        except Exception:  # noqa: BLE001  # the one place that answers for every bug
            body = _incident()
        else:
            self.under_way += 1
            self._world.tasks.create_task(self._take_in(admission, call, peer, incoming))
            return
        incoming.close()
        self._answer(peer, body)

    async def _take_in(
        self, admission: Admission, call: Call[Any, Any], peer: Peer, incoming: Arriving
    ) -> None:
        try:
            await self._work(admission, call, peer)
        finally:
            incoming.close()

    def _open_stream(self, call: Call[Any, Any], peer: Peer) -> None:
        peer.stream(Stream(peer, wanted(call)), self._streams)


def _incident() -> bytes:
    """Log the exception that is being handled, and return the answer that names its entry."""
    number = secrets.token_hex(4)
    log.exception("incident %s", number)  # noqa: LOG004  # called from `except` alone
    return encode_failure(InternalError(number))
