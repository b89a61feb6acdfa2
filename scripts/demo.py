"""Do the main job before your eyes: boot real qubes, and manage them through the Admin API.

Run it with `make run`. Everything happens below a throw-away root, which is removed at the end;
`make run ARGS=--keep` leaves the daemon running there, and says how to go on.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
PROGRAM = Path(sys.executable).with_name("qubeward")
QUBES = ("work", "server")
BOOT_LIMIT_S = 180.0


class DemoError(Exception):
    """Something didn't go as it should, with what was seen."""


class Demo:
    """One run: a root, a daemon, and commands that are shown before they run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.daemon: subprocess.Popen[bytes] | None = None
        self.events: subprocess.Popen[bytes] | None = None
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def part(self, title: str) -> Iterator[None]:
        """Head a part of the run, and keep its time."""
        print(f"\n\033[1m== {title}\033[0m" if sys.stdout.isatty() else f"\n== {title}", flush=True)
        begin = time.monotonic()
        yield
        self.times.append((title, time.monotonic() - begin))

    def run(self, *words: str, stdin: bytes = b"") -> str:
        """Show a command of ours, run it, show what it prints, and return that."""
        print("$ qubeward " + " ".join(words), flush=True)
        done = subprocess.run(
            [PROGRAM, "--root", self.root, *words],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        text = done.stdout.decode(errors="replace")
        print(text, end="" if not text or text.endswith("\n") else "\n", flush=True)
        if done.returncode != 0:
            raise DemoError(f"that failed, with exit status {done.returncode}")
        return text

    def start_daemon(self) -> None:
        """Start the daemon, and return once it serves."""
        print("$ qubeward daemon &", flush=True)
        log = (self.root / "daemon.log").open("wb")
        self.daemon = subprocess.Popen(
            [PROGRAM, "--root", self.root, "daemon", "--set", "log.format=text"],
            stdout=log,
            stderr=log,
        )
        self.wait(self._serves, "the daemon serves", 60)
        for line in (self.root / "daemon.log").read_text().splitlines():
            print(line[:200])

    def _serves(self) -> bool:
        assert self.daemon is not None
        if self.daemon.poll() is not None:
            raise DemoError((self.root / "daemon.log").read_text())
        return (self.root / "run/qubeward/draft.sock").exists()

    def follow_events(self, qube: str) -> None:
        """Show a qube's events from now on, as they happen."""
        print(f"$ qubeward events {qube} &", flush=True)
        self.events = subprocess.Popen(
            [PROGRAM, "--root", self.root, "events", qube],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        begun = threading.Event()

        def show() -> None:
            for line in self.events.stdout:
                # One write a line: other lines are printed meanwhile.
                sys.stdout.write(f"    event: {line.decode().rstrip()}\n")
                sys.stdout.flush()
                begun.set()

        threading.Thread(target=show, daemon=True).start()
        begun.wait(10)

    def wait(self, condition: Callable[[], bool], what: str, limit_s: float = BOOT_LIMIT_S) -> None:
        """Wait until something holds."""
        end = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > end:
                raise DemoError(f"not within {limit_s:g} s: {what}")
            time.sleep(0.05)

    def console(self, qube: str) -> list[str]:
        """Return the lines that a qube has shown on its console."""
        log = self.root / "var/log/qubeward/console" / f"{qube}.log"
        return log.read_text(errors="replace").splitlines() if log.exists() else []

    def is_up(self, qube: str) -> bool:
        """Tell whether the guest has said that it is up."""
        return any(f"qube {qube} is up" in line for line in self.console(qube))

    def stop_events(self) -> None:
        """End the stream of events."""
        if self.events is not None:
            self.events.terminate()
            self.events.wait()

    def stop(self) -> None:
        """End the daemon and its guests, whatever happened."""
        self.stop_events()
        if self.daemon is None or self.daemon.poll() is not None:
            return
        for qube in QUBES:
            subprocess.run(
                [PROGRAM, "--root", self.root, "kill", qube],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        self.daemon.send_signal(signal.SIGTERM)
        self.daemon.wait(60)


def resident_mib(pattern: str) -> list[float]:
    """Return the resident memory of the processes whose command line has the pattern."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if entry.name.isdigit() and pattern in (entry / "cmdline").read_text("latin-1"):
                status = (entry / "status").read_text()
                found.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
    return found


def show(demo: Demo) -> None:
    """Do the main job."""
    with demo.part("a daemon on a throw-away root"):
        demo.start_daemon()
        demo.run("ls")
    with demo.part("a kernel and a template"):
        demo.run("template", "build", "mini")
        demo.run("template", "build", "mini", "server", "--class", "StandaloneVM")
    with demo.part("a qube from the template, and tags, features and properties"):
        demo.run("create", "work", "--class", "AppVM", "--template", "mini", "--label", "blue")
        for qube in QUBES:
            demo.run("prefs", qube, "memory", "160")
            demo.run("prefs", qube, "vcpus", "1")
        demo.run("tags", "work", "--add", "project-x")
        demo.run("tags", "work")
        demo.run("features", "work", "service.cups", "1")
        demo.run("prefs", "work", "memory")
    with demo.part("real guests boot"):
        demo.follow_events("work")
        demo.run("start", *QUBES)
        demo.run("ls")
        for qube in QUBES:
            demo.wait(lambda qube=qube: demo.is_up(qube), f"{qube} is up")  # type: ignore[misc]
            lines = [line for line in demo.console(qube) if line.startswith("qubeward:")]
            print(f"(console of {qube}) " + " | ".join(lines))
        demo.run("call", "admin.vm.CurrentState", "work")
        mine = resident_mib(f"{demo.root}\0daemon")
        guests = resident_mib("qemu-system-x86_64\0-name\0guest=")
        for what, figures in (("daemon", mine), ("guests", guests)):
            print(f"memory of {what}: " + ", ".join(f"{mib:.0f} MiB" for mib in figures))
    with demo.part("a disk grows under its guest"):
        demo.run("volume", "resize", "work", "private", "+1G")
        typed = b"echo kept > /rw/note; sync; cat /sys/block/vdb/size  # sectors\n"
        demo.run("console", "work", "--linger", "2", stdin=typed)
    with demo.part("clean shutdown"):
        demo.run("shutdown", "--wait", *QUBES)
        demo.run("ls")
    with demo.part("what was written is kept, and copied in no time"):
        demo.run("volume", "ls", "work")
        demo.run("volume", "snapshots", "work", "private")
        demo.run("clone", "work", "copy")
        demo.run("pool", "ls")


def summarise(demo: Demo, *, kept: bool) -> None:
    """Tell how long it took, and how to go on."""
    print("\n== times")
    for title, seconds in demo.times:
        print(f"{seconds:7.1f} s  {title}")
    program = PROGRAM.relative_to(Path.cwd()) if PROGRAM.is_relative_to(Path.cwd()) else PROGRAM
    if kept:
        print(f"\nThe daemon serves {demo.root}. Try:")
        print(f"  export QUBEWARD_ROOT={demo.root}")
        print(f"  {program} start work && {program} console work   # Ctrl-] leaves the console")
        print(f"  {program} --help")
        print(f"End it with: kill {demo.daemon and demo.daemon.pid}; rm -r {demo.root}")
        return
    print("\nHow to go on:")
    print("  make run ARGS=--keep       the same, and leave the daemon running to play with")
    print(f"  {program} --help   all commands")
    print("  README.md, docs/           what it is, and how to use it for real")


def main() -> int:
    """Run the demonstration; return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the daemon running")
    keep = parser.parse_args().keep
    os.environ.setdefault("QUBEWARD_CACHE", str(REPOSITORY / ".cache"))
    root = Path(tempfile.mkdtemp(prefix="qubeward-"))
    root.chmod(0o755)  # the account that guests run as must reach their disks
    demo = Demo(root)
    begin = time.monotonic()
    try:
        show(demo)
    except DemoError as error:
        print(f"\nmake run: {error}", file=sys.stderr)
        log = root / "daemon.log"
        if log.exists():
            print(log.read_text()[-3000:], file=sys.stderr)
        demo.stop()
        return 1
    except BaseException:
        demo.stop()
        raise
    if keep:
        demo.stop_events()
    else:
        demo.stop()
    demo.times.append(("all", time.monotonic() - begin))
    summarise(demo, kept=keep)
    if not keep:
        shutil.rmtree(root, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
