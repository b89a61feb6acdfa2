"""The errors that a caller may see, as a reference."""

from collections.abc import Iterator

from ..errors import AdminError
from .markdown import code, first_line, page, table

_INTRODUCTION = """\
A call that fails answers with an error: its name on the wire, a text with `%s` in it, and the
fields for those. The name decides which exception a client raises (`qubesadmin.exc` has them). One
name may stand for several errors, told apart by their texts."""


def _all(root: type[AdminError]) -> Iterator[type[AdminError]]:
    for kind in root.__subclasses__():
        if "wire_name" in vars(kind):  # else it only gathers others
            yield kind
        yield from _all(kind)


def errors_page() -> str:
    """Return the reference of all errors."""
    rows = {
        (kind.wire_name, kind.template, first_line(kind.__doc__))
        for kind in _all(AdminError)
        if kind.__module__ == AdminError.__module__
    }
    lines = [(code(name), code(text), doc) for name, text, doc in sorted(rows)]
    return page("Errors", _INTRODUCTION, table(("name", "text", "when"), lines))
