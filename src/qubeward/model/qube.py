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

    `properties` holds those that are set; what the others are is computed.
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

    @property
    def state(self) -> PowerState:
        """Return the state that the wire shows: a qube without a domain always runs."""
        return self.power.state if self.klass.runs else PowerState.RUNNING
