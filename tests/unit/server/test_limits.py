"""How much a caller may say, how long it may take, and how many may come at once."""

import asyncio
import os
import resource
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from qubeward.hypervisor.fake import Fault
from qubeward.server.peers import Admitted
from qubeward.server.unix import Limits, bind, most_connections
from qubeward.wire.reply import Failure, Ok
from qubeward.wire.request import encode_request
from unit.server.sockets import LIST, served


def notes(size: int) -> bytes:
    """A call of exactly so many bytes that is good but for its length."""
    head = encode_request("admin.vm.notes.Set", b"", b"dom0", b"work")
    return head + b"x" * (size - len(head))


async def test_a_request_of_65536_bytes_is_served_and_one_byte_more_is_not(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        assert isinstance(await serving.ask(notes(65536)), Ok)
        refused = await serving.ask(notes(65537))
        assert isinstance(refused, Failure)
        assert refused.wire_name == "ProtocolError"
        assert "longer than 65536" in str(refused)
        assert len(serving.made.qube("work").notes) == 65536 - len(notes(0).rstrip(b"x"))


async def test_a_request_of_megabytes_is_read_to_its_end_and_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        refused = await serving.ask(notes(4 << 20))
        assert isinstance(refused, Failure)
        assert "longer than 65536" in str(refused)


async def test_a_header_longer_than_its_limit_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        long = encode_request("admin.vm.tag.Get", b"a" * 4096, b"dom0", b"work")
        refused = await serving.ask(long)
        assert isinstance(refused, Failure)
        assert "header" in str(refused)


async def test_nothing_runs_before_the_end_of_the_request(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        client = await serving.connect()
        client.send(encode_request("admin.vm.tag.Set", b"early", b"dom0", b"work"))
        await asyncio.sleep(0.05)
        assert "early" not in serving.made.qube("work").tags
        client.end()
        assert await client.answer() == Ok(b"")
        assert "early" in serving.made.qube("work").tags


async def test_who_does_not_finish_in_time_is_told_so(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(read_deadline_s=30)) as serving:
        client = await serving.connect()
        client.send(b"admin.vm.List dom0 ")
        await asyncio.sleep(0.02)
        serving.pass_time(29)
        assert len(serving.listener) == 1
        serving.pass_time(2)
        refused = await client.answer()
        assert isinstance(refused, Failure)
        assert refused.wire_name == "ProtocolError"
        assert "in time" in str(refused)


async def test_a_byte_now_and_then_does_not_move_the_deadline(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(read_deadline_s=30)) as serving:
        client = await serving.connect()
        for byte in b"admin":
            client.send(bytes([byte]))
            await asyncio.sleep(0.001)
            serving.pass_time(7)
        assert isinstance(await client.answer(), Failure)


async def test_who_says_nothing_in_time_is_dropped(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(read_deadline_s=30)) as serving:
        client = await serving.connect()
        await asyncio.sleep(0.02)
        serving.pass_time(31)
        assert await client.all() == b""
        await serving.until_gone()


async def test_who_never_reads_its_answer_is_dropped_in_time(tmp_path: Path) -> None:
    # More than the buffers of the kernel hold: 2000 qubes' worth of notes.
    async with served(tmp_path, limits=Limits(write_deadline_s=60)) as serving:
        serving.made.qube("work").notes = "x" * (8 << 20)
        client = await serving.connect()
        client.send(encode_request("admin.vm.notes.Get", b"", b"dom0", b"work"))
        client.end()
        await asyncio.sleep(0.05)
        serving.pass_time(59)
        await asyncio.sleep(0)
        assert len(serving.listener) == 1
        serving.pass_time(2)
        await serving.until_gone()


async def test_an_operation_under_way_is_not_cut_off_by_the_read_deadline(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(read_deadline_s=30)) as serving:
        serving.made.hypervisor.inject("create", Fault(delay_s=0.1))
        client = await serving.connect()
        client.send(encode_request("admin.vm.Start", b"", b"dom0", b"work"))
        client.end()
        await asyncio.sleep(0.02)
        serving.pass_time(1000)
        assert await client.answer() == Ok(b"")


async def test_one_connection_too_many_is_told_that_the_daemon_is_busy(tmp_path: Path) -> None:
    async with served(tmp_path, limits=Limits(connections=3)) as serving:
        waiting = [await serving.connect() for _ in range(3)]
        await asyncio.sleep(0.01)
        refused = await (await serving.connect()).answer()
        assert isinstance(refused, Failure)
        assert "busy" in str(refused)
        waiting[0].hang_up()
        await serving.until_gone(2)
        assert isinstance(await serving.ask(LIST), Ok)
        for client in waiting[1:]:
            client.send(LIST)
            client.end()
            assert isinstance(await client.answer(), Ok)


async def test_a_caller_that_was_told_busy_with_its_request_unread_still_reads_why(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, limits=Limits(connections=1)) as serving:
        await serving.connect()
        await asyncio.sleep(0.01)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(sock, str(serving.path))
            await loop.sock_sendall(sock, LIST)  # before the daemon has seen the connection
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while part := await loop.sock_recv(sock, 65536):
                answer += part
        assert b"busy" in answer


async def test_idle_connections_do_not_slow_others_down(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        idle = [await serving.connect() for _ in range(200)]
        for client in idle[::2]:
            client.send(b"adm")
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for _ in range(20):
            assert isinstance(await serving.ask(LIST), Ok)
        assert loop.time() - begin < 5


def test_the_socket_is_for_its_owner_and_group_alone(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    bind(path, os.getegid()).close()
    status = path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o660
    assert status.st_gid == os.getegid()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    bind(path, None).close()
    bind(path, None).close()
    assert path.is_socket()


async def test_a_path_too_long_for_the_kernel_works(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 60) / ("e" * 60)
    directory.mkdir(parents=True)
    async with served(directory) as serving:
        assert len(str(serving.path)) > 107
        # The client goes round the same way.
        fd = os.open(directory, os.O_PATH)
        try:
            reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{fd}/sock")
        finally:
            os.close(fd)
        writer.write(LIST)
        writer.write_eof()
        assert (await reader.read()).startswith(b"0\0dom0 ")
        writer.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root is admitted always: see the next test")
async def test_who_is_not_admitted_is_denied_and_learns_nothing(tmp_path: Path) -> None:
    nobody = Admitted(uid=12345, group=None)
    async with served(tmp_path, admitted=nobody) as serving:
        refused = await serving.ask(LIST)
        assert refused == Failure("PermissionDenied", "Denied", ())


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody may go to, as tmp_path is not."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("uid", "gid", "groups", "admitted", "expected"),
    [
        (12345, 12345, [], Admitted(0, None), b"2\0PermissionDenied\0\0Denied\0"),
        (12345, 12345, [], Admitted(0, 777), b"2\0PermissionDenied\0\0Denied\0"),
        (12345, 777, [], Admitted(0, 777), b"0\0"),
        (12345, 12345, [55, 777], Admitted(0, 777), b"0\0"),
        (12345, 12345, [], Admitted(12345, None), b"0\0"),
    ],
    ids=["another user", "not in the group", "its group", "one of its groups", "our own user"],
)
async def test_the_kernel_says_who_calls(
    open_directory: Path, uid: int, gid: int, groups: list[int], admitted: Admitted, expected: bytes
) -> None:
    program = (
        "import os, socket, sys\n"
        f"os.setgroups({groups}); os.setgid({gid}); os.setuid({uid})\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        f"s.sendall({LIST!r}); s.shutdown(socket.SHUT_WR)\n"
        "while part := s.recv(65536): sys.stdout.buffer.write(part)\n"
    )
    async with served(open_directory, admitted=admitted) as serving:
        serving.path.chmod(0o666)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-c", program, str(serving.path), stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert process.returncode == 0
        assert output.startswith(expected)
        assert output.startswith(b"0\0") or output == expected


def test_a_socket_never_has_more_connections_than_there_may_be_files() -> None:
    most = most_connections(3)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert 0 < 3 * most < soft <= hard
