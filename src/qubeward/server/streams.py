"""Event streams: each fact spelled once, sent to all who want it, and nobody buffered for ever."""

from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..api.event import Filter
from ..bus import Bus
from ..errors import LaggedError
from ..facts import Fact
from ..names import QubeName
from ..spec.event import ESTABLISHED, Said, spell
from ..wire.reply import Event, encode_event, encode_failure

#: Bytes that may wait for one reader before it is told that it lags, and closed.
QUEUE_LIMIT_BYTES = 1 << 20


class Reader(Protocol):
    """The connection of a subscriber."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def close_after(self, last: bytes) -> None:
        """Send last bytes, and close; abort if they aren't read in time."""


def encode_said(subject: QubeName | None, said: Said) -> bytes:
    """Spell one event of the table."""
    fields = [(key, str(value)) for key, value in said.fields]
    return encode_event(Event(subject or "", said.name, fields))


class Stream:
    """One subscriber. `pause` and `resume` come from its transport."""

    def __init__(
        self, reader: Reader, passes: Filter, *, limit_bytes: int = QUEUE_LIMIT_BYTES
    ) -> None:
        self._reader = reader
        self._limit_bytes = limit_bytes
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._paused = False
        self._over = False
        self.passes = passes

    def send(self, event: bytes) -> None:
        """Send an event, or queue it while the reader is slow."""
        if self._over:
            return
        if not self._paused:
            self._reader.write(event)
            return
        self._waiting.append(event)
        self._waiting_bytes += len(event)
        if self._waiting_bytes > self._limit_bytes:
            behind = len(self._waiting)
            self._waiting.clear()
            self._over = True
            self._reader.close_after(encode_failure(LaggedError(str(behind))))

    def pause(self) -> None:
        """Take note that the reader is slow."""
        self._paused = True

    def resume(self) -> None:
        """Take note that the reader has caught up with what was written."""
        self._paused = False
        while self._waiting and not self._paused and not self._over:
            event = self._waiting.popleft()
            self._waiting_bytes -= len(event)
            self._reader.write(event)


class Streams:
    """All subscribers."""

    def __init__(self, bus: Bus) -> None:
        self._streams: dict[Stream, None] = {}
        bus.subscribe(self._on_fact)

    def __len__(self) -> int:
        return len(self._streams)

    def open(self, reader: Reader, passes: Filter) -> Callable[[], None]:
        """Send events to the reader from now on; the returned call ends that."""
        return self.add(Stream(reader, passes))

    def add(self, stream: Stream) -> Callable[[], None]:
        """Send events to the stream from now on; the returned call ends that."""
        self._streams[stream] = None
        stream.send(encode_said(None, Said(ESTABLISHED)))
        return lambda: self._streams.pop(stream, None)

    def _on_fact(self, _sequence: int, fact: Fact) -> None:
        if not self._streams:
            return
        for subject, said in spell(fact):
            # An event of the system may be about a qube (domain-add): its name, for the filter.
            about = fact.subject
            encoded = encode_said(subject, said)
            for stream in tuple(self._streams):
                if stream.passes(subject, about):
                    stream.send(encoded)
