"""Sockets that answer, refuse, lie, hang and die."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from qubeward.client import (
    BadReplyError,
    Client,
    ConnectionFailedError,
    NoReplyInTimeError,
    UnixSocket,
    socket_of,
)
from qubeward.errors import PermissionDeniedError
from qubeward.names import TagName
from qubeward.spec import notes, tag
from qubeward.wire.dialect import Dialect
from qubeward.wire.reply import encode_failure, encode_ok

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(path: Path, answer: Answer) -> AsyncIterator[Client]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        writer.close()

    listening = await asyncio.start_unix_server(serve, path)
    try:
        yield Client(UnixSocket(path), timeout_s=10)
    finally:
        listening.close()
        await listening.wait_closed()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s"


async def test_the_request_is_spelled_and_ended(path: Path) -> None:
    seen = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())
        writer.write(encode_ok(b""))

    async with server(path, answer) as client:
        await client.call(notes.SET, "work", None, "hé\0llo")
    assert seen == [b"admin.vm.notes.Set+ dom0 name work\0h\xc3\xa9\0llo"]


async def test_a_reply_in_pieces_is_put_together(path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        for byte in encode_ok("grün\n".encode()):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with server(path, answer) as client:
        assert await client.call(notes.GET, "work") == "grün\n"


async def test_a_server_that_answers_before_it_reads_is_heard(path: Path) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_failure(PermissionDeniedError()))

    async with server(path, answer) as client:
        with pytest.raises((PermissionDeniedError, ConnectionFailedError)):
            await client.call(notes.SET, "work", None, "x" * 200_000)


@pytest.mark.parametrize("reply", [b"", b"hello", b"0", b"2\0Type", b"1\0a\0b"])
async def test_what_is_no_answer_is_a_connection_that_failed(path: Path, reply: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(reply)

    async with server(path, answer) as client:
        with pytest.raises(ConnectionFailedError) as failed:
            await client.call(tag.GET, "work", TagName("a"))
        assert ("its log" in str(failed.value)) is (reply == b"")


async def test_events_are_no_answer_to_a_call(path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(b"1\0\0connection-established\0\0")

    async with server(path, answer) as client:
        with pytest.raises(BadReplyError, match="stream"):
            await client.call(tag.GET, "work", TagName("a"))


async def test_the_deadline_of_a_call_ends_it(path: Path) -> None:
    over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()
        await over.wait()

    async with server(path, answer) as client:
        with pytest.raises(NoReplyInTimeError, match=r"admin\.vm\.tag\.Get: no answer in 0.05 s"):
            await client.call(tag.GET, "work", TagName("a"), timeout_s=0.05)
        over.set()


async def test_no_socket_tells_how_to_get_one(path: Path) -> None:
    for nowhere in (path, path / "deeper"):
        with pytest.raises(ConnectionFailedError, match="is the daemon running"):
            await Client(UnixSocket(nowhere)).call(notes.GET, "work")


async def test_a_socket_that_nobody_serves_says_so(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    with pytest.raises(ConnectionFailedError, match="nobody listens"):
        await Client(UnixSocket(path)).call(notes.GET, "work")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
async def test_a_socket_of_others_names_the_group(path: Path) -> None:
    async def answer(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        raise AssertionError

    async with server(path, answer) as client:
        path.chmod(0)  # noqa: ASYNC240
        with pytest.raises(ConnectionFailedError, match="group qubes"):
            await client.call(notes.GET, "work")


async def test_paths_may_be_longer_than_the_kernel_takes(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 100) / ("e" * 100)
    folder.mkdir(parents=True)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.write(encode_ok(b"1"))

    directory = os.open(folder, os.O_PATH)
    try:
        async with server(Path(f"/proc/self/fd/{directory}/s"), answer):
            client = Client(UnixSocket(folder / "s"))
            assert await client.call(tag.GET, "work", TagName("a")) is True
    finally:
        os.close(directory)


def test_each_dialect_has_its_socket() -> None:
    root = Path("/tmp/r")
    assert socket_of(root).path == root / "run/qubesd.sock"
    assert socket_of(root, Dialect.DRAFT).path == root / "run/qubeward/draft.sock"
