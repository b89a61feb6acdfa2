"""The properties of qubes and of the system, and the classes of qubes, as references."""

from ..names import ClassName
from ..spec.classes import CLASSES
from ..spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES, PropertyRow, Writable
from .markdown import code, page, plain, table

_WRITABLE = {
    Writable.YES: "yes",
    Writable.NO: "no",
    Writable.ONCE: "when the qube is made",
}
_INTRODUCTION = """\
What `admin.vm.property.*` knows of a qube, and `admin.property.*` of the system. Where a property
isn't set it has a default, often another property's value: `GetDefault` tells it."""


def _classes(names: frozenset[ClassName]) -> str:
    runs = frozenset(row.name for row in CLASSES.values() if row.runs)
    if names == frozenset(CLASSES):
        return "all"
    if names == runs:
        return "all that run here"
    missing = sorted(frozenset(CLASSES) - names)
    if len(missing) == 1:
        return f"all but {missing[0]}"
    return ", ".join(sorted(names))


def _row(row: PropertyRow, *more: str) -> tuple[str, ...]:
    return (code(row.name), row.kind.value, *more, _WRITABLE[row.writable], plain(row.doc))


def properties_page() -> str:
    """Return the reference of all properties."""
    of_qubes = [_row(row, _classes(row.classes)) for _, row in sorted(QUBE_PROPERTIES.items())]
    of_system = [_row(row) for _, row in sorted(SYSTEM_PROPERTIES.items())]
    return page(
        "Properties",
        _INTRODUCTION,
        "## Of a qube",
        table(("property", "type", "classes", "can be set", "what it is"), of_qubes),
        "## Of the system",
        table(("property", "type", "can be set", "what it is"), of_system),
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def classes_page() -> str:
    """Return the reference of the classes of qubes."""
    rows = [
        (
            code(row.name),
            row.template or "none",
            _yes(row.creatable),
            _yes(row.runs),
            _yes(row.runs and row.owns_root),
            _yes(row.runs and row.keeps_private),
        )
        for row in CLASSES.values()
    ]
    head = ("class", "its template is a", "can be created", "runs here", "keeps its root volume")
    return page(
        "Classes of qubes",
        "What runs here has a domain, volumes and a power state; the others are always `Running`.",
        table((*head, "keeps its private volume"), rows),
    )
