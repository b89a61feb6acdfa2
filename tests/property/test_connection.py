"""Whatever bytes come in, and however they are cut, a connection gives one well-formed answer."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from qubeward.errors import ProtocolError
from qubeward.server.peers import Admitted
from qubeward.server.unix import Connection, Limits, Listener
from qubeward.wire.reply import Event, Failure, Ok, ReplyReader
from world import R4, Made, made_world

T = TypeVar("T")
HEADER = b"admin.vm.tag.Get+x dom0 name dom0"
#: Bytes that look like a request to some extent.
REQUESTS = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            (b"admin.vm.tag.List", b"admin.vm.List", b"admin.Events", b"+", b" ", b"dom0", b"name",
             b"keyword", b"adminvm", b"uuid:", b"\0", b"\xff", b"x", b"work", b"-dm")
        ),
        max_size=12,
    ).map(b"".join),
    st.binary(max_size=40).map(lambda tail: HEADER + b"\0" + tail),
    st.binary(max_size=40).map(lambda tail: HEADER + tail),
)  # fmt: skip


def in_a_world(act: Callable[[Made], Awaitable[T]]) -> T:
    async def run() -> T:
        async with made_world() as made:
            return await act(made)

    return asyncio.run(run())


async def converse(
    made: Made,
    chunks: list[bytes],
    *,
    hang_up: bool = True,
    expire: bool = False,
    limits: Limits | None = None,
) -> bytes:
    """Send chunks to a real connection, close our writing end, and return all that comes back."""
    ours, theirs = socket.socketpair()
    limits = limits or Limits()
    listener = Listener(made.corridor, R4, limits, Admitted(os.geteuid(), None))
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: Connection(listener), theirs)
    reader, writer = await asyncio.open_unix_connection(sock=ours)
    for chunk in chunks:
        writer.write(chunk)
        await writer.drain()
        await asyncio.sleep(0)
    if expire:
        await asyncio.sleep(0.001)
        listener.now = lambda: loop.time() + limits.read_deadline_s
        listener.sweep()
    if hang_up:
        writer.write_eof()
    answer = b""
    try:
        async with asyncio.timeout(5):
            while part := await reader.read(1 << 16):
                answer += part
                if answer.startswith(b"1\0"):  # a stream has no end of its own
                    break
    except ConnectionResetError:
        pass
    finally:
        writer.close()
    return answer


def messages(answer: bytes) -> list[Ok | Failure | Event]:
    reader = ReplyReader()
    events: list[Ok | Failure | Event] = list(reader.feed(answer))
    end = reader.end()
    return events if end is None else [*events, end]


@given(st.lists(REQUESTS, max_size=4))
def test_any_bytes_get_exactly_one_answer(chunks: list[bytes]) -> None:
    answer = in_a_world(lambda made: converse(made, chunks))
    (message,) = messages(answer)
    if isinstance(message, Failure):
        assert not str(message).startswith("Internal error")
    if b"\0" not in b"".join(chunks):
        assert isinstance(message, Failure)
        assert message.wire_name == ProtocolError.wire_name


@given(st.binary(max_size=40), st.lists(st.integers(1, 30), max_size=10))
def test_the_cuts_of_a_request_make_no_difference(payload: bytes, cuts: list[int]) -> None:
    whole = HEADER + b"\0" + payload
    chunks, at = [], 0
    for cut in cuts:
        chunks.append(whole[at : at + cut])
        at += cut
    chunks.append(whole[at:])

    async def act(made: Made) -> tuple[bytes, bytes]:
        return await converse(made, [whole]), await converse(made, chunks)

    one, many = in_a_world(act)
    assert one == many


@given(REQUESTS)
def test_who_says_something_but_not_all_in_time_is_told_so(request: bytes) -> None:
    answer = in_a_world(lambda made: converse(made, [request], hang_up=False, expire=True))
    if not request:
        assert answer == b""
        return
    (message,) = messages(answer)
    assert isinstance(message, Failure)
    assert "in time" in str(message)


@given(st.integers(0, 300), st.integers(1, 100))
def test_a_request_over_the_limit_is_refused_however_it_comes(size: int, chunk: int) -> None:
    whole = HEADER.ljust(20, b"x") + b"\0" + b"p" * size
    chunks = [whole[at : at + chunk] for at in range(0, len(whole), chunk)]
    limits = Limits(request_bytes=128)
    answer = in_a_world(lambda made: converse(made, chunks, limits=limits))
    (message,) = messages(answer)
    assert isinstance(message, Failure) == (size > 0)
    assert ("longer than 128" in str(message)) == (len(whole) > 128)
