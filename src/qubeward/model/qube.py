"""One qube: its configured state, and its power."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from ..facts import PropertyValue
from ..names import FeatureName, PropertyName, QubeName, TagName, VolumeName
from ..spec.classes import QubeClass
from ..spec.vm_body import PowerState
from .power import Power
from .volume import Volume

Properties = Mapping[PropertyName, PropertyValue]


@dataclass(slots=True, eq=False)
class Qube:
    """A qube. Changed by `Change` alone; `power` by who observes the hypervisor.

    `properties` holds those that are set; what the others are is computed. `trouble` is set by
    who opens pools.
    """

    uuid: UUID
    name: QubeName
    qid: int
    klass: QubeClass
    properties: dict[PropertyName, PropertyValue] = field(default_factory=dict)
    features: dict[FeatureName, str] = field(default_factory=dict)
    tags: set[TagName] = field(default_factory=set)
    notes: str = ""
    volumes: dict[VolumeName, Volume] = field(default_factory=dict)
    power: Power = field(default_factory=Power)
    #: Why its volumes can't be used: empty, or the trouble of a pool. Never stored.
    trouble: str = ""

    @property
    def state(self) -> PowerState:
        """Return the state that the wire shows.

        A qube without a domain always runs; one that is off and whose volumes can't be used is NA.
        """
        if not self.klass.runs:
            return PowerState.RUNNING
        return PowerState.NA if self.trouble and self.power.is_halted else self.power.state
