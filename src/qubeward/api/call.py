"""What a handler is given, and how it is tied to its row."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..model.qube import Qube
from ..model.system import System
from ..ops.incoming import NOTHING_INCOMING, Incoming
from ..ops.world import World
from ..spec.method import Method

A = TypeVar("A")
P = TypeVar("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call(Generic[A, P]):
    """A call that has been parsed and permitted. `shows` tells which qubes the caller may see.

    `incoming` is the rest of the payload, for rows whose payload is a `Stream`.
    """

    source: Qube
    dest: Qube
    arg: A
    payload: P
    world: World
    shows: Callable[[Qube], bool]
    incoming: Incoming = NOTHING_INCOMING

    @property
    def system(self) -> System:
        """Return the model."""
        return self.world.system


@dataclass(frozen=True, slots=True)
class Route(Generic[A, P, R]):
    """A row of the table and the function that does it; their types agree.

    A handler that awaits nothing is a plain function: it is answered in the tick that it came in.
    """

    method: Method[A, P, R]
    handler: Callable[[Call[A, P]], R | Awaitable[R]]
    waits: bool = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "waits", inspect.iscoroutinefunction(self.handler))


AnyRoute = Route[Any, Any, Any]
