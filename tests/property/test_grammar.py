"""Near-valid requests for every method: one answer each, never empty, never a bug's."""

import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from qubeward.server.gate import Endpoint
from qubeward.spec import METHODS, AnyMethod
from qubeward.spec.method import Stream, codecs_of
from qubeward.spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES
from qubeward.wire.dialect import Dialect
from qubeward.wire.reply import Failure, ReplyReader
from world import Made, made_world, populate

#: Requests for each method and dialect in one round.
REQUESTS = 40

_WORDS = (
    b"", b"dom0", b"tpl", b"work", b"net", b"alone", b"base", b"disp", b"far", b"ghost", b"none",
    b"red", b"1", b"0", b"True", b"label-3", b"root", b"private", b"force+wait", b"created-by-dom0",
    b"guivm-dom0", b"service.x", b"vm-config.1", b"preload-dispvm-max", b"servicevm", b"10.0.0.1",
    b"fd09::1", b"-1", b"99999999999999999999", b"9" * 4400, b"name=n%d label=red",
    b"name=work label=red", b"name=n label=nope", b"us++", b"\xc3\xa9", b"\xff\xfe", b"%s%d%n",
    b"a" * 300, b"x\ny", b"\0", b"\\n", b" ", b"0x00ff00", b"ok", b"fail\nwhy",
)  # fmt: skip


def _spellings(codec: Any) -> Iterator[bytes]:
    end = b"\nsome data" if isinstance(codec, Stream) and codec.is_line else b""
    for one in codecs_of(codec):
        yield from (one.encode(example) + end for example in one.examples)
        yield from (bad for bad in one.rejects if len(bad) < 1000)


class Grammar:
    """Requests for one method, most of them wrong in one place or none."""

    def __init__(self, method: AnyMethod, made: Made, seed: int) -> None:
        self._random = random.Random(seed)
        self._name = method.name.encode()
        self._args = (*_spellings(method.arg), *_WORDS)
        if ".property." in method.name:
            self._args += tuple(name.encode() for name in (*QUBE_PROPERTIES, *SYSTEM_PROPERTIES))
        self._payloads = (*_spellings(method.payload), *_WORDS)
        uuids = tuple(f"uuid:{qube.uuid}".encode() for qube in made.system.qubes.values())
        self._qubes = (*_WORDS[1:10], *uuids, b"uuid:x", b"-bad")
        self._count = 0

    def _choose(self, known: tuple[bytes, ...]) -> bytes:
        word = self._random.choice(known)
        if b"%d" in word:
            self._count += 1
            word = word.replace(b"%d", b"%d" % self._count)
        return self._bent(word) if self._random.random() < 0.15 else word

    def _bent(self, word: bytes) -> bytes:
        at = self._random.randint(0, len(word))
        match self._random.randrange(4):
            case 0:
                return word[:at] + self._random.randbytes(self._random.randint(1, 3)) + word[at:]
            case 1:
                return word[:at]
            case 2:
                return word[:at] + word
            case _:
                return word[:at] + word[at + 1 :]

    def request(self) -> bytes:
        roll = self._random.random
        name = self._bent(self._name) if roll() < 0.03 else self._name
        arg = self._choose(self._args).replace(b"\0", b"").replace(b" ", b"")
        source = b"dom0" if roll() < 0.8 else self._choose(self._qubes)
        dest = self._choose(self._qubes) if roll() < 0.7 else b"dom0"
        kind = b"name" if roll() < 0.97 else self._random.choice((b"keyword", b"", b"nam"))
        payload = b"" if roll() < 0.4 else self._choose(self._payloads)
        plus = b"+" if arg or roll() < 0.5 else b""
        whole = b" ".join((name + plus + arg, source, kind, dest)) + b"\0" + payload
        return self._bent(whole) if roll() < 0.05 else whole


def _check(request: bytes, answer: bytes) -> None:
    reader = ReplyReader()
    assert not reader.feed(answer), (request, answer)
    end = reader.end()
    assert end is not None, request
    if isinstance(end, Failure):
        assert not str(end).startswith("Internal error"), (request, end)
        assert end.template.count("%s") == len(end.fields), (request, end)
        assert not end.traceback


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
async def test_near_valid_requests_get_one_answer_each(method: AnyMethod, rounds: int) -> None:
    seed = 0 if rounds == 1 else time.time_ns()
    print("seed", seed)
    for dialect in Dialect:
        async with made_world() as made:
            await populate(made)
            grammar = Grammar(method, made, seed)
            for _ in range(REQUESTS * rounds):
                request = grammar.request()
                endpoint = Endpoint(dialect, judged=True, internal=method.internal)
                collector = made.send(request, endpoint)
                if collector.hang_up is not None:  # a stream
                    assert collector.names()[0] == "connection-established"
                    assert not collector.answers
                    collector.hang_up()
                    continue
                if not collector.answers:
                    await made.settle()
                if not collector.answers:
                    await collector.answered.wait()
                assert len(collector.answers) == 1, request
                _check(request, collector.answers[0])
