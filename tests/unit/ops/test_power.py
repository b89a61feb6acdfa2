"""Shutdown, kill, pause: who may, what is waited for, and what the hypervisor says unasked."""

import asyncio
from uuid import UUID

import pytest

from qubeward import facts
from qubeward.errors import (
    HypervisorError,
    NotPausedError,
    NotRunningError,
    NotStartedError,
    QubeError,
    QubeInUseError,
    ShutdownTimeoutError,
)
from qubeward.hypervisor.driver import DomainChange, DomainState
from qubeward.hypervisor.fake import FakeHypervisor, Fault
from qubeward.ops.observe import on_change, take_figures
from qubeward.ops.power import kill, pause, shutdown, unpause
from qubeward.ops.start import start
from qubeward.spec.vm_body import PowerState, ShutdownOptions
from world import Made, made_world, populate

GENTLE = ShutdownOptions()
WAIT = ShutdownOptions(wait=True)
FORCE = ShutdownOptions(force=True)


@pytest.fixture
async def made():
    async with made_world() as world:
        await populate(world)
        await start(world.world, world.qube("work"))
        world.facts.clear()
        yield world


def names(made: Made, subject: str = "work") -> list[str]:
    return [type(fact).__name__ for fact in made.facts if fact.subject == subject]


async def halted(made: Made, name: str = "work") -> None:
    async with asyncio.timeout(1):
        await made.world.until_halted(made.qube(name))


async def test_shutdown_returns_once_the_guest_is_asked(made) -> None:
    made.hypervisor.deaf.add(made.qube("work").uuid)
    await shutdown(made.world, made.qube("work"), GENTLE)
    assert made.qube("work").state is PowerState.RUNNING
    assert names(made) == ["QubeStopping"]


async def test_shutdown_with_wait_returns_when_it_is_off(made) -> None:
    await shutdown(made.world, made.qube("work"), WAIT)
    assert made.qube("work").state is PowerState.HALTED
    assert names(made)[0] == "QubeStopping"
    assert names(made)[-1] == "QubeHalted"


async def test_a_guest_that_does_not_stop_in_time_is_said(made) -> None:
    work = made.qube("work")
    made.hypervisor.deaf.add(work.uuid)
    await made.ok("admin.vm.property.Set", "work", "shutdown_timeout", "1")
    with pytest.raises(ShutdownTimeoutError):
        await shutdown(made.world, work, WAIT)
    assert work.state is PowerState.RUNNING
    assert names(made)[-1] == "QubeStopFailed"
    await kill(made.world, work)


@pytest.mark.parametrize("act", [
    lambda w, q: shutdown(w, q, GENTLE), lambda w, q: shutdown(w, q, FORCE), kill,
])  # fmt: skip
async def test_what_is_off_cannot_be_stopped(made, act) -> None:
    with pytest.raises(NotStartedError):
        await act(made.world, made.qube("alone"))


@pytest.mark.parametrize("act", [
    lambda w, q: shutdown(w, q, GENTLE), kill, pause, unpause,
])  # fmt: skip
@pytest.mark.parametrize("name", ["dom0", "far"])
async def test_what_has_no_domain_refuses(made, act, name) -> None:
    with pytest.raises(QubeError):
        await act(made.world, made.qube(name))


async def test_a_netvm_in_use_is_not_shut_down_without_force(made) -> None:
    await made.ok("admin.vm.property.Set", "alone", "netvm", "net")
    await start(made.world, made.qube("alone"))
    net = made.qube("net")
    assert net.state is PowerState.RUNNING
    with pytest.raises(QubeInUseError, match="alone"):
        await shutdown(made.world, net, GENTLE)
    assert names(made, "net").count("QubeStopping") == 0
    await shutdown(made.world, net, ShutdownOptions(force=True, wait=True))
    assert net.state is PowerState.HALTED


@pytest.mark.parametrize("service", ["guivm", "audiovm"])
async def test_a_qube_that_shows_or_sounds_another_is_in_use(made, service) -> None:
    await start(made.world, made.qube("net"))
    await made.ok("admin.vm.property.Set", "work", service, "net")
    with pytest.raises(QubeInUseError, match="work"):
        await shutdown(made.world, made.qube("net"), GENTLE)
    await kill(made.world, made.qube("work"))
    await shutdown(made.world, made.qube("net"), WAIT)


