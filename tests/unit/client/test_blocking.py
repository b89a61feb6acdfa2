"""The client for programs without a loop."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import pytest

from qubeward.client import BlockingClient, Client, ConnectionFailedError, InProcess, Qube
from qubeward.names import TagName
from qubeward.spec import tag
from qubeward.wire.reply import Event, encode_event, encode_ok


def blocking(*answers: bytes) -> BlockingClient:
    left: Iterator[bytes] = iter(answers)

    async def serve(_request: bytes) -> AsyncIterator[bytes]:
        yield next(left)

    return BlockingClient(Client(InProcess(serve)))


def test_calls_return_their_reply() -> None:
    client = blocking(encode_ok(b"1"), encode_ok(b"a\nb\n"))
    assert client.call(tag.GET, "work", TagName("a")) is True
    assert client.run(lambda c: Qube(c, "work").tags.all()) == ("a", "b")


def test_events_come_one_by_one_and_may_be_left() -> None:
    hello = encode_event(Event("", "connection-established"))
    client = blocking(hello, hello)
    with closing(client.events(retry_s=0)) as events:
        assert [next(events).name, next(events).name] == ["connection-established"] * 2


def test_failures_come_out_as_they_are() -> None:
    with pytest.raises(ConnectionFailedError):
        blocking(b"").call(tag.GET, "work", TagName("a"))
