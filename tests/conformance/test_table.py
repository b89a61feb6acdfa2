"""Every row of the table obeys the rules that every row must obey. The cases come from the table."""

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from qubeward.api import ROUTES
from qubeward.errors import AdminError, PermissionDeniedError
from qubeward.model.qube import Qube
from qubeward.names import LABEL, LABEL_REF, QUBE, QUBE_REF, TAG, QubeName, QubeRef, VolumeName
from qubeward.ops.progress import Operation
from qubeward.ops.tokens import Origin
from qubeward.server.gate import Endpoint
from qubeward.spec import METHODS, AnyMethod
from qubeward.spec.body import DECIMAL, FLAG, PRINTABLE, TEXT, entry, lines, optional
from qubeward.spec.method import ByArgument, Dest, PerDialect, Stream, codecs_of
from qubeward.untrusted import NOTHING, Codec
from qubeward.wire.dialect import Dialect
from qubeward.wire.reply import Failure, encode_failure
from qubeward.wire.request import encode_request
from world import Made, made_world, populate

OPERATION = b"0123456789abcdef"
TOKEN = "0123456789abcdef0123456789abcdef"

DENIED = encode_failure(PermissionDeniedError())


#: Arguments where the row's example names nothing in the world that these tests make.
ARGUMENT = {
    "admin.label.Remove": b"spare",
    "admin.label.Create": b"fresh",
    "admin.property.List": b"maxmem",
    "admin.property.Get": b"maxmem",
    "admin.property.GetDefault": b"maxmem",
    "admin.property.Help": b"maxmem",
    "admin.property.HelpRst": b"maxmem",
    "admin.property.Reset": b"clockvm",
    "admin.property.Set": b"stats_interval",
    "admin.vm.property.Set": b"memory",
    "admin.vm.Create.DispVM": b"base",
    "admin.vm.CreateInPool.DispVM": b"base",
    "admin.vm.CreateTemplate": b"tpl2",
    "admin.pool.Remove": b"spare",
    "admin.operation.List": OPERATION,
    "admin.operation.Cancel": OPERATION,
    "admin.vm.volume.Set.ephemeral": b"volatile",
}
PAYLOAD = {
    "admin.property.Set": b"5",
    "admin.vm.property.Set": b"500",
    "admin.vm.volume.Resize": b"9999999999",
    "admin.pool.volume.Resize": b"appvms/work/private 9999999999",
    "admin.vm.volume.ImportWithSize": b"4\nsome",
    "admin.vm.CreateTemplate": b"some",
}
#: What its size is before an import of exactly that size.
SMALL = 5


class Row(NamedTuple):
    """A method with its codecs in one dialect; of a payload that is a stream, its head's."""

    method: AnyMethod
    dialect: Dialect
    arg: Codec[Any]
    payload: Codec[Any]
    reply: Codec[Any]

    @property
    def stream(self) -> Stream[Any] | None:
        found = self.method.payload
        return found if isinstance(found, Stream) else None

    @property
    def takes_no_payload(self) -> bool:
        return self.payload is NOTHING and self.stream is None

    def __str__(self) -> str:
        return f"{self.method.name}-{self.dialect.value}"

    @property
    def is_judged_at(self) -> Endpoint:
        return Endpoint(self.dialect, judged=True, internal=self.method.internal)

    @property
    def is_unjudged_at(self) -> Endpoint:
        return Endpoint(self.dialect, judged=False, internal=self.method.internal)

    @property
    def dest(self) -> bytes:
        return b"dom0" if self.method.dest is Dest.ADMIN else b"work"

    @property
    def good_arg(self) -> bytes:
        """Return an argument that the method takes, where it takes one."""
        named = [example for example in self.arg.examples if example is not None]
        given = ARGUMENT.get(self.method.name)
        if given is None or not named:
            given = self.arg.encode(named[0]) if named else b""
        return given

    @property
    def good_payload(self) -> bytes:
        given = PAYLOAD.get(self.method.name)
        if given is not None:
            return given
        end = b"\n" if self.stream is not None and self.stream.is_line else b""
        return self.payload.encode(self.payload.examples[0]) + end

    def request(
        self,
        *,
        arg: bytes | None = None,
        dest: bytes | None = None,
        payload: bytes | None = None,
        source: bytes = b"dom0",
    ) -> bytes:
        """Spell a call that is good where nothing else is given."""
        return encode_request(
            self.method.name,
            self.good_arg if arg is None else arg,
            source,
            self.dest if dest is None else dest,
            self.good_payload if payload is None else payload,
        )


