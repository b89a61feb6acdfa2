"""Commands that need more than a client: `daemon`, and what `template build` ends with."""

import asyncio
import json
from pathlib import Path

import pytest

from qubeward import __main__ as main
from qubeward.errors import AdminError, StorageError
from qubeward.names import QubeName
from qubeward.workshop.errors import WorkshopError

from .conftest import Typed

_MIB = 1 << 20


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "root.img"
    with path.open("wb") as file:
        file.write(b"first")
        file.truncate(64 * _MIB)
        file.seek(32 * _MIB)
        file.write(b"middle")
    return path


def root_of(root: Path, name: str) -> Path:
    return root / "var/lib/qubes/vm-templates" / name / "root.img"


def test_an_image_becomes_the_root_and_stays_sparse(typed: Typed, root: Path, image: Path) -> None:
    asyncio.run(main.import_root(root, QubeName("tpl"), image, image.stat().st_size))
    made = root_of(root, "tpl")
    assert made.read_bytes() == image.read_bytes()
    assert made.stat().st_blocks * 512 < 4 * _MIB
    assert [
        p.name for p in made.parent.iterdir() if p.name.endswith((".fresh", "import.img"))
    ] == []


def test_an_import_that_fails_leaves_the_old_root(typed: Typed, root: Path, image: Path) -> None:
    asyncio.run(main.import_root(root, QubeName("tpl"), image, image.stat().st_size))
    with pytest.raises(StorageError, match="none: No such file"):
        asyncio.run(main.import_root(root, QubeName("tpl"), image.with_name("none"), _MIB))
    assert root_of(root, "tpl").read_bytes() == image.read_bytes()
    with pytest.raises(AdminError):
        asyncio.run(main.import_root(root, QubeName("dom0"), image, _MIB))


@pytest.fixture
def workshop(monkeypatch: pytest.MonkeyPatch, image: Path) -> None:
    """A workshop that has everything ready."""

    def build_kernel(kernels: Path, _cache: Path, _progress: object) -> str:
        for name in ("vmlinuz", "initramfs", "modules.img"):
            (kernels / "6.1").mkdir(parents=True, exist_ok=True)
            (kernels / "6.1" / name).write_bytes(b"x")
        return "6.1"

    def build_mini(root_image: Path, _cache: Path, _progress: object) -> None:
        root_image.write_bytes(image.read_bytes())

    monkeypatch.setattr("qubeward.workshop.kernel.build_kernel", build_kernel)
    monkeypatch.setattr("qubeward.workshop.mini.build_mini", build_mini)
    monkeypatch.setattr("qubeward.workshop.programs.require", lambda _build: None)


def test_template_build_makes_a_template_and_defaults(
    typed: Typed, root: Path, image: Path, workshop: None, tmp_path: Path
) -> None:
    build = ("template", "build", "mini", "--cache", str(tmp_path / "cache"))
    try:
        assert "mini is ready" in typed(*build).stderr
        assert root_of(root, "mini").read_bytes() == image.read_bytes()
        (mini,) = typed.json("ls", "--json", "mini")
        assert (mini["class"], mini["label"], mini["state"]) == ("TemplateVM", "black", "Halted")
        for key, value in (("default_template", "mini"), ("default_kernel", "6.1")):
            assert typed.out("prefs", "--system", key) == f"{value}\n"
        assert "created" not in typed(*build).stderr
        typed("prefs", "--system", "default_template", "tpl")
        typed(*build)
        assert typed.out("prefs", "--system", "default_template") == "tpl\n"
        typed("start", "mini")
        assert typed.fails(*build) == "qubeward: Domain is not halted: mini\n"
        assert "no TemplateVM" in typed.fails(*build[:3], "work", *build[3:])
    finally:
        typed("prefs", "--system", "default_template", "--unset")


def test_a_workshop_that_lacks_something_says_what(
    typed: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def require(_build: str) -> None:
        raise WorkshopError("this host lacks mke2fs; try: apt-get install e2fsprogs")

    monkeypatch.setattr("qubeward.workshop.programs.require", require)
    said = typed.fails("template", "build", "mini", "--cache", str(tmp_path))
    assert said == "qubeward: this host lacks mke2fs; try: apt-get install e2fsprogs\n"
    typed("template", "build", "arch", status=2)
    assert "Invalid qube name" in typed.fails("template", "build", "mini", "1 2")


def test_template_build_needs_a_daemon_before_it_builds(tmp_path: Path, workshop: None) -> None:
    nobody = Typed("--root", str(tmp_path))
    cache = tmp_path / "cache"
    nobody.fails("template", "build", "mini", "--cache", str(cache), status=3)
    assert list(cache.iterdir()) == []


def test_daemon_gets_its_root_and_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = []

    def run(root: Path, overrides: tuple[str, ...]) -> int:
        given.append((root, overrides))
        return 7

    monkeypatch.setattr("qubeward.daemon.main.run", run)
    Typed("--root", str(tmp_path))("daemon", "--set", "a=b", "--set", "c=d", status=7)
    assert given == [(tmp_path, ("a=b", "c=d"))]


def test_main_returns_the_status(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([*typed.options, "ls", "--json", "work"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["name"] == "work"
    assert main.main([*typed.options, "start", "nope"]) == 1
    assert main.main(["dance"]) == 2
