"""Properties, features, tags and notes of a qube, and properties of the system, as objects."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..facts import PropertyValue
from ..names import ADMIN, FeatureName, PropertyName, TagName
from ..spec import feature, notes, tag
from ..spec import property as families
from ..spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES, PropertyRow
from ..spec.property_body import BY_KIND, Default, Kind, Reading
from .call import Client, Dest

#: Where a feature is looked for if the qube lacks it, by the name of the place.
INHERITED: Final = {
    "template": feature.CHECK_WITH_TEMPLATE,
    "netvm": feature.CHECK_WITH_NETVM,
    "dom0": feature.CHECK_WITH_ADMIN,
    "template-and-dom0": feature.CHECK_WITH_TEMPLATE_AND_ADMIN,
}


def value_of(kind: Kind, text: str) -> PropertyValue:
    """Return the value that a text of the wire spells. No text: none, whatever the kind."""
    return BY_KIND[kind].decode(text.encode("utf-8")) if text else None


@dataclass(frozen=True, slots=True)
class Properties:
    """The properties of a qube, or with `system`, of the system."""

    client: Client
    dest: Dest = ADMIN
    system: bool = False

    @property
    def rows(self) -> Iterable[PropertyRow]:
        """Return the table of properties, which says what each is."""
        return (SYSTEM_PROPERTIES if self.system else QUBE_PROPERTIES).values()

    @property
    def _family(self) -> families.Family:
        return families.SYSTEM if self.system else families.QUBE

    async def all(self) -> dict[PropertyName, Reading]:
        """Read all at once: the text, the kind, and whether it is the default."""
        found = await self.client.call(self._family.get_all, self.dest)
        return {row.name: self._typed(row.name, row.reading) for row in found}

    async def read(self, name: str) -> Reading:
        """Read one: the text, the kind, and whether it is the default."""
        known = PropertyName(name)
        return self._typed(known, await self.client.call(self._family.get, self.dest, known))

    async def get(self, name: str) -> PropertyValue:
        """Return the value of one: a str (a qube or label by name), int, bool, or None."""
        reading = await self.read(name)
        return value_of(reading.kind, reading.text)

    async def set(self, name: str, value: PropertyValue) -> None:
        """Give one a value; None means none, where a qube is meant. A text is sent as it is."""
        await self.client.call(self._family.set, self.dest, PropertyName(name), value)

    async def reset(self, name: str) -> None:
        """Set one back to its default."""
        await self.client.call(self._family.reset, self.dest, PropertyName(name))

    async def default(self, name: str) -> Default | None:
        """Tell what one is when it isn't set; None if it has no default."""
        return await self.client.call(self._family.get_default, self.dest, PropertyName(name))

    async def explain(self, name: str) -> str:
        """Return the server's documentation of one, as plain text."""
        return await self.client.call(self._family.help, self.dest, PropertyName(name))

    def _typed(self, name: PropertyName, reading: Reading) -> Reading:
        # The draft tells no type of a qube's property: the table does.
        row = (SYSTEM_PROPERTIES if self.system else QUBE_PROPERTIES).get(name)
        kind = reading.kind if row is None else row.kind
        return Reading(reading.is_default, kind, reading.text)


@dataclass(frozen=True, slots=True)
class Tags:
    """The tags of a qube."""

    client: Client
    dest: Dest

    async def all(self) -> tuple[TagName, ...]:
        """List them, sorted."""
        return await self.client.call(tag.LIST, self.dest, None)

    async def has(self, name: str) -> bool:
        """Tell whether the qube has one."""
        return await self.client.call(tag.GET, self.dest, TagName(name))

    async def add(self, name: str) -> None:
        """Add one; no error if the qube has it."""
        await self.client.call(tag.SET, self.dest, TagName(name))

    async def remove(self, name: str) -> None:
        """Take one off; `TagNotFoundError` if the qube has it not."""
        await self.client.call(tag.REMOVE, self.dest, TagName(name))


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a qube."""

    client: Client
    dest: Dest

    async def names(self) -> tuple[FeatureName, ...]:
        """List their names, oldest first."""
        return await self.client.call(feature.LIST, self.dest, None)

    async def get(self, name: str, *, inherit: str | None = None) -> str:
        """Return the value of one; `inherit` (a key of `INHERITED`) looks further if it is absent.

        Raises `FeatureNotFoundError`. The empty value means false.
        """
        row = feature.GET if inherit is None else INHERITED[inherit]
        return await self.client.call(row, self.dest, FeatureName(name))

    async def set(self, name: str, value: str) -> None:
        """Give one a value."""
        await self.client.call(feature.SET, self.dest, FeatureName(name), value)

    async def remove(self, name: str) -> None:
        """Make one absent."""
        await self.client.call(feature.REMOVE, self.dest, FeatureName(name))


@dataclass(frozen=True, slots=True)
class Notes:
    """The notes kept about a qube."""

    client: Client
    dest: Dest

    async def get(self) -> str:
        """Read them; empty if there are none."""
        return await self.client.call(notes.GET, self.dest)

    async def set(self, text: str) -> None:
        """Replace them."""
        await self.client.call(notes.SET, self.dest, None, text)
