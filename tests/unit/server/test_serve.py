"""One call from bytes to bytes: whatever happens, the caller gets one answer."""

import asyncio
import logging
import re
from typing import Any

import pytest

from qubeward.api import ROUTES
from qubeward.api.call import Call, Route
from qubeward.hooks import Hooks
from qubeward.hypervisor.fake import Fault
from qubeward.server.gate import Admission, Gate
from qubeward.wire.reply import Failure
from world import R4, Made, made_world, populate


def broken(made: Made, name: str, error: BaseException, *, waits: bool = False) -> None:
    """Make the handler of a call raise what nobody foresaw."""

    def at_once(_call: Call[Any, Any]) -> Any:
        raise error

    async def later(_call: Call[Any, Any]) -> Any:
        await asyncio.sleep(0)
        raise error

    route = ROUTES[name]
    table = dict(made.gate._by_dialect[R4.dialect])
    old = table[name.encode()]
    handler = later if waits else at_once
    table[name.encode()] = Admission(
        Route(route.method, handler), old.arg, old.payload, old.reply, old.guards
    )
    made.gate._by_dialect = {**made.gate._by_dialect, R4.dialect: table}


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "error",
    [RuntimeError("50% broken %s"), KeyError("x"), ValueError(), RecursionError(), MemoryError(),
     StopIteration(), TimeoutError(), OSError(5, "I/O"), AssertionError(), UnicodeError()],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
async def test_a_bug_is_an_answer_with_a_number_that_the_log_has_too(
    error: Exception, waits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with made_world() as made:
        await populate(made)
        broken(made, "admin.vm.tag.Get", error, waits=waits)
        with caplog.at_level(logging.ERROR):
            answer = await made.refused("admin.vm.tag.Get", "work", "x")
        assert answer.wire_name == "QubesException"
        (number,) = answer.fields
        assert re.fullmatch(r"[0-9a-f]{8}", number)
        (record,) = [r for r in caplog.records if number in r.getMessage()]
        assert record.exc_info is not None
        assert type(error).__name__ not in str(answer)  # the caller gets the number alone
        assert not answer.traceback
        assert await made.ok("admin.vm.tag.List", "work")


async def test_a_reply_that_can_not_be_spelled_is_an_answer_too() -> None:
    async with made_world() as made:
        await populate(made)
        made.qube("work").notes = "\udcff"
        answer = await made.refused("admin.vm.notes.Get", "work")
        assert "Internal error" in str(answer)


async def test_a_guard_that_breaks_is_an_answer_and_the_call_does_not_happen() -> None:
    async with made_world() as made:
        await populate(made)

        def breaks(_asked: object) -> None:
            raise ZeroDivisionError

        made.hooks.guard("admin.vm.tag.Set", breaks)
        made.corridor._gate = Gate(made.world, made.gate._policy, made.hooks)
        answer = await made.refused("admin.vm.tag.Set", "work", "x")
        assert "Internal error" in str(answer)
        assert "x" not in made.qube("work").tags


async def test_a_rule_that_breaks_undoes_the_change_it_is_in() -> None:
    async with made_world() as made:
        await populate(made)

        def breaks(_change: object, _fact: object) -> None:
            raise ZeroDivisionError

        from qubeward.facts import TagAdded

        made.hooks.rule(TagAdded, breaks)
        answer = await made.refused("admin.vm.tag.Set", "work", "x")
        assert "Internal error" in str(answer)
        assert "x" not in made.qube("work").tags
        made.hooks._rules.clear()
        await made.ok("admin.vm.tag.Set", "work", "x")


async def test_an_answer_waits_for_the_disk() -> None:
    async with made_world() as made:
        await populate(made)
        made.backend.submit = lambda _commit: None  # a disk that takes its time
        writer = made.send(b"admin.vm.tag.Set+x dom0 name work\0")
        reader = made.send(b"admin.vm.tag.Get+x dom0 name work\0")
        await asyncio.sleep(0.01)
        assert not writer.answers
        assert not reader.answers  # it tells of a change that could still be undone
        made.backend._stored(made.system.sequence)
        assert writer.answers == [b"0\0"]
        assert reader.answers == [b"0\x001"]


async def test_a_change_that_can_not_be_stored_is_undone_and_said_and_reads_go_on() -> None:
    async with made_world() as made:
        await populate(made)
        made.backend.failing = "no space"
        answer = await made.refused("admin.vm.tag.Set", "work", "x")
        assert answer.wire_name == "QubesException"
        assert "no space" in str(answer)
        assert await made.ok("admin.vm.tag.Get", "work", "x") == "0"
        again = await made.refused("admin.vm.tag.Set", "work", "y")
        assert "no space" in str(again)
        made.backend.failing = None
        await made.call("admin.vm.tag.Set", "work", "z")
        await made.settle()
        await made.ok("admin.vm.tag.Set", "work", "z")


async def test_a_call_that_takes_long_does_not_hold_up_others() -> None:
    async with made_world() as made:
        await populate(made)
        made.hypervisor.inject("create", Fault(delay_s=0.05))
        slow = made.send(b"admin.vm.Start dom0 name work\0")
        await made.settle()
        assert await made.ok("admin.vm.tag.Get", "work", "x") == "0"
        assert await made.ok("admin.vm.Start", "alone") == ""
        assert not slow.answers or slow.answers == [b"0\0"]
        async with asyncio.timeout(5):
            await slow.answered.wait()
        assert slow.answers == [b"0\0"]


async def test_a_call_cut_off_by_the_end_of_the_daemon_is_answered() -> None:
    async with made_world() as made:
        await populate(made)
        made.hypervisor.inject("create", Fault(hang=True))
        cut = made.send(b"admin.vm.Start dom0 name work\0")
        await made.settle()
        assert not cut.answers
    assert len(cut.answers) == 1
    assert cut.answers[0].startswith(b"2\0")
    assert b"stopping" in cut.answers[0]


async def test_an_unknown_method_is_a_protocol_error_that_names_it() -> None:
    async with made_world() as made:
        answer = await made.refused("admin.vm.NoSuch", "dom0")
        assert answer == Failure("ProtocolError", "No such method: %s", ("admin.vm.NoSuch",))
        odd = await made.raw(b"\xff%s\xfe dom0 name dom0\0")
        assert odd.startswith(b"2\0ProtocolError\0")


def test_hooks_are_asked_in_the_order_in_which_they_came() -> None:
    hooks = Hooks()
    asked: list[int] = []
    for number in range(3):
        hooks.guard("m", lambda _, number=number: asked.append(number))
    for guard in hooks.guards("m"):
        guard(None)  # type: ignore[arg-type]
    assert asked == [0, 1, 2]
    assert hooks.guards("other") == ()
