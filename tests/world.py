"""A whole system in one process for tests: fake hypervisor, memory store, memory pool, real gate.

    async with made_world() as made:
        await made.create("tpl", "TemplateVM")
        await made.create("work", "AppVM", template="tpl")
        assert await made.ok("admin.vm.tag.Get", "work", "created-by-dom0") == "1"
        refused = await made.refused("admin.vm.Kill", "work")
        assert refused.wire_name == "QubesVMNotStartedError"
        made.hypervisor.inject("create", Fault(hang=True))     # hypervisor/fake.py
        made.backend.failing = "disk full"                     # store/memory.py

Calls go through the real corridor and gate as bytes; only the socket is missing. As a fixture:
`populate` makes one qube of each class.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qubeward.bus import Bus
from qubeward.daemon.drivers import AnswersAtOnce
from qubeward.errors import ProtocolError
from qubeward.extensions import EXTENSIONS
from qubeward.facts import Fact
from qubeward.hooks import Hooks
from qubeward.host.threads import Threads
from qubeward.hypervisor.driver import DomainChange
from qubeward.hypervisor.fake import FakeHypervisor
from qubeward.model.pool import KERNELS, VARLIBQUBES, Pool
from qubeward.model.qube import Qube
from qubeward.model.system import Host, System
from qubeward.names import ADMIN, ADMIN_UUID, PropertyName
from qubeward.ops.background import Background
from qubeward.ops.journal import Journal
from qubeward.ops.observe import on_change
from qubeward.ops.pools import Pools
from qubeward.ops.world import Agents, World
from qubeward.server.gate import HEADS, Endpoint, Gate, OnlyAdmin, Policy
from qubeward.server.incoming import ChunksIncoming
from qubeward.server.serve import Corridor
from qubeward.server.streams import Stream, Streams
from qubeward.spec.classes import ADMIN_VM
from qubeward.store.memory import MemoryBackend
from qubeward.store.transaction import Backend, Ledger
from qubeward.wire.dialect import Dialect
from qubeward.wire.reply import Event, Failure, Ok, ReplyReader, encode_failure
from qubeward.wire.request import RequestReader, encode_request

#: As the daemon's sockets: whoever writes there names the source.
R4 = Endpoint(Dialect.R4, judged=True)
DRAFT = Endpoint(Dialect.DRAFT, judged=True)
#: As a qube's own channel: policy is asked about every call.
R4_UNJUDGED = Endpoint(Dialect.R4, judged=False)
DRAFT_UNJUDGED = Endpoint(Dialect.DRAFT, judged=False)


class Collector:
    """The caller's end of a call without a socket: `answers`, or the `events` of a stream."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.answered = asyncio.Event()
        self.streamed = bytearray()
        self.hang_up: Callable[[], None] | None = None
        self._reader = ReplyReader()
        self.events: list[Event] = []

    # What the corridor asks of a connection.

    def answer(self, data: bytes) -> None:
        self.answers.append(data)
        self.answered.set()

    def stream(self, stream: Stream, streams: Streams) -> None:
        self.hang_up = streams.add(stream)

    def write(self, data: bytes) -> None:
        self.streamed += data
        self.events += self._reader.feed(data)

    def close_after(self, last: bytes) -> None:
        self.answer(last)

    def names(self) -> list[str]:
        """Return the events so far as `subject:name`, without the subject for the system's."""
        return [f"{e.subject}:{e.name}" if e.subject else e.name for e in self.events]


@dataclass(slots=True)
class Made:
    """The system, and calls to it. Names and payloads may be text or bytes."""

    world: World
    hooks: Hooks
    hypervisor: FakeHypervisor
    backend: Any
    ledger: Ledger
    streams: Streams
    gate: Gate
    corridor: Corridor
    tasks: Background
    #: Every fact published, in order.
    facts: list[Fact] = field(default_factory=list)
    receiving: Threads = field(default_factory=lambda: Threads("incoming", 2))

    @property
    def system(self) -> System:
        return self.world.system

    def qube(self, name: str) -> Qube:
        return self.system.qube(name)

    def value(self, name: str, prop: str) -> Any:
        """Return a property's effective value."""
        return self.system.value(self.qube(name), PropertyName(prop))

    def send(self, request: bytes, endpoint: Endpoint = R4) -> Collector:
        """Begin a call from its bytes; the answer may come later."""
        reader, collector = RequestReader(head_of=HEADS.get), Collector()
        try:
            reader.feed(request)
        except ProtocolError as error:
            collector.answer(encode_failure(error))
            return collector
        if reader.is_stream:
            incoming = ChunksIncoming(nothing(), self.receiving, 10)
            self.corridor.receive(reader, endpoint, collector, incoming)
        else:
            self.corridor.serve(reader, endpoint, collector)
        return collector

    async def raw(self, request: bytes, endpoint: Endpoint = R4, timeout_s: float = 10) -> bytes:
        """Do a call from its bytes to those of its one answer."""
        collector = self.send(request, endpoint)
        async with asyncio.timeout(timeout_s):
            await collector.answered.wait()
        assert len(collector.answers) == 1
        return collector.answers[0]

    async def call(
        self,
        method: str,
        dest: str | bytes = "dom0",
        arg: str | bytes = "",
        payload: str | bytes = "",
        *,
        source: str | bytes = "dom0",
        endpoint: Endpoint = R4,
        timeout_s: float = 10,
    ) -> Ok | Failure:
        """Do a call, and return its answer parsed."""
        words = (_bytes(word) for word in (arg, source, dest, payload))
        reader = ReplyReader()
        reader.feed(await self.raw(encode_request(method, *words), endpoint, timeout_s))
        answer = reader.end()
        assert answer is not None
        return answer

    async def ok(self, method: str, *words: str | bytes, **options: Any) -> str:
        """Do a call that must succeed, and return its content."""
        answer = await self.call(method, *words, **options)
        assert isinstance(answer, Ok), f"{method} {words}: {answer.wire_name}: {answer}"
        return answer.content.decode()

    async def refused(self, method: str, *words: str | bytes, **options: Any) -> Failure:
        """Do a call that must fail, and return its error."""
        answer = await self.call(method, *words, **options)
        assert isinstance(answer, Failure), f"{method} {words}: {answer}"
        return answer

    def subscribe(
        self, dest: str = "dom0", source: str = "dom0", endpoint: Endpoint = R4
    ) -> Collector:
        """Open a stream of events, and return what collects them."""
        collector = self.send(
            encode_request("admin.Events", b"", _bytes(source), _bytes(dest)), endpoint
        )
        assert not collector.answers, collector.answers
        return collector

    async def create(
        self, name: str, klass: str = "AppVM", *, template: str = "", label: str = "red"
    ) -> Qube:
        """Make a qube through its call."""
        payload = f"name={name} label={label}"
        await self.ok(f"admin.vm.Create.{klass}", "dom0", template, payload)
        return self.qube(name)

    async def settle(self) -> None:
        """Let what was set going (the fake's reports, stops in the background) come to its end."""
        for _ in range(20):
            await asyncio.sleep(0)


