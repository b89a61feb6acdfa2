"""One call: a row of the table, spelled in the transport's dialect, and its reply parsed."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

from ..errors import AdminError, ProtocolError
from ..names import QubeUuid
from ..spec.method import ByArgument, Method, PerDialect
from ..untrusted import Codec
from ..wire import reply as wire
from ..wire.dialect import Dialect
from ..wire.reply import Event, Failure, Message, ReplyReader
from .channel import Outgoing, Transport
from .errors import BadReplyError, ConnectionFailedError, NoReplyInTimeError, error_of

A = TypeVar("A")
P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")

Dest = str | QubeUuid

#: Seconds. Longer than any start or shutdown takes by default.
TIMEOUT_S: Final = 900.0


def spelled(codec: Codec[T] | PerDialect[T], dialect: Dialect) -> Codec[T]:
    """Return the codec of one dialect."""
    if isinstance(codec, PerDialect):
        return codec.r4 if dialect is Dialect.R4 else codec.draft
    return codec


@dataclass(frozen=True, slots=True)
class Client:
    """Makes calls over a transport. Stateless: any number of calls may be under way at once.

    `timeout_s` is the deadline of calls that name none of their own; None: no deadline.
    """

    transport: Transport
    timeout_s: float | None = TIMEOUT_S

    @overload
    async def call(
        self,
        method: Method[None, None, R],
        dest: Dest,
        arg: None = ...,
        payload: None = ...,
        *,
        timeout_s: float | None = ...,
    ) -> R: ...
    @overload
    async def call(
        self,
        method: Method[A, None, R],
        dest: Dest,
        arg: A,
        payload: None = ...,
        *,
        timeout_s: float | None = ...,
    ) -> R: ...
    @overload
    async def call(
        self,
        method: Method[A, P, R],
        dest: Dest,
        arg: A,
        payload: P,
        *,
        timeout_s: float | None = ...,
    ) -> R: ...
    async def call(
        self,
        method: Method[Any, Any, R],
        dest: Dest,
        arg: Any = None,
        payload: Any = None,
        *,
        timeout_s: float | None = None,
    ) -> R:
        """Make a call and return its reply, parsed.

        Raises the `AdminError` that the server raised (an unknown one as `RemoteError`), and
        `ConnectionFailedError` where there was no answer.
        """
        dialect = self.transport.dialect
        chosen = method.payload
        codec = chosen.choose(arg) if isinstance(chosen, ByArgument) else spelled(chosen, dialect)
        content = await self.call_raw(
            method.name,
            dest,
            _encode(spelled(method.arg, dialect), arg, "argument"),
            _encode(codec, payload, "payload"),
            timeout_s=timeout_s,
        )
        try:
            return spelled(method.reply, dialect).decode(content)
        except AdminError as error:
            raise BadReplyError(f"the reply of {method.name} does not parse: {error}") from error

    async def call_raw(
        self,
        method: str,
        dest: Dest,
        arg: bytes = b"",
        payload: bytes = b"",
        *,
        timeout_s: float | None = None,
    ) -> bytes:
        """Make a call that need not be in the table, bytes to bytes."""
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        outgoing = outgoing_of(method, dest, arg, payload)
        try:
            async with asyncio.timeout(limit_s):
                return await self._answer(outgoing)
        except TimeoutError:
            raise NoReplyInTimeError(f"{method}: no answer in {limit_s:g} s") from None

    async def _answer(self, outgoing: Outgoing) -> bytes:
        async for message in messages(self.transport, outgoing):
            if isinstance(message, Failure):
                raise error_of(message)
            if isinstance(message, Event):
                raise BadReplyError(f"{outgoing.method} answers with a stream of events")
            return message.content
        raise ConnectionFailedError(
            f"{outgoing.method}: the server closed the connection without an answer: see its log"
        )


def outgoing_of(method: str, dest: Dest, arg: bytes = b"", payload: bytes = b"") -> Outgoing:
    """Spell the destination, and put the call together."""
    name = f"uuid:{dest.value}" if isinstance(dest, QubeUuid) else dest
    if not method.isascii() or not name.isascii():
        raise ProtocolError("request", "the method or the destination is not ASCII")
    return Outgoing(method, arg, name.encode("ascii"), payload)


async def messages(transport: Transport, outgoing: Outgoing) -> AsyncGenerator[Message, None]:
    """Yield all that the server answers: events as they come, then OK or EXCEPTION if it is sent.

    An answer that just ends, as a stream of events may, yields no last message.
    """
    reader = ReplyReader()
    async with transport.exchange(outgoing) as chunks:
        try:
            async for chunk in chunks:
                for event in reader.feed(chunk):
                    yield event
            last = reader.end()
        except wire.BadReplyError as error:
            raise BadReplyError(f"{outgoing.method}: {error}") from error
    if last is not None:
        yield last


def _encode(codec: Codec[Any], value: Any, what: str) -> bytes:
    try:
        return codec.encode(value)
    except UnicodeEncodeError:
        raise ProtocolError(what, f"allowed: {codec.name}") from None
