"""The host's apt sources, read from apt itself."""

from pathlib import Path

import pytest

from qubeward.workshop import sources
from qubeward.workshop.sources import network_options, parse_sources

TARGETS = """\
Debian|http://mirror.example/debian/|bookworm|main|/lists/a_Packages
Debian|http://mirror.example/debian/|bookworm-updates|main|/lists/b_Packages
Debian|http://mirror.example/debian/|bookworm|main|/lists/a_Packages.other
Debian|http://mirror.example/debian/|trixie|main|/lists/c_Packages
Other|https://other.example/apt|bookworm|main|/lists/d_Packages
"""
DUMP = b"""\
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://127.0.0.1:3142";
Acquire::http::Proxy::mirror.example "DIRECT";
Acquire::https::CAInfo "/etc/ssl/own.pem";
Acquire::http::Timeout "5";
Acquire::Languages:: "none";
"""


def test_only_the_suite_and_its_updates_are_taken_and_only_from_debian() -> None:
    found = parse_sources(TARGETS, "bookworm")
    assert found.lines == (
        "deb http://mirror.example/debian/ bookworm main",
        "deb http://mirror.example/debian/ bookworm-updates main",
    )
    assert Path("/lists/c_Packages") not in found.indexes


def test_host_on_another_suite_gives_none() -> None:
    assert parse_sources(TARGETS, "forky").lines == ()


def test_proxy_of_the_host_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "call", lambda *words: DUMP)
    assert network_options() == [
        'Acquire::http::Proxy "http://127.0.0.1:3142";',
        'Acquire::http::Proxy::mirror.example "DIRECT";',
        'Acquire::https::CAInfo "/etc/ssl/own.pem";',
    ]


def test_new_index_changes_the_state(tmp_path: Path) -> None:
    index = tmp_path / "a_Packages"
    index.write_text("")
    found = parse_sources(f"Debian|http://mirror.example|bookworm|main|{index}\n", "bookworm")
    before = found.state
    index.touch()
    assert found.state != before
