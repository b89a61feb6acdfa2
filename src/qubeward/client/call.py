"""One call: a row of the table, spelled in the transport's dialect, and its reply parsed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

from ..errors import AdminError, ProtocolError
from ..names import QubeUuid
from ..spec.method import ByArgument, Method, PerDialect, Stream
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
        return await self._call(method, dest, arg, payload, None, timeout_s)

    async def send(
        self,
        method: Method[A, P, R],
        dest: Dest,
        arg: A,
        payload: P,
        body: AsyncIterator[bytes],
        *,
        timeout_s: float | None = None,
    ) -> R:
        """Make a call whose payload is a stream: its head is `payload`, the rest is `body`.

        Raises what `call` raises, and what the body does. There is no deadline unless one is
        given. A server that refuses the call says so before it has all of the body.
        """
        return await self._call(method, dest, arg, payload, body, timeout_s)

    async def _call(
        self,
        method: Method[Any, Any, R],
        dest: Dest,
        arg: Any,
        payload: Any,
        body: AsyncIterator[bytes] | None,
        timeout_s: float | None,
    ) -> R:
        dialect = self.transport.dialect
        chosen, end = method.payload, b""
        if isinstance(chosen, Stream):
            codec, end = chosen.head, b"\n" if chosen.is_line else b""
        elif isinstance(chosen, ByArgument):
            codec = chosen.choose(arg)
        else:
            codec = spelled(chosen, dialect)
        spelled_arg = _encode(spelled(method.arg, dialect), arg, "argument")
        spelled_payload = _encode(codec, payload, "payload") + end
        if body is None:
            content = await self.call_raw(
                method.name, dest, spelled_arg, spelled_payload, timeout_s=timeout_s
            )
        else:
            outgoing = outgoing_of(method.name, dest, spelled_arg, spelled_payload, body)
            content = await self._within(timeout_s, outgoing)
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
        return await self._within(limit_s, outgoing_of(method, dest, arg, payload))

    async def _within(self, limit_s: float | None, outgoing: Outgoing) -> bytes:
        try:
            async with asyncio.timeout(limit_s):
                return await self._answer(outgoing)
        except TimeoutError:
            raise NoReplyInTimeError(f"{outgoing.method}: no answer in {limit_s:g} s") from None

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


def outgoing_of(
    method: str,
    dest: Dest,
    arg: bytes = b"",
    payload: bytes = b"",
    body: AsyncIterator[bytes] | None = None,
) -> Outgoing:
    """Spell the destination, and put the call together."""
    name = f"uuid:{dest.value}" if isinstance(dest, QubeUuid) else dest
    if not method.isascii() or not name.isascii():
        raise ProtocolError("request", "the method or the destination is not ASCII")
    return Outgoing(method, arg, name.encode("ascii"), payload, body)


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
