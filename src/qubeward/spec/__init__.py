"""The method table. It imports no handler, so anything may read it."""

from collections.abc import Mapping
from types import MappingProxyType

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
from .method import AnyMethod


def _index(*families: tuple[AnyMethod, ...]) -> Mapping[str, AnyMethod]:
    rows = [row for family in families for row in family]
    table = {row.name: row for row in rows}
    if len(table) != len(rows):
        raise ValueError("a method is in the table twice")
    return MappingProxyType(table)


METHODS = _index(
    vm.METHODS,
    label.METHODS,
    property.METHODS,
    feature.METHODS,
    tag.METHODS,
    notes.METHODS,
    volume.METHODS,
    pool.METHODS,
    operation.METHODS,
    event.METHODS,
    describe.METHODS,
)

__all__ = ["METHODS", "AnyMethod"]
