"""Features with a meaning: names that no call sets, and values that must be in order."""

import re

from ..errors import BadValueError, ForbiddenError
from ..hooks import Asked, Hooks
from ..model import feature
from ..names import FeatureName, PropertyName, QubeName

#: Kept by the daemon itself (ADMIN-API §1.4).
_INTERNAL = frozenset(
    {
        "deferred-netvm-original",
        "preload-dispvm",
        "preload-dispvm-completed",
        "preload-dispvm-in-progress",
    }
)
_NUMBER = re.compile(r"0|[1-9][0-9]{0,8}")
_WAITS = FeatureName("supported-rpc.qubes.WaitForRunningSystem")


def _not_internal(asked: Asked) -> None:
    if asked.arg in _INTERNAL:
        raise ForbiddenError(f"the feature {asked.arg}")


def _check_value(asked: Asked) -> None:
    name, value = str(asked.arg), str(asked.payload)
    if name.startswith("service."):
        _check_name(name, "service.", 48)
    elif name.startswith("vm-config."):
        _check_name(name, "vm-config.", 52)
        if not name.removeprefix("vm-config.")[:1].isalpha():
            raise BadValueError("feature name", "starts with a letter after vm-config.")
    elif name == "preload-dispvm-threshold":
        _check_number(name, value)
    elif name == "preload-dispvm-max":
        _check_number(name, value)
        _check_preload(asked, value)


def _check_name(name: str, prefix: str, limit: int) -> None:
    rest = name.removeprefix(prefix)
    if not rest or len(rest) > limit or "/" in rest:
        raise BadValueError("feature name", f"allowed: 1 to {limit} characters after {prefix}")


def _check_number(name: str, value: str) -> None:
    if value and not _NUMBER.fullmatch(value):
        raise BadValueError(name, "allowed: a decimal number")


def _check_preload(asked: Asked, value: str) -> None:
    """Preloading needs a template for disposables that can say when it is up."""
    system, qube = asked.system, asked.dest
    if qube is system.admin:
        name = system.value(None, PropertyName("default_dispvm"))
        base = system.qubes.get(QubeName(name)) if isinstance(name, str) else None
    else:
        base = qube if qube.properties.get(PropertyName("template_for_dispvms")) else None
    if value not in ("", "0") and (base is None or not feature.with_template(system, base, _WAITS)):
        raise BadValueError(
            "preload-dispvm-max", "the qube is no template for disposables that reports its start"
        )


def register(hooks: Hooks) -> None:
    """Register with the hooks."""
    hooks.guard("admin.vm.feature.Set", _not_internal)
    hooks.guard("admin.vm.feature.Remove", _not_internal)
    hooks.guard("admin.vm.feature.Set", _check_value)
