"""Paired measurements: servers and their floors by turns, so that noise meets all alike."""

import contextlib
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

    CPU time is the server's, of all its threads, in microseconds a call, and the least of the
    rounds: it hardly feels what else the machine does, so trust it before the rates.
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


@dataclass(frozen=True, slots=True)
class Place:
    """A server that is measured, and what its calls are about."""

    server: Server
    subject: Subject
    qubes: int


def _spelled(cycles: Sequence[Cycle]) -> list[list[str]]:
    return [[request.decode("latin-1") for request in cycle] for cycle in cycles]


def _middle(of: list[tuple[Timings, float]], what: Callable[[Timings], float]) -> float:
    return statistics.median(what(timings) for timings, _ in of)


@dataclass(slots=True)
class _Turn:
    """A server and its floor, and what each of their rounds told: timings, and CPU a call."""

    place: Place
    bare: Server
    cycles: list[list[str]]
    floors: list[tuple[Timings, float]] = field(default_factory=list)
    ours: list[tuple[Timings, float]] = field(default_factory=list)

    def measured(self, name: str, ways: int) -> Measured:
        """Sum up."""
        steps = range(len(self.cycles[0]))
        return Measured(
            call=name,
            qubes=self.place.qubes,
            ways=ways,
            rate=_middle(self.ours, lambda t: t.rate),
            p50_us=_middle(self.ours, lambda t: t.p50_us),
            p99_us=_middle(self.ours, lambda t: t.p99_us),
            cpu_us=min(cpu for _, cpu in self.ours),
            by_step_us=[
                statistics.median(t.by_step_us[step] for t, _ in self.ours) for step in steps
            ],
            floor_rate=_middle(self.floors, lambda t: t.rate),
            floor_cpu_us=min(cpu for _, cpu in self.floors),
            ratios=[a.rate / b.rate for (a, _), (b, _) in zip(self.ours, self.floors, strict=True)],
        )


class Bench:
    """Measures servers against floors of its own."""

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

    def row(self, row: Row, places: Sequence[Place], ways: int) -> list[Measured]:
        """Measure a row, one call at a time or many; the places take turns with their floors."""
        turns = []
        with contextlib.ExitStack() as stack:
            for place in places:
                cycles = [row.cycle(place.subject, slot) for slot in range(ways)]
                # A change is measured against the floor too, for its rate says little by itself.
                reply = b"0\0" if row.writes else call(place.server.path, cycles[0][0])
                directory = self._directory / f"floor{place.qubes}"
                bare = stack.enter_context(floor(directory, reply, loop=self._loop))
                turns.append(_Turn(place, bare, _spelled(cycles)))
            self._take(turns)
        return [turn.measured(row.name, ways) for turn in turns]

    def _take(self, turns: Sequence[_Turn]) -> None:
        for turn in turns:
            for server in (turn.bare, turn.place.server):
                self._perform(server, cycles=turn.cycles, seconds=0.1)
        for _ in range(self._pace.rounds):
            for turn in turns:
                job = {"cycles": turn.cycles, "seconds": self._pace.seconds}
                turn.floors.append(self._perform(turn.bare, **job))
                turn.ours.append(self._perform(turn.place.server, **job))

    def fan_out(self, server: Server, subject: Subject, readers: int) -> Timings:
        """Time a tag's way to the last of many subscribers."""
        cycles = _spelled([tagging(subject, WAYS)])
        rounds = 3 * self._pace.rounds
        return self._perform(server, cycles=cycles, readers=readers, rounds=rounds)[0]


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
