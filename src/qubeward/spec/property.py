"""admin.property.* and admin.vm.property.*: the same calls, about the system and about a qube."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import (
    AdminError,
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
from .method import AnyMethod, ByArgument, Dest, Effect, Method, PerDialect, Scope, Since
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

    def methods(self) -> tuple[AnyMethod, ...]:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """What all rows of one family have in common."""

    prefix: str
    what: str
    dest: Dest
    scope: Scope

    def row(  # the columns of the table
        self,
        verb: str,
        summary: str,
        reply: Any = NOTHING,
        *,
        arg: Any = PROPERTY,
        payload: Any = NOTHING,
        effect: Effect = Effect.READ,
        since: Since = Since.DRAFT,
        errors: tuple[type[AdminError], ...] = (NoSuchPropertyError,),
    ) -> AnyMethod:
        return Method(
            name=f"{self.prefix}.{verb}",
            dest=self.dest,
            arg=arg,
            payload=payload,
            reply=reply,
            effect=effect,
            scope=self.scope,
            since=since,
            summary=summary.format(what=self.what),
            errors=errors,
        )


_SET_ERRORS = (
    NoSuchPropertyError,
    BadValueError,
    PropertyValueError,
    LabelNotFoundError,
    NotHaltedError,
    QubeInUseError,
)


def _family(
    make: _Maker,
    *,
    reading: PerDialect[Reading],
    named: PerDialect[NamedReading],
    value: ByArgument[PropertyName, PropertyValue],
) -> Family:
    row = make.row
    everything = PerDialect(r4=lines(named.r4), draft=lines(named.draft))
    return Family(
        list=row(
            "List", "List the properties {what} has.", lines(PROPERTY),
            arg=entry(PROPERTY), errors=(),
        ),
        get=row("Get", "Read a property of {what}.", reading),
        get_all=row(
            "GetAll", "Read all properties of {what} at once.", everything,
            arg=NOTHING, since=Since.R4, errors=(),
        ),
        get_default=row(
            "GetDefault", "Tell what a property of {what} is when it isn't set.", DEFAULT,
            since=Since.R4,
        ),
        help=row("Help", "Explain a property, in plain text.", TEXT),
        help_rst=row("HelpRst", "Explain a property, in reStructuredText.", TEXT),
        reset=row(
            "Reset", "Set a property of {what} back to its default.",
            effect=Effect.WRITE, errors=(NoSuchPropertyError, PropertyValueError),
        ),
        set=row(
            "Set", "Set a property of {what}. No value: none, where a qube is meant.",
            payload=value, effect=Effect.WRITE, errors=_SET_ERRORS,
        ),
    )  # fmt: skip


SYSTEM: Final = _family(
    _Maker(prefix="admin.property", what="the system", dest=Dest.ADMIN, scope=Scope.GLOBAL),
    reading=READING,
    named=NAMED_READING,
    value=_value_of(SYSTEM_PROPERTIES, ADMIN),
)
QUBE: Final = _family(
    _Maker(prefix="admin.vm.property", what="a qube", dest=Dest.ANY, scope=Scope.LOCAL),
    reading=VM_READING,
    named=VM_NAMED_READING,
    value=_value_of(QUBE_PROPERTIES, "any qube"),
)

METHODS = (*SYSTEM.methods(), *QUBE.methods())
