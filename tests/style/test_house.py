"""House rules that no linter knows."""

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "qubeward"
FILES = sorted(SRC.rglob("*.py"))
MODULES = [path for path in FILES if path.read_text().strip()]

BROAD = {"Exception", "BaseException"}
BROAD_EXCEPT_ALLOWED = {"server/serve.py", "ops/steps.py"}
NAMES_THAT_SAY_NOTHING = re.compile(r"(util|common|helper|manager|misc|base)s?")

PUBLIC = ("src", "tests", "docs", "guest", "bench", "scripts", "packaging", "requirements", ".ci")
NOT_TEXT = {".pyc", ".so", ".o", ".gz", ".xz", ".zst", ".png", ".img", ".db", ".bin"}
# How this project is made is no part of it. The words are kept as hashes, so that this file, too,
# may be judged by them: sha256 of the word in lower case, first 12 digits.
UNFIT_WORDS = {
    "053ea4804ef1",
    "32e83e92d45d",
    "386ebc0efd04",
    "3ea125d0bff3",
    "487b91042c7c",
    "57de4cf40144",
    "5d72436256ad",
    "60965168ce76",
    "7d3194f79e64",
    "94a168d2da57",
    "c70eca6b0f88",
    "c857d09db23e",
    "d298391b0743",
    "de2187af3fb0",
}
UNFIT_PLACES = re.compile(
    r"/[w]ork/(main|shared)|/[r]oot/\.|[.]pyenv\b|/[o]pt/(pypi|wheels)|/[t]mp/(venv|bash_jobs)"
    r"|(extra-)?[i]ndex-url\s*[= ]\s*\w+:/|[f]ind-links\s*[= ]\s*/"
)


def nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text()))


def where(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def public_texts() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name != ".git")
    for room in PUBLIC:
        for path in (ROOT / room).rglob("*"):
            generated = "__pycache__" in path.parts or any(
                p.endswith(".egg-info") for p in path.parts
            )
            if path.is_file() and not generated and path.suffix not in NOT_TEXT:
                yield path


def is_change(node: ast.With) -> bool:
    return any(
        isinstance(item.context_expr, ast.Call)
        and isinstance(item.context_expr.func, ast.Attribute)
        and item.context_expr.func.attr == "change"
        for item in node.items
    )


def names_of(expression: ast.expr | None) -> set[str]:
    """What an `except` or `suppress` catches, by name; nothing named is everything."""
    if expression is None:
        return BROAD
    parts = expression.elts if isinstance(expression, ast.Tuple) else [expression]
    return {part.id for part in parts if isinstance(part, ast.Name)}


def is_broad(node: ast.AST) -> bool:
    if isinstance(node, ast.ExceptHandler):
        last = node.body[-1]
        re_raises = isinstance(last, ast.Raise) and last.exc is None
        return bool(names_of(node.type) & BROAD) and not re_raises
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "suppress":
        return any(names_of(argument) & BROAD for argument in node.args)
    return False


@pytest.mark.parametrize("path", FILES, ids=where)
def test_files_and_functions_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 50, node.name


@pytest.mark.parametrize("path", MODULES, ids=where)
def test_a_file_says_what_it_does_in_its_first_line(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert re.match(r'r?"""\S', first), first


@pytest.mark.parametrize("path", FILES, ids=where)
def test_nothing_awaits_inside_a_change(path: Path) -> None:
    waits = ast.Await | ast.AsyncFor | ast.AsyncWith | ast.Yield | ast.YieldFrom
    for node in nodes(path):
        if isinstance(node, ast.With) and is_change(node):
            assert not any(isinstance(inner, waits) for inner in ast.walk(node)), node.lineno


@pytest.mark.parametrize("path", FILES, ids=where)
def test_broad_except_has_two_homes(path: Path) -> None:
    broad = [node.lineno for node in nodes(path) if is_broad(node)]  # type: ignore[attr-defined]
    assert not broad or where(path) in BROAD_EXCEPT_ALLOWED


@pytest.mark.parametrize("path", FILES, ids=where)
def test_libvirt_has_one_door(path: Path) -> None:
    imported = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            imported.add(node.module)
    assert "libvirt" not in imported or re.fullmatch(r"hypervisor/libvirt\w*\.py", where(path))


@pytest.mark.parametrize("path", FILES, ids=where)
def test_file_names_say_something(path: Path) -> None:
    for part in path.relative_to(SRC).with_suffix("").parts:
        assert not NAMES_THAT_SAY_NOTHING.fullmatch(part.strip("_")), part


@pytest.mark.parametrize("path", FILES, ids=where)
def test_what_is_left_to_do_has_an_issue_number(path: Path) -> None:
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            assert re.search(r"#\d+", line), f"line {number}: {line.strip()}"


def test_public_text_is_about_the_project() -> None:
    found = []
    seen: dict[str, bool] = {}
    for path in public_texts():
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            unfit = bool(UNFIT_PLACES.search(line))
            for word in re.findall(r"\w+", line.lower()):
                if word not in seen:
                    digest = hashlib.sha256(word.encode()).hexdigest()[:12]
                    seen[word] = digest in UNFIT_WORDS
                unfit = unfit or seen[word]
            if unfit:
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found