def _spelled(codec: Any, dialect: Dialect) -> Codec[Any]:
    if isinstance(codec, PerDialect):
        return codec.r4 if dialect is Dialect.R4 else codec.draft
    if isinstance(codec, Stream):
        return codec.head
    assert isinstance(codec, Codec)
    return codec


def _rows() -> Iterator[Row]:
    for method in METHODS.values():
        for dialect in Dialect:
            arg = _spelled(method.arg, dialect)
            payload = method.payload
            if isinstance(payload, ByArgument):
                payload = payload.choose(arg.decode(ARGUMENT[method.name]))
            reply = _spelled(method.reply, dialect)
            yield Row(method, dialect, arg, _spelled(payload, dialect), reply)


ROWS = list(_rows())
every_row = pytest.mark.parametrize("row", ROWS, ids=str)


def broken(row: Row) -> Iterator[tuple[str, bytes]]:
    """Yield calls that are wrong in one way, each with what is wrong."""
    for bad in QUBE.rejects:
        if not set(b"\0") & set(bad):
            yield f"dest {bad!r}", row.request(dest=bad)
    if row.method.dest is Dest.ADMIN:
        yield "dest is a qube", row.request(dest=b"work")
        yield "dest is no qube", row.request(dest=b"ghost")
    if row.method.dest is Dest.QUBE:
        yield "dest is dom0", row.request(dest=b"dom0")
    for bad in row.arg.rejects:
        if not set(b"\0 ") & set(bad):
            yield f"argument {bad!r}", row.request(arg=bad)
    for bad in bad_payloads(row):
        yield f"payload {bad[:40]!r}", row.request(payload=bad)
    if not row.arg.may_be_empty:
        yield "no argument", row.request(arg=b"")
    if not row.payload.may_be_empty:
        yield "no payload", row.request(payload=b"")


def bad_payloads(row: Row) -> Iterator[bytes]:
    """Yield payloads that the row does not take; of a stream, bad first lines."""
    for bad in row.payload.rejects:
        if row.stream is None:
            yield bad
        elif row.stream.is_line and b"\n" not in bad:
            yield bad + b"\n"


