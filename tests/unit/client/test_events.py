"""The stream of events goes on, whatever becomes of its connections."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from qubeward.client import Client, ConnectionFailedError, InProcess, follow
from qubeward.client.events import is_established
from qubeward.errors import (
    AdminError,
    BusyError,
    LaggedError,
    PermissionDeniedError,
    QubeNotFoundError,
)
from qubeward.wire.reply import Event, encode_event, encode_failure

ESTABLISHED = Event("", "connection-established", ())
STARTED = Event("work", "domain-start", (("start_guid", "100%"),))
HELLO = encode_event(ESTABLISHED)


class Script:
    """Plays one answer a connection: bytes to send, or what the connection fails with."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.losses: list[Exception] = []

    async def serve(self, request: bytes) -> AsyncIterator[bytes]:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        for byte in answer:
            yield bytes([byte])

    async def events(self, count: int, dest: str = "dom0") -> list[Event]:
        found: list[Event] = []
        client = Client(InProcess(self.serve))
        async with aclosing(follow(client, dest, retry_s=0, on_loss=self.losses.append)) as stream:
            async for event in stream:
                found.append(event)
                if len(found) == count:
                    break
        return found


async def test_events_come_with_their_fields() -> None:
    script = Script(HELLO + encode_event(STARTED))
    assert await script.events(2, "work") == [ESTABLISHED, STARTED]
    assert script.requests == [b"admin.Events+ dom0 name work\0"]
    assert is_established(ESTABLISHED)
    assert not is_established(STARTED)


async def test_each_connection_begins_with_established() -> None:
    script = Script(HELLO + encode_event(STARTED), HELLO, HELLO + encode_event(STARTED))
    assert await script.events(5) == [ESTABLISHED, STARTED, ESTABLISHED, ESTABLISHED, STARTED]
    assert len(script.losses) == 2


@pytest.mark.parametrize("gone", [ConnectionFailedError("gone"), encode_failure(BusyError("full"))])
async def test_a_server_that_is_away_is_waited_for(gone: bytes | Exception) -> None:
    script = Script(HELLO, gone, gone, HELLO)
    assert await script.events(2) == [ESTABLISHED, ESTABLISHED]
    assert len(script.losses) == 3


async def test_a_reader_that_lagged_connects_again() -> None:
    script = Script(HELLO + encode_failure(LaggedError("7")), HELLO)
    assert await script.events(2) == [ESTABLISHED, ESTABLISHED]
    assert isinstance(script.losses[0], LaggedError)


async def test_half_an_event_is_no_event() -> None:
    script = Script(HELLO + encode_event(STARTED)[:-3], HELLO)
    assert await script.events(2) == [ESTABLISHED, ESTABLISHED]


@pytest.mark.parametrize("answer", [ConnectionFailedError("nobody"), b"", b"junk"])
async def test_a_first_connection_that_fails_is_told(answer: bytes | Exception) -> None:
    with pytest.raises(ConnectionFailedError):
        await Script(answer).events(1)


@pytest.mark.parametrize("refusal", [PermissionDeniedError(), BusyError("full")])
async def test_a_refusal_is_told(refusal: AdminError) -> None:
    with pytest.raises(type(refusal)):
        await Script(encode_failure(refusal)).events(1)


async def test_a_refusal_later_ends_the_stream_too() -> None:
    script = Script(HELLO, encode_failure(QubeNotFoundError("work")))
    with pytest.raises(QubeNotFoundError):
        await script.events(2, "work")
