"""A property of one's own: a percentage that the template may set for all qubes based on it."""

from typing import Final

from qubeward.errors import PropertyValueError
from qubeward.facts import PropertyValue
from qubeward.model.feature import template_of
from qubeward.model.property import NoDefault, QubeProperty
from qubeward.model.qube import Qube
from qubeward.model.system import System
from qubeward.names import ClassName, PropertyName
from qubeward.spec.properties import PropertyRow
from qubeward.spec.property_body import BY_KIND, Kind

FAN_SPEED: Final = PropertyName("fan_speed")

ROW: Final = PropertyRow(
    name=FAN_SPEED,
    kind=Kind.INT,
    classes=frozenset({ClassName("AppVM"), ClassName("TemplateVM")}),
    doc="How fast the fan of the host may run for the qube, in percent.",
    codec=BY_KIND[Kind.INT],
)


def _default(system: System, qube: Qube) -> PropertyValue | NoDefault:
    template = template_of(system, qube)
    return 50 if template is None else PROPERTY.value(system, template)


def _check(_system: System, _qube: Qube, value: PropertyValue) -> PropertyValue:
    if not isinstance(value, int) or not 0 <= value <= 100:
        raise PropertyValueError(FAN_SPEED, "allowed: 0 to 100")
    return value


PROPERTY: Final = QubeProperty(ROW, _default, _check)
