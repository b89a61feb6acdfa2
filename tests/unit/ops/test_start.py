"""Starting: what is said, what runs, and what is left when it fails."""

import asyncio
import contextlib

import pytest

from qubeward import facts
from qubeward.errors import (
    AdminError,
    HypervisorError,
    NoTemplateError,
    NotHaltedError,
    OutOfMemoryError,
    QubeError,
    StartFailedError,
    StorageError,
    StoreError,
)
from qubeward.hypervisor.fake import Fault
from qubeward.names import PropertyName
from qubeward.ops.power import kill, pause, shutdown
from qubeward.ops.start import start
from qubeward.spec.vm_body import PowerState, ShutdownOptions
from world import Made, made_world, populate


@pytest.fixture
async def made():
    async with made_world() as world:
        await populate(world)
        yield world


def runs(made: Made, *names: str) -> bool:
    domains = set(made.hypervisor._guests)
    return all(
        made.qube(n).uuid in domains and made.qube(n).state is PowerState.RUNNING for n in names
    )


def is_off(made: Made, name: str) -> bool:
    qube = made.qube(name)
    return qube.state is PowerState.HALTED and qube.uuid not in made.hypervisor._guests


def events(made: Made, subject: str) -> list[str]:
    return [type(fact).__name__ for fact in made.facts if fact.subject == subject]


async def begun(made: Made, work, state: PowerState, name: str = "work") -> asyncio.Task[None]:
    """Begin work and return once the qube is in the state."""
    task = asyncio.ensure_future(work)
    await until(lambda: made.qube(name).state is state)
    return task


async def until(condition) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it never came to be")


async def called(made: Made, method: str) -> None:
    await until(lambda: any(name == method for name, _ in made.hypervisor.calls))


START_ORDER = [
    "domain-pre-start",
    "domain-pre-spawn",
    "property-reset:xid",
    "property-reset:start_time",
    "domain-spawn",
    "domain-pre-unpaused",
    "domain-unpaused",
    "domain-start",
]
STOP_ORDER = ["domain-stopped", "property-reset:xid", "property-reset:start_time",
              "domain-shutdown"]  # fmt: skip


def told(collector, subject: str) -> list[str]:
    """Return a subject's events, without the twins that stand before a reset."""
    twins = ("property-pre-", "property-del:")
    return [e.name for e in collector.events if e.subject == subject
            and not e.name.startswith(twins)]  # fmt: skip


async def test_a_whole_life_is_told_in_the_order_of_the_protocol(made) -> None:
    stream = made.subscribe()
    await made.ok("admin.vm.Start", "work")
    assert told(stream, "work") == START_ORDER
    stream.events.clear()
    await made.ok("admin.vm.Shutdown", "work", "wait")
    assert told(stream, "work") == ["domain-pre-shutdown", *STOP_ORDER]
    stream.events.clear()
    await made.ok("admin.vm.Start", "work")
    await made.ok("admin.vm.Kill", "work")
    assert told(stream, "work") == [*START_ORDER, *STOP_ORDER]


async def test_one_guid_marks_all_of_a_start(made) -> None:
    await start(made.world, made.qube("work"))
    guids = {fact.start_guid for fact in made.facts if hasattr(fact, "start_guid")}
    assert guids == {made.qube("work").power.start_guid}


async def test_a_started_qube_has_figures(made) -> None:
    work = made.qube("work")
    await start(made.world, work)
    assert work.power.xid > 0
    assert work.power.memory_kib == 400 * 1024
    assert float(made.value("work", "start_time")) > 1_000_000_000
    await kill(made.world, work)
    assert made.value("work", "xid") == -1
    assert made.value("work", "start_time") is None


async def test_a_running_qube_is_left_alone(made) -> None:
    work = made.qube("work")
    await start(made.world, work)
    made.facts.clear()
    await start(made.world, work)
    await pause(made.world, work)
    await start(made.world, work)
    assert work.state is PowerState.PAUSED
    assert "QubeStarting" not in events(made, "work")


@pytest.mark.parametrize("name", ["dom0", "far"])
async def test_what_has_no_domain_cannot_be_started(made, name) -> None:
    with pytest.raises(NotHaltedError):
        await start(made.world, made.qube(name))


async def test_two_starts_at_once_are_one(made) -> None:
    work = made.qube("work")
    made.hypervisor.inject("create", Fault(delay_s=0.02))
    await asyncio.gather(start(made.world, work), start(made.world, work))
    assert runs(made, "work")
    assert events(made, "work").count("QubeStarted") == 1
    assert [m for m, _ in made.hypervisor.calls].count("create") == 1


async def test_a_start_during_a_stop_waits_for_its_end(made) -> None:
    work = made.qube("work")
    await start(made.world, work)
    made.hypervisor.end(work.uuid)
    await asyncio.sleep(0)
    assert work.state is PowerState.DYING
    await start(made.world, work)
    assert runs(made, "work")
    names = events(made, "work")
    assert names.index("QubeHalted") < len(names) - 1 - names[::-1].index("QubeStarting")


