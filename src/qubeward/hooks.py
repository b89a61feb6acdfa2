"""What add-ons may ask and add: rules inside a change, and refusals before a call.

A rule sees a fact while the change that makes it is still open, and may edit in the same change,
so that what must land together does. A guard sees a parsed call, after policy allowed it, and
refuses by raising an `AdminError`; it can't permit what policy refused.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from .facts import Fact
from .model.change import Change
from .model.qube import Qube
from .model.system import System

F = TypeVar("F", bound=Fact)


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that policy allowed and nothing has acted on."""

    system: System
    source: Qube
    method: str
    dest: Qube
    arg: object
    payload: object


Guard = Callable[[Asked], None]


class Hooks:
    """Where add-ons register, once, before the first call."""

    def __init__(self) -> None:
        self._rules: dict[type[Fact], list[Callable[[Change, Any], None]]] = defaultdict(list)
        self._guards: dict[str, list[Guard]] = defaultdict(list)

    def rule(self, kind: type[F], act: Callable[[Change, F], None]) -> None:
        """Call `act(change, fact)` for every fact of the kind, inside its change."""
        self._rules[kind].append(act)

    def guard(self, method: str, refuse: Guard) -> None:
        """Call `refuse(asked)` before every permitted call of the method."""
        self._guards[method].append(refuse)

    def react(self, change: Change, fact: Fact) -> None:
        """Let the rules for a fact act; the model calls this."""
        for act in self._rules.get(type(fact), ()):
            act(change, fact)

    def guards(self, method: str) -> tuple[Guard, ...]:
        """Return the guards of a method; the gate asks them."""
        return tuple(self._guards.get(method, ()))
