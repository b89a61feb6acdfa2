"""One change: what it touched, how to undo it, what to store and what to tell.

All edits of the model are methods here, so that none can forget one of the four.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from .. import facts
from ..facts import Fact, PropertyValue
from ..names import ADMIN, FeatureName, PropertyName, QubeName, TagName, VolumeName
from .label import Label
from .pool import Pool
from .qube import Qube
from .volume import Volume

if TYPE_CHECKING:
    from .system import System

K = TypeVar("K")
V = TypeVar("V")


class Write(NamedTuple):
    """One row to store: its table, its key, and its values, or None to delete it."""

    table: str
    key: tuple[object, ...]
    values: tuple[object, ...] | None


@dataclass(slots=True)
class Commit:
    """A finished change on its way to the disk."""

    sequence: int
    writes: list[Write]
    facts: list[Fact]
    undo: list[Callable[[], None]]


@dataclass(slots=True)
class Change:
    """Edits of the model, valid inside the `with system.change()` that made it.

    `source` is the qube that asked for the change.
    """

    system: "System"
    source: QubeName = ADMIN
    writes: list[Write] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    undo: list[Callable[[], None]] = field(default_factory=list)

    def tell(self, fact: Fact) -> None:
        """Publish a fact once the change is stored, and let its rules act in the same change."""
        self.facts.append(fact)
        self.system.react(self, fact)

    def write(self, table: str, key: tuple[object, ...], values: tuple[object, ...] | None) -> None:
        """Store a row with the change (None: delete it)."""
        self.writes.append(Write(table, key, values))

    def _put(self, where: dict[K, V], key: K, value: V) -> None:
        if key in where:
            old = where[key]
            self.undo.append(lambda: where.__setitem__(key, old))
        else:
            self.undo.append(lambda: where.__delitem__(key))
        where[key] = value

    def _drop(self, where: dict[K, V], key: K) -> None:
        # The order of keys is part of some replies: undo puts all of them back.
        before = dict(where)

        def restore() -> None:
            where.clear()
            where.update(before)

        self.undo.append(restore)
        del where[key]

    def set_property(self, qube: Qube | None, name: PropertyName, value: PropertyValue) -> None:
        """Give a property a value of its own. `qube` None: of the system."""
        old = self.system.value(qube, name)
        self._set_own(qube, name, value)
        self.tell(facts.PropertySet(qube.name if qube else None, name, value, old))

    def _set_own(self, qube: Qube | None, name: PropertyName, value: PropertyValue) -> None:
        holder = self.system.properties if qube is None else qube.properties
        before = holder.get(name)
        self.system.references.replace(qube, name, before, value)
        self.undo.append(lambda: self.system.references.replace(qube, name, value, before))
        self._put(holder, name, value)
        if qube is None:
            self.write("system_property", (name,), (value,))
        else:
            self.write("property", (qube.uuid, name), (value,))

    def reset_property(self, qube: Qube | None, name: PropertyName) -> None:
        """Take a property's own value away, if it has one; its reset is told either way."""
        old = self.system.value(qube, name)
        holder = self.system.properties if qube is None else qube.properties
        if name in holder:
            before = holder[name]
            self.system.references.replace(qube, name, before, None)
            self.undo.append(lambda: self.system.references.replace(qube, name, None, before))
            self._drop(holder, name)
            if qube is None:
                self.write("system_property", (name,), None)
            else:
                self.write("property", (qube.uuid, name), None)
        self.tell(facts.PropertyReset(qube.name if qube else None, name, old))

    def set_feature(self, qube: Qube, name: FeatureName, value: str) -> None:
        """Set a feature; an empty value means false."""
        old = qube.features.get(name)
        self._put(qube.features, name, value)
        self.write("feature", (qube.uuid, name), (value,))
        self.tell(facts.FeatureSet(qube.name, name, value, old))

    def remove_feature(self, qube: Qube, name: FeatureName) -> None:
        """Make a feature absent; it is present."""
        self._drop(qube.features, name)
        self.write("feature", (qube.uuid, name), None)
        self.tell(facts.FeatureRemoved(qube.name, name))

    def add_tag(self, qube: Qube, tag: TagName) -> None:
        """Add a tag; adding one that is there changes and tells nothing."""
        if tag in qube.tags:
            return
        qube.tags.add(tag)
        self.undo.append(lambda: qube.tags.discard(tag))
        self.write("tag", (qube.uuid, tag), ())
        self.tell(facts.TagAdded(qube.name, tag))

    def remove_tag(self, qube: Qube, tag: TagName) -> None:
        """Take a tag off; it is there."""
        qube.tags.remove(tag)
        self.undo.append(lambda: qube.tags.add(tag))
        self.write("tag", (qube.uuid, tag), None)
        self.tell(facts.TagRemoved(qube.name, tag))

    def set_notes(self, qube: Qube, text: str) -> None:
        """Replace the notes kept about a qube."""
        old, qube.notes = qube.notes, text
        self.undo.append(lambda: setattr(qube, "notes", old))
        self.write("notes", (qube.uuid,), (text,))

    def set_volume(self, qube: Qube, volume: Volume) -> None:
        """Replace the configuration of one of the qube's volumes."""
        self._put(qube.volumes, VolumeName(volume.name), volume)
        self.write("volume", (qube.uuid, volume.name), (volume,))

    def add_qube(self, qube: Qube) -> None:
        """Add a qube with all that it already holds."""
        system = self.system
        system.admit(qube)
        self.undo.append(lambda: system.dismiss(qube))
        self.write("qube", (qube.uuid,), (qube.name, qube.klass.name, qube.qid))
        for name, value in qube.properties.items():
            self.write("property", (qube.uuid, name), (value,))
        for feature, text in qube.features.items():
            self.write("feature", (qube.uuid, feature), (text,))
        for tag in sorted(qube.tags):
            self.write("tag", (qube.uuid, tag), ())
        if qube.notes:
            self.write("notes", (qube.uuid,), (qube.notes,))
        for volume in qube.volumes.values():
            self.write("volume", (qube.uuid, volume.name), (volume,))
        self.tell(facts.QubeCreated(qube.name, self.source))

    def remove_qube(self, qube: Qube) -> None:
        """Remove a qube that nothing refers to."""
        system = self.system
        self.tell(facts.QubeRemoving(qube.name))
        system.dismiss(qube)
        self.undo.append(lambda: system.admit(qube))
        self.write("qube", (qube.uuid,), None)  # the store drops what belongs to it
        self.tell(facts.QubeRemoved(qube.name))

    def add_label(self, label: Label) -> None:
        """Add a label."""
        self._put(self.system.labels, label.name, label)
        self.write("label", (label.name,), (label.index, label.color))

    def remove_label(self, label: Label) -> None:
        """Remove a label that no qube wears."""
        self._drop(self.system.labels, label.name)
        self.write("label", (label.name,), None)

    def add_pool(self, pool: Pool) -> None:
        """Add a storage pool."""
        self.set_pool(pool)
        self.tell(facts.PoolAdded(None, pool.name))

    def set_pool(self, pool: Pool) -> None:
        """Replace a pool's configuration."""
        self._put(self.system.pools, pool.name, pool)
        self.write("pool", (pool.name,), (pool.driver, dict(pool.options)))

    def remove_pool(self, pool: Pool) -> None:
        """Remove a pool that keeps nothing."""
        self.tell(facts.PoolRemoving(None, pool.name))
        self._drop(self.system.pools, pool.name)
        self.write("pool", (pool.name,), None)
        self.tell(facts.PoolRemoved(None, pool.name))

    def set_counter(self, name: str, value: int) -> None:
        """Keep a number that must never go back, such as the last disposable's."""
        self._put(self.system.counters, name, value)
        self.write("counter", (name,), (value,))
