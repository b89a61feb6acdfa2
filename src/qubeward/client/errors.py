"""What a caller meets: the server's errors as the classes it raised, and failures on the way."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ..errors import AdminError
from ..wire.reply import Failure


class ConnectionFailedError(Exception):
    """No answer: the server is not there, or went away. The text says what to do.

    If it went away in the middle, nothing is known of what became of the call.
    """


class NoReplyInTimeError(ConnectionFailedError):
    """The deadline passed. The server may still be at it: an operation outlives its caller."""


class BadReplyError(ConnectionFailedError):
    """What answered does not speak this protocol, or this dialect of it."""


class RemoteError(AdminError, wire="", says="%s"):
    """An error that has no class here: of a newer server, or of another implementation.

    `remote_name` is its name on the wire, `fields` are its fields.
    """

    def __init__(self, failure: Failure) -> None:
        # Not super(): the next class may be one that names its own fields.
        AdminError.__init__(self, *failure.fields)
        self.remote_name = failure.wire_name
        self._text = str(failure)

    def __str__(self) -> str:
        return self._text


def _rows(root: type[AdminError]) -> Iterator[type[AdminError]]:
    for row in root.__subclasses__():
        if row.__module__ == AdminError.__module__:
            if hasattr(row, "wire_name"):
                yield row
            yield from _rows(row)


def _by_wire_name() -> Mapping[str, tuple[type[AdminError], ...]]:
    table: dict[str, tuple[type[AdminError], ...]] = {}
    for row in _rows(AdminError):
        table[row.wire_name] = (*table.get(row.wire_name, ()), row)
    return MappingProxyType(table)


BY_WIRE_NAME = _by_wire_name()


def error_of(failure: Failure) -> AdminError:
    """Return the error that a reply tells of, as the class that the server raised.

    Several classes share a wire name: the template decides between them, and else the plainest is
    taken, the one that is called as the wire name is. Texts of other servers are kept as they are.
    """
    rows = BY_WIRE_NAME.get(failure.wire_name, ())
    for row in rows:
        if row.template == failure.template and _fits(row, failure):
            return _revive(row, failure)
    names = (failure.wire_name, f"{failure.wire_name}Error")
    plainest = rows if len(rows) == 1 else [row for row in rows if row.__name__ in names]
    return _foreign(plainest[0])(failure) if plainest else RemoteError(failure)


def _fits(row: type[AdminError], failure: Failure) -> bool:
    try:
        row.template % failure.fields
    except (TypeError, ValueError):
        return False
    return True


def _revive(row: type[AdminError], failure: Failure) -> AdminError:
    # Not by row(...): each class names its own fields, and the wire only numbers them.
    error = row.__new__(row, *failure.fields)
    AdminError.__init__(error, *failure.fields)
    return error


def _foreign(row: type[AdminError]) -> type[RemoteError]:
    """Make the row's class with another server's text: `except` finds it as the row."""
    body = {"__module__": __name__, "wire_name": row.wire_name, "template": row.template}
    return type(row.__name__, (RemoteError, row), body)
