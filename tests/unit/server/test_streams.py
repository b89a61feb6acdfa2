"""Event streams: in order, filtered, bounded, and over when the reader is gone."""

import asyncio
import gc
import time
from pathlib import Path
from uuid import UUID

import pytest

from qubeward import facts
from qubeward.bus import Bus
from qubeward.facts import (
    Fact,
    FeatureSet,
    PropertySet,
    QubeCreated,
    QubeRemoved,
    QubeStartFailed,
    QubeStarting,
    TagAdded,
    VolumeImported,
)
from qubeward.hypervisor.fake import Fault
from qubeward.names import FeatureName, PropertyName, QubeName, TagName, VolumeName
from qubeward.server.gate import OnlyAdmin
from qubeward.server.streams import Stream, Streams, encode_said
from qubeward.spec.event import SPELLINGS, Said, spell
from qubeward.spec.vm_body import PowerState
from qubeward.wire.reply import Event, Failure, ReplyReader
from qubeward.wire.request import encode_request
from unit.server.sockets import served
from world import R4_UNJUDGED, Collector, Made, made_world, populate

WORK = QubeName("work")


async def test_a_stream_begins_with_connection_established(tmp_path: Path) -> None:
    async with made_world() as made:
        assert made.subscribe().events == [Event("", "connection-established", ())]


