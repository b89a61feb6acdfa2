"""The contract of hypervisor drivers, held by the fake and by libvirt's embedded driver."""

import asyncio
from uuid import uuid4

import pytest

from drivers.hypervisors import World, sparse
from qubeward.errors import HypervisorError
from qubeward.hypervisor.driver import Disk, DomainState
from qubeward.hypervisor.fake import FakeHypervisor
from qubeward.storage.luks import make_luks

MIB = 1 << 20
PAUSED, RUNNING = DomainState.PAUSED, DomainState.RUNNING


def is_fake(world: World) -> bool:
    return isinstance(world.hypervisor, FakeHypervisor)


async def test_a_created_domain_is_paused_and_listed(world: World) -> None:
    spec = world.spec("work")
    info = await world.hypervisor.create(spec)
    assert (info.uuid, info.name, info.state) == (spec.uuid, "work", PAUSED)
    assert (info.memory_kib, info.max_memory_kib) == (32 * 1024, 32 * 1024)
    (listed,) = await world.hypervisor.domains()
    assert (listed.uuid, listed.id, listed.state) == (spec.uuid, info.id, PAUSED)
    await world.until(spec.uuid, PAUSED)
    assert world.states(spec.uuid) == [PAUSED]


async def test_ids_are_positive_and_never_the_same(world: World) -> None:
    ids = set()
    for name in ("a", "b"):
        spec = world.spec(name)
        ids.add((await world.hypervisor.create(spec)).id)
        await world.hypervisor.destroy(spec.uuid)
    assert len(ids) == 2
    assert min(ids) > 0


async def test_changes_are_told_in_order_and_once(world: World) -> None:
    spec = world.spec()
    await world.hypervisor.create(spec)
    await world.hypervisor.unpause(spec.uuid)
    await world.until(spec.uuid, RUNNING)
    await world.hypervisor.pause(spec.uuid)
    await world.until(spec.uuid, PAUSED)
    await world.hypervisor.destroy(spec.uuid)
    assert world.states(spec.uuid)[:3] == [PAUSED, RUNNING, PAUSED]
    assert world.states(spec.uuid)[3:] in ([None], [DomainState.HALTING, None])


async def test_a_running_domain_uses_processor_time(world: World) -> None:
    uuid = await world.running()
    (info,) = await world.hypervisor.domains()
    assert (info.uuid, info.state) == (uuid, RUNNING)
    assert info.cpu_time_ns > 0


async def test_unpause_and_pause_may_be_repeated(world: World) -> None:
    uuid = await world.running()
    await world.hypervisor.unpause(uuid)
    await world.hypervisor.pause(uuid)
    await world.hypervisor.pause(uuid)
    (info,) = await world.hypervisor.domains()
    assert info.state is PAUSED


async def test_destroy_reports_the_end_before_it_returns(world: World) -> None:
    uuid = await world.running()
    await world.hypervisor.destroy(uuid)
    assert world.changes[-1].uuid == uuid
    assert world.changes[-1].state is None
    assert world.changes[-1].reason == "destroyed"
    assert list(await world.hypervisor.domains()) == []


async def test_destroy_of_nothing_is_no_error_and_no_news(world: World) -> None:
    uuid = await world.running()
    await world.hypervisor.destroy(uuid)
    before = len(world.changes)
    await world.hypervisor.destroy(uuid)
    await world.hypervisor.destroy(uuid4())
    assert len(world.changes) == before


async def test_a_destroyed_domain_can_be_created_again(world: World) -> None:
    spec = world.spec()
    first = await world.hypervisor.create(spec)
    await world.hypervisor.destroy(spec.uuid)
    world.changes.clear()
    second = await world.hypervisor.create(spec)
    await world.until(spec.uuid, PAUSED)
    assert second.id != first.id
    assert world.states(spec.uuid) == [PAUSED]


@pytest.mark.parametrize("same", ["uuid", "name"])
async def test_a_second_domain_of_the_same_name_or_uuid_is_refused(world: World, same: str) -> None:
    first = world.spec("work")
    await world.hypervisor.create(first)
    second = world.spec("other", uuid=first.uuid) if same == "uuid" else world.spec("work")
    with pytest.raises(HypervisorError):
        await world.hypervisor.create(second)
    (info,) = await world.hypervisor.domains()
    assert (info.uuid, info.name) == (first.uuid, "work")


