"""admin.vm.feature.*"""

from collections.abc import Callable

from ..errors import FeatureNotFoundError
from ..model import feature as lookup
from ..model.qube import Qube
from ..model.system import System
from ..names import FeatureName
from ..spec import feature
from .call import AnyRoute, Call, Route


def list_(call: Call[FeatureName | None, None]) -> tuple[FeatureName, ...]:
    if call.arg is None:
        return tuple(call.dest.features)
    if call.arg not in call.dest.features:
        raise FeatureNotFoundError(call.dest.name, call.arg)
    return (call.arg,)


def _own(_system: System, qube: Qube, name: FeatureName) -> str | None:
    return qube.features.get(name)


def _read(
    find: Callable[[System, Qube, FeatureName], str | None],
) -> Callable[[Call[FeatureName, None]], str]:
    def read(call: Call[FeatureName, None]) -> str:
        value = find(call.system, call.dest, call.arg)
        if value is None:
            raise FeatureNotFoundError(call.dest.name, call.arg)
        return value

    return read


def set_(call: Call[FeatureName, str]) -> None:
    with call.system.change(call.source.name) as change:
        change.set_feature(call.dest, call.arg, call.payload)


def remove(call: Call[FeatureName, None]) -> None:
    if call.arg not in call.dest.features:
        raise FeatureNotFoundError(call.dest.name, call.arg)
    with call.system.change(call.source.name) as change:
        change.remove_feature(call.dest, call.arg)


ROUTES: tuple[AnyRoute, ...] = (
    Route(feature.LIST, list_),
    Route(feature.GET, _read(_own)),
    Route(feature.CHECK_WITH_TEMPLATE, _read(lookup.with_template)),
    Route(feature.CHECK_WITH_NETVM, _read(lookup.with_netvm)),
    Route(feature.CHECK_WITH_ADMIN, _read(lookup.with_admin)),
    Route(feature.CHECK_WITH_TEMPLATE_AND_ADMIN, _read(lookup.with_template_and_admin)),
    Route(feature.SET, set_),
    Route(feature.REMOVE, remove),
)
