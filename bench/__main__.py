"""`python -m bench`: measure the daemon at several sizes, or any server's socket."""

import argparse
import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from . import report
from .calls import GET, ROWS, TAG, WAYS, Subject, find_subject, measurable, request
from .load import UnexpectedAnswerError, call
from .loops import LOOPS
from .measure import Bench, Measured, Pace, sync_us
from .population import TEMPLATE, name_of, store
from .promises import Results, Size
from .servers import Generator, Server, ServerError, behind, daemon, floor

SIZES = (10, 100, 1000, 10_000)
#: Where everything else is measured too: starts, subscribers, all calls many at a time.
MIDDLE = 1000
SUBSCRIBERS = 100
FULL, QUICK = Pace(rounds=5, seconds=0.4), Pace(rounds=3, seconds=0.25)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _subject(qubes: int) -> Subject:
    return Subject(tuple(name_of(n) for n in range(min(qubes, WAYS))), "bench", TEMPLATE)


def _add(results: Results, measured: Measured) -> None:
    results.rows.append(measured)
    _say(f"  {measured.call}, {measured.ways} at a time: {measured.rate:.0f}/s, "
         f"{measured.ratio:.2f} of the floor, {measured.cpu_us:.0f} µs of CPU")  # fmt: skip


def _start(root: Path, qubes: int, loop: str, times: int) -> Size:
    """Start the daemon a few times; return the median start, and the memory then."""
    found = []
    for _ in range(times):
        with daemon(root, loop) as server:
            found.append((server.start_s, server.start_cpu_s, server.rss_mib()))
    start_s, start_cpu_s, rss_mib = sorted(found)[len(found) // 2]
    return Size(qubes, start_s, start_cpu_s, rss_mib)


def _grown(size: Size, server: Server) -> Size:
    return Size(size.qubes, size.start_s, size.start_cpu_s, size.rss_mib, server.rss_mib())


def _measure_size(
    results: Results, bench: Bench, root: Path, qubes: int, options: argparse.Namespace
) -> None:
    _say(f"{qubes} qubes")
    store(root, qubes)
    size = _start(root, qubes, options.loop, 2 if options.quick else 5)
    subject = _subject(qubes)
    with daemon(root, options.loop) as server:
        for row in ROWS:
            _add(results, bench.row(server, row, subject, qubes, 1))
        for row in ROWS if qubes == MIDDLE and not options.quick else (GET, TAG):
            if not row.one_way:
                _add(results, bench.row(server, row, subject, qubes, WAYS))
        if qubes == MIDDLE:
            results.fan_out = bench.fan_out(server, subject, SUBSCRIBERS)
        results.sizes.append(_grown(size, server))


def _measure_ours(results: Results, bench: Bench, directory: Path, options: argparse.Namespace) -> None:
    for qubes in options.sizes or ((10, MIDDLE) if options.quick else SIZES):
        _measure_size(results, bench, directory / f"q{qubes}", qubes, options)
    reply = b"0\0default=True type=int 400"
    with floor(directory / "streams", reply, form="streams", loop=options.loop) as streams:
        results.streams_floor = bench.row(streams, GET, _subject(1), 0, 1)


def _measure_other(results: Results, bench: Bench, options: argparse.Namespace) -> None:
    path = str(options.socket)
    server = behind(path)
    subject = find_subject(path, options.qube)
    qubes = call(path, request("vm.List", "", "dom0")).count(b"\n")
    _say(f"{path}: process {server.pid}, {qubes} qubes, {server.rss_mib():.0f} MiB; "
         f"asking about {subject.qubes[0]}")  # fmt: skip
    for row in measurable(subject, writes=options.writes):
        for ways in (1,) if row.one_way else (1, WAYS):
            _add(results, bench.row(server, row, subject, qubes, ways))


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
    if importlib.util.find_spec("qubeward") is None:  # a checkout that isn't installed
        source = str(Path(__file__).parent.parent / "src")
        os.environ["PYTHONPATH"] = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])
        sys.path.insert(0, source)
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
    print(report.machine(results) if options.json else report.text(results))
    return 1 if options.strict and not report.all_kept(results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
