"""What the host must have, and what is said when it hasn't."""

from pathlib import Path

import pytest

from qubeward.workshop import programs
from qubeward.workshop.errors import WorkshopError
from qubeward.workshop.programs import Program, call, missing_programs, require


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (
        Program("sh", "dash", frozenset({"mini"})),
        Program("no-such-program", "no-such-package", frozenset({"mini"})),
        Program("no-other-program", "no-other-package", frozenset({"debian"})),
    )
    monkeypatch.setattr(programs, "PROGRAMS", rows)
    assert missing_programs(frozenset({"mini"})) == [("no-such-program", "no-such-package")]
    with pytest.raises(WorkshopError, match=r"apt-get install no-such-package$"):
        require("mini")


def test_what_stands_in_for_roots_rights_is_only_missed_by_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = Program("no-such-program", "fakeroot", frozenset({"mini"}), for_users=True)
    monkeypatch.setattr(programs, "PROGRAMS", (row,))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert missing_programs() == []
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert missing_programs() == [("no-such-program", "fakeroot")]


def test_failure_of_a_program_is_a_workshop_error_with_its_words() -> None:
    with pytest.raises(WorkshopError, match="exit status 3: too bad"):
        call("sh", "-c", "echo too bad >&2; exit 3")


def test_a_users_path_without_sbin_is_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "only-in-sbin"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    monkeypatch.setattr(programs, "_SYSTEM_FOLDERS", (str(tmp_path),))
    assert call("only-in-sbin") == b"found\n"
