"""Running programs of the host: the only place that spawns."""

import asyncio
import functools
import subprocess  # noqa: TID251  # this is the one place
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


class ProgramError(Exception):
    """A program could not be run, failed, or took too long."""

    def __init__(self, argv: Sequence[str], why: str) -> None:
        super().__init__(f"{argv[0]}: {why}")
        self.argv = tuple(argv)
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """What a program left behind."""

    returncode: int
    stdout: bytes
    stderr: bytes


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    check: bool = True,
) -> Completed:
    """Run a program to its end and return its output. Blocks: for threads and start-up only.

    No shell: argv is the program and its words. Raises `ProgramError` when the program can't be
    started, outlasts `timeout_s` (it is killed), or with `check` exits other than 0.
    """
    try:
        done = subprocess.run(  # noqa: S603  # argv is a list, never a shell's text
            list(argv),
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            cwd=cwd,
            env=None if env is None else dict(env),
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProgramError(argv, f"no end after {timeout_s:g} s") from error
    except OSError as error:
        raise ProgramError(argv, error.strerror or str(error)) from error
    if check and done.returncode != 0:
        last = done.stderr.decode(errors="replace").strip() or "no message"
        raise ProgramError(argv, f"exit status {done.returncode}: {last[-2000:]}")
    return Completed(returncode=done.returncode, stdout=done.stdout, stderr=done.stderr)


async def run_in_thread(
    argv: Sequence[str], *, timeout_s: float, stdin: bytes = b"", check: bool = True
) -> Completed:
    """Run a program as `run` does, without blocking the event loop."""
    call = functools.partial(run, argv, timeout_s=timeout_s, stdin=stdin, check=check)
    return await asyncio.get_running_loop().run_in_executor(None, call)
