import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from bench import report
from bench.__main__ import main
from bench.calls import Subject, measurable, tagging
from bench.load import Timings, UnexpectedAnswerError, parallel, percentile, sequential
from bench.measure import Measured
from bench.promises import PROMISES, Results, Size
from bench.servers import behind

from qubeward.wire.request import RequestReader

SUBJECT = Subject(("work", "mail"), "qrexec", "tpl")


@contextmanager
def answering(path: Path, reply: bytes) -> Iterator[list[bytes]]:
    requests: list[bytes] = []
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(64)

    def serve() -> None:
        while True:
            connection, _ = listening.accept()
            with connection:
                data = b""
                while more := connection.recv(4096):
                    data += more
                if data == b"stop":
                    return
                requests.append(data)
                with suppress(BrokenPipeError):
                    connection.sendall(reply)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield requests
    finally:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(str(path))
            last.sendall(b"stop")
        thread.join()
        listening.close()


def row(call: str, qubes: int, rate: float = 1000.0, cpu_us: float = 100.0) -> Measured:
    return Measured(call, qubes, 1, rate, 1.0, 2.0, cpu_us, [1.0], 2000.0, 70.0, [rate / 2000.0])


def results() -> Results:
    found = Results("asyncio", 100.0, [Size(1000, 0.5, 0.5, 40.0, 41.0)])
    for qubes in (10, 1000, 10_000):
        found.rows += [row("property.Get", qubes, 1500.0), row("tag.Set", qubes)]
    return found


def test_percentiles_are_values_that_occurred() -> None:
    ordered = [float(n) for n in range(100)]
    assert percentile(ordered, 0.5) == 50.0
    assert percentile(ordered, 0.99) == 99.0
    assert percentile([7.0], 0.99) == 7.0


def test_a_sequential_caller_completes_its_cycle(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with answering(path, b"0\0") as requests:
        timings = sequential(str(path), [b"one", b"two"], 0.01)
    assert timings.calls == len(requests)
    assert requests == [b"one", b"two"] * (timings.calls // 2)
    assert len(timings.by_step_us) == 2


def test_many_callers_each_complete_their_cycle(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with answering(path, b"0\0") as requests:
        timings = parallel(str(path), [[b"a+", b"a-"], [b"b+", b"b-"]], 0.01)
    assert timings.calls == len(requests)
    assert requests.count(b"a+") == requests.count(b"a-") > 0
    assert requests.count(b"b+") == requests.count(b"b-") > 0


@pytest.mark.parametrize("reply", [b"2\0Error\0\0no\0", b""])
def test_a_refused_call_ends_the_measurement(tmp_path: Path, reply: bytes) -> None:
    path = tmp_path / "s"
    with answering(path, reply), pytest.raises(UnexpectedAnswerError):
        sequential(str(path), [b"one"], 0.01)


def test_any_socket_leads_to_the_process_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with answering(path, b"0\0"):
        server = behind(str(path))
        assert server.cpu_s() > 0
        assert server.rss_mib() > 1


def test_every_slot_changes_a_tag_of_its_own() -> None:
    assert len({tagging(SUBJECT, slot) for slot in range(16)}) == 16


def test_each_row_spells_requests_of_the_protocol() -> None:
    for measured in measurable(SUBJECT, writes=True):
        for request in measured.cycle(SUBJECT, 3):
            reader = RequestReader()
            reader.feed(request)
            assert reader.end().method.startswith(b"admin.vm.")


def test_another_server_is_only_read_unless_told_otherwise() -> None:
    names = {measured.name for measured in measurable(SUBJECT, writes=False)}
    assert names == {"property.Get", "feature.Get", "property.GetAll", "vm.List"}


def test_promises_are_judged_from_the_rows() -> None:
    found = results()
    assert report.all_kept(found)
    found.rows[0] = row("property.Get", 10, 1100.0)
    assert not report.all_kept(found)
    assert "MISSED  property.Get, 10 qubes: at least 0.6 of the floor: 0.55" in report.text(found)


def test_what_a_run_did_not_measure_is_not_judged() -> None:
    assert all(promise.measure(Results("asyncio", 1.0)) is None for promise in PROMISES[:4])
    assert report.all_kept(Results("asyncio", 1.0))


def test_the_machine_readable_report_has_it_all() -> None:
    found = results()
    found.fan_out = Timings(1, 1.0, 2.0, 3.0, [2.0])
    read = json.loads(report.machine(found))
    assert read["rows"][0]["ratio"] == 0.75
    assert read["fan_out"]["p99_us"] == 3.0
    assert all(promise["kept"] for promise in read["promises"].values())


def test_a_missing_socket_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--socket", str(tmp_path / "none"), "--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("bench: ")
    assert not list(tmp_path.iterdir())
