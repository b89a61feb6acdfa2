"""The default policy's list of calls: each takes its rules from the include of its kind."""

from ..spec import METHODS, AnyMethod
from ..spec.method import Effect
from .markdown import page

_PREFIX = "admin."


def _include(method: AnyMethod) -> str:
    right = "ro" if method.effect is Effect.READ else "rwx"
    return f"include/admin-{method.scope.value}-{right}"


def policy_text() -> str:
    """Return the lines of `90-admin-default.policy`: one for every call that qubes may make."""
    rows = [(row.name, _include(row)) for row in METHODS.values() if row.name.startswith(_PREFIX)]
    width = max(len(name) for name, _ in rows)
    return "".join(f"!include-service {n:{width}} * {include}\n" for n, include in sorted(rows))


def policy_page() -> str:
    """Return the default policy, with what it is for."""
    return page(
        "Default policy",
        "What `etc/qubes/policy.d/90-admin-default.policy` is to hold: for every call the include\n"
        "that governs it, by what it touches (`local`: one qube; `global`: the system) and what it\n"
        "needs (`ro`, `rwx`). **No policy is read yet**: calls of qubes are refused, whatever a\n"
        "file says; see [the threat model](../threat-model.md).",
        f"```text\n{policy_text()}```",
    )
