"""`python -m bench`: measure the daemon at several sizes, or any server's socket."""

import argparse
import contextlib
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import report
from .calls import GET, ROWS, WAYS, Row, Subject, find_subject, measurable, request
from .load import UnexpectedAnswerError, call
from .loops import LOOPS
from .measure import Bench, Pace, Place, sync_us
from .population import TEMPLATE, name_of, store
from .promises import Results, Size
from .servers import Generator, ServerError, behind, daemon, floor

SIZES = (10, 100, 1000, 10_000)
#: Where everything else is measured too: starts, subscribers, all calls many at a time.
MIDDLE = 1000
SUBSCRIBERS = 100
FULL, QUICK = Pace(rounds=15, seconds=0.12), Pace(rounds=9, seconds=0.08)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _subject(qubes: int) -> Subject:
    return Subject(tuple(name_of(n) for n in range(min(qubes, WAYS))), "bench", TEMPLATE)


def _measure(results: Results, bench: Bench, row: Row, places: Sequence[Place], ways: int) -> None:
    for measured in bench.row(row, places, ways):
        results.rows.append(measured)
        _say(f"{measured.call}, {measured.qubes} qubes, {ways} at a time: {measured.rate:.0f}/s, "
             f"{measured.ratio:.2f} of the floor, {measured.cpu_us:.0f} µs of CPU")  # fmt: skip


def _start(root: Path, qubes: int, loop: str, times: int) -> Size:
    """Start the daemon a few times; return the median start, and the memory then."""
    found = []
    for _ in range(times):
        with daemon(root, loop) as server:
            found.append((server.start_s, server.start_cpu_s, server.rss_mib()))
    start_s, start_cpu_s, rss_mib = sorted(found)[len(found) // 2]
    return Size(qubes, start_s, start_cpu_s, rss_mib)


def _measure_ours(
    results: Results, bench: Bench, directory: Path, options: argparse.Namespace
) -> None:
    sizes = options.sizes or ((10, MIDDLE) if options.quick else SIZES)
    places = []
    with contextlib.ExitStack() as stack:
        for qubes in sizes:
            _say(f"starting with {qubes} qubes")
            root = directory / f"q{qubes}"
            store(root, qubes)
            results.sizes.append(_start(root, qubes, options.loop, 2 if options.quick else 5))
            server = stack.enter_context(daemon(root, options.loop))
            places.append(Place(server, _subject(qubes), qubes))
        middle = [place for place in places if place.qubes == MIDDLE] or places[-1:]
        for row in ROWS:
            _measure(results, bench, row, places, 1)
        for row in ROWS:
            if not row.one_way:
                _measure(results, bench, row, middle, WAYS)
        results.fan_out = bench.fan_out(middle[0].server, middle[0].subject, SUBSCRIBERS)
        for size, place in zip(results.sizes, places, strict=True):
            size.rss_after_mib = place.server.rss_mib()
    reply = b"0\0default=True type=int 400"
    with floor(directory / "streams", reply, form="streams", loop=options.loop) as streams:
        (results.streams_floor,) = bench.row(GET, [Place(streams, _subject(1), 0)], 1)


def _measure_other(results: Results, bench: Bench, options: argparse.Namespace) -> None:
    path = str(options.socket)
    qubes = call(path, request("vm.List", "", "dom0")).count(b"\n")
    place = Place(behind(path), find_subject(path, options.qube), qubes)
    _say(f"{path}: process {place.server.pid}, {place.server.rss_mib():.0f} MiB; "
         f"asking about {place.subject.qubes[0]}")  # fmt: skip
    for row in measurable(place.subject, writes=options.writes):
        for ways in (1,) if row.one_way else (1, WAYS):
            _measure(results, bench, row, [place], ways)


def _options(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a rough answer in a minute or so")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="numbers of qubes")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--strict", action="store_true", help="fail if a promise is missed")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio", help="of daemon and floor")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="where state goes")
    parser.add_argument("--socket", type=Path, help="measure this socket, whoever serves it")
    parser.add_argument("--qube", help="with --socket: which qube to ask about")
    parser.add_argument(
        "--writes", action="store_true", help="with --socket: also tag, create and remove qubes"
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    options = _options(words)
    directory = Path(tempfile.mkdtemp(prefix="qubeward-bench-", dir=options.dir))
    results = Results(options.loop, sync_us(directory))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        generator = Generator()
        stack.callback(generator.close)
        bench = Bench(generator, directory, QUICK if options.quick else FULL, options.loop)
        try:
            if options.socket:
                _measure_other(results, bench, options)
            else:
                _measure_ours(results, bench, directory, options)
        except (OSError, ServerError, UnexpectedAnswerError) as error:
            _say(f"bench: {error}")
            return 1
    ours = options.socket is None  # nothing is promised of another server
    print(report.machine(results) if options.json else report.text(results, promises=ours))
    return 1 if ours and options.strict and not report.all_kept(results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
