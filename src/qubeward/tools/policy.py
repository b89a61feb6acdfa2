"""The default policy's list of calls: each takes its rules from the include of its kind."""

from ..spec import METHODS
from ..spec.method import AnyMethod, Effect
from .markdown import page

_INTRODUCTION = """\
What `etc/qubes/policy.d/90-admin-default.policy` is to hold: for every call the include that
governs it, by what it touches (`local`: one qube; `global`: the system) and what it needs (`ro`,
`rwx`). **No policy is read yet**: calls of qubes are refused, whatever a file says; see
[the threat model](../threat-model.md)."""


def _include(method: AnyMethod) -> str:
    right = "ro" if method.effect is Effect.READ else "rwx"
    return f"include/admin-{method.scope.value}-{right}"


def policy_text() -> str:
    """Return the lines of `90-admin-default.policy`: one for every call that qubes may make."""
    methods = [row for row in METHODS.values() if not row.internal]
    rows = [(row.name, _include(row)) for row in methods]
    width = max(len(name) for name, _ in rows)
    return "".join(f"!include-service {name:{width}} * {what}\n" for name, what in sorted(rows))


def policy_page() -> str:
    """Return the default policy, with what it is for."""
    return page(
        "Default policy",
        _INTRODUCTION,
        f"```text\n{policy_text()}```",
    )