async def test_a_paused_qube_is_shut_down_only_by_force(made) -> None:
    work = made.qube("work")
    await pause(made.world, work)
    with pytest.raises(NotRunningError):
        await shutdown(made.world, work, GENTLE)
    await shutdown(made.world, work, FORCE)
    assert work.state is PowerState.HALTED


async def test_a_shutdown_that_the_hypervisor_refuses_is_said(made) -> None:
    made.hypervisor.inject(
        "request_shutdown", Fault(error=HypervisorError("request_shutdown", "no"))
    )
    with pytest.raises(HypervisorError):
        await shutdown(made.world, made.qube("work"), GENTLE)
    assert names(made) == ["QubeStopping", "QubeStopFailed"]


async def test_kill_works_while_a_shutdown_hangs(made) -> None:
    work = made.qube("work")
    made.hypervisor.inject("request_shutdown", Fault(hang=True))
    stopping = asyncio.ensure_future(shutdown(made.world, work, WAIT))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        await kill(made.world, work)
    assert work.state is PowerState.HALTED
    stopping.cancel()


async def test_kill_works_while_a_shutdown_waits(made) -> None:
    work = made.qube("work")
    made.hypervisor.deaf.add(work.uuid)
    stopping = asyncio.ensure_future(shutdown(made.world, work, WAIT))
    await asyncio.sleep(0.01)
    async with asyncio.timeout(2):
        await kill(made.world, work)
        await stopping
    assert names(made).count("QubeHalted") == 1


async def test_kills_at_once_tell_of_one_end(made) -> None:
    work = made.qube("work")
    made.hypervisor.inject("destroy", Fault(delay_s=0.02, times=1))
    kills = (kill(made.world, work) for _ in range(4))
    results = await asyncio.gather(*kills, return_exceptions=True)
    assert results[0] is None
    assert all(result is None or isinstance(result, NotStartedError) for result in results)
    assert names(made).count("QubeStopped") == names(made).count("QubeHalted") == 1


async def test_a_slow_kill_does_not_put_away_the_next_life(made) -> None:
    """One kill is done, the qube starts again, and another kill comes back from the hypervisor."""
    work = made.qube("work")
    back = asyncio.Event()
    destroy = made.hypervisor.destroy

    class Slow(FakeHypervisor):
        async def destroy(self, uuid) -> None:
            await destroy(uuid)
            await back.wait()

    made.world.hypervisor = Slow()
    slow = asyncio.ensure_future(kill(made.world, work))
    await halted(made)
    made.world.hypervisor = made.hypervisor
    await start(made.world, work)
    back.set()
    await slow
    assert work.state is PowerState.RUNNING
    assert work.uuid in made.hypervisor._guests


async def test_a_guest_that_powers_itself_off_is_halted_and_told_once(made) -> None:
    work = made.qube("work")
    made.hypervisor.end(work.uuid)
    await asyncio.sleep(0)
    await halted(made)
    assert work.state is PowerState.HALTED
    assert names(made) == ["QubeStopped", "StateChanged", "StateChanged", "QubeHalted"]


async def test_a_crash_of_the_guest_ends_it_too(made) -> None:
    made.hypervisor.crash(made.qube("work").uuid)
    await asyncio.sleep(0)
    await halted(made)
    assert names(made).count("QubeHalted") == 1


async def test_pause_and_unpause_are_told_once_each(made) -> None:
    work = made.qube("work")
    await pause(made.world, work)
    await made.settle()
    assert work.state is PowerState.PAUSED
    await unpause(made.world, work)
    await made.settle()
    assert work.state is PowerState.RUNNING
    assert names(made) == ["QubePausing", "QubePaused", "QubeUnpausing", "QubeUnpaused"]


async def test_pause_and_unpause_need_the_right_state(made) -> None:
    with pytest.raises(NotRunningError):
        await pause(made.world, made.qube("alone"))
    with pytest.raises(NotPausedError):
        await unpause(made.world, made.qube("work"))
    await pause(made.world, made.qube("work"))
    with pytest.raises(NotRunningError):
        await pause(made.world, made.qube("work"))


