"""admin.property.* and admin.vm.property.*: the same calls, about the system and about a qube."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import (
    BadValueError,
    LabelNotFoundError,
    NoSuchPropertyError,
    NotHaltedError,
    PropertyValueError,
    QubeInUseError,
)
from ..facts import PropertyValue
from ..names import ADMIN, PropertyName
from ..untrusted import NOTHING, Codec
from .body import TEXT, entry, lines
from .method import ByArgument, Dest, Effect, Method, PerDialect, Scope, Since
from .properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES, PropertyRow
from .property_body import (
    BY_KIND,
    DEFAULT,
    IP6_VALUE,
    IP_VALUE,
    NAMED_READING,
    PROPERTY,
    READING,
    VM_NAMED_READING,
    VM_READING,
    Default,
    NamedReading,
    Reading,
)

ListRow = Method[PropertyName | None, None, tuple[PropertyName, ...]]
GetRow = Method[PropertyName, None, Reading]
AllRow = Method[None, None, tuple[NamedReading, ...]]
DefaultRow = Method[PropertyName, None, Default | None]
HelpRow = Method[PropertyName, None, str]
ResetRow = Method[PropertyName, None, None]
SetRow = Method[PropertyName, PropertyValue, None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """The eight rows of one of the two families."""

    list: ListRow
    get: GetRow
    get_all: AllRow
    get_default: DefaultRow
    help: HelpRow
    help_rst: HelpRow
    reset: ResetRow
    set: SetRow

    def methods(self) -> tuple[Method[Any, Any, Any], ...]:
        """Return the rows, in the order of the draft page."""
        return (
            self.list,
            self.get,
            self.get_all,
            self.get_default,
            self.help,
            self.help_rst,
            self.reset,
            self.set,
        )


def _value_of(
    rows: Mapping[PropertyName, PropertyRow], holder: str
) -> ByArgument[PropertyName, PropertyValue]:
    def choose(name: PropertyName) -> Codec[PropertyValue]:
        row = rows.get(name)
        if row is None:  # the table of properties is public: this tells nothing of the system
            raise NoSuchPropertyError(holder, name)
        return row.codec

    return ByArgument(choose=choose, name="value", codecs=(*BY_KIND.values(), IP_VALUE, IP6_VALUE))


def _family(
    prefix: str,
    what: str,
    dest: Dest,
    scope: Scope,
    *,
    reading: PerDialect[Reading],
    named: PerDialect[NamedReading],
    value: ByArgument[PropertyName, PropertyValue],
) -> Family:
    reads: dict[str, Any] = {
        "dest": dest,
        "payload": NOTHING,
        "effect": Effect.READ,
        "scope": scope,
    }
    one = {**reads, "arg": PROPERTY, "errors": (NoSuchPropertyError,)}
    writes = {**one, "effect": Effect.WRITE}
    return Family(
        list=Method(
            name=f"{prefix}.List",
            arg=entry(PROPERTY),
            reply=lines(PROPERTY),
            since=Since.DRAFT,
            summary=f"List the properties {what} has.",
            **reads,
        ),
        get=Method(
            name=f"{prefix}.Get",
            reply=reading,
            since=Since.DRAFT,
            summary=f"Read a property of {what}.",
            **one,
        ),
        get_all=Method(
            name=f"{prefix}.GetAll",
            arg=NOTHING,
            reply=PerDialect(r4=lines(named.r4), draft=lines(named.draft)),
            since=Since.R4,
            summary=f"Read all properties of {what} at once.",
            **reads,
        ),
        get_default=Method(
            name=f"{prefix}.GetDefault",
            reply=DEFAULT,
            since=Since.R4,
            summary=f"Tell what a property of {what} is when it isn't set.",
            **one,
        ),
        help=Method(
            name=f"{prefix}.Help",
            reply=TEXT,
            since=Since.DRAFT,
            summary="Explain a property, in plain text.",
            **one,
        ),
        help_rst=Method(
            name=f"{prefix}.HelpRst",
            reply=TEXT,
            since=Since.DRAFT,
            summary="Explain a property, in reStructuredText.",
            **one,
        ),
        reset=Method(
            name=f"{prefix}.Reset",
            reply=NOTHING,
            since=Since.DRAFT,
            summary=f"Set a property of {what} back to its default.",
            **{**writes, "errors": (NoSuchPropertyError, PropertyValueError)},
        ),
        set=Method(
            name=f"{prefix}.Set",
            reply=NOTHING,
            since=Since.DRAFT,
            summary=f"Set a property of {what}. No value: none, where a qube is meant.",
            **{
                **writes,
                "payload": value,
                "errors": (
                    NoSuchPropertyError,
                    BadValueError,
                    PropertyValueError,
                    LabelNotFoundError,
                    NotHaltedError,
                    QubeInUseError,
                ),
            },
        ),
    )


SYSTEM: Final = _family(
    "admin.property",
    "the system",
    Dest.ADMIN,
    Scope.GLOBAL,
    reading=READING,
    named=NAMED_READING,
    value=_value_of(SYSTEM_PROPERTIES, ADMIN),
)
QUBE: Final = _family(
    "admin.vm.property",
    "a qube",
    Dest.ANY,
    Scope.LOCAL,
    reading=VM_READING,
    named=VM_NAMED_READING,
    value=_value_of(QUBE_PROPERTIES, "any qube"),
)

METHODS = (*SYSTEM.methods(), *QUBE.methods())
