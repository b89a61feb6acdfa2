"""Row to handler, checked complete at import."""

from collections.abc import Mapping
from types import MappingProxyType

from ..spec import METHODS
from . import (
    describe,
    event,
    feature,
    label,
    notes,
    operation,
    pool,
    property,  # noqa: A004
    tag,
    vm,
    volume,
)
from .call import AnyRoute


def _index(*families: tuple[AnyRoute, ...]) -> Mapping[str, AnyRoute]:
    routes = {route.method.name: route for family in families for route in family}
    if routes.keys() != METHODS.keys():
        raise ValueError(f"table and routes differ: {routes.keys() ^ METHODS.keys()}")
    return MappingProxyType(routes)


ROUTES = _index(
    vm.ROUTES,
    label.ROUTES,
    property.ROUTES,
    feature.ROUTES,
    tag.ROUTES,
    notes.ROUTES,
    volume.ROUTES,
    pool.ROUTES,
    operation.ROUTES,
    event.ROUTES,
    describe.ROUTES,
)
