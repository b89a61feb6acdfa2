"""Pages say what is there: links lead somewhere, commands exist, code is real."""

import os
import re
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from docs.pages import DOCS, PAGES, ROOT, anchors, fences, name_of, prose
from qubeward.host import process

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
MAKE = re.compile(r"\bmake ([a-z]+)\b")
#: Words after `make` in a sentence that are no target.
NOT_TARGETS = {"it", "the", "a", "one", "them", "sure", "up", "no"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_are_named_exist(page: Path) -> None:
    for path in re.findall(
        r"`((?:src|tests|docs|scripts|packaging|requirements)/[^`\s]*)`", prose(page)
    ):
        if not any(sign in path for sign in "<*…{") and "NAME" not in path:
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_is_an_excerpt_of_a_real_file(page: Path) -> None:
    # ```python PATH
    for fence in fences(page):
        if fence.language == "python":
            whole = textwrap.dedent((ROOT / fence.about).read_text("utf-8"))
            assert fence.code in whole, f"not in {fence.about}:\n{fence.code}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_toml_can_be_read(page: Path) -> None:
    for fence in fences(page):
        if fence.language == "toml":
            tomllib.loads(fence.code)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    spoken = set(MAKE.findall(" ".join(re.findall(r"`([^`]*)`", prose(page)))))
    for fence in fences(page):
        if fence.language == "sh":
            spoken |= set(MAKE.findall(fence.code))
    assert spoken <= targets | NOT_TARGETS


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_scripts_in_commands_exist(page: Path) -> None:
    for fence in fences(page):
        if fence.language == "sh":
            for path in re.findall(r"(?:^|\s)((?:scripts/|docs/|\./)[\w./-]+)", fence.code):
                assert (ROOT / path).exists(), path


def commands() -> list[str]:
    """Return the commands of the program that the pages show."""
    shown = "\n".join(f.code for page in PAGES for f in fences(page) if f.language == "sh")
    return sorted(set(re.findall(r"^qubeward (?:--\w+ \S+ )*([a-z]+)", shown, re.MULTILINE)))


@pytest.mark.parametrize("command", commands())
def test_commands_of_the_program_exist(command: str) -> None:
    done = process.run(
        [sys.executable, "-m", "qubeward", command, "--help"],
        timeout_s=30,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert command.encode() in done.stdout


def test_every_decision_is_indexed_and_has_its_parts() -> None:
    index = (DOCS / "adr/README.md").read_text()
    records = sorted(p for p in (DOCS / "adr").glob("*.md") if p.name != "README.md")
    assert [p.name[:4] for p in records] == [f"{n:04}" for n in range(1, len(records) + 1)]
    for record in records:
        title = record.read_text().splitlines()[0].removeprefix("# ")
        assert f"[{title}]({record.name})" in index, record.name
        assert {"context", "decision", "consequences", "alternatives"} <= anchors(record)


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen:
            continue
        seen.add(page)
        for link in LINK.findall(prose(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if "://" not in link and target.suffix == ".md" and target.is_file():
                waiting.append(target)
    assert {name_of(p) for p in PAGES} == {name_of(p) for p in seen}


def test_the_transcript_has_its_place() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(re.findall(r"<!-- transcript:(begin|end) -->", text)) == 2