async def test_the_netvm_is_started_first(made) -> None:
    await made.create("fw", "AppVM", template="tpl")
    for name, prop, value in (
        ("fw", "provides_network", "True"), ("fw", "netvm", "net"), ("work", "netvm", "fw"),
    ):  # fmt: skip
        await made.ok("admin.vm.property.Set", name, prop, value)
    await start(made.world, made.qube("work"))
    started = [fact.subject for fact in made.facts if isinstance(fact, facts.QubeStarted)]
    assert started == ["net", "fw", "work"]


async def test_a_netvm_that_is_starting_is_waited_for(made) -> None:
    await made.ok("admin.vm.property.Set", "work", "netvm", "net")
    made.hypervisor.inject("create", Fault(delay_s=0.05), made.qube("net").uuid)
    first = await begun(made, start(made.world, made.qube("net")), PowerState.TRANSIENT, "net")
    await start(made.world, made.qube("work"))
    await first
    started = [fact.subject for fact in made.facts if isinstance(fact, facts.QubeStarted)]
    assert started == ["net", "work"]


async def test_a_netvm_that_fails_keeps_its_client_off(made) -> None:
    await made.ok("admin.vm.property.Set", "work", "netvm", "net")
    made.hypervisor.inject(
        "create", Fault(error=HypervisorError("create", "no")), made.qube("net").uuid
    )
    with pytest.raises(StartFailedError, match="net"):
        await start(made.world, made.qube("work"))
    assert is_off(made, "work")
    assert is_off(made, "net")


FAILURES = [
    ("create", HypervisorError("create", "no"), StartFailedError, False),
    ("unpause", HypervisorError("unpause", "no"), StartFailedError, True),
]


@pytest.mark.parametrize(("method", "error", "expected", "spawned"), FAILURES)
async def test_a_failed_start_leaves_nothing_and_says_so(
    made, method, error, expected, spawned
) -> None:
    made.hypervisor.inject(method, Fault(error=error))
    stream = made.subscribe()
    with pytest.raises(expected):
        await start(made.world, made.qube("work"))
    assert is_off(made, "work")
    names = told(stream, "work")
    assert names[0] == "domain-pre-start"
    assert names.count("domain-start-failed") == 1
    assert "domain-start" not in names
    ended = ["domain-stopped", "domain-shutdown"] if spawned else []
    assert [n for n in names if n in ("domain-stopped", "domain-shutdown")] == ended
    made.hypervisor.heal()
    await start(made.world, made.qube("work"))
    assert runs(made, "work")


async def test_a_missing_volume_fails_the_start(made) -> None:
    work = made.qube("work")
    await made.world.pools.driver(work.volumes["private"].pool).remove("appvms/work/private")
    with pytest.raises(StartFailedError, match="private"):
        await start(made.world, work)
    assert is_off(made, "work")
    assert events(made, "work")[-1] == "QubeStartFailed"


async def test_a_missing_template_fails_the_start(made) -> None:
    work = made.qube("work")
    work.properties[PropertyName("template")] = "gone"
    with pytest.raises(NoTemplateError):
        await start(made.world, work)
    assert is_off(made, "work")


async def test_a_start_that_cannot_be_noted_is_refused(made) -> None:
    made.backend.failing = "disk full"
    with pytest.raises(StoreError):
        await start(made.world, made.qube("work"))
    assert is_off(made, "work")
    assert not made.hypervisor._guests
    made.backend.failing = None
    with contextlib.suppress(StoreError):
        await start(made.world, made.qube("work"))
    await made.settle()  # the probe
    await start(made.world, made.qube("work"))
    assert runs(made, "work")


async def test_more_memory_than_there_is_fails_the_start(made) -> None:
    await made.ok("admin.vm.property.Set", "work", "memory", "16385")
    with pytest.raises(OutOfMemoryError):
        await start(made.world, made.qube("work"))
    assert events(made, "work")[-1] == "QubeStartFailed"
    await made.ok("admin.vm.property.Set", "work", "memory", "16384")
    await start(made.world, made.qube("work"))
    with pytest.raises(OutOfMemoryError):
        await start(made.world, made.qube("alone"))
    await kill(made.world, made.qube("work"))
    await start(made.world, made.qube("alone"))


async def test_starts_at_once_do_not_take_the_same_memory(made) -> None:
    for name in ("work", "alone"):
        await made.ok("admin.vm.property.Set", name, "memory", "10000")
    made.hypervisor.inject("create", Fault(delay_s=0.02))
    results = await asyncio.gather(
        *(start(made.world, made.qube(name)) for name in ("work", "alone")),
        return_exceptions=True,
    )
    assert sorted(type(result).__name__ for result in results) == ["NoneType", "OutOfMemoryError"]


class Agents:
    """Agents that answer, fail, or never answer."""

    def __init__(self, error: AdminError | None = None, *, mute: bool = False) -> None:
        self.error, self.mute, self.asked = error, mute, 0

    async def answered(self, uuid) -> None:
        self.asked += 1
        if self.mute:
            await asyncio.get_running_loop().create_future()
        if self.error is not None:
            raise self.error


