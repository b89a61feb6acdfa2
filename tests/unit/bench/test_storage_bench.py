import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import storage


@pytest.fixture
def short() -> Iterator[Path]:
    """Make a directory whose path leaves room for a socket's."""
    with tempfile.TemporaryDirectory(prefix="qw-") as made:
        yield Path(made)


@pytest.mark.slow
def test_it_measures_what_is_promised(
    short: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "QUICK", storage.Pace(2, 3, 1, 1))
    monkeypatch.setattr(storage, "_MANY", 20)
    assert storage.main(["--quick", "--dir", str(short), "qcow2"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    for what in ("import", "clone", "start", "Create and Remove, 10", "Create and Remove, 20"):
        assert f"qcow2         {what}" in said.out
    assert list(short.iterdir()) == []


def test_a_path_without_room_for_a_socket_is_refused_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    assert storage.main(["--quick", "--dir", str(deep), "qcow2"]) == 1
    assert "choose another --dir" in capsys.readouterr().err


def test_a_figure_says_whether_its_promise_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    subject = storage.Subject("qcow2", None, Path(), 10)  # type: ignore[arg-type]
    subject.at_most("clone", [10.0, 60.0, 70.0], " ms", 50)
    subject.at_least("import", [0.7, 0.9, 0.8], "", 0.8)
    subject.note("import", [100.0], " MiB/s")
    assert capsys.readouterr().out.splitlines() == [
        "MISSED  qcow2         clone: 60.00 ms (10.00-70.00); promised 50 ms at most",
        "kept    qcow2         import: 0.80 (0.70-0.90); promised at least 0.8",
        "        qcow2         import: 100.00 MiB/s (100.00-100.00)",
    ]
    assert [figure.kept for figure in subject.figures] == [False, True, True]
