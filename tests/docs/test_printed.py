"""Printed pages are what would be printed now."""

import importlib.util
from types import ModuleType

from docs.pages import ROOT


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("print_docs", ROOT / "scripts/print_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_printed_page_is_old() -> None:
    stale = load().stale()
    assert not stale, f"run scripts/print-docs, and commit: {', '.join(stale)}"


def test_every_setting_is_printed_with_its_values() -> None:
    printer = load()
    page = printer.settings_page()
    for setting in printer.SETTINGS:
        assert f"| `{setting.key}` |" in page
    assert "one of sqlite, memory" in page