async def with_agent(made: Made, agents: Agents) -> None:
    made.world.agents = agents
    await made.ok("admin.vm.feature.Set", "tpl", "qrexec", "1")
    await made.ok("admin.vm.property.Set", "work", "qrexec_timeout", "1")


async def test_with_the_feature_a_start_waits_for_the_agent(made) -> None:
    agents = Agents()
    await start(made.world, made.qube("net"))
    assert agents.asked == 0
    await with_agent(made, agents)
    await start(made.world, made.qube("work"))
    assert agents.asked == 1
    assert runs(made, "work", "net")


async def test_an_agent_that_does_not_answer_in_time_fails_the_start(made) -> None:
    await with_agent(made, Agents(mute=True))
    with pytest.raises(QubeError, match="within 1 s"):
        await start(made.world, made.qube("work"))
    assert is_off(made, "work")
    assert events(made, "work")[-1] == "QubeHalted"


async def test_an_agent_that_cannot_be_heard_fails_the_start(made) -> None:
    await with_agent(made, Agents(HypervisorError("agent", "no channel")))
    with pytest.raises(StartFailedError, match="no channel"):
        await start(made.world, made.qube("work"))
    assert is_off(made, "work")


async def test_a_guest_that_ends_while_its_agent_is_awaited_fails_the_start_at_once(made) -> None:
    await with_agent(made, Agents(mute=True))
    await made.ok("admin.vm.property.Set", "work", "qrexec_timeout", "60")
    starting = await begun(made, start(made.world, made.qube("work")), PowerState.TRANSIENT)
    await until(lambda: "QubeUnpaused" in events(made, "work"))
    made.hypervisor.end(made.qube("work").uuid)
    async with asyncio.timeout(2):
        with pytest.raises(QubeError, match="before it was up"):
            await starting
    assert is_off(made, "work")


async def test_kill_ends_a_start_that_hangs_in_the_hypervisor(made) -> None:
    made.hypervisor.inject("create", Fault(hang=True))
    starting = await begun(made, start(made.world, made.qube("work")), PowerState.TRANSIENT)
    await called(made, "create")
    async with asyncio.timeout(2):
        await kill(made.world, made.qube("work"))
        with pytest.raises(QubeError, match="killed"):
            await starting
    assert is_off(made, "work")
    made.hypervisor.heal()
    await start(made.world, made.qube("work"))
    assert runs(made, "work")


async def test_kill_ends_a_start_that_waits_for_its_agent(made) -> None:
    await with_agent(made, Agents(mute=True))
    starting = await begun(made, start(made.world, made.qube("work")), PowerState.TRANSIENT)
    await until(lambda: "QubeUnpaused" in events(made, "work"))
    async with asyncio.timeout(0.9):
        await kill(made.world, made.qube("work"))
        with pytest.raises(QubeError, match="killed"):
            await starting
    assert is_off(made, "work")
    names = events(made, "work")
    assert names.count("QubeStopped") == names.count("QubeHalted") == 1


async def test_a_qube_that_hangs_delays_no_other(made) -> None:
    made.hypervisor.inject("create", Fault(hang=True), made.qube("work").uuid)
    starting = await begun(made, start(made.world, made.qube("work")), PowerState.TRANSIENT)
    async with asyncio.timeout(2):
        assert "work class=AppVM state=Transient" in await made.ok("admin.vm.List")
        await made.ok("admin.vm.property.Set", "work", "vcpus", "1")
        await made.ok("admin.vm.Start", "alone")
        await made.ok("admin.vm.Shutdown", "alone", "wait")
        await kill(made.world, made.qube("work"))
        with pytest.raises(QubeError):
            await starting


async def test_a_start_waiting_for_a_removal_says_so(made) -> None:
    work = made.qube("work")
    async with made.world.lanes.hold(work.uuid, "work", "remove"):
        starting = asyncio.ensure_future(start(made.world, work))
        await asyncio.sleep(0)
        with made.system.change() as change:
            change.remove_qube(work)
    with pytest.raises(QubeError, match="removed"):
        await starting


async def test_the_caller_that_stops_waiting_stops_nothing(made) -> None:
    made.hypervisor.inject("create", Fault(delay_s=0.02))
    request = b"admin.vm.Start+ dom0 name work\0"
    made.send(request)  # and never looks at the answer
    await until(lambda: made.qube("work").state is PowerState.RUNNING)
    await shutdown(made.world, made.qube("work"), ShutdownOptions(wait=True))
    assert is_off(made, "work")


async def test_a_cut_off_start_is_undone_when_the_daemon_stops(made) -> None:
    made.hypervisor.inject("unpause", Fault(hang=True))
    starting = await begun(made, start(made.world, made.qube("work")), PowerState.TRANSIENT)
    await called(made, "unpause")
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert is_off(made, "work")


async def test_a_started_qube_whose_volumes_cannot_be_put_away_is_off_all_the_same(made) -> None:
    work = made.qube("work")
    await start(made.world, work)
    driver = made.world.pools.driver(work.volumes["private"].pool)

    async def broken(_volume) -> None:
        raise StorageError("private", "no")

    driver.stop = broken
    await kill(made.world, work)
    assert is_off(made, "work")
