"""`python -m bench.storage`: what the daemon does with volumes, beside what the system's tools do.

Everything goes through the daemon's socket, with the fake hypervisor: a start is all but the guest.
`file-reflink` needs root, for a btrfs of its own in a loop image.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .load import OK, UnexpectedAnswerError, call
from .population import store
from .servers import Server, ServerError, daemon
from .streams import send_file

_MIB = 1 << 20
_GIB = 1 << 30
_DATA = "var/lib/qubes"
_LOOP_IMAGE_BYTES = 16 * _GIB
_FEW, _MANY = 10, 1000
DRIVERS = ("file-reflink", "qcow2", "file")


@dataclass(frozen=True, slots=True)
class Pace:
    """How much is measured: the stream's size, and how often each is done."""

    import_mib: int
    clone_mib: int
    rounds: int
    turns: int


FULL, QUICK = Pace(768, 1536, 7, 20), Pace(256, 1536, 5, 5)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured thing of one driver; `promise` is what it has to be, if anything is promised."""

    driver: str
    what: str
    value: float
    unit: str
    spread: tuple[float, float]
    promise: str = ""
    kept: bool = True

    def __str__(self) -> str:
        low, high = self.spread
        said = f"{self.driver:13} {self.what}: {self.value:.2f}{self.unit} ({low:.2f}-{high:.2f})"
        if not self.promise:
            return f"        {said}"
        return f"{'kept  ' if self.kept else 'MISSED'}  {said}; promised {self.promise}"


@dataclass(slots=True)
class Subject:
    """A daemon on one driver, where its volumes are, and calls to it."""

    driver: str
    server: Server
    root: Path
    qubes: int
    figures: list[Figure] = field(default_factory=list)

    def call(self, method: str, dest: str, arg: str = "", payload: str = "") -> str:
        """Make a call; raise `UnexpectedAnswerError` if it is refused."""
        word = f"{method}+{arg} dom0 name {dest}\0{payload}"
        answer = call(self.server.path, word.encode())
        if answer[:2] != OK:
            raise UnexpectedAnswerError(f"{word!r}: {answer[:200]!r}")
        return answer[2:].decode()

    def note(self, what: str, values: Sequence[float], unit: str = "", **promise: object) -> None:
        """Keep and say the median of some values."""
        spread = min(values), max(values)
        middle = statistics.median(values)
        figure = Figure(self.driver, what, middle, unit, spread, **promise)  # type: ignore[arg-type]
        self.figures.append(figure)
        print(figure, flush=True)

    def at_most(self, what: str, values: Sequence[float], unit: str, most: float) -> None:
        """Note what should be small."""
        kept = statistics.median(values) <= most
        self.note(what, values, unit, promise=f"{most:g}{unit} at most", kept=kept)

    def at_least(self, what: str, values: Sequence[float], unit: str, least: float) -> None:
        """Note what should be large."""
        kept = statistics.median(values) >= least
        self.note(what, values, unit, promise=f"at least {least:g}{unit}", kept=kept)


def _clocked(act: Callable[[], object]) -> float:
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def _make_source(path: Path, size_mib: int) -> None:
    """Fill a file: of each 12 MiB, 8 are random and 4 are zero."""
    with path.open("wb") as file:
        for mib in range(size_mib):
            if mib % 12 < 8:
                file.seek(mib * _MIB)
                file.write(os.urandom(_MIB))
        file.truncate(size_mib * _MIB)


# What is measured.


def imports(subject: Subject, source: Path, pace: Pace) -> None:
    """Import a stream, and let `dd` write the same to the same file system, by turns."""
    target = subject.root / _DATA / "dd.img"
    header = f"admin.vm.volume.ImportWithSize+root dom0 name template\0{source.stat().st_size}\n"
    ratios, rates = [], []
    for _ in range(pace.rounds):
        ours = _clocked(lambda: send_file(subject.server.path, header.encode(), source))
        target.unlink(missing_ok=True)
        os.sync()
        words = [f"if={source}", f"of={target}", "bs=1M", "conv=sparse,fsync", "status=none"]
        theirs = _clocked(lambda: subprocess.run(["dd", *words], check=True))  # noqa: B023
        target.unlink()
        os.sync()
        ratios.append(theirs / ours)
        rates.append(source.stat().st_size / _MIB / ours)
    subject.at_least("import, of dd bs=1M conv=sparse,fsync", ratios, "", 0.8)
    subject.note("import", rates, " MiB/s")


def clones(subject: Subject, source: Path, pace: Pace) -> None:
    """Clone a volume of 10 GiB with 1 GiB of data."""
    subject.call("admin.vm.Create.TemplateVM", "dom0", "", "name=large label=red")
    size = 10 * _GIB
    header = f"admin.vm.volume.ImportWithSize+root dom0 name large\0{size}\n"
    send_file(subject.server.path, header.encode(), source, size)
    subject.call("admin.vm.Create.TemplateVM", "dom0", "", "name=copy label=red")
    ours = []
    for _ in range(pace.rounds):
        token = subject.call("admin.vm.volume.CloneFrom", "large", "root")
        begin = time.perf_counter()
        subject.call("admin.vm.volume.CloneTo", "copy", "root", token)
        ours.append(1e3 * (time.perf_counter() - begin))
    what = "clone of 10 GiB with 1 GiB of data"
    if subject.driver == "file":
        subject.note(what, ours, " ms")
    else:
        subject.at_most(what, ours, " ms", 50)


def starts(subject: Subject, pace: Pace) -> None:
    """Start a qube of that template, with a hypervisor that does nothing."""
    subject.call("admin.vm.Create.AppVM", "dom0", "large", "name=started label=red")
    subject.call("admin.vm.property.Set", "started", "kernel", "")  # there is none here
    found = []
    for _ in range(3 * pace.rounds):
        found.append(1e3 * _clocked(lambda: subject.call("admin.vm.Start", "started")))
        subject.call("admin.vm.Kill", "started")
    what = "start of an AppVM, all but the guest"
    if subject.driver == "file":
        subject.note(what, found, " ms")
    else:
        subject.at_most(what, found, " ms", 50)


def creations(few: Subject, many: Subject, pace: Pace) -> None:
    """Create and remove a qube with all its volumes, by turns where there are few and many."""
    rates: dict[int, list[float]] = {few.qubes: [], many.qubes: []}
    for _ in range(pace.turns + 1):
        for subject in (few, many):
            took_s = _clocked(lambda: [_pair(subject) for _ in range(10)])  # noqa: B023
            rates[subject.qubes].append(10 / took_s)
    low, high = rates[few.qubes][1:], rates[many.qubes][1:]  # the first are to get warm
    few.at_least(f"Create and Remove, {few.qubes} qubes", low, "/s", 30)
    few.at_least(f"Create and Remove, {many.qubes} qubes", high, "/s", 30)
    ratios = [ours / theirs for ours, theirs in zip(high, low, strict=True)]
    few.at_least(f"... with {many.qubes} qubes, of those with {few.qubes}", ratios, "", 0.8)


def _pair(subject: Subject) -> None:
    subject.call("admin.vm.Create.AppVM", "dom0", "template", "name=short label=red")
    subject.call("admin.vm.Remove", "short")


# Where it is measured.


@contextlib.contextmanager
def volumes(driver: str, directory: Path) -> Iterator[Path]:
    """Make a directory on the file system that the driver is for."""
    at = directory / driver
    at.mkdir()
    if driver != "file-reflink":
        yield at
        shutil.rmtree(at)
        return
    image = directory / "btrfs.img"
    with image.open("wb") as file:
        file.truncate(_LOOP_IMAGE_BYTES)
    subprocess.run(["mkfs.btrfs", "-q", str(image)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(at)], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)
        image.unlink()


def measure(driver: str, directory: Path, sources: tuple[Path, Path], pace: Pace) -> list[Figure]:
    """Measure all of one driver."""
    figures: list[Figure] = []
    with contextlib.ExitStack() as stack:
        at = stack.enter_context(volumes(driver, directory))
        subjects = []
        for qubes in (_FEW, _MANY):
            root = at / f"q{qubes}"
            root.mkdir()
            store(root, qubes, driver)
            server = stack.enter_context(daemon(root))
            subjects.append(Subject(driver, server, root, qubes, figures))
        few, many = subjects
        imports(few, sources[0], pace)
        clones(few, sources[1], pace)
        starts(few, pace)
        creations(few, many, pace)
    return figures


def main(words: Sequence[str]) -> int:
    """Measure and print; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.storage", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a rough answer")
    parser.add_argument("--strict", action="store_true", help="fail if a promise is missed")
    parser.add_argument("--dir", type=Path, default=Path("/var/tmp"), help="where volumes go")
    parser.add_argument("drivers", nargs="*", choices=(*DRIVERS, []), help="default: all")
    options = parser.parse_args(words)
    pace = QUICK if options.quick else FULL
    figures: list[Figure] = []
    with contextlib.ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="qubeward-bench-", dir=options.dir))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        stream, gib = directory / "stream", directory / "gib"
        _make_source(stream, pace.import_mib)
        _make_source(gib, pace.clone_mib)
        for driver in options.drivers or DRIVERS:
            if driver == "file-reflink" and os.geteuid() != 0:
                print("file-reflink is left out: to mount a loop image needs root", file=sys.stderr)
                continue
            try:
                figures += measure(driver, directory, (stream, gib), pace)
            except (OSError, ServerError, UnexpectedAnswerError) as error:
                print(f"bench: {error}", file=sys.stderr)
                return 1
    return 1 if options.strict and not all(figure.kept for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
