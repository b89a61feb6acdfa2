"""The stream of events, which outlives the connections it comes over."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final

from ..errors import AdminError, BusyError, InternalError
from ..names import ADMIN
from ..spec.event import ESTABLISHED, EVENTS
from ..wire.reply import Event, Failure
from .call import Client, Dest, messages, outgoing_of
from .errors import ConnectionFailedError, error_of

#: Seconds from the loss of a connection to the next try.
RETRY_S: Final = 1.0

#: What a server may answer to a caller that it would serve at another time.
_PASSING: Final = (BusyError, InternalError)


def is_established(event: Event) -> bool:
    """Tell whether the event begins a connection: what was remembered from before may be stale."""
    return event.name == ESTABLISHED


async def follow(
    client: Client,
    dest: Dest = ADMIN,
    *,
    retry_s: float = RETRY_S,
    on_loss: Callable[[Exception], None] | None = None,
) -> AsyncGenerator[Event, None]:
    """Yield the events that the caller may see; for a qube as `dest`, only that one's.

    Each connection begins with `connection-established`: drop what you remember, then ask anew,
    since what happened between two connections is told by nobody. After a loss (also when the
    server says that this reader lags) `on_loss` is told, and the next try comes after `retry_s`.

    Raises `ConnectionFailedError` only if the very first connection fails, and the `AdminError`
    of a server that refuses the stream. Close it early with `contextlib.aclosing`.
    """
    has_begun = False
    while True:
        established = False
        try:
            async with aclosing(_connection(client, dest)) as stream:
                async for event in stream:
                    established = has_begun = True
                    yield event
            loss: Exception = ConnectionFailedError("the server ended the stream of events")
        except ConnectionFailedError as error:
            if not has_begun:
                raise
            loss = error
        except AdminError as error:
            if not (established or (has_begun and isinstance(error, _PASSING))):
                raise
            loss = error
        if not has_begun:
            raise loss
        if on_loss is not None:
            on_loss(loss)
        await asyncio.sleep(retry_s)


async def _connection(client: Client, dest: Dest) -> AsyncGenerator[Event, None]:
    stream = messages(client.transport, outgoing_of(EVENTS.name, dest))
    async with aclosing(stream):
        async for message in stream:
            if isinstance(message, Event):
                yield message
            elif isinstance(message, Failure):
                raise error_of(message)
