"""`qubeward pool`."""

import pytest

from .conftest import Typed


@pytest.fixture
def ssd(typed: Typed):
    typed("pool", "add", "ssd", "file", "dir_path=/srv/ssd", "revisions_to_keep=0")
    yield "ssd"
    if "ssd" in typed.out("pool", "ls"):
        typed("pool", "remove", "--yes", "ssd")


def test_ls_shows_how_full_pools_are(typed: Typed, ssd: str) -> None:
    head, *rows = (line.split() for line in typed.out("pool", "ls").splitlines())
    assert head == ["NAME", "DRIVER", "USED", "SIZE", "USE%", "STATE"]
    assert [row[0] for row in rows] == ["varlibqubes", "linux-kernel", "ssd"]
    assert rows[1][1:] == ["linux-kernel", "-", "-", "-", "ok"]
    assert rows[2][1] == "file"
    assert rows[2][-2].endswith("%")
    listed = typed.json("pool", "ls", "--json")
    assert listed[2]["size"] > listed[2]["usage"] > 0
    assert listed[2]["revisions_to_keep"] == 0


def test_info_shows_options_and_usage(typed: Typed, ssd: str) -> None:
    text = typed.out("pool", "info", ssd)
    assert "dir_path" in text
    assert "iB)" in text
    assert typed.json("pool", "info", ssd, "--json")["dir_path"] == "/srv/ssd"
    assert "Not through this call" in typed.fails("pool", "info", "nope")


def test_drivers_are_listed_with_their_options(typed: Typed) -> None:
    text = typed.out("pool", "drivers")
    assert "file-reflink" in text
    assert "dir_path" in text


def test_set_changes_what_new_volumes_are_like(typed: Typed, ssd: str) -> None:
    typed("pool", "set", ssd, "revisions_to_keep=1", "ephemeral_volatile=yes")
    found = typed.json("pool", "info", ssd, "--json")
    assert (found["revisions_to_keep"], found["ephemeral_volatile"]) == (1, "True")
    for bad in ("revisions_to_keep=x", "revisions_to_keep=-2", "ephemeral_volatile=2", "size=1"):
        typed.fails("pool", "set", ssd, bad)
    typed.fails("pool", "set", ssd, "nothing", status=2)


def test_add_says_what_is_missing_or_not_known(typed: Typed) -> None:
    assert "needs the option dir_path" in typed.fails("pool", "add", "x", "file")
    assert "option of driver file" in typed.fails("pool", "add", "x", "file", "dir_path=/x", "a=b")
    assert "driver floppy" in typed.fails("pool", "add", "x", "floppy")
    assert "it is that of the pool varlibqubes" in typed.fails(
        "pool", "add", "x", "file", "dir_path=/var/lib/qubes"
    )
    assert "there is one of this name" in typed.fails(
        "pool", "add", "varlibqubes", "file", "dir_path=/x"
    )


def test_a_pool_that_keeps_something_is_not_removed(typed: Typed, ssd: str) -> None:
    typed("create", "in-ssd", "--template", "tpl", "--volume", f"private={ssd}")
    assert typed.out("pool", "volumes", ssd) == "appvms/in-ssd/private\n"
    assert "private of in-ssd" in typed.fails("pool", "remove", "--yes", ssd)
    typed("remove", "--yes", "in-ssd")
    typed.fails("pool", "remove", ssd, stdin="n\n")
    assert ssd in typed.out("pool", "ls")
    typed("pool", "remove", ssd, stdin="y\n")
    assert ssd not in typed.out("pool", "ls")
