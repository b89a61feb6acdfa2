"""What happened, in the past tense. Published once it can't be lost.

Facts that start with `Qube…ing` are announcements of a plan under way; they go out as they happen.
`spec/event.py` says which events of the wire each fact becomes.
"""

from dataclasses import dataclass
from uuid import UUID

from .names import FeatureName, PoolName, PropertyName, QubeName, TagName, VolumeName

PropertyValue = str | int | bool | None


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that happened. `subject` is the qube it is about; None: the whole system."""

    subject: QubeName | None


@dataclass(frozen=True, slots=True)
class PropertySet(Fact):
    """A property has a value of its own now; `old` is the effective value before."""

    name: PropertyName
    new: PropertyValue
    old: PropertyValue


@dataclass(frozen=True, slots=True)
class PropertyReset(Fact):
    """A property went back to its default."""

    name: PropertyName
    old: PropertyValue


@dataclass(frozen=True, slots=True)
class DefaultChanged(Fact):
    """A property that isn't set has another value now, because its default moved."""

    name: PropertyName
    old: PropertyValue


@dataclass(frozen=True, slots=True)
class StateChanged(Fact):
    """A computed, read-only property has another value now."""

    name: PropertyName


@dataclass(frozen=True, slots=True)
class FeatureSet(Fact):
    """A feature has this value now; `old` None: it was absent."""

    feature: FeatureName
    value: str
    old: str | None


@dataclass(frozen=True, slots=True)
class FeatureRemoved(Fact):
    """A feature is absent now."""

    feature: FeatureName


@dataclass(frozen=True, slots=True)
class TagAdded(Fact):
    """The qube has the tag now."""

    tag: TagName


@dataclass(frozen=True, slots=True)
class TagRemoved(Fact):
    """The qube has the tag no more."""

    tag: TagName


@dataclass(frozen=True, slots=True)
class QubeCreated(Fact):
    """A qube exists, with its volumes, made at the request of `by`."""

    by: QubeName


@dataclass(frozen=True, slots=True)
class QubeRemoving(Fact):
    """A qube is about to be removed."""


@dataclass(frozen=True, slots=True)
class QubeRemoved(Fact):
    """A qube exists no more."""


@dataclass(frozen=True, slots=True)
class VolumesRemoved(Fact):
    """What a removed qube had on disk is gone."""


@dataclass(frozen=True, slots=True)
class PoolAdded(Fact):
    """A pool exists."""

    pool: PoolName


@dataclass(frozen=True, slots=True)
class PoolRemoving(Fact):
    """A pool is about to be removed."""

    pool: PoolName


@dataclass(frozen=True, slots=True)
class PoolRemoved(Fact):
    """A pool exists no more; what is on its disk stays there."""

    pool: PoolName


@dataclass(frozen=True, slots=True)
class PoolSpace(Fact):
    """A pool's free space passed a threshold: `state` is `ok`, `low` or `full`."""

    pool: PoolName
    state: str
    size_bytes: int
    usage_bytes: int


@dataclass(frozen=True, slots=True)
class PoolUsable(Fact):
    """A pool became usable, or unusable, and its qubes with it; `reason` is empty or says why."""

    pool: PoolName
    reason: str


@dataclass(frozen=True, slots=True)
class VolumeCloned(Fact):
    """The volume has the content of another one, whose vid is `source`."""

    volume: VolumeName
    source: str


@dataclass(frozen=True, slots=True)
class VolumeImporting(Fact):
    """New content for a volume is on its way."""

    volume: VolumeName
    size_bytes: int


@dataclass(frozen=True, slots=True)
class VolumeImported(Fact):
    """The volume has its new content, or, without success, still its old."""

    volume: VolumeName
    success: bool


@dataclass(frozen=True, slots=True)
class QubeStarting(Fact):
    """A start was asked for, and begins."""

    start_guid: UUID
    memory_mib: int


@dataclass(frozen=True, slots=True)
class QubeSpawning(Fact):
    """Everything is ready; the domain is about to be made."""

    start_guid: UUID


@dataclass(frozen=True, slots=True)
class QubeSpawned(Fact):
    """The domain exists, paused."""

    start_guid: UUID


@dataclass(frozen=True, slots=True)
class QubeUnpausing(Fact):
    """The domain's processors are about to run."""


@dataclass(frozen=True, slots=True)
class QubeUnpaused(Fact):
    """The domain's processors run."""


@dataclass(frozen=True, slots=True)
class QubeStarted(Fact):
    """The qube is up, as far as the call that started it promised."""

    start_guid: UUID


@dataclass(frozen=True, slots=True)
class QubeStartFailed(Fact):
    """The start was undone."""

    reason: str


@dataclass(frozen=True, slots=True)
class QubeStopping(Fact):
    """The qube is about to be asked to power off."""

    force: bool


@dataclass(frozen=True, slots=True)
class QubeStopFailed(Fact):
    """The qube could not be asked, or did not stop in time."""

    reason: str


@dataclass(frozen=True, slots=True)
class QubeStopped(Fact):
    """The domain is gone; its volumes are about to be put away."""


@dataclass(frozen=True, slots=True)
class QubeHalted(Fact):
    """The qube is off, and its volumes are put away."""


@dataclass(frozen=True, slots=True)
class QubePausing(Fact):
    """The domain's processors are about to be stopped."""


@dataclass(frozen=True, slots=True)
class QubePaused(Fact):
    """The domain's processors are stopped."""