class Recorder:
    """A policy that says yes to all, and remembers whether it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def allows(self, source: Qube, method: AnyMethod, dest: QubeRef, arg: object) -> bool:
        self.asked += 1
        return True

    def shows(self, source: Qube, method: AnyMethod, subject: Qube) -> bool:
        return True


@every_row
async def test_what_is_malformed_is_refused_before_policy_is_asked_and_changes_nothing(
    row: Row,
) -> None:
    recorder = Recorder()
    async with made_world(policy=recorder) as made:
        await populate(made)
        for endpoint, source in ((row.is_judged_at, b"dom0"), (row.is_unjudged_at, b"net")):
            for what, request in broken(row):
                before = made.system.sequence
                answer = await made.raw(
                    request.replace(b" dom0 name", b" %b name" % source), endpoint
                )
                assert answer.startswith(b"2\0"), (what, answer)
                assert b"Internal error" not in answer, (what, answer)
                assert made.system.sequence == before, what
        assert recorder.asked == 0


@every_row
async def test_a_call_with_what_it_does_not_take_is_a_protocol_error(row: Row) -> None:
    async with made_world() as made:
        await populate(made)
        wrong = []
        if row.arg.may_be_empty and row.arg.examples == (None,):
            wrong.append(row.request(arg=b"x"))
        if row.takes_no_payload:
            wrong.append(row.request(payload=b"x"))
        if not row.arg.may_be_empty:
            wrong.append(row.request(arg=b""))
        if not row.payload.may_be_empty:
            wrong.append(row.request(payload=b""))
        for request in wrong:
            answer = await made.raw(request, row.is_judged_at)
            assert answer.startswith(b"2\0ProtocolError\0"), (request, answer)


@every_row
async def test_a_denied_caller_is_told_nothing_more(row: Row) -> None:
    async with made_world() as made:
        await populate(made)
        uuid = made.qube("work").uuid
        there = b"dom0" if row.method.dest is Dest.ADMIN else b"work"
        assert await made.raw(row.request(source=b"net", dest=there), row.is_unjudged_at) == DENIED
        if row.method.dest is Dest.ADMIN:
            return
        for dest in (b"ghost", f"uuid:{uuid}".encode(), f"uuid:{UUID(int=1)}".encode()):
            answer = await made.raw(row.request(source=b"net", dest=dest), row.is_unjudged_at)
            assert answer == DENIED, dest


async def _started(made: Made) -> None:
    await made.ok("admin.vm.Start", "work")
    await made.settle()


async def _paused(made: Made) -> None:
    await _started(made)
    await made.ok("admin.vm.Pause", "work")


async def _tagged(made: Made) -> None:
    await made.ok("admin.vm.tag.Set", "work", "personal")


async def _with_feature(made: Made) -> None:
    for name in ("work", "dom0", "tpl"):
        await made.ok("admin.vm.feature.Set", name, "service.cups", "1")


async def _labelled(made: Made) -> None:
    await made.ok("admin.vm.property.Set", "work", "label", "blue")
    await made.ok("admin.label.Create", "dom0", "spare", "0x123456")


async def _kept(made: Made) -> None:
    await made.ok("admin.vm.volume.Snapshot", "work", "private")


async def _with_token(made: Made) -> None:
    origin = Origin(made.qube("net").uuid, VolumeName("private"))
    made.world.tokens._given[TOKEN] = (time.monotonic() + 60, origin)


async def _spare_pool(made: Made) -> None:
    options = "name=spare\ndir_path=/spare"
    await made.ok("admin.pool.Add", "dom0", "file", options)


async def _small(made: Made) -> None:
    payload = b"%d\n%s" % (SMALL, b"x" * SMALL)
    await made.ok("admin.vm.volume.ImportWithSize", "work", "private", payload)


async def _exported(made: Made) -> None:
    endpoint = Endpoint(Dialect.R4, judged=True, internal=True)
    await made.ok("internal.vm.volume.ExportBegin", "work", "private", endpoint=endpoint)


async def _operating(made: Made) -> None:
    operation = Operation("import", QubeName("work"), "private", 5, id=OPERATION.decode())
    made.world.operations._under_way[operation.id] = operation


async def _importing(made: Made) -> None:
    endpoint = Endpoint(Dialect.R4, judged=True, internal=True)
    await made.ok("internal.vm.volume.ImportBegin", "work", "private", endpoint=endpoint)


Prepare = Callable[[Made], Awaitable[None]]

#: What must be so before a call with the examples of its row can succeed, by the method's name.
PREPARE: dict[str, Prepare] = {
    "admin.vm.Shutdown": _started,
    "admin.vm.Kill": _started,
    "admin.vm.Pause": _started,
    "admin.vm.Unpause": _paused,
    "admin.vm.Console": _started,
    "admin.vm.tag.List": _tagged,
    "admin.vm.tag.Remove": _tagged,
    "admin.vm.feature.List": _with_feature,
    "admin.vm.feature.Get": _with_feature,
    "admin.vm.feature.Remove": _with_feature,
    "admin.vm.feature.CheckWithTemplate": _with_feature,
    "admin.vm.feature.CheckWithNetvm": _with_feature,
    "admin.vm.feature.CheckWithAdminVM": _with_feature,
    "admin.vm.feature.CheckWithTemplateAndAdminVM": _with_feature,
    "admin.label.Remove": _labelled,
    "internal.vm.volume.ImportEnd": _importing,
    "internal.vm.volume.ExportEnd": _exported,
    "admin.vm.volume.ListSnapshots": _kept,
    "admin.vm.volume.SnapshotTimes": _kept,
    "admin.vm.volume.Revert": _kept,
    "admin.vm.volume.Import": _small,
    "admin.vm.volume.CloneTo": _with_token,
    "admin.pool.volume.ListSnapshots": _kept,
    "admin.pool.volume.Revert": _kept,
    "admin.pool.volume.Import": _small,
    "admin.pool.volume.CloneTo": _with_token,
    "admin.pool.Remove": _spare_pool,
    "admin.operation.List": _operating,
    "admin.operation.Cancel": _operating,
}
#: Bytes that come after a good payload's head.
REST = {"admin.vm.volume.Import": b"y" * SMALL, "admin.pool.volume.Import": b"y" * SMALL}


@every_row
async def test_a_good_call_succeeds_with_a_typed_reply(row: Row, tmp_path: Path) -> None:
    name = row.method.name
    async with made_world(root=tmp_path) as made:
        await populate(made)
        if name in PREPARE:
            await PREPARE[name](made)
        request = row.request() + REST.get(name, b"")
        if row.method.stream:
            collector = made.send(request, row.is_judged_at)
            assert collector.names() == ["connection-established"]
            return
        answer = await made.raw(request, row.is_judged_at)
        assert answer.startswith(b"0\0"), answer
        value = row.reply.decode(answer[2:])
        assert row.reply.encode(value) == answer[2:]


def _codecs() -> Iterator[Codec[Any]]:
    yield from (QUBE, QUBE_REF, TAG, LABEL, LABEL_REF, NOTHING, FLAG, TEXT, PRINTABLE, DECIMAL)
    yield from (lines(TAG), optional(TAG), entry(TAG).r4, entry(TAG).draft)
    for method in METHODS.values():
        for codec in (method.arg, method.payload, method.reply):
            yield from codecs_of(codec)


CODECS = list({id(codec): codec for codec in _codecs()}.values())


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_codec_reads_what_it_wrote(codec: Codec[Any]) -> None:
    assert codec.examples
    for example in codec.examples:
        assert codec.decode(codec.encode(example)) == example


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_codec_refuses_its_rejects(codec: Codec[Any]) -> None:
    for bad in codec.rejects:
        with pytest.raises(AdminError):
            codec.decode(bad)


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_a_codec_says_whether_nothing_at_all_is_a_value(codec: Codec[Any]) -> None:
    if any(codec.encode(example) == b"" for example in codec.examples):
        assert codec.may_be_empty


@every_row
async def test_the_host_s_own_calls_are_on_the_internal_socket_alone(row: Row) -> None:
    async with made_world() as made:
        await populate(made)
        elsewhere = Endpoint(row.dialect, judged=True, internal=not row.method.internal)
        answer = await made.raw(row.request(), elsewhere)
        assert answer.startswith(b"2\0ProtocolError\0\0No such method")


def test_every_row_has_a_handler() -> None:
    assert ROUTES.keys() == METHODS.keys()
    assert all(route.method is METHODS[name] for name, route in ROUTES.items())


def test_every_row_says_what_it_does_in_a_sentence() -> None:
    for method in METHODS.values():
        assert method.summary.endswith("."), method.name
        assert method.summary[0].isupper(), method.name


async def test_describe_prints_every_row() -> None:
    async with made_world() as made:
        answer = await made.call("admin.api.Describe")
        assert not isinstance(answer, Failure)
        described = METHODS["admin.api.Describe"].reply
        assert isinstance(described, Codec)
        table = described.decode(answer.content)
        assert [row["name"] for row in table["methods"]] == list(METHODS)
