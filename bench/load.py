"""The load generator: one process, one job at a time, told and answered in JSON lines.

A job has slots; each is a caller that makes its cycle of requests over and over, one connection a
call as clients do, until the time is up and its cycle complete. One slot is the sequential caller.
"""

import json
import select
import socket
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO

#: How every answer but an error or an event begins.
OK = b"0\0"
_CHUNK = 1 << 18


class UnexpectedAnswerError(Exception):
    """The server refused a call that the measurement needs."""


@dataclass(slots=True)
class Timings:
    """What one job measured. Seconds, and microseconds; `by_step` one for each call of a cycle."""

    calls: int
    elapsed_s: float
    p50_us: float
    p99_us: float
    by_step_us: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Return calls per second."""
        return self.calls / self.elapsed_s


def call(path: str, request: bytes) -> bytes:
    """Make one call and return the whole answer."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while data := sock.recv(_CHUNK):
            answer += data
    return answer


def _check(answer: bytes, request: bytes) -> None:
    if answer[:2] != OK:
        raise UnexpectedAnswerError(f"{request!r}: {answer[:200]!r}")


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that a share of an ordered sequence does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _timings(by_step: list[list[float]], elapsed_s: float) -> Timings:
    every = sorted(latency for step in by_step for latency in step)
    return Timings(
        len(every),
        elapsed_s,
        1e6 * percentile(every, 0.50),
        1e6 * percentile(every, 0.99),
        [1e6 * statistics.median(step) for step in by_step if step],
    )


def sequential(path: str, cycle: Sequence[bytes], seconds: float) -> Timings:
    """Make one call after another."""
    by_step: list[list[float]] = [[] for _ in cycle]
    clock = time.perf_counter
    begin = clock()
    end = begin + seconds
    now = begin
    while now < end:
        for request, latencies in zip(cycle, by_step, strict=True):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            answer = sock.recv(_CHUNK)
            first = answer[:2]
            while answer:
                answer = sock.recv(_CHUNK)
            sock.close()
            after = clock()
            latencies.append(after - now)
            now = after
            if first != OK:
                _check(call(path, request), request)
    return _timings(by_step, now - begin)


class _Slot:
    """One of many callers at a time: the call it is making, and how far its cycle is."""

    sock: socket.socket

    def __init__(self, path: str, cycle: Sequence[bytes]) -> None:
        self.path = path
        self.cycle = cycle
        self.step = 0
        self.begin = 0.0
        self.head = b""

    def start(self, poll: select.epoll, slots: dict[int, "_Slot"]) -> None:
        """Send the next request of the cycle."""
        self.begin = time.perf_counter()
        self.head = b""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)
        self.sock.sendall(self.cycle[self.step])
        self.sock.shutdown(socket.SHUT_WR)
        fd = self.sock.fileno()
        slots[fd] = self
        poll.register(fd, select.EPOLLIN)

    def is_done(self) -> bool:
        """Read what there is; tell whether it was the end of the answer."""
        try:
            while data := self.sock.recv(_CHUNK, socket.MSG_DONTWAIT):
                self.head = self.head or data[:200]
        except BlockingIOError:
            return False
        return True

    def finish(self, slots: dict[int, "_Slot"]) -> None:
        """Check the answer, and move on in the cycle."""
        del slots[self.sock.fileno()]
        self.sock.close()
        _check(self.head, self.cycle[self.step])
        self.step = (self.step + 1) % len(self.cycle)


def parallel(path: str, cycles: Sequence[Sequence[bytes]], seconds: float) -> Timings:
    """Make calls in as many slots as there are cycles, at a time."""
    slots: dict[int, _Slot] = {}
    by_step: list[list[float]] = [[] for _ in cycles[0]]
    clock = time.perf_counter
    with select.epoll() as poll:
        begin = clock()
        end = begin + seconds
        for cycle in cycles:
            _Slot(path, cycle).start(poll, slots)
        now = begin
        while slots:
            for fd, _ in poll.poll():
                slot = slots[fd]
                if not slot.is_done():
                    continue
                now = clock()
                by_step[slot.step].append(now - slot.begin)
                slot.finish(slots)
                if slot.step or now < end:
                    slot.start(poll, slots)
    return _timings(by_step, now - begin)


def _subscribe(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.sendall(b"admin.Events+ dom0 name dom0\0")
    sock.shutdown(socket.SHUT_WR)
    data = b""
    while not data.endswith(b"connection-established\0\0"):
        more = sock.recv(_CHUNK)
        if not more:
            raise UnexpectedAnswerError(f"no stream of events: {data!r}")
        data += more
    return sock


def _until_told(readers: Sequence[socket.socket], marks: Sequence[bytes]) -> None:
    heard = {reader.fileno(): b"" for reader in readers}
    with select.epoll() as poll:
        sockets = {reader.fileno(): reader for reader in readers}
        for fd in sockets:
            poll.register(fd, select.EPOLLIN)
        while sockets:
            for fd, _ in poll.poll():
                heard[fd] += sockets[fd].recv(_CHUNK)
                if any(mark in heard[fd] for mark in marks):
                    poll.unregister(fd)
                    del sockets[fd]


def fan_out(path: str, cycle: Sequence[bytes], readers: int, rounds: int) -> Timings:
    """Time from sending a change to when the last of many subscribers has its event."""
    marks = (b"domain-tag-add:", b"domain-tag-delete:")
    subscribers = [_subscribe(path) for _ in range(readers)]
    latencies: list[float] = []
    begin = time.perf_counter()
    for number in range(rounds * len(cycle)):
        request = cycle[number % len(cycle)]
        now = time.perf_counter()
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
            sock.sendall(request)
            sock.shutdown(socket.SHUT_WR)
            _until_told(subscribers, marks)
            latencies.append(time.perf_counter() - now)
            _check(sock.recv(_CHUNK), request)
    elapsed_s = time.perf_counter() - begin
    for subscriber in subscribers:
        subscriber.close()
    return _timings([latencies], elapsed_s)


def perform(job: dict[str, Any]) -> Timings:
    """Do one job as it came over the pipe."""
    cycles = [[text.encode("latin-1") for text in cycle] for cycle in job["cycles"]]
    if job.get("readers"):
        return fan_out(job["path"], cycles[0], job["readers"], job["rounds"])
    if len(cycles) == 1:
        return sequential(job["path"], cycles[0], job["seconds"])
    return parallel(job["path"], cycles, job["seconds"])


def main(jobs: TextIO, results: TextIO) -> None:
    """Do jobs until there are no more."""
    for line in jobs:
        try:
            result = asdict(perform(json.loads(line)))
        except (OSError, UnexpectedAnswerError) as error:
            result = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(result), file=results, flush=True)


if __name__ == "__main__":
    main(sys.stdin, sys.stdout)
