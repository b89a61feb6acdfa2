"""Paired measurements: the server and the floor by turns, so that noise meets both alike."""

import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .calls import WAYS, Cycle, Row, Subject, tagging
from .load import Timings, UnexpectedAnswerError, call
from .servers import Generator, Server, floor


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to measure: rounds of so many seconds for each of the two servers."""

    rounds: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Measured:
    """One row at one size: medians over the rounds. `ratios` are to the floor, one a round.

    CPU time is the server's, of all its threads, in microseconds a call: it hardly feels what else
    the machine does, so trust it before the rates.
    """

    call: str
    qubes: int
    ways: int
    rate: float
    p50_us: float
    p99_us: float
    cpu_us: float
    by_step_us: list[float]
    floor_rate: float
    floor_cpu_us: float
    ratios: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Return calls per second as a share of the floor's."""
        return statistics.median(self.ratios) if self.ratios else 0.0


class Bench:
    """Measures one server against floors of its own."""

    def __init__(
        self, generator: Generator, directory: Path, pace: Pace, loop: str = "asyncio"
    ) -> None:
        self._generator = generator
        self._directory = directory
        self._pace = pace
        self._loop = loop

    def _perform(self, server: Server, **job: Any) -> tuple[Timings, float]:
        before = server.cpu_s()
        answer = self._generator.ask(json.dumps({"path": server.path, **job}))
        cpu_s = server.cpu_s() - before
        result = json.loads(answer or '{"error": "the load generator died"}')
        if "error" in result:
            raise UnexpectedAnswerError(result["error"])
        timings = Timings(**result)
        return timings, 1e6 * cpu_s / timings.calls

    def row(self, server: Server, row: Row, subject: Subject, qubes: int, ways: int) -> Measured:
        """Measure a row, sequential or many at a time."""
        cycles = [row.cycle(subject, slot) for slot in range(ways)]
        reply = b"0\0" if row.writes else call(server.path, cycles[0][0])
        with floor(self._directory / "floor", reply, loop=self._loop) as bare:
            return self._paired(server, bare, cycles, row.name, qubes)

    def _paired(
        self, server: Server, bare: Server, cycles: Sequence[Cycle], name: str, qubes: int
    ) -> Measured:
        spelled = [[request.decode("latin-1") for request in cycle] for cycle in cycles]
        for each in (bare, server):
            self._perform(each, cycles=spelled, seconds=0.1)
        floors, ours = [], []
        for _ in range(self._pace.rounds):
            floors.append(self._perform(bare, cycles=spelled, seconds=self._pace.seconds))
            ours.append(self._perform(server, cycles=spelled, seconds=self._pace.seconds))

        def middle(of: list[tuple[Timings, float]], what: Callable[[Timings], float]) -> float:
            return statistics.median(what(timings) for timings, _ in of)

        return Measured(
            call=name,
            qubes=qubes,
            ways=len(cycles),
            rate=middle(ours, lambda t: t.rate),
            p50_us=middle(ours, lambda t: t.p50_us),
            p99_us=middle(ours, lambda t: t.p99_us),
            cpu_us=statistics.median(cpu for _, cpu in ours),
            by_step_us=[
                statistics.median(t.by_step_us[step] for t, _ in ours)
                for step in range(len(cycles[0]))
            ],
            floor_rate=middle(floors, lambda t: t.rate),
            floor_cpu_us=statistics.median(cpu for _, cpu in floors),
            ratios=[a.rate / b.rate for (a, _), (b, _) in zip(ours, floors, strict=True)],
        )

    def fan_out(self, server: Server, subject: Subject, readers: int) -> Timings:
        """Time a tag's way to the last of many subscribers."""
        cycle = [request.decode("latin-1") for request in tagging(subject, WAYS)]
        timings, _ = self._perform(
            server, cycles=[cycle], readers=readers, rounds=10 * self._pace.rounds
        )
        return timings


def sync_us(directory: Path, count: int = 50) -> float:
    """Return what one fdatasync(2) of a small append takes here: the floor of a durable change."""
    path = directory / "sync"
    latencies = []
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        for _ in range(count):
            os.write(fd, b"\0" * 4096)
            begin = time.perf_counter()
            os.fdatasync(fd)
            latencies.append(time.perf_counter() - begin)
    finally:
        os.close(fd)
        path.unlink()
    return 1e6 * statistics.median(latencies)
