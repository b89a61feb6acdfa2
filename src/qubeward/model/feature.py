"""Looking a feature up where a qube falls back to."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..names import FeatureName, PropertyName, QubeName

if TYPE_CHECKING:
    from .qube import Qube
    from .system import System


def _chain(system: "System", qube: "Qube", name: str) -> "Iterator[Qube]":
    seen: set[QubeName] = set()
    here: Qube | None = qube
    prop = PropertyName(name)
    while here is not None and here.name not in seen:
        yield here
        seen.add(here.name)
        there = system.value(here, prop) if here.klass.runs else None
        here = system.qubes.get(QubeName(there)) if isinstance(there, str) else None


def template_of(system: "System", qube: "Qube") -> "Qube | None":
    """Return the qube that this one is based on, or None.

    One of another class than it must be of is none. So no loop of templates, as a store edited by
    hand may have, is ever walked: classes only go from disposables down to templates.
    """
    name = qube.properties.get(PropertyName("template"))
    found = system.qubes.get(QubeName(name)) if isinstance(name, str) else None
    return found if found is not None and found.klass.name == qube.klass.template else None


def templates(system: "System", qube: "Qube") -> "Iterator[Qube]":
    """Yield the qube, its template, and that one's template."""
    here: Qube | None = qube
    while here is not None:
        yield here
        here = template_of(system, here)


def with_template(system: "System", qube: "Qube", name: FeatureName) -> str | None:
    """Return the feature of the qube, else of its template, and so on; None: absent."""
    return next((q.features[name] for q in templates(system, qube) if name in q.features), None)


def with_netvm(system: "System", qube: "Qube", name: FeatureName) -> str | None:
    """Return the feature of the qube, else of its netvm, and so on; None: absent."""
    chain = _chain(system, qube, "netvm")
    return next((q.features[name] for q in chain if name in q.features), None)


def with_admin(system: "System", qube: "Qube", name: FeatureName) -> str | None:
    """Return the feature of the qube, else of dom0; None: absent."""
    return qube.features.get(name, system.admin.features.get(name))


def with_template_and_admin(system: "System", qube: "Qube", name: FeatureName) -> str | None:
    """Return the feature of the qube, else of its template, else of dom0; None: absent."""
    found = with_template(system, qube, name)
    return system.admin.features.get(name) if found is None else found
