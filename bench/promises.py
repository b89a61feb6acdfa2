"""The speed that is promised, as rows, each judged from one run's results."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .load import Timings
from .measure import Measured


@dataclass(slots=True)
class Size:
    """What a daemon with so many qubes takes: seconds, CPU seconds and MiB."""

    qubes: int
    start_s: float
    start_cpu_s: float
    rss_mib: float
    rss_after_mib: float = 0.0


@dataclass(slots=True)
class Results:
    """All of one run."""

    loop: str
    sync_us: float
    sizes: list[Size] = field(default_factory=list)
    rows: list[Measured] = field(default_factory=list)
    fan_out: Timings | None = None
    streams_floor: Measured | None = None

    def find(self, call: str, qubes: int, ways: int = 1) -> Measured | None:
        """Return one row."""
        wanted = (call, qubes, ways)
        return next((r for r in self.rows if (r.call, r.qubes, r.ways) == wanted), None)

    def counts(self) -> list[int]:
        """Return the sizes that were measured, in order."""
        return sorted({row.qubes for row in self.rows})


@dataclass(frozen=True, slots=True)
class Promise:
    """One figure. `measure` returns it, or None where this run doesn't tell."""

    text: str
    measure: Callable[[Results], float | None]
    holds: Callable[[float], bool]
    unit: str = ""


def _ratio(qubes: int) -> Callable[[Results], float | None]:
    def measure(results: Results) -> float | None:
        row = results.find("property.Get", qubes)
        return None if row is None else row.ratio

    return measure


def _growth(call: str, few: int, many: int) -> Callable[[Results], float | None]:
    """Compare CPU time a call: how many times that with few qubes."""

    def measure(results: Results) -> float | None:
        low, high = results.find(call, few), results.find(call, many)
        return None if low is None or high is None else high.cpu_us / low.cpu_us

    return measure


def _list_ms(results: Results) -> float | None:
    row = results.find("vm.List", 1000)
    return None if row is None else row.p50_us / 1e3


def _group(results: Results) -> float | None:
    qubes = next((r.qubes for r in results.rows if (r.call, r.ways) == ("tag.Set", 16)), 0)
    one, many = results.find("tag.Set", qubes), results.find("tag.Set", qubes, 16)
    return None if one is None or many is None else many.rate / one.rate


def _size(what: str) -> Callable[[Results], Any]:
    def measure(results: Results) -> Any:
        return next((getattr(s, what) for s in results.sizes if s.qubes == 1000), None)

    return measure


PROMISES = (
    Promise("property.Get, 10 qubes: at least 0.6 of the floor",
            _ratio(10), lambda x: x >= 0.6),
    Promise("property.Get, 1000 qubes: at least 0.6 of the floor",
            _ratio(1000), lambda x: x >= 0.6),
    Promise("property.Get: 1000 qubes cost as 10 do, within 20 %",
            _growth("property.Get", 10, 1000), lambda x: x <= 1.2, " times"),
    Promise("vm.List of 1000 qubes: 3 ms at most", _list_ms, lambda x: x <= 3, " ms"),
    Promise("tag.Set: 1000 qubes cost as 10 do, within 20 %",
            _growth("tag.Set", 10, 1000), lambda x: x <= 1.2, " times"),
    Promise("tag.Set: 10 000 qubes cost as 10 do, within 20 %",
            _growth("tag.Set", 10, 10_000), lambda x: x <= 1.2, " times"),
    Promise("tag.Set, 16 at a time: more than 2 times one at a time",
            _group, lambda x: x > 2, " times"),
    Promise("start with 1000 qubes: under 1 s", _size("start_s"), lambda x: x < 1, " s"),
    Promise("memory with 1000 qubes: under 100 MiB",
            _size("rss_after_mib"), lambda x: x < 100, " MiB"),
)  # fmt: skip
