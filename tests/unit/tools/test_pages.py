"""Every row of every table is on its page."""

import pytest

from qubeward import errors
from qubeward.spec import METHODS
from qubeward.spec.classes import CLASSES
from qubeward.spec.event import ESTABLISHED, SPELLINGS
from qubeward.spec.method import PerDialect
from qubeward.spec.properties import QUBE_PROPERTIES, SYSTEM_PROPERTIES
from qubeward.tools import completion, reference
from qubeward.tools.methods import error_names, families, grammar
from qubeward.tools.policy import policy_text


@pytest.mark.parametrize("name", METHODS)
def test_every_call_has_its_entry(name: str) -> None:
    page, row = reference.PAGES["calls"](), METHODS[name]
    assert page.count(f"\n### {name}\n") == 1
    entry = page.split(f"\n### {name}\n")[1].split("\n#")[0]
    assert row.summary in entry
    assert all(f"`{error.wire_name}`" in entry for error in row.errors)


def test_families_hold_every_call_once_in_order() -> None:
    names = [row.name for _, rows in families() for row in rows]
    assert sorted(names) == sorted(METHODS)
    assert all(title and not title.endswith(".") for title, _ in families())


def test_both_dialects_are_shown_where_they_differ() -> None:
    for row in METHODS.values():
        reply = row.reply
        if isinstance(reply, PerDialect) and reply.r4.name != reply.draft.name:
            assert grammar(reply).startswith("r4: `")
            assert "; draft: `" in grammar(reply)


def test_errors_of_codecs_are_found_by_asking_them() -> None:
    assert "QubesInvalidTagError" in error_names(METHODS["admin.vm.tag.Get"])
    assert "QubesInvalidLabelValueError" in error_names(METHODS["admin.label.Create"])


def test_every_property_and_class_is_on_its_page() -> None:
    page = reference.PAGES["properties"]()
    for name in (*QUBE_PROPERTIES, *SYSTEM_PROPERTIES):
        assert f"\n| `{name}` |" in page
    assert all(f"\n| `{name}` |" in reference.PAGES["classes"]() for name in CLASSES)


def test_every_fact_is_on_the_page_of_events() -> None:
    page = reference.PAGES["events"]()
    assert ESTABLISHED in page
    for kind in SPELLINGS:
        doc = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        assert doc in page, kind
    assert "| `domain-add` | the system | `vm` = QUBE |" in page


def test_every_wire_name_is_on_the_page_of_errors() -> None:
    page = reference.PAGES["errors"]()
    for thing in vars(errors).values():
        if isinstance(thing, type) and "wire_name" in vars(thing):
            assert f"| `{thing.wire_name}` | `{thing.template}` |" in page


def test_the_policy_has_one_include_for_every_call_of_qubes() -> None:
    lines = policy_text().splitlines()
    words = [line.split() for line in lines]
    assert [w[1] for w in words] == sorted(n for n, row in METHODS.items() if not row.internal)
    includes = {w[1]: w[3] for w in words}
    assert includes["admin.vm.tag.Set"] == "include/admin-local-rwx"
    assert includes["admin.label.Get"] == "include/admin-global-ro"


def test_tables_are_whole() -> None:
    for print_page in reference.PAGES.values():
        widths = set()
        for line in print_page().splitlines():
            if line.startswith("|"):
                widths.add(line.replace("\\|", "").count("|"))
            else:
                assert len(widths) <= 1, line
                widths = set()


def test_a_page_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main(["nothing"]) == 2
    assert "there are calls" in capsys.readouterr().err


def test_all_pages_are_printed_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.main([]) == 0
    printed = capsys.readouterr().out
    assert all(print_page() in printed for print_page in reference.PAGES.values())


def test_completion_words_are_printed_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert completion.main(["classes", "states"]) == 0
    assert "AppVM" in capsys.readouterr().out.splitlines()
    assert completion.main([]) == 0
    assert capsys.readouterr().out.splitlines() == list(completion.WORDS)
    assert completion.main(["nothing"]) == 2
    assert "no such kind" in capsys.readouterr().err