async def test_what_happens_after_the_first_event_is_told_in_order(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        client = await serving.subscribe()
        await serving.made.ok("admin.vm.tag.Set", "work", "one")
        await serving.made.ok("admin.vm.feature.Set", "work", "os", "Linux")
        await serving.made.ok("admin.vm.property.Set", "work", "memory", "500")
        told = [await client.event() for _ in range(5)]
        assert [event.name for event in told] == [
            "domain-tag-add:one",
            "domain-feature-pre-set:os",
            "domain-feature-set:os",
            "property-pre-set:memory",
            "property-set:memory",
        ]
        assert told[0] == Event("work", "domain-tag-add:one", (("tag", "one"),))
        assert told[4].fields == (("name", "memory"), ("newvalue", "500"), ("oldvalue", "400"))


async def test_a_life_is_told_in_order() -> None:
    async with made_world() as made:
        await populate(made)
        stream = made.subscribe("work")
        await made.ok("admin.vm.Start", "work")
        await made.ok("admin.vm.Shutdown", "work", "wait")
        names = [event.name for event in stream.events]
        order = ["connection-established", "domain-pre-start", "domain-pre-spawn", "domain-spawn",
                 "domain-pre-unpaused", "domain-unpaused", "domain-start", "domain-pre-shutdown",
                 "domain-stopped", "domain-shutdown"]  # fmt: skip
        assert [name for name in names if name in order] == order
        guids = {
            dict(e.fields)["start_guid"] for e in stream.events if "start_guid" in dict(e.fields)
        }
        assert len(guids) == 1


async def test_a_stream_of_one_qube_tells_of_that_one_alone() -> None:
    async with made_world() as made:
        await populate(made)
        stream, all_of_it = made.subscribe("work"), made.subscribe("dom0")
        await made.ok("admin.vm.tag.Set", "net", "x")
        await made.ok("admin.vm.tag.Set", "work", "x")
        await made.ok("admin.property.Set", "dom0", "stats_interval", "5")
        await made.create("new", "AppVM", template="tpl")
        assert stream.names() == ["connection-established", "work:domain-tag-add:x"]
        assert "net:domain-tag-add:x" in all_of_it.names()
        assert "property-set:stats_interval" in all_of_it.names()
        assert "domain-add" in all_of_it.names()


class ShowsOnlyNet(OnlyAdmin):
    """A policy that allows all, and shows only `net` and the system itself."""

    def allows(self, *_: object) -> bool:
        return True

    def shows(self, source: object, method: object, subject: object) -> bool:
        return getattr(subject, "name", "") in ("net", "dom0")


async def test_a_subscriber_hears_only_of_qubes_that_policy_shows() -> None:
    async with made_world(policy=ShowsOnlyNet()) as made:
        await populate(made)
        stream = made.subscribe("dom0", source="work", endpoint=R4_UNJUDGED)
        admins = made.subscribe()
        await made.ok("admin.vm.tag.Set", "alone", "x")
        await made.ok("admin.vm.tag.Set", "net", "x")
        await made.create("secret", "AppVM", template="tpl")
        await made.ok("admin.property.Set", "dom0", "stats_interval", "5")
        heard = stream.names()
        assert "net:domain-tag-add:x" in heard
        assert "property-set:stats_interval" in heard
        assert not [name for name in heard if "alone" in name]
        assert "secret" not in repr(stream.events)
        assert "secret" in repr(admins.events)


async def test_a_list_shows_only_qubes_that_policy_shows() -> None:
    async with made_world(policy=ShowsOnlyNet()) as made:
        await populate(made)
        listed = await made.ok("admin.vm.List", source="work", endpoint=R4_UNJUDGED)
        assert [line.split()[0] for line in listed.splitlines()] == ["dom0", "net"]
        # A qube that isn't shown is as one that is not there.
        hidden = await made.call("admin.vm.List", "alone", source="work", endpoint=R4_UNJUDGED)
        assert "alone" not in repr(hidden)


async def test_a_hundred_subscribers_hear_the_same_in_the_same_order(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        clients = [await serving.subscribe() for _ in range(100)]
        for number in range(10):
            await serving.made.ok("admin.vm.tag.Set", "work", f"t{number}")
        for client in clients:
            told = [(await client.event()).name for _ in range(10)]
            assert told == [f"domain-tag-add:t{number}" for number in range(10)]
        assert len(serving.made.streams) == 100


async def test_a_reader_that_lags_is_told_so_and_closed_with_bounded_memory(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as serving:
        slow, quick = await serving.subscribe(), await serving.subscribe()
        slow.reader._limit = 1  # so that the transport stops reading after the first bytes
        big = "x" * 60_000
        names = []
        for number in range(60):  # 7 MB of events
            await serving.made.ok("admin.vm.feature.Set", "work", f"f{number}", big)
            names += [(await quick.event()).name for _ in range(2)]
        assert names[-1] == "domain-feature-set:f59"
        rest = await slow.all()
        reader = ReplyReader()
        events = reader.feed(rest)
        end = reader.end()
        assert isinstance(end, Failure)
        assert "behind" in str(end)
        assert len(rest) < 3 << 20
        told = [event.name for event in events]
        assert told == names[: len(told)]  # none left out before the end
        await serving.until_gone(1)
        assert len(serving.made.streams) == 1


async def test_a_reader_that_never_reads_again_is_dropped(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        slow = await serving.subscribe()
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for number in range(60):
            await serving.made.ok("admin.vm.feature.Set", "work", f"f{number}", "x" * 60_000)
        await asyncio.sleep(0.01)
        serving.pass_time(61)
        await serving.until_gone()
        assert len(serving.made.streams) == 0


class Sink:
    """A reader that takes nothing after it was paused."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.last: bytes | None = None

    def write(self, data: bytes) -> None:
        self.taken.append(data)

    def close_after(self, last: bytes) -> None:
        self.last = last


def test_a_queue_never_grows_beyond_its_limit() -> None:
    sink = Sink()
    stream = Stream(sink, lambda *_: True, limit_bytes=1000)
    stream.pause()
    for _ in range(10):
        stream.send(b"e" * 100)
    assert sink.last is None
    stream.send(b"e")
    assert sink.last is not None
    assert b"11 events behind" not in sink.last  # the number is a field
    assert sink.last.endswith(b"\x0011\0")
    stream.send(b"late")
    stream.resume()
    assert sink.taken == []


def test_a_reader_that_catches_up_misses_nothing() -> None:
    sink = Sink()
    stream = Stream(sink, lambda *_: True)
    stream.send(b"1")
    stream.pause()
    stream.send(b"2")
    stream.send(b"3")
    stream.resume()
    stream.send(b"4")
    assert sink.taken == [b"1", b"2", b"3", b"4"]


async def test_a_subscriber_that_hangs_up_is_forgotten(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        clients = [await serving.subscribe() for _ in range(5)]
        assert len(serving.made.streams) == 5
        for client in clients:
            client.hang_up()
        await asyncio.sleep(0.01)
        serving.pass_time(1)
        await serving.until_gone()
        assert len(serving.made.streams) == 0


async def test_a_subscriber_that_only_closed_its_writing_end_is_kept(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        client = await serving.subscribe()
        for _ in range(5):
            serving.pass_time(1000)
            await asyncio.sleep(0)
        await serving.made.ok("admin.vm.tag.Set", "work", "late")
        assert (await client.event()).name == "domain-tag-add:late"


async def test_a_subscriber_that_was_denied_gets_an_error_and_no_stream() -> None:
    async with made_world() as made:
        await populate(made)
        refused = await made.refused("admin.Events", "dom0", source="work", endpoint=R4_UNJUDGED)
        assert refused.wire_name == "PermissionDenied"
        assert len(made.streams) == 0


@pytest.mark.parametrize("odd", ["%s", "a\0b", "\n", "", "é", "\udcff", "x" * 100_000])
async def test_odd_text_in_a_fact_breaks_no_stream(odd: str) -> None:
    told = (
        FeatureSet(WORK, FeatureName("f"), odd, odd),
        PropertySet(WORK, PropertyName("kernelopts"), odd, None),
        QubeStartFailed(WORK, odd),
        VolumeImported(WORK, VolumeName("root"), False),
        QubeCreated(QubeName("gone"), WORK),
        QubeRemoved(QubeName("gone")),
        TagAdded(WORK, TagName("end")),
    )
    async with made_world() as made:
        await populate(made)
        stream = made.subscribe()
        for fact in told:
            made.world.announce(fact)
        assert stream.names()[-1] == "work:domain-tag-add:end"
        assert len(stream.events) == 1 + sum(len(list(spell(fact))) for fact in told)


async def test_a_qube_that_is_gone_is_told_of_to_who_sees_everything() -> None:
    async with made_world() as made:
        await populate(made)
        stream = made.subscribe()
        await made.ok("admin.vm.Remove", "disp")
        assert {"domain-pre-delete", "domain-delete"} <= set(stream.names())
        assert Event("", "domain-delete", (("vm", "disp"),)) in stream.events


async def test_an_event_is_told_after_the_change_is_stored_and_not_if_it_is_not() -> None:
    async with made_world() as made:
        await populate(made)
        stream = made.subscribe()
        made.backend.failing = "disk full"
        refused = await made.refused("admin.vm.tag.Set", "work", "lost")
        assert "disk full" in str(refused)
        assert stream.names() == ["connection-established"]


def test_a_start_s_event_has_the_fields_that_clients_read() -> None:
    guid = UUID(int=7)
    ((subject, said),) = spell(QubeStarting(WORK, guid, 400))
    assert subject == "work"
    assert said == Said("domain-pre-start", (("start_guid", guid), ("mem_required", 400)))
    assert encode_said(subject, said).endswith(b"\0mem_required\x00400\0\0")


def test_every_fact_has_a_spelling_of_its_own() -> None:
    told_of_by_the_system = {facts.QubeCreated, facts.QubeRemoving, facts.QubeRemoved}
    kinds = {
        kind for kind in vars(facts).values() if isinstance(kind, type) and issubclass(kind, Fact)
    }
    assert kinds - {Fact} == SPELLINGS.keys() | told_of_by_the_system


async def test_a_call_goes_on_when_its_caller_hangs_up(tmp_path: Path) -> None:
    async with served(tmp_path) as serving:
        serving.made.hypervisor.inject("create", Fault(delay_s=0.05))
        client = await serving.connect()
        client.send(encode_request("admin.vm.Start", b"", b"dom0", b"work"))
        client.end()
        async with asyncio.timeout(5):
            while not serving.made.world.starting:  # noqa: ASYNC110
                await asyncio.sleep(0)
        client.hang_up()
        await client.writer.wait_closed()
        serving.pass_time(1)
        await serving.until_gone()
        assert serving.made.qube("work").state is PowerState.TRANSIENT
        async with asyncio.timeout(5):
            while serving.made.qube("work").state is not PowerState.RUNNING:  # noqa: ASYNC110
                await asyncio.sleep(0.005)


async def _subscribe_and_forget(made: Made) -> Collector:
    collector = made.subscribe()
    assert collector.hang_up is not None
    collector.hang_up()
    return collector


async def test_streams_that_ended_cost_nothing() -> None:
    async with made_world() as made:
        await populate(made)
        for _ in range(100):
            await _subscribe_and_forget(made)
        gc.collect()
        assert len(made.streams) == 0
        begin = time.monotonic()
        await made.ok("admin.vm.tag.Set", "work", "x")
        assert time.monotonic() - begin < 1


def test_nobody_listening_costs_no_spelling() -> None:
    bus = Bus()
    Streams(bus)
    bus.publish(1, TagAdded(WORK, TagName("x")))
