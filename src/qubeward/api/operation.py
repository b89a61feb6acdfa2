"""admin.operation.*"""

from ..ops.progress import Operation
from ..spec import operation
from ..spec.operation import Progress
from .call import AnyRoute, Call, Route


def _told(one: Operation) -> Progress:
    return Progress(
        one.id, one.kind, one.qube, one.volume, one.done_bytes, one.total_bytes, int(one.began_s)
    )


def list_(call: Call[str | None, None]) -> tuple[Progress, ...]:
    operations = call.world.operations
    found = operations.all() if call.arg is None else (operations.find(call.arg),)
    return tuple(
        _told(one)
        for one in found
        if call.shows(call.system.qubes.get(one.qube, call.system.admin))
    )


def cancel(call: Call[str, None]) -> None:
    call.world.operations.find(call.arg).cancelled.set()


ROUTES: tuple[AnyRoute, ...] = (Route(operation.LIST, list_), Route(operation.CANCEL, cancel))
