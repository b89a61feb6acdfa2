"""The same client for programs without an event loop."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from ..names import ADMIN
from ..spec.method import Method
from ..wire.reply import Event
from .call import Client, Dest
from .events import RETRY_S, follow

A = TypeVar("A")
P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BlockingClient:
    """Makes calls and waits for them. Not for use inside an event loop."""

    client: Client

    @overload
    def call(
        self,
        method: Method[None, None, R],
        dest: Dest,
        arg: None = ...,
        payload: None = ...,
        *,
        timeout_s: float | None = ...,
    ) -> R: ...
    @overload
    def call(
        self,
        method: Method[A, None, R],
        dest: Dest,
        arg: A,
        payload: None = ...,
        *,
        timeout_s: float | None = ...,
    ) -> R: ...
    @overload
    def call(
        self,
        method: Method[A, P, R],
        dest: Dest,
        arg: A,
        payload: P,
        *,
        timeout_s: float | None = ...,
    ) -> R: ...
    def call(
        self,
        method: Method[Any, Any, R],
        dest: Dest,
        arg: Any = None,
        payload: Any = None,
        *,
        timeout_s: float | None = None,
    ) -> R:
        """Make a call and return its reply: see `Client.call`."""
        return asyncio.run(self.client.call(method, dest, arg, payload, timeout_s=timeout_s))

    def run(self, work: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Do what takes several calls: `blocking.run(lambda c: Qube(c, "work").start())`."""
        return asyncio.run(work(self.client))

    def events(self, dest: Dest = ADMIN, *, retry_s: float = RETRY_S) -> Iterator[Event]:
        """Yield events, waiting for each: see `events.follow`."""
        with asyncio.Runner() as runner:
            stream = follow(self.client, dest, retry_s=retry_s)

            async def following() -> Event | None:
                return await anext(stream, None)

            try:
                while (event := runner.run(following())) is not None:
                    yield event
            finally:
                runner.run(stream.aclose())
