"""A property: its row of the table, and what needs the rest of the system to answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ..errors import PropertyValueError
from ..facts import PropertyValue
from ..names import PropertyName
from ..spec.properties import PropertyRow, Writable

if TYPE_CHECKING:
    from .qube import Qube
    from .system import System


class NoDefault:
    """What a property has that is either set or missing."""


NO_DEFAULT: Final = NoDefault()

QubeDefault = Callable[["System", "Qube"], PropertyValue | NoDefault]
QubeCheck = Callable[["System", "Qube", PropertyValue], PropertyValue]
SystemDefault = Callable[["System"], PropertyValue | NoDefault]
SystemCheck = Callable[["System", PropertyValue], PropertyValue]


def refuse_fixed(row: PropertyRow) -> None:
    """Raise `PropertyValueError` for a property that no call sets."""
    if row.writable is not Writable.YES:
        why = "it is computed" if row.writable is Writable.NO else "it is fixed once made"
        raise PropertyValueError(row.name, why)


@dataclass(frozen=True, slots=True)
class QubeProperty:
    """A property of qubes.

    `check` takes a parsed value and returns the one to keep, or raises. `required` properties
    can't be reset. `halted` ones change only while the qube is off.
    """

    row: PropertyRow
    default: QubeDefault
    check: QubeCheck
    required: bool = False
    halted: bool = False

    def value(self, system: "System", qube: "Qube") -> PropertyValue:
        """Return the effective value; None where there is neither value nor default."""
        name = self.row.name
        if name in qube.properties:
            return qube.properties[name]
        found = self.default(system, qube)
        return None if isinstance(found, NoDefault) else found


@dataclass(frozen=True, slots=True)
class SystemProperty:
    """A property of the system as a whole."""

    row: PropertyRow
    default: SystemDefault
    check: SystemCheck
    required: bool = False

    def value(self, system: "System") -> PropertyValue:
        """Return the effective value; None where there is neither value nor default."""
        name = self.row.name
        if name in system.properties:
            return system.properties[name]
        found = self.default(system)
        return None if isinstance(found, NoDefault) else found


def positive(name: PropertyName, value: PropertyValue) -> PropertyValue:
    """Return the number, or raise `PropertyValueError` unless it is above 0."""
    if not isinstance(value, int) or value <= 0:
        raise PropertyValueError(name, "allowed: a number above 0")
    return value