@pytest.mark.parametrize("call", ["unpause", "pause", "request_shutdown", "console"])
async def test_calls_about_no_domain_fail(world: World, call: str) -> None:
    with pytest.raises(HypervisorError, match="no such domain"):
        await getattr(world.hypervisor, call)(uuid4())


async def test_a_disk_can_grow_and_never_shrink(world: World) -> None:
    image = sparse(world.folder / "private.img", MIB)
    disk = Disk(serial="private", path=str(image))
    uuid = await world.running(disks=(disk,))
    for size_bytes in (3 * MIB, 4 * MIB, 4 * MIB):
        await world.hypervisor.resize_disk(uuid, "private", size_bytes)
        assert await world.size_bytes(uuid, disk) == size_bytes
    with pytest.raises(HypervisorError, match=f"it has {4 * MIB} bytes, never less"):
        await world.hypervisor.resize_disk(uuid, "private", 4 * MIB - 512)
    assert await world.size_bytes(uuid, disk) == 4 * MIB
    assert image.stat().st_size == (MIB if is_fake(world) else 4 * MIB)


async def test_a_disk_of_a_paused_domain_can_grow(world: World) -> None:
    disk = Disk(serial="private", path=str(sparse(world.folder / "private.img", MIB)))
    spec = world.spec(disks=(disk,))
    await world.hypervisor.create(spec)
    await world.hypervisor.resize_disk(spec.uuid, "private", 2 * MIB)
    assert await world.size_bytes(spec.uuid, disk) == 2 * MIB
    assert world.states(spec.uuid)[-1:] in ([], [PAUSED])


async def test_a_disk_that_is_not_there_or_encrypted_cant_grow(world: World) -> None:
    image = world.folder / "volatile.img"
    image.unlink(missing_ok=True)
    disk = Disk(serial="volatile", path=str(image), format="luks", key=make_luks(image, MIB))
    uuid = await world.running(disks=(disk,))
    with pytest.raises(HypervisorError, match="no such disk"):
        await world.hypervisor.resize_disk(uuid, "private", 2 * MIB)
    with pytest.raises(
        HypervisorError, match="it is encrypted: it grows at the domain's next start"
    ):
        await world.hypervisor.resize_disk(uuid, "volatile", 2 * MIB)
    with pytest.raises(HypervisorError, match="no such domain"):
        await world.hypervisor.resize_disk(uuid4(), "volatile", 2 * MIB)


async def test_the_console_is_a_terminal_of_the_host(world: World) -> None:
    uuid = await world.running()
    assert (await world.hypervisor.console(uuid)).startswith("/dev/pts/")


async def test_shutdown_of_a_paused_domain_is_refused(world: World) -> None:
    spec = world.spec()
    await world.hypervisor.create(spec)
    with pytest.raises(HypervisorError, match="not running"):
        await world.hypervisor.request_shutdown(spec.uuid)
    (info,) = await world.hypervisor.domains()
    assert info.state is PAUSED


async def test_a_guest_that_powers_itself_off_is_gone_within_a_second(world: World) -> None:
    spec = world.spec("brief")
    await world.run_and_power_off(spec)
    assert await world.until(spec.uuid, None, timeout_s=10) == "shutdown"
    times = {change.state: at for at, change in zip(world.times, world.changes, strict=True)}
    assert times[None] - times.get(DomainState.HALTING, times[RUNNING]) < 1
    assert list(await world.hypervisor.domains()) == []


async def test_domains_are_created_side_by_side(world: World) -> None:
    specs = [world.spec(f"qube{number}") for number in range(4)]
    infos = await asyncio.gather(*(world.hypervisor.create(spec) for spec in specs))
    assert len({info.id for info in infos}) == 4
    assert {info.uuid for info in await world.hypervisor.domains()} == {s.uuid for s in specs}
    await asyncio.gather(*(world.hypervisor.destroy(spec.uuid) for spec in specs))
    assert list(await world.hypervisor.domains()) == []


async def test_a_disk_that_is_not_there_is_an_error_that_leaves_nothing(world: World) -> None:
    if is_fake(world):
        pytest.skip("the fake looks at no files")
    spec = world.spec(disks=(Disk(serial="root", path=str(world.folder / "missing.img")),))
    with pytest.raises(HypervisorError, match=r"missing\.img"):
        await world.hypervisor.create(spec)
    assert list(await world.hypervisor.domains()) == []
    await asyncio.sleep(0)
    assert world.states(spec.uuid) in ([], [PAUSED, None])
