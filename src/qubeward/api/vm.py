"""admin.vmclass.* and admin.vm.*"""

from collections.abc import Awaitable, Callable

from ..errors import QubeNotFoundError
from ..model.power import Power
from ..model.qube import Qube
from ..names import ClassName, QubeName
from ..ops import create as creating
from ..ops import power
from ..ops.start import start as start_qube
from ..spec import vm
from ..spec.classes import ADMIN_VM, CLASSES, CREATABLE, QubeClass
from ..spec.new_qube import NewClone, NewQube
from ..spec.vm_body import Figures, Row, ShutdownOptions
from .call import AnyRoute, Call, Route


def class_list(call: Call[ClassName | None, None]) -> tuple[ClassName, ...]:
    return tuple(CLASSES) if call.arg is None else (call.arg,)


def _listed(call: Call[QubeName | None, None]) -> tuple[Qube, ...]:
    if call.dest.klass is not ADMIN_VM:
        found = [call.dest]
    elif call.arg is None:
        found = list(call.system.in_order())
    else:
        found = [call.system.qube(call.arg)]
    return tuple(qube for qube in found if call.shows(qube))


def list_(call: Call[QubeName | None, None]) -> tuple[Row, ...]:
    found = _listed(call)
    if call.arg is not None and call.arg not in (qube.name for qube in found):
        raise QubeNotFoundError(call.arg)
    return tuple(Row(q.name, q.klass.name, q.state, q.uuid) for q in found)


def _create(klass: QubeClass) -> Callable[[Call[QubeName | None, NewQube]], Awaitable[None]]:
    async def create(call: Call[QubeName | None, NewQube]) -> None:
        await creating.create(call.world, call.source.name, klass, call.arg, call.payload)

    return create


async def create_template(call: Call[QubeName, None]) -> None:
    await creating.create_template(call.world, call.source.name, call.arg, call.incoming)


async def clone(call: Call[None, NewClone]) -> None:
    await creating.clone(call.world, call.source.name, call.dest, call.payload)


async def remove(call: Call[None, None]) -> None:
    await creating.remove(call.world, call.dest)


async def start(call: Call[None, None]) -> None:
    await start_qube(call.world, call.dest)


async def shutdown(call: Call[ShutdownOptions, None]) -> None:
    await power.shutdown(call.world, call.dest, call.arg)


async def kill(call: Call[None, None]) -> None:
    await power.kill(call.world, call.dest)


async def pause(call: Call[None, None]) -> None:
    await power.pause(call.world, call.dest)


async def unpause(call: Call[None, None]) -> None:
    await power.unpause(call.world, call.dest)


def current_state(call: Call[None, None]) -> Figures:
    qube = call.dest
    figures = qube.power
    if qube.klass is ADMIN_VM:
        kib = call.system.host.memory_mib * 1024
        figures = Power(memory_kib=kib, max_memory_kib=kib)
    return Figures(figures.memory_kib, figures.max_memory_kib, figures.cpu_time_ns, qube.state)


async def console(call: Call[None, None]) -> str:
    return await power.console(call.world, call.dest)


ROUTES: tuple[AnyRoute, ...] = (
    Route(vm.CLASS_LIST, class_list),
    Route(vm.LIST, list_),
    *(Route(vm.CREATE[klass.name], _create(klass)) for klass in CREATABLE),
    *(Route(vm.CREATE_IN_POOL[klass.name], _create(klass)) for klass in CREATABLE),
    Route(vm.CREATE_TEMPLATE, create_template),
    Route(vm.CLONE, clone),
    Route(vm.CLONE_IN_POOL, clone),
    Route(vm.REMOVE, remove),
    Route(vm.START, start),
    Route(vm.SHUTDOWN, shutdown),
    Route(vm.KILL, kill),
    Route(vm.PAUSE, pause),
    Route(vm.UNPAUSE, unpause),
    Route(vm.CURRENT_STATE, current_state),
    Route(vm.CONSOLE, console),
)
