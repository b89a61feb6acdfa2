"""Which qubes refer to which, so that nobody has to search all of them."""

from collections.abc import Iterator
from typing import NamedTuple

from ..facts import PropertyValue
from ..names import PropertyName, QubeName
from ..spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES
from ..spec.property_body import Kind
from .qube import Qube


class Reference(NamedTuple):
    """A property that names a qube. `holder` None: the system."""

    holder: Qube | None
    name: PropertyName


class References:
    """Index of set properties of kind `vm`, by the qube that they name."""

    def __init__(self) -> None:
        self._to: dict[QubeName, dict[Reference, None]] = {}

    def replace(
        self, holder: Qube | None, name: PropertyName, old: PropertyValue, new: PropertyValue
    ) -> None:
        """Note that a property changed. Other kinds than `vm` are passed over."""
        rows = SYSTEM_PROPERTIES if holder is None else QUBE_PROPERTIES
        if rows[name].kind is not Kind.VM:
            return
        reference = Reference(holder, name)
        if isinstance(old, str):
            found = self._to.get(QubeName(old), {})
            found.pop(reference, None)
            if not found:
                self._to.pop(QubeName(old), None)
        if isinstance(new, str):
            self._to.setdefault(QubeName(new), {})[reference] = None

    def to(self, name: QubeName) -> Iterator[Reference]:
        """Yield the properties that name the qube."""
        yield from tuple(self._to.get(name, ()))
