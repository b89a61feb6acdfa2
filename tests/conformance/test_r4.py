"""The recorded calls of R4's clients get the recorded replies, but for those listed here."""

from pathlib import Path

import pytest

from conformance.daemon import daemon, exchange
from conformance.r4_replies import Vector, agrees, is_token, vectors
from qubeward.spec import METHODS

#: Where ours differs on purpose, or because an earlier line does: number of the line, and why.
DIFFERS = {
    982: "qubesd stored the feature that line 981 asked for although it had refused it",
}

#: Calls that aren't in the table yet, by the beginning of their names, and what brings them.
PENDING = {
    "admin.Events+": "framing",
    "admin.vm.CreateInPool.": "storage: pools beside the first",
    "admin.vm.CreateDisposable": "disposables",
    "admin.vm.Suspend": "power: suspend and resume",
    "admin.vm.Resume": "power: suspend and resume",
    "admin.vm.Stats": "figures as a stream",
    "admin.vm.Console": "the console's tty",
    "admin.vm.volume.": "storage: volumes",
    "admin.pool.": "storage: pools and their volumes",
    "admin.vm.firewall.": "network",
    "admin.vm.device.": "devices",
    "admin.deviceclass.": "devices",
    "admin.backup.": "backup",
    "internal.": "what upstream's own services ask",
}

#: Lines of calls that we have, which differ because a pending call did nothing before.
FOLLOWS = {}


def replay(root: Path) -> list[tuple[Vector, bytes]]:
    answers, tokens = [], {}
    with daemon(root) as run:
        for vector in vectors():
            answer = exchange(run / "qubesd.sock", vector.request(tokens))
            if is_token(vector) and answer.startswith(b"0\0"):
                tokens[vector.expect["content"]] = answer[2:].decode("latin-1")
            answers.append((vector, answer))
    return answers


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Vector, bytes]]:
    return replay(tmp_path_factory.mktemp("r4"))


def test_x(answers):
    for v, a in answers:
        if v.expect["kind"] != "withheld" and not agrees(v, a):
            if v.method in METHODS or not any(v.method.startswith(p) for p in PENDING):
                print(v, a)
    raise AssertionError
