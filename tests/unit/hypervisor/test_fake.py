"""The fake's hooks: what tests of other rooms rely on."""

import asyncio
from uuid import uuid4

import pytest

from qubeward.errors import HypervisorError
from qubeward.hypervisor.driver import DomainChange, DomainSpec, DomainState
from qubeward.hypervisor.fake import FakeHypervisor, Fault


@pytest.fixture
def changes() -> list[DomainChange]:
    return []


@pytest.fixture
async def fake(changes: list[DomainChange]) -> FakeHypervisor:
    made = FakeHypervisor()
    await made.open(changes.append)
    return made


def spec(name: str = "work") -> DomainSpec:
    return DomainSpec(
        uuid=uuid4(), name=name, memory_mib=400, max_memory_mib=4000, vcpus=2, disks=()
    )


async def test_the_host_is_what_it_was_told_to_be() -> None:
    host = await FakeHypervisor(memory_mib=1024, cpus=2).open(lambda _: None)
    assert (host.memory_mib, host.cpus, host.accel) == (1024, 2, "fake")


async def test_nothing_works_before_open() -> None:
    with pytest.raises(HypervisorError, match="not open"):
        await FakeHypervisor().domains()


async def test_figures_are_the_specs(fake: FakeHypervisor) -> None:
    info = await fake.create(spec())
    assert (info.id, info.memory_kib, info.max_memory_kib) == (1, 409_600, 4_096_000)
    assert info.cpu_time_ns == 1_000_000_000


async def test_an_injected_error_is_raised_so_many_times(fake: FakeHypervisor) -> None:
    fake.inject("create", Fault(error=HypervisorError("create", "no"), times=2))
    for _ in range(2):
        with pytest.raises(HypervisorError, match="no"):
            await fake.create(spec())
    await fake.create(spec())


async def test_a_fault_may_be_of_one_domain_only(fake: FakeHypervisor) -> None:
    one, other = spec("one"), spec("other")
    fake.inject("create", Fault(error=HypervisorError("create", "no")), one.uuid)
    await fake.create(other)
    with pytest.raises(HypervisorError):
        await fake.create(one)
    fake.heal()
    await fake.create(one)


async def test_a_hang_lasts_until_its_caller_gives_up(fake: FakeHypervisor) -> None:
    made = spec()
    await fake.create(made)
    fake.inject("unpause", Fault(hang=True))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await fake.unpause(made.uuid)
    await fake.destroy(made.uuid)


async def test_a_crash_is_reported_and_then_the_end(
    fake: FakeHypervisor, changes: list[DomainChange]
) -> None:
    made = spec()
    await fake.create(made)
    fake.crash(made.uuid)
    await asyncio.sleep(0)
    assert [change.state for change in changes] == [DomainState.PAUSED, DomainState.CRASHED, None]


async def test_a_guest_that_its_host_has_no_room_for_is_paused_with_the_reason(
    fake: FakeHypervisor, changes: list[DomainChange]
) -> None:
    made = spec()
    await fake.create(made)
    await fake.unpause(made.uuid)
    fake.fail_io(made.uuid)
    await asyncio.sleep(0)
    assert (changes[-1].state, changes[-1].reason) == (DomainState.PAUSED, "I/O error")
    await fake.unpause(made.uuid)
    (info,) = await fake.domains()
    assert info.state is DomainState.RUNNING


async def test_a_deaf_guest_ignores_its_power_button(fake: FakeHypervisor) -> None:
    made = spec()
    await fake.create(made)
    await fake.unpause(made.uuid)
    fake.deaf.add(made.uuid)
    await fake.request_shutdown(made.uuid)
    assert len(await fake.domains()) == 1
    fake.deaf.clear()
    await fake.request_shutdown(made.uuid)
    assert not await fake.domains()
    assert [method for method, _ in fake.calls][-2:] == ["request_shutdown", "domains"]
