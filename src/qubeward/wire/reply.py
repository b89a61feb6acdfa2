"""Replies on the wire: OK, EVENT and EXCEPTION, both directions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import AdminError


@dataclass(frozen=True, slots=True)
class Ok:
    """A call's result, not yet decoded."""

    content: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream. `subject` is empty for events of the whole system."""

    subject: str
    name: str
    fields: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a client reads it."""

    wire_name: str
    template: str
    fields: tuple[str, ...]
    traceback: str = ""

    def __str__(self) -> str:
        try:
            return self.template % self.fields
        except (TypeError, ValueError):  # a server that sends a finished sentence
            return " ".join((self.template, *self.fields))


Message = Ok | Event | Failure


class BadReplyError(ValueError):
    """The bytes are no reply of this protocol, or end in the middle of one."""


def encode_ok(content: bytes) -> bytes:
    """Spell a success."""
    return b"0\0" + content


def encode_event(event: Event) -> bytes:
    """Spell one event of a stream."""
    words = [event.subject, event.name]
    for key, value in event.fields:
        words += (key, value)
    # An empty key would read as the end of the event; there is none in the table of events.
    return b"1\0" + _texts(words) + b"\0"


def encode_failure(error: AdminError) -> bytes:
    """Spell an error: type, no traceback, template, fields."""
    return b"2\0" + _texts((error.wire_name, "", error.template, *error.fields))


def _texts(words: Iterable[str]) -> bytes:
    return b"".join(
        word.replace("\0", "").encode("utf-8", "backslashreplace") + b"\0" for word in words
    )


class ReplyReader:
    """Turns the bytes of one connection into messages, as clients need. No sockets, no clocks.

    `feed()` returns the events that are whole so far; `end()` the OK or EXCEPTION, or None for a
    stream that just ended. Anything else is a `BadReplyError`. It never holds more than `limit`
    bytes of one message.
    """

    def __init__(self, *, limit: int = 64 << 20) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes, in any cuts, and return the events that they completed."""
        self._buffer += data
        events = []
        while (event := self._take_event()) is not None:
            events.append(event)
        if len(self._buffer) > self._limit:
            raise BadReplyError(f"a message longer than {self._limit} bytes")
        return events

    def _take_event(self) -> Event | None:
        if self._buffer[:2] != b"1\0":
            return None
        words: list[str] = []
        start = 2
        while True:
            end = self._buffer.find(b"\0", start)
            if end < 0:
                return None
            if end == start and len(words) >= 2 and len(words) % 2 == 0:
                break
            words.append(_text(bytes(self._buffer[start:end])))
            start = end + 1
        del self._buffer[: end + 1]
        subject, name, *rest = words
        return Event(subject, name, tuple(zip(rest[::2], rest[1::2], strict=True)))

    def end(self) -> Ok | Failure | None:
        """Take the end of file, and return the message that it completed."""
        data = bytes(self._buffer)
        self._buffer.clear()
        if not data:
            return None
        if data[:2] == b"0\0":
            return Ok(data[2:])
        if data[:2] != b"2\0" or not data.endswith(b"\0") or data.count(b"\0") < 4:
            raise BadReplyError("not a reply of this protocol")
        name, traceback, template, *fields = (_text(word) for word in data[2:-1].split(b"\0"))
        return Failure(name, template, tuple(fields), traceback)


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
