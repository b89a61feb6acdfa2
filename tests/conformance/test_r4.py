"""The recorded calls of R4's clients get the recorded replies, but for those listed here."""

import time
from pathlib import Path

import pytest

from conformance.daemon import daemon, exchange
from conformance.r4_replies import Vector, agrees, is_token, vectors
from qubeward.errors import InternalError
from qubeward.spec import METHODS
from qubeward.wire.reply import ReplyReader

#: Where ours differs on purpose, or because an earlier line does: number of the line, and why.
DIFFERS = {
    982: "qubesd stored the feature that line 981 asked for although it had refused it",
    1183: "qubesd says that it made the volume smaller, and doesn't",
    1184: "qubesd says that it made the volume smaller, and doesn't",
}

#: Calls that aren't in the table yet, by the beginning of their names, and what brings them.
PENDING = {
    "admin.vm.CreateDisposable": "disposables",
    "admin.vm.Suspend": "suspend and resume",
    "admin.vm.Resume": "suspend and resume",
    "admin.vm.Stats": "figures as a stream",
    "admin.vm.firewall.": "network",
    "admin.vm.device.": "devices",
    "admin.deviceclass.": "devices",
    "admin.backup.": "backup",
}

#: Lines of calls that are in the table, which differ because a pending call did not act before:
#: number of the line, and that call.
FOLLOWS = {
    1480: "admin.vm.Suspend",
}

#: Tokens that withheld replies gave, and that later lines use.
WITHHELD_TOKENS = {n: f"TOKEN{number:06}".ljust(32, "x") for n, number in ((1229, 2), (1236, 3))}

Answers = list[tuple[Vector, bytes]]


def pending(name: str) -> str | None:
    """Return the entry of `PENDING` that a call falls under, or None."""
    return next((prefix for prefix in PENDING if name.startswith(prefix)), None)


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Send every line to a fresh daemon, whether it will be compared or not."""
    found: Answers = []
    tokens: dict[str, str] = {}
    with daemon(tmp_path_factory.mktemp("r4")) as run:
        for vector in vectors():
            answer = exchange(run / "qubesd.sock", vector.request(tokens))
            if is_token(vector) and answer.startswith(b"0\0"):
                tokens[vector.expect["content"]] = answer[2:].decode("latin-1")
            elif vector.n in WITHHELD_TOKENS and answer.startswith(b"0\0"):
                tokens[WITHHELD_TOKENS[vector.n]] = answer[2:].decode("latin-1")
            elif vector.method == "admin.vm.Shutdown" and answer.startswith(b"0\0"):
                await_halted(run / "qubesd.sock", vector.dest)
            found.append((vector, answer))
    return found


def await_halted(path: Path, name: str) -> None:
    """Wait for what a shutdown only begins: who recorded the lines took longer than it does."""
    request = f"admin.vm.List+ dom0 name {name}\0".encode()
    end = time.monotonic() + 10
    while b" state=Halted " not in exchange(path, request):
        assert time.monotonic() < end, f"{name} does not shut down"
        time.sleep(0.01)


def test_every_compared_line_agrees_or_is_listed(answers: Answers) -> None:
    unlisted = [
        f"{vector}\n  got {answer!r}"
        for vector, answer in answers
        if vector.expect["kind"] != "withheld"
        and not agrees(vector, answer)
        and vector.n not in DIFFERS
        and vector.n not in FOLLOWS
        and (vector.method in METHODS or not pending(vector.method))
    ]
    assert not unlisted, "\n".join(unlisted)


def test_every_driver_and_option_of_upstream_is_listed_in_its_order(answers: Answers) -> None:
    ((vector, answer),) = [(v, a) for v, a in answers if v.n == 74]
    theirs = [line.split() for line in str(vector.expect["content"]).splitlines()]
    ours = {line.split()[0]: line.split() for line in answer[2:].decode().splitlines()}
    assert [ours[line[0]][: len(line)] for line in theirs] == theirs
    assert ours.keys() - {line[0] for line in theirs} == {"qcow2"}


def test_every_listed_difference_is_one_still(answers: Answers) -> None:
    agreeing = {
        vector.n
        for vector, answer in answers
        if vector.expect["kind"] != "withheld" and agrees(vector, answer)
    }
    assert not agreeing & {*DIFFERS, *FOLLOWS}


def test_every_pending_call_is_missing_still() -> None:
    assert not [name for name in METHODS if pending(name)]
    assert set(FOLLOWS.values()) <= PENDING.keys()


def test_every_pending_call_is_met(answers: Answers) -> None:
    assert {pending(vector.method) for vector, _ in answers} >= PENDING.keys()


def test_every_line_gets_one_well_formed_answer(answers: Answers) -> None:
    for vector, answer in answers:
        reader = ReplyReader()
        events = reader.feed(answer)
        end = reader.end()
        is_stream = bool(events) and end is None
        assert is_stream or (end is not None and not events), (vector, answer)


def test_no_line_meets_a_bug(answers: Answers) -> None:
    template = InternalError.template.encode()
    assert not [vector for vector, answer in answers if template in answer]
