"""Payloads that are streams, over a real socket: whole, or nothing of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from qubeward.facts import VolumeImported, VolumeImporting
from qubeward.names import VolumeName
from qubeward.ops.volume import find
from qubeward.server.unix import Limits
from qubeward.wire.reply import Failure, Ok
from qubeward.wire.request import encode_request
from unit.server.sockets import LIST, Client, Served, served

PRIVATE = VolumeName("private")
OLD = b"old content"


def importing(payload: bytes = b"", volume: bytes = b"private", dest: bytes = b"work") -> bytes:
    method = "admin.vm.volume.ImportWithSize"
    return encode_request(method, volume, b"dom0", dest, payload)


@asynccontextmanager
async def with_old_content(directory: Path, **options: float) -> AsyncIterator[Served]:
    async with served(directory, limits=Limits(**options)) as serving:
        answer = await serving.ask(importing(b"%d\n%s" % (len(OLD), OLD)))
        assert isinstance(answer, Ok), answer
        serving.made.facts.clear()
        yield serving


async def content(serving: Served, name: str = "work") -> bytes:
    made = serving.made
    volume = find(made.world, made.qube(name), PRIVATE)
    driver, spec = made.world.pools.driver(volume.pool), made.world.pools.spec(volume)
    path = await driver.export_begin(spec)
    data = path.read_bytes()
    await driver.export_end(spec)
    assert len(data) == volume.size_bytes
    return data


async def check_untouched(serving: Served) -> None:
    """Nothing of an import is left but the word of it."""
    made = serving.made
    assert await content(serving) == OLD
    assert not made.world.imports
    assert not made.world.operations.all()
    driver = made.world.pools.driver(made.qube("work").volumes[PRIVATE].pool)
    assert not driver._imports  # type: ignore[attr-defined]  # the memory driver's
    told = [fact for fact in made.facts if isinstance(fact, VolumeImporting | VolumeImported)]
    if told:
        assert told[-1] == VolumeImported("work", PRIVATE, success=False)
    assert isinstance(
        await serving.ask(encode_request("admin.vm.Start", b"", b"dom0", b"work")), Ok
    )


async def failure(client: Client) -> Failure:
    answer = await client.answer()
    assert isinstance(answer, Failure), answer
    return answer


@pytest.mark.parametrize("cut", [1, 7, 50, 1000, 1 << 20])
async def test_it_may_come_in_any_cuts(tmp_path: Path, cut: int) -> None:
    data = bytes(range(256)) * (10 if cut < 50 else 4096)
    async with with_old_content(tmp_path) as serving:
        client = await serving.connect()
        request = importing(b"%d\n%s" % (len(data), data))
        for start in range(0, len(request), cut):
            client.send(request[start : start + cut])
            await client.writer.drain()
            await asyncio.sleep(0)
        client.end()
        assert isinstance(await client.answer(), Ok)
        assert await content(serving) == data
        told = [fact for fact in serving.made.facts if "Import" in type(fact).__name__]
        assert told == [
            VolumeImporting("work", PRIVATE, len(data)),
            VolumeImported("work", PRIVATE, success=True),
        ]


async def test_it_may_be_far_longer_than_a_request(tmp_path: Path) -> None:
    data = b"0123456789abcdef" * (1 << 18)
    async with with_old_content(tmp_path) as serving:
        assert isinstance(await serving.ask(importing(b"%d\n%s" % (len(data), data))), Ok)
        assert await content(serving) == data


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (b"12\nonly eleven", "11 of 12 bytes came"),
        (b"12\n", "0 of 12 bytes came"),
        (b"12", "0 of 12 bytes came"),
        (b"5\nmore than that", "more than 5 bytes came"),
        (b"0\nx", "more than 0 bytes came"),
    ],
)
async def test_another_length_than_was_said_changes_nothing(
    tmp_path: Path, payload: bytes, why: str
) -> None:
    async with with_old_content(tmp_path) as serving:
        answer = await serving.ask(importing(payload))
        assert isinstance(answer, Failure)
        assert answer.wire_name == "StoragePoolException"
        assert why in str(answer)
        await check_untouched(serving)


@pytest.mark.parametrize(
    ("request_", "wire_name"),
    [
        (importing(b"5\n", volume=b"nosuch"), "PermissionDenied"),
        (importing(b"5\n", volume=b"root"), "StoragePoolException"),
        (importing(b"5\n", volume=b"kernel"), "StoragePoolException"),
        (importing(b"5\n", dest=b"ghost"), "QubesVMNotFoundError"),
        (importing(b"x\n"), "ProtocolError"),
        (importing(b"-1\n"), "ProtocolError"),
        (importing(b"\n"), "ProtocolError"),
        (importing(b"9" * 5000), "ProtocolError"),
        (importing(b"5\n", volume=b""), "ProtocolError"),
    ],
)
async def test_a_refused_sender_hears_so_at_once_and_may_send_on(
    tmp_path: Path, request_: bytes, wire_name: str
) -> None:
    async with with_old_content(tmp_path) as serving:
        client = await serving.connect()
        client.send(request_)
        refused = await failure(client)
        assert refused.wire_name == wire_name
        for _ in range(20):
            client.send(b"x" * 100_000)
            await client.writer.drain()
        client.end()
        await serving.until_gone()
        await check_untouched(serving)


async def test_a_refused_sender_that_does_not_stop_is_dropped_in_time(tmp_path: Path) -> None:
    async with with_old_content(tmp_path) as serving:
        client = await serving.connect()
        client.send(importing(b"5\n", volume=b"nosuch"))
        await failure(client)
        assert len(serving.listener) == 1
        serving.pass_time(61)
        await serving.until_gone()


async def test_a_sender_that_goes_away_changes_nothing(tmp_path: Path) -> None:
    async with with_old_content(tmp_path) as serving:
        client = await serving.connect()
        client.send(importing(b"1000\nsome of it"))
        await until(lambda: bool(serving.made.world.imports))
        client.hang_up()
        await until(lambda: not serving.made.world.imports)
        await check_untouched(serving)


async def until(is_so) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.005)


async def test_a_template_is_not_made_of_what_a_dead_sender_sent(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        request = encode_request("admin.vm.CreateTemplate", b"tpl2", b"dom0", b"dom0", b"half of")
        client = await serving.connect()
        client.send(request)
        await until(lambda: bool(serving.made.world.operations.all()))
        assert "tpl2" in serving.made.world.reserved
        client.hang_up()
        await until(lambda: not serving.made.world.reserved)
        assert "tpl2" not in serving.made.system.qubes
        assert isinstance(await serving.ask(request), Ok), "the name is free again"
        assert "tpl2" in serving.made.system.qubes


async def test_a_sender_that_pauses_for_too_long_is_told_so(tmp_path: Path) -> None:
    async with with_old_content(tmp_path, stream_idle_s=0.1) as serving:
        client = await serving.connect()
        client.send(importing(b"1000\nsome of it"))
        assert "nothing came for 0.1 s" in str(await failure(client))
        await check_untouched(serving)


async def test_neither_deadline_nor_qube_waits_for_a_slow_sender(tmp_path: Path) -> None:
    async with with_old_content(tmp_path) as serving:
        slow = await serving.connect()
        slow.send(importing(b"10\nhalf "))
        await until(lambda: bool(serving.made.world.imports))
        serving.pass_time(1000)
        assert isinstance(await serving.ask(LIST), Ok)
        for method in ("admin.vm.Start", "admin.vm.Remove", "admin.vm.volume.Clear"):
            arg = b"private" if "Clear" in method else b""
            refused = await serving.ask(encode_request(method, arg, b"dom0", b"work"))
            assert isinstance(refused, Failure)
            assert refused.wire_name == "QubesVMInUseError"
        second = await serving.ask(importing(b"4\nmine"))
        assert isinstance(second, Failure)
        assert second.wire_name == "QubesVMInUseError"
        slow.send(b"there")
        slow.end()
        assert isinstance(await slow.answer(), Ok)
        assert await content(serving) == b"half there"


async def test_what_is_under_way_can_be_seen_and_ended(tmp_path: Path) -> None:
    async with with_old_content(tmp_path) as serving:
        client = await serving.connect()
        client.send(importing(b"1000\nsome of it"))
        operations = serving.made.world.operations
        await until(lambda: any(one.done_bytes == 10 for one in operations.all()))
        listed = await serving.made.ok("admin.operation.List")
        assert " kind=import qube=work volume=private done=10 total=1000 " in listed
        await serving.made.ok("admin.operation.Cancel", "dom0", listed.split()[0])
        assert "cancelled" in str(await failure(client))
        await check_untouched(serving)
        gone = await serving.made.refused("admin.operation.Cancel", "dom0", listed.split()[0])
        assert "No such operation" in str(gone)


async def test_a_denied_sender_learns_nothing_and_nothing_is_stored(tmp_path: Path) -> None:
    from world import R4_UNJUDGED

    async with served(tmp_path, endpoint=R4_UNJUDGED) as serving:
        for volume, dest in ((b"private", b"work"), (b"root", b"ghost")):
            request = encode_request("admin.vm.volume.Import", volume, b"net", dest, b"x" * 200_000)
            answer = await serving.ask(request)
            assert isinstance(answer, Failure)
            assert (answer.wire_name, str(answer)) == ("PermissionDenied", "Denied")
        assert not serving.made.facts


async def test_only_so_many_come_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qubeward.ops.imports.MOST_RECEIVED", 1)
    async with with_old_content(tmp_path) as serving:
        await serving.made.create("other", template="tpl")
        first = await serving.connect()
        first.send(importing(b"8\nhalf"))
        await first.writer.drain()
        async with asyncio.timeout(10):
            while not serving.made.world.imports:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0.01)
        refused = await serving.ask(importing(b"3\nnew", dest=b"other"))
        assert isinstance(refused, Failure)
        assert "1 volumes are being imported" in str(refused)
        first.send(b"done")
        first.end()
        assert isinstance(await first.answer(), Ok)
        assert isinstance(await serving.ask(importing(b"3\nnew", dest=b"other")), Ok)
