"""admin.property.* and admin.vm.property.*"""

import inspect
import re
from collections.abc import Iterator, Mapping

from ..errors import NoSuchPropertyError, NotHaltedError, PropertyValueError
from ..facts import PropertyValue
from ..model.property import NoDefault, QubeProperty, SystemProperty, refuse_fixed
from ..model.qube import Qube
from ..model.qube_properties import QUBE
from ..model.system import System
from ..model.system_properties import SYSTEM
from ..names import ADMIN, PropertyName
from ..spec import property as rows
from ..spec.properties import QUBE_PROPERTIES, PropertyRow
from ..spec.property_body import Default, Kind, NamedReading, Reading, spell
from .call import AnyRoute, Call, Route


def _of_class() -> Mapping[str, tuple[QubeProperty, ...]]:
    """Return the properties of each class: early ones by name, then late ones by name."""
    ordered = sorted(QUBE.values(), key=lambda p: (p.row.late, p.row.name))
    classes = {klass for row in QUBE_PROPERTIES.values() for klass in row.classes}
    return {k: tuple(p for p in ordered if k in p.row.classes) for k in classes}


OF_CLASS = _of_class()


def _qube_property(qube: Qube, name: PropertyName) -> QubeProperty:
    found = QUBE.get(name)
    if found is None or qube.klass.name not in found.row.classes:
        raise NoSuchPropertyError(qube.name, name)
    return found


def _system_property(name: PropertyName) -> SystemProperty:
    found = SYSTEM.get(name)
    if found is None:
        raise NoSuchPropertyError(ADMIN, name)
    return found


def _reading(row: PropertyRow, value: PropertyValue, *, is_set: bool) -> Reading:
    return Reading(not is_set, row.kind, spell(value))


def _plain(text: str) -> str:
    """Reflow reStructuredText for a terminal: markup off, paragraphs on one line each."""
    clean = re.sub(r"``([^`]*)``", r"\1", inspect.cleandoc(text))
    return "\n\n".join(" ".join(part.split()) for part in clean.split("\n\n"))


# Of the system.


def system_list(call: Call[PropertyName | None, None]) -> tuple[PropertyName, ...]:
    if call.arg is None:
        return tuple(sorted(SYSTEM))
    return (_system_property(call.arg).row.name,)


def _read_system(system: System, prop: SystemProperty) -> Reading:
    is_set = prop.row.name in system.properties
    return _reading(prop.row, prop.value(system), is_set=is_set)


def system_get(call: Call[PropertyName, None]) -> Reading:
    return _read_system(call.system, _system_property(call.arg))


def system_get_all(call: Call[None, None]) -> tuple[NamedReading, ...]:
    return tuple(
        NamedReading(name, _read_system(call.system, SYSTEM[name])) for name in sorted(SYSTEM)
    )


def system_get_default(call: Call[PropertyName, None]) -> Default | None:
    prop = _system_property(call.arg)
    default = prop.default(call.system)
    return None if isinstance(default, NoDefault) else Default(prop.row.kind, spell(default))


def system_help(call: Call[PropertyName, None]) -> str:
    return _plain(_system_property(call.arg).row.doc)


def system_help_rst(call: Call[PropertyName, None]) -> str:
    return inspect.cleandoc(_system_property(call.arg).row.doc)


def system_reset(call: Call[PropertyName, None]) -> None:
    prop = _system_property(call.arg)
    with call.system.change(call.source.name) as change:
        change.reset_property(None, prop.row.name)


def system_set(call: Call[PropertyName, PropertyValue]) -> None:
    prop = _system_property(call.arg)
    refuse_fixed(prop.row)
    value = prop.check(call.system, call.payload)
    with call.system.change(call.source.name) as change:
        change.set_property(None, prop.row.name, value)


# Of a qube.


def qube_list(call: Call[PropertyName | None, None]) -> tuple[PropertyName, ...]:
    if call.arg is None:
        return tuple(prop.row.name for prop in OF_CLASS[call.dest.klass.name])
    return (_qube_property(call.dest, call.arg).row.name,)


def _read(system: System, qube: Qube, prop: QubeProperty) -> Reading:
    is_set = prop.row.name in qube.properties
    return _reading(prop.row, prop.value(system, qube), is_set=is_set)


def qube_get(call: Call[PropertyName, None]) -> Reading:
    return _read(call.system, call.dest, _qube_property(call.dest, call.arg))


def _read_all(system: System, qube: Qube) -> Iterator[NamedReading]:
    for prop in OF_CLASS[qube.klass.name]:
        yield NamedReading(prop.row.name, _read(system, qube, prop))


def qube_get_all(call: Call[None, None]) -> tuple[NamedReading, ...]:
    return tuple(_read_all(call.system, call.dest))


def qube_get_default(call: Call[PropertyName, None]) -> Default | None:
    prop = _qube_property(call.dest, call.arg)
    default = prop.default(call.system, call.dest)
    return None if isinstance(default, NoDefault) else Default(prop.row.kind, spell(default))


def qube_help(call: Call[PropertyName, None]) -> str:
    return _plain(_qube_property(call.dest, call.arg).row.doc)


def qube_help_rst(call: Call[PropertyName, None]) -> str:
    return inspect.cleandoc(_qube_property(call.dest, call.arg).row.doc)


def _check_halted(qube: Qube, prop: QubeProperty) -> None:
    if prop.halted and not qube.power.is_halted:
        raise NotHaltedError(qube.name)


def qube_reset(call: Call[PropertyName, None]) -> None:
    prop, qube = _qube_property(call.dest, call.arg), call.dest
    if prop.required and prop.row.name in qube.properties:
        raise PropertyValueError(prop.row.name, "it has no default")
    default = prop.default(call.system, qube)
    if prop.row.kind in (Kind.BOOL, Kind.VM) and not isinstance(default, NoDefault):
        prop.check(call.system, qube, default)
    with call.system.change(call.source.name) as change:
        change.reset_property(qube, prop.row.name)


def qube_set(call: Call[PropertyName, PropertyValue]) -> None:
    prop, qube = _qube_property(call.dest, call.arg), call.dest
    refuse_fixed(prop.row)
    _check_halted(qube, prop)
    value = prop.check(call.system, qube, call.payload)
    with call.system.change(call.source.name) as change:
        change.set_property(qube, prop.row.name, value)


ROUTES: tuple[AnyRoute, ...] = (
    Route(rows.SYSTEM.list, system_list),
    Route(rows.SYSTEM.get, system_get),
    Route(rows.SYSTEM.get_all, system_get_all),
    Route(rows.SYSTEM.get_default, system_get_default),
    Route(rows.SYSTEM.help, system_help),
    Route(rows.SYSTEM.help_rst, system_help_rst),
    Route(rows.SYSTEM.reset, system_reset),
    Route(rows.SYSTEM.set, system_set),
    Route(rows.QUBE.list, qube_list),
    Route(rows.QUBE.get, qube_get),
    Route(rows.QUBE.get_all, qube_get_all),
    Route(rows.QUBE.get_default, qube_get_default),
    Route(rows.QUBE.help, qube_help),
    Route(rows.QUBE.help_rst, qube_help_rst),
    Route(rows.QUBE.reset, qube_reset),
    Route(rows.QUBE.set, qube_set),
)
