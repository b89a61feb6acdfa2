"""Results as a table for people, or as JSON."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from .measure import Measured
from .promises import PROMISES, Results


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, ["-" * width for width in widths], *rows):
        first, *rest = zip(row, widths, strict=True)
        yield "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])
    yield ""


def _time(us: float) -> str:
    return f"{us:.0f} µs" if us < 10_000 else f"{us / 1000:.1f} ms"


def _cells(row: Measured) -> list[str]:
    return [
        row.call,
        str(row.qubes) if row.qubes else "?",
        str(row.ways),
        f"{row.rate:.0f}",
        _time(row.p50_us),
        _time(row.p99_us),
        f"{row.floor_rate:.0f}",
        f"{row.ratio:.2f} ({min(row.ratios):.2f}-{max(row.ratios):.2f})",
        _time(row.cpu_us),
        _time(row.floor_cpu_us),
    ]


def _calls(results: Results) -> Iterator[str]:
    head = ("call", "qubes", "at a time", "calls/s", "p50", "p99", "floor/s", "of the floor",
            "CPU", "floor's CPU")  # fmt: skip
    yield from _table(head, [_cells(row) for row in results.rows])
    for row in results.rows:
        if row.ways == 1 and len(row.by_step_us) > 1:
            made, removed = map(_time, row.by_step_us)
            yield f"{row.call}, {row.qubes} qubes: {made}; its removal {removed}"
    yield ""


def _growth(results: Results) -> Iterator[str]:
    counts = results.counts()
    if len(counts) < 2:
        return
    yield "Server's CPU time a call, by the number of qubes:"
    names = dict.fromkeys(row.call for row in results.rows)
    found = [[results.find(name, count) for count in counts] for name in names]
    yield from _table(
        ["call", *map(str, counts)],
        [
            [name, *(_time(row.cpu_us) if row else "-" for row in rows)]
            for name, rows in zip(names, found, strict=True)
        ],
    )


def _sizes(results: Results) -> Iterator[str]:
    if not results.sizes:
        return
    yield from _table(
        ("qubes", "start", "its CPU time", "memory", "after the load"),
        [
            [
                str(size.qubes),
                f"{size.start_s:.2f} s",
                f"{size.start_cpu_s:.2f} s",
                f"{size.rss_mib:.0f} MiB",
                f"{size.rss_after_mib:.0f} MiB",
            ]
            for size in results.sizes
        ],
    )


def _promises(results: Results) -> Iterator[str]:
    for promise in PROMISES:
        value = promise.measure(results)
        if value is not None:
            verdict = "kept  " if promise.holds(value) else "MISSED"
            yield f"{verdict}  {promise.text}: {value:.2f}{promise.unit}"


def text(results: Results, *, promises: bool = True) -> str:
    """Return the tables, and whether the promises were kept."""
    lines = [*_calls(results), *_growth(results), *_sizes(results)]
    if results.fan_out is not None:
        lines.append(
            f"event to the last of 100 subscribers: p50 {_time(results.fan_out.p50_us)}, "
            f"p99 {_time(results.fan_out.p99_us)}"
        )
    if results.streams_floor is not None:
        lines.append(
            f"for scale, the floor written with asyncio streams: "
            f"{results.streams_floor.ratio:.2f} of the floor"
        )
    lines += [f"one fdatasync here: {_time(results.sync_us)}", f"event loop: {results.loop}", ""]
    if promises:
        lines += _promises(results)
    return "\n".join(lines)


def machine(results: Results) -> str:
    """Return all of it as JSON."""
    promises = {
        promise.text: {"value": value, "kept": promise.holds(value)}
        for promise in PROMISES
        if (value := promise.measure(results)) is not None
    }
    rows = [{**asdict(row), "ratio": row.ratio} for row in results.rows]
    return json.dumps({**asdict(results), "rows": rows, "promises": promises}, indent=1)


def all_kept(results: Results) -> bool:
    """Tell whether every promise that the run tells of is kept."""
    values = [(promise, promise.measure(results)) for promise in PROMISES]
    return all(promise.holds(value) for promise, value in values if value is not None)
