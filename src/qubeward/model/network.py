"""Addresses of qubes, computed from their numbers (ADMIN-API §5.2)."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..names import FeatureName, PropertyName, QubeName
from ..spec.classes import DISP_VM, TEMPLATE_VM
from .feature import with_netvm

if TYPE_CHECKING:
    from .qube import Qube
    from .system import System

DNS = "10.139.1.1 10.139.1.2"
NETVM = PropertyName("netvm")


def netvm(system: "System", qube: "Qube") -> "Qube | None":
    """Return the qube that this one reaches the network through, or None."""
    if not qube.klass.runs:
        return None
    name = system.value(qube, NETVM)
    return system.qubes.get(QubeName(name)) if isinstance(name, str) else None


def above(system: "System", qube: "Qube") -> "Iterator[Qube]":
    """Yield the qube's netvm, that one's, and so on. A loop, in a store edited by hand, ends."""
    seen = {qube.name}
    here = netvm(system, qube)
    while here is not None and here.name not in seen:
        yield here
        seen.add(here.name)
        here = netvm(system, here)


def takes_default(system: "System", qube: "Qube") -> "Qube | None":
    """Return the first qube above this one that has no netvm of its own but the default one."""
    here: Qube | None = qube
    for _ in system.qubes:
        name = None if here is None else here.properties.get(NETVM)
        here = system.qubes.get(QubeName(name)) if isinstance(name, str) else None
        if here is None or here.klass is TEMPLATE_VM:
            return None
        if NETVM not in here.properties:
            return here
    return None


def provides_network(system: "System", qube: "Qube") -> bool:
    """Tell whether other qubes may be below this one."""
    return qube.klass.runs and bool(system.value(qube, PropertyName("provides_network")))


def is_networked(system: "System", qube: "Qube") -> bool:
    """Tell whether the qube has a netvm or is one."""
    return netvm(system, qube) is not None or provides_network(system, qube)


def clients(system: "System", qube: "Qube") -> "list[Qube]":
    """Return the qubes right below this one."""
    if not provides_network(system, qube):
        return []
    return [other for other in system.qubes.values() if netvm(system, other) is qube]


def _number(qube: "Qube") -> int:
    dispid = qube.properties.get(PropertyName("dispid"))
    return dispid if qube.klass is DISP_VM and isinstance(dispid, int) else qube.qid


def address(system: "System", qube: "Qube") -> str | None:
    """Return the IPv4 address that the qube gets by its number, or None off the network."""
    if not is_networked(system, qube):
        return None
    v = _number(qube) - 1  # skips .0 and .255
    prefix = "10.138" if qube.klass is DISP_VM else "10.137"
    return f"{prefix}.{v // 254}.{v % 254 + 1}"


def address6(system: "System", qube: "Qube") -> str | None:
    """Return the IPv6 address that the qube gets by its number, or None without the feature."""
    if not is_networked(system, qube) or not with_netvm(system, qube, FeatureName("ipv6")):
        return None
    block = "a8a" if qube.klass is DISP_VM else "a89"
    return f"fd09:24ef:4179::{block}:{_number(qube):x}"
