"""admin.label.*"""

from ..errors import LabelInUseError, LabelNotFoundError, ProtocolError
from ..model.label import BUILT_IN
from ..names import LabelName, PropertyName
from ..spec import label
from ..spec.label import Color
from .call import AnyRoute, Call, Route


def list_(call: Call[LabelName | None, None]) -> tuple[LabelName, ...]:
    labels = sorted(call.system.labels.values(), key=lambda row: row.index)
    if call.arg is None:
        return tuple(row.name for row in labels)
    if call.arg not in call.system.labels:
        raise LabelNotFoundError(call.arg)
    return (call.arg,)


def create(call: Call[LabelName, Color]) -> None:
    if call.arg in call.system.labels:
        raise LabelInUseError(call.arg)
    with call.system.change(call.source.name) as change:
        change.add_label(call.system.new_label(call.arg, call.payload))


def get(call: Call[LabelName, None]) -> Color:
    return call.system.label(call.arg).color


def index(call: Call[LabelName, None]) -> int:
    return call.system.label(call.arg).index


def remove(call: Call[LabelName, None]) -> None:
    found = call.system.label(call.arg)
    if found.name in BUILT_IN:
        raise ProtocolError("label", "the first eight can't be removed")
    worn = PropertyName("label")
    if any(qube.properties.get(worn) == found.name for qube in call.system.qubes.values()):
        raise LabelInUseError(found.name)
    with call.system.change(call.source.name) as change:
        change.remove_label(found)


ROUTES: tuple[AnyRoute, ...] = (
    Route(label.LIST, list_),
    Route(label.CREATE, create),
    Route(label.GET, get),
    Route(label.INDEX, index),
    Route(label.REMOVE, remove),
)