async def nothing() -> AsyncIterator[bytes]:
    """Yield no more bytes of a payload: all of it was read with the request."""
    for chunk in ():
        yield chunk


def _bytes(word: str | bytes) -> bytes:
    return word.encode() if isinstance(word, str) else word


def set_up(system: System, driver: str, root: Path | None) -> None:
    """Make what a fresh system has; kernels only where there is a root to keep them in."""
    admin = Qube(ADMIN_UUID, ADMIN, 0, ADMIN_VM)
    admin.properties[PropertyName("label")] = "black"
    options = {} if driver == "memory" else {"dir_path": "/var/lib/qubes"}
    with system.change() as change:
        for label in tuple(system.labels.values()):
            change.add_label(label)
        change.add_pool(Pool(VARLIBQUBES, driver, options))
        if root is not None:
            kernels = "/var/lib/qubes/vm-kernels"
            change.add_pool(Pool(KERNELS, "linux-kernel", {"dir_path": kernels}))
            change.set_property(None, PropertyName("default_pool_kernel"), KERNELS)
        system.admit(admin)
        change.write("qube", (admin.uuid,), (admin.name, admin.klass.name, admin.qid))
        change.write("property", (admin.uuid, "label"), ("black",))


@asynccontextmanager
async def made_world(
    *,
    root: Path | None = None,
    driver: str = "memory",
    hypervisor: FakeHypervisor | None = None,
    backend: Backend | None = None,
    agents: Agents | None = None,
    policy: Policy | None = None,
    extensions: bool = True,
) -> AsyncIterator[Made]:
    """Assemble a system, fresh and ready for calls; at the end, end its tasks.

    `root` is needed for kernels and for pool drivers that keep files. At the end, tasks that still
    wait (for a hung fake, say) are cancelled.
    """
    fake = hypervisor or FakeHypervisor()
    store = backend or MemoryBackend()
    hooks = Hooks()
    for register in EXTENSIONS if extensions else ():
        register(hooks)
    system = System(Host(fake.memory_mib, fake.cpus), react=hooks.react)
    bus, facts = Bus(), list[Fact]()
    bus.subscribe(lambda _, fact: facts.append(fact))
    group = asyncio.TaskGroup()
    # Not `async with`: a failed assertion of the test should come out as it is.
    await group.__aenter__()
    tasks = Background(group)
    pools = Pools(system, root or Path("/proc/nowhere"), {"reflink_fallback": "true"})
    system.has_kernel = pools.has_kernel
    ledger = Ledger(system, store, bus)
    world = World(
        system,
        fake,
        pools,
        Journal(system, ledger),
        bus,
        agents or AnswersAtOnce(),
        tasks,
        root or Path("/"),  # what the memory driver names is in /proc
    )

    def heard(change: DomainChange) -> None:
        on_change(world, change)

    await fake.open(heard)
    set_up(system, driver, root)
    await pools.open_all(new=True)
    facts.clear()
    streams = Streams(bus)
    gate = Gate(world, policy or OnlyAdmin(), hooks)
    corridor = Corridor(world, gate, ledger, streams)
    made = Made(world, hooks, fake, store, ledger, streams, gate, corridor, tasks, facts)
    try:
        yield made
    finally:
        await tasks.drain(0.05)
        await group.__aexit__(None, None, None)
        await fake.close()


async def populate(made: Made) -> None:
    """Make one qube of each class, and a netvm: tpl, work, net, alone, base, disp, far."""
    await made.create("tpl", "TemplateVM", label="black")
    await made.create("work", "AppVM", template="tpl")
    await made.create("net", "AppVM", template="tpl")
    await made.ok("admin.vm.property.Set", "net", "provides_network", "True")
    await made.create("alone", "StandaloneVM")
    await made.create("base", "AppVM", template="tpl")
    await made.ok("admin.vm.property.Set", "base", "template_for_dispvms", "True")
    await made.create("disp", "DispVM", template="base")
    await made.create("far", "RemoteVM")
    made.facts.clear()
