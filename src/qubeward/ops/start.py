"""Start a qube: its netvm, its volumes, its domain, its agent; or leave nothing of it."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar
from uuid import uuid4

from ..errors import (
    AdminError,
    HypervisorError,
    NoTemplateError,
    NotHaltedError,
    OutOfMemoryError,
    QubeError,
    StartFailedError,
    StorageError,
)
from ..facts import (
    QubeSpawned,
    QubeSpawning,
    QubeStarted,
    QubeStartFailed,
    QubeStarting,
    QubeUnpaused,
    QubeUnpausing,
    StateChanged,
)
from ..hypervisor.driver import DirectKernel, Disk, DomainInfo, DomainSpec
from ..model import feature, network
from ..model.change import Change
from ..model.qube import Qube
from ..names import FeatureName, PropertyName
from ..spec.vm_body import PowerState
from ..storage.driver import BlockImage
from . import space
from .imports import drop_abandoned
from .lanes import Hold
from .observe import RUNTIME, note_figures, put_away, until_off
from .steps import Plan, Step, run
from .volume import check_sources
from .world import World

log = logging.getLogger(__name__)

T = TypeVar("T")
_P = PropertyName
_OFF_SOON = frozenset({PowerState.HALTED, PowerState.HALTING, PowerState.DYING})
#: Words of the kernel's command line that every direct boot has. A timer check that fails under
#: emulation stops the boot (STORAGE.md, "Light guests").
BOOT_OPTIONS = "root=/dev/vda rw console=ttyS0 no_timer_check"


async def start(world: World, qube: Qube) -> None:
    """Start a qube, and its netvm before it. One that runs already is left alone."""
    if not qube.klass.runs:
        raise NotHaltedError(qube.name)
    chain = [qube]
    for above in network.above(world.system, qube):
        if chain[-1].power.state not in _OFF_SOON:
            break
        chain.append(above)
    for each in reversed(chain):
        await _start(world, each)


async def _start(world: World, qube: Qube) -> None:
    if qube.power.state in _OFF_SOON:
        await until_off(world, qube)
    async with world.lanes.hold(qube.uuid, qube.name, "start") as hold:
        if world.system.by_uuid.get(qube.uuid) is not qube:
            raise QubeError(qube.name, "was removed meanwhile")
        if not qube.power.is_halted:
            return
        await _Start(world, qube, hold).run()


class _Start:
    """One start, from first word to last."""

    def __init__(self, world: World, qube: Qube, hold: Hold) -> None:
        self._world = world
        self._qube = qube
        self._hold = hold
        self._guid = uuid4()
        self._images: dict[str, BlockImage] = {}
        self._gone = asyncio.Event()
        self._info: DomainInfo | None = None

    async def run(self) -> None:
        world, qube = self._world, self._qube
        memory_mib = self._number("memory")
        world.announce(QubeStarting(qube.name, self._guid, memory_mib))
        qube.power.state = PowerState.TRANSIENT
        world.starting[qube.uuid] = self._gone
        plan = Plan(
            name="start",
            about={"uuid": str(qube.uuid), "name": qube.name},
            steps=(
                Step("check", self._check),
                Step("volumes", self._take_volumes),
                Step("domain", self._spawn, self._destroy),
                Step("boot", self._boot),
            ),
            land=self._land,
        )
        try:
            await run(plan, world.journal)
        except BaseException as error:
            # No step undoes the volumes: putting the qube away does, after the domain is gone.
            world.starting.pop(qube.uuid, None)
            failed = QubeStartFailed(qube.name, _reason(error))
            world.announce(failed)
            await put_away(world, qube, ran=self._info is not None)
            if isinstance(error, StorageError | HypervisorError):
                raise StartFailedError(qube.name, str(error)) from error
            raise
        world.starting.pop(qube.uuid, None)
        if self._gone.is_set():
            await put_away(world, qube)
            raise StartFailedError(qube.name, "it ended as it started")

    def _number(self, name: str) -> int:
        value = self._world.system.value(self._qube, _P(name))
        return value if isinstance(value, int) else 0

    async def _check(self) -> None:
        system, qube = self._world.system, self._qube
        if qube.klass.template is not None and feature.template_of(system, qube) is None:
            raise NoTemplateError(qube.name)
        if qube.trouble:
            raise QubeError(qube.name, qube.trouble)
        await drop_abandoned(self._world, qube)
        check_sources(self._world, qube)
        await space.require(self._world, (volume.pool for volume in qube.volumes.values()))
        others = (q for q in system.qubes.values() if q is not qube and not q.power.is_halted)
        used_mib = sum(other.power.memory_kib for other in others) // 1024
        if used_mib + self._number("memory") > system.host.memory_mib:
            raise OutOfMemoryError(qube.name)
        qube.power.memory_kib = self._number("memory") * 1024  # others starting now see it taken

    async def _take_volumes(self) -> None:
        self._hold.check()
        self._images = await self._world.pools.start(self._qube)

    def _spec(self) -> DomainSpec:
        world, qube = self._world, self._qube
        kernel = world.pools.kernel(qube)
        options = f"{BOOT_OPTIONS} qubeward.name={qube.name} {self._text('kernelopts')}".strip()
        return DomainSpec(
            uuid=qube.uuid,
            name=qube.name,
            memory_mib=self._number("memory"),
            max_memory_mib=self._number("memory"),
            vcpus=self._number("vcpus"),
            disks=[
                Disk(
                    serial=name,
                    path=str(image.path),
                    format=image.format,
                    read_only=image.read_only,
                    key=image.key,
                )
                for name, image in self._images.items()
            ],
            kernel=None
            if kernel is None
            else DirectKernel(
                vmlinuz=str(kernel.vmlinuz),
                initramfs=str(kernel.initramfs) if kernel.initramfs else None,
                options=options,
            ),
            console_log=str(world.consoles / f"{qube.name}.log"),
            debug=bool(world.system.value(qube, _P("debug"))),
            features={str(k): v for k, v in qube.features.items()},
        )

    def _text(self, name: str) -> str:
        value = self._world.system.value(self._qube, _P(name))
        return " ".join(str(value or "").split())

    async def _spawn(self) -> None:
        world, qube = self._world, self._qube
        self._hold.check()
        world.announce(QubeSpawning(qube.name, self._guid))
        self._info = await self._unless_gone(world.hypervisor.create(self._spec()))
        note_figures(qube, self._info)
        qube.power.start_time_s = time.time()
        qube.power.start_guid = self._guid
        for name in RUNTIME:
            world.announce(StateChanged(qube.name, name))
        world.announce(QubeSpawned(qube.name, self._guid))

    async def _destroy(self) -> None:
        await self._world.hypervisor.destroy(self._qube.uuid)

    async def _boot(self) -> None:
        world, qube = self._world, self._qube
        self._hold.check()
        world.announce(QubeUnpausing(qube.name))
        await self._unless_gone(world.hypervisor.unpause(qube.uuid))
        world.announce(QubeUnpaused(qube.name))
        if feature.with_template(world.system, qube, FeatureName("qrexec")):
            await self._agent()
        self._check_alive()

    def _check_alive(self) -> None:
        self._hold.check()
        if self._gone.is_set():
            raise QubeError(self._qube.name, "it ended before it was up")

    async def _unless_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """Await a call about the domain, which may hang: but not once the domain is gone."""
        call = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait((call, gone), return_when=asyncio.FIRST_COMPLETED)
            if call.done():
                return call.result()
        finally:
            gone.cancel()
            call.cancel()
            await asyncio.wait((call,))  # what it began, it cleans up first
            if not call.cancelled():
                call.exception()  # no longer of interest
        self._check_alive()
        raise QubeError(self._qube.name, "it ended before it was up")

    async def _agent(self) -> None:
        """Wait for the guest's agent, the guest's end, or the time that it has."""
        timeout_s = self._number("qrexec_timeout")
        answer = asyncio.ensure_future(self._world.agents.answered(self._qube.uuid))
        gone = asyncio.ensure_future(self._gone.wait())
        try:
            done, _ = await asyncio.wait(
                (answer, gone), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not done:
                raise QubeError(self._qube.name, f"its agent did not answer within {timeout_s} s")
            if answer in done:
                answer.result()
        finally:
            answer.cancel()
            gone.cancel()

    def _land(self, change: Change) -> None:
        qube = self._qube
        qube.power.state = PowerState.RUNNING
        started = {"time_s": qube.power.start_time_s, "guid": str(self._guid)}
        change.write("running", (qube.uuid,), (started,))
        change.tell(QubeStarted(qube.name, self._guid))


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, AdminError) else type(error).__name__