async def test_a_pause_from_outside_is_seen(made) -> None:
    await made.hypervisor.pause(made.qube("work").uuid)
    await made.settle()
    assert made.qube("work").state is PowerState.PAUSED
    assert names(made) == ["QubePaused"]


async def test_a_full_disk_keeps_no_qube_from_stopping(made) -> None:
    work = made.qube("work")
    made.backend.failing = "disk full"
    await kill(made.world, work)
    assert work.state is PowerState.HALTED
    assert names(made).count("QubeHalted") == 1


async def test_a_word_about_an_unknown_domain_is_passed_over(made) -> None:
    on_change(made.world, DomainChange(uuid=made.system.admin.uuid, state=None))
    on_change(made.world, DomainChange(uuid=UUID(int=5), state=None))
    assert made.facts == []


async def test_figures_follow_the_hypervisor(made) -> None:
    work = made.qube("work")
    guest = made.hypervisor._guests[work.uuid]
    guest.info = type(guest.info)(
        **{name: getattr(guest.info, name) for name in guest.info.__slots__}
        | {"cpu_time_ns": 5, "memory_kib": 7}
    )
    await take_figures(made.world)
    assert (work.power.cpu_time_ns, work.power.memory_kib) == (5, 7)


async def test_an_end_that_went_unsaid_is_noticed(made) -> None:
    del made.hypervisor._guests[made.qube("work").uuid]
    await take_figures(made.world)
    await halted(made)
    assert names(made).count("QubeHalted") == 1


async def test_figures_that_cannot_be_had_change_nothing(made) -> None:
    made.hypervisor.inject("domains", Fault(error=HypervisorError("list", "no")))
    await take_figures(made.world)
    assert made.qube("work").state is PowerState.RUNNING


async def test_an_old_list_ends_no_qube_that_started_since(made) -> None:
    """The list was taken before a qube began its life, and comes after."""
    listed, go_on = asyncio.Event(), asyncio.Event()
    real = made.hypervisor

    class Late(FakeHypervisor):
        async def domains(self):
            infos = await real.domains()
            listed.set()
            await go_on.wait()
            return infos

    await kill(made.world, made.qube("work"))
    await start(made.world, made.qube("net"))
    real.inject("unpause", Fault(delay_s=0.02))
    real.inject("create", Fault(delay_s=0.02))
    starting = asyncio.ensure_future(start(made.world, made.qube("work")))
    await asyncio.sleep(0)
    late = Late()
    made.world.hypervisor = late
    figures = asyncio.ensure_future(take_figures(made.world))
    await listed.wait()
    made.world.hypervisor = real
    await kill(made.world, made.qube("net"))
    await start(made.world, made.qube("net"))
    await starting
    go_on.set()
    await figures
    await made.settle()
    assert made.qube("work").state is PowerState.RUNNING
    assert made.qube("net").state is PowerState.RUNNING


async def test_a_late_word_does_not_bring_a_dying_qube_back(made) -> None:
    work = made.qube("work")
    on_change(made.world, DomainChange(uuid=work.uuid, state=DomainState.HALTING))
    assert work.state is PowerState.HALTING
    on_change(made.world, DomainChange(uuid=work.uuid, state=DomainState.RUNNING))
    assert work.state is PowerState.HALTING


async def test_every_end_of_a_life_is_told_as_stopped_then_halted(made, rounds) -> None:
    """Whatever is done at once, one start has one end."""
    work = made.qube("work")
    for _ in range(20 * rounds):
        await asyncio.gather(
            start(made.world, work),
            kill(made.world, work) if not work.power.is_halted else asyncio.sleep(0),
            shutdown(made.world, work, FORCE) if not work.power.is_halted else asyncio.sleep(0),
            return_exceptions=True,
        )
        if work.uuid in made.hypervisor._guests:
            made.hypervisor.end(work.uuid)
        await made.settle()
    await halted(made)
    told = [type(f) for f in made.facts if type(f) in (facts.QubeStopped, facts.QubeHalted)]
    assert told == [facts.QubeStopped, facts.QubeHalted] * (len(told) // 2)
    spawned = sum(isinstance(fact, facts.QubeSpawned) for fact in made.facts)
    assert len(told) // 2 == spawned + 1  # the first was spawned before we listened
