import pytest

from qubeward.host.process import ProgramError, run, run_in_thread


def test_a_program_gets_its_input_and_returns_its_output() -> None:
    done = run(["cat"], stdin=b"hello", timeout_s=5)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello", b"")


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["sh", "-c", "echo bad >&2; exit 3"], "exit status 3: bad"),
        (["false"], "exit status 1: no message"),
        (["/nonexistent"], "No such file"),
        (["sleep", "5"], "no end after 0.05 s"),
    ],
)
def test_a_failure_says_what_and_why(argv: list[str], why: str) -> None:
    with pytest.raises(ProgramError, match=why) as raised:
        run(argv, timeout_s=0.05 if argv[0] == "sleep" else 5)
    assert raised.value.argv == tuple(argv)


async def test_a_status_can_be_left_to_the_caller() -> None:
    done = await run_in_thread(["sh", "-c", "exit 3"], timeout_s=5, check=False)
    assert done.returncode == 3
