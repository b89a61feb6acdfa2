"""The draft page, to the letter, over the socket that speaks it."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from conformance.daemon import daemon, exchange
from qubeward.spec import METHODS
from qubeward.spec.classes import CREATABLE
from qubeward.spec.method import ByArgument, Dest, PerDialect, Since, Stream
from qubeward.untrusted import Codec
from qubeward.wire.reply import Failure, Ok, ReplyReader
from qubeward.wire.request import encode_request

TABLE = Path(__file__).parent / "vectors/draft-calls.tsv"

#: Calls of the page that aren't in our table yet, by the beginning of their names.
PENDING = (
    "admin.vm.firewall.",
    "admin.vm.device.",
    "admin.backup.",
)
#: Where an argument that the page gives may be left out, and why.
MAY_LACK_ARGUMENT = {"admin.vm.Create.": "the default template is taken then, as R4 has it"}
#: Where a payload that the page gives may be empty, and why.
MAY_LACK_PAYLOAD = {
    "admin.property.Set": "no value: none, where a qube is meant",
    "admin.vm.property.Set": "no value: none, where a qube is meant",
    "admin.vm.feature.Set": "the empty value means false",
}


class PageRow(NamedTuple):
    """One line of the page's table; `-` is nothing."""

    call: str
    dest: str
    arg: str
    payload: str
    reply: str

    def names(self) -> list[str]:
        """Return the names in our table that the line speaks of."""
        if "<class>" not in self.call or ".device." in self.call:
            return [self.call]
        return [self.call.replace("<class>", row.name) for row in CREATABLE]


def _page() -> Iterator[PageRow]:
    with TABLE.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE):
            yield PageRow(**row)


PAGE = list(_page())
HAVE = [row for row in PAGE if not row.call.startswith(PENDING)]


def _draft(codec: object) -> Codec[object]:
    if isinstance(codec, Stream):
        return codec.head
    found = codec.draft if isinstance(codec, PerDialect) else codec
    assert isinstance(found, Codec)
    return found


def _takes_something(codec: Codec[object]) -> bool:
    return any(codec.encode(example) for example in codec.examples)


def test_the_page_has_71_calls() -> None:
    assert len(PAGE) == 71


def test_what_is_pending_is_missing_still() -> None:
    assert all(any(row.call.startswith(prefix) for row in PAGE) for prefix in PENDING)
    assert not [name for name in METHODS if name.startswith(PENDING)]


@pytest.mark.parametrize("page", HAVE, ids=lambda page: page.call)
def test_the_table_has_the_call_as_on_the_page(page: PageRow) -> None:
    for name in page.names():
        method = METHODS[name]
        # Where the page says "vm", ours may take dom0 too, as R4 does.
        assert (method.dest is Dest.ADMIN) == (page.dest == "dom0"), name
        assert method.since is (Since.R4 if name.endswith(".RemoteVM") else Since.DRAFT)
        arg = _draft(method.arg)
        if page.call.endswith(".List") and page.arg == "-":  # "can be also called with object id…"
            assert arg.may_be_empty
            assert _takes_something(arg)
        elif page.arg == "template":
            klass = next(row for row in CREATABLE if name.endswith(f".{row.name}"))
            assert _takes_something(arg) == (klass.template is not None)
        else:
            assert _takes_something(arg) == (page.arg != "-"), name
            lacks = any(name.startswith(prefix) for prefix in MAY_LACK_ARGUMENT)
            assert arg.may_be_empty == (page.arg == "-" or lacks), name
        if isinstance(method.payload, ByArgument):
            assert page.payload != "-"
            assert name in MAY_LACK_PAYLOAD
        elif isinstance(method.payload, Stream):
            has_head = _takes_something(method.payload.head)
            assert ("\\n" in page.payload) == has_head == method.payload.is_line
        else:
            payload = _draft(method.payload)
            assert _takes_something(payload) == (page.payload != "-"), name
            assert payload.may_be_empty == (page.payload == "-" or name in MAY_LACK_PAYLOAD), name
        assert method.stream == (page.reply == "events")
        if not method.stream:
            assert _takes_something(_draft(method.reply)) == (page.reply != "-"), name


class Sockets:
    """Calls over a running daemon's sockets."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def call(
        self, method: str, dest: str = "dom0", arg: str = "", payload: str = "", *, r4: bool = False
    ) -> Ok | Failure:
        words = (word.encode() for word in (arg, "dom0", dest, payload))
        path = self._run / ("qubesd.sock" if r4 else "qubeward/draft.sock")
        reader = ReplyReader()
        reader.feed(exchange(path, encode_request(method, *words)))
        answer = reader.end()
        assert answer is not None
        return answer

    def ok(self, method: str, *words: str) -> str:
        answer = self.call(method, *words)
        assert isinstance(answer, Ok), f"{method} {words}: {answer}"
        return answer.content.decode()

    def refused(self, method: str, *words: str, r4: bool = False) -> str:
        answer = self.call(method, *words, r4=r4)
        assert isinstance(answer, Failure), f"{method} {words}: {answer}"
        return answer.wire_name


@pytest.fixture(scope="module")
def sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sockets]:
    with daemon(tmp_path_factory.mktemp("draft")) as run:
        made = Sockets(run)
        made.ok("admin.vm.Create.TemplateVM", "dom0", "", "name=tpl label=black")
        made.ok("admin.vm.Create.AppVM", "dom0", "tpl", "name=work label=red")
        made.ok("admin.vm.tag.Set", "work", "personal")
        made.ok("admin.vm.feature.Set", "work", "os", "Linux")
        yield made


def test_vm_list_has_no_uuid(sockets: Sockets) -> None:
    assert sockets.ok("admin.vm.List").splitlines() == [
        "dom0 class=AdminVM state=Running",
        "tpl class=TemplateVM state=Halted",
        "work class=AppVM state=Halted",
    ]
    assert sockets.ok("admin.vm.List", "work") == "work class=AppVM state=Halted\n"


@pytest.mark.parametrize(
    ("method", "dest", "entry", "row"),
    [
        ("admin.vmclass.List", "dom0", "AppVM", "AppVM\n"),
        ("admin.vm.List", "dom0", "work", "work class=AppVM state=Halted\n"),
        ("admin.vm.List", "work", "work", "work class=AppVM state=Halted\n"),
        ("admin.label.List", "dom0", "red", "red\n"),
        ("admin.property.List", "dom0", "clockvm", "clockvm\n"),
        ("admin.vm.property.List", "work", "memory", "memory\n"),
        ("admin.vm.feature.List", "work", "os", "os\n"),
        ("admin.vm.tag.List", "work", "personal", "personal\n"),
        ("admin.pool.List", "dom0", "linux-kernel", "linux-kernel\n"),
        ("admin.vm.volume.List", "work", "private", "private\n"),
    ],
)
def test_a_list_with_an_identifier_gives_that_entry_alone(
    sockets: Sockets, method: str, dest: str, entry: str, row: str
) -> None:
    assert sockets.ok(method, dest, entry) == row
    assert row in sockets.ok(method, dest)
    assert sockets.refused(method, dest, entry, r4=True) == "ProtocolError"


def test_every_list_of_the_page_is_tried_with_an_identifier() -> None:
    tried = test_a_list_with_an_identifier_gives_that_entry_alone.pytestmark[0].args[1]  # type: ignore[attr-defined]
    lists = {row.call for row in HAVE if row.call.endswith(".List") and row.arg == "-"}
    assert lists == {case[0] for case in tried}


@pytest.mark.parametrize(
    ("method", "dest", "entry", "wire_name"),
    [
        ("admin.vmclass.List", "dom0", "Ghost", "ProtocolError"),
        ("admin.vm.List", "dom0", "ghost", "QubesVMNotFoundError"),
        ("admin.vm.List", "work", "tpl", "QubesVMNotFoundError"),
        ("admin.label.List", "dom0", "ghost", "QubesLabelNotFoundError"),
        ("admin.property.List", "dom0", "ghost", "QubesNoSuchPropertyError"),
        ("admin.vm.property.List", "work", "ghost", "QubesNoSuchPropertyError"),
        ("admin.vm.feature.List", "work", "ghost", "QubesFeatureNotFoundError"),
        ("admin.vm.tag.List", "work", "ghost", "QubesTagNotFoundError"),
        ("admin.pool.List", "dom0", "ghost", "PermissionDenied"),
        ("admin.vm.volume.List", "work", "ghost", "PermissionDenied"),
    ],
)
def test_a_list_with_an_identifier_of_nothing_says_so(
    sockets: Sockets, method: str, dest: str, entry: str, wire_name: str
) -> None:
    assert sockets.refused(method, dest, entry) == wire_name


def test_a_property_of_the_system_is_read_with_yes_or_no_and_its_type(sockets: Sockets) -> None:
    assert sockets.ok("admin.property.Get", "dom0", "stats_interval") == "default=yes type=int 3"
    sockets.ok("admin.property.Set", "dom0", "stats_interval", "7")
    assert sockets.ok("admin.property.Get", "dom0", "stats_interval") == "default=no type=int 7"
    sockets.ok("admin.property.Reset", "dom0", "stats_interval")
    assert sockets.ok("admin.property.Get", "dom0", "clockvm") == "default=yes type=vm "


def test_a_property_of_a_qube_is_read_without_its_type(sockets: Sockets) -> None:
    assert sockets.ok("admin.vm.property.Get", "work", "vcpus") == "default=yes 2"
    assert sockets.ok("admin.vm.property.Get", "work", "template") == "default=no tpl"
    assert sockets.ok("admin.vm.property.Get", "work", "netvm") == "default=yes "
    assert sockets.ok("admin.vm.property.Get", "work", "label") == "default=no red"
    assert sockets.ok("admin.vm.property.Get", "work", "debug") == "default=yes False"


def test_all_properties_of_a_qube_are_read_as_one_is(sockets: Sockets) -> None:
    lines = sockets.ok("admin.vm.property.GetAll", "work").splitlines()
    assert "template default=no tpl" in lines
    assert "vcpus default=yes 2" in lines
    assert [line.split()[0] for line in lines] == sockets.ok(
        "admin.vm.property.List", "work"
    ).splitlines()


def test_help_comes_plain_and_as_restructuredtext(sockets: Sockets) -> None:
    for prefix, dest, name in (
        ("admin.property", "dom0", "default_kernel"),
        ("admin.vm.property", "work", "maxmem"),
    ):
        plain = sockets.ok(f"{prefix}.Help", dest, name)
        assert plain
        assert "``" not in plain
        assert sockets.ok(f"{prefix}.HelpRst", dest, name)
    assert "``memory``" in sockets.ok("admin.vm.property.HelpRst", "work", "maxmem")


def test_a_property_is_set_and_reset(sockets: Sockets) -> None:
    sockets.ok("admin.vm.property.Set", "work", "memory", "500")
    assert sockets.ok("admin.vm.property.Get", "work", "memory") == "default=no 500"
    sockets.ok("admin.vm.property.Reset", "work", "memory")
    assert sockets.ok("admin.vm.property.Get", "work", "memory") == "default=yes 400"


def test_a_label_lives_from_create_to_remove(sockets: Sockets) -> None:
    sockets.ok("admin.label.Create", "dom0", "teal", "0x008080")
    assert sockets.ok("admin.label.Get", "dom0", "teal") == "0x008080"
    assert sockets.ok("admin.label.Index", "dom0", "teal") == "9"
    assert sockets.ok("admin.label.List", "dom0").splitlines()[-1] == "teal"
    sockets.ok("admin.label.Remove", "dom0", "teal")
    assert sockets.refused("admin.label.Get", "dom0", "teal") == "QubesLabelNotFoundError"


def test_features_and_tags_are_as_on_the_page(sockets: Sockets) -> None:
    sockets.ok("admin.vm.feature.Set", "tpl", "gui", "1")
    assert sockets.refused("admin.vm.feature.Get", "work", "gui") == "QubesFeatureNotFoundError"
    assert sockets.ok("admin.vm.feature.CheckWithTemplate", "work", "gui") == "1"
    sockets.ok("admin.vm.feature.Remove", "tpl", "gui")
    assert sockets.ok("admin.vm.tag.Get", "work", "personal") == "1"
    assert sockets.ok("admin.vm.tag.Get", "work", "other") == "0"
    sockets.ok("admin.vm.tag.Set", "work", "other")
    sockets.ok("admin.vm.tag.Remove", "work", "other")
    assert sockets.ok("admin.vm.tag.Get", "work", "created-by-dom0") == "1"


def test_a_qube_lives_from_create_to_remove(sockets: Sockets) -> None:
    sockets.ok("admin.vm.Create.AppVM", "dom0", "tpl", "name=brief label=green")
    sockets.ok("admin.vm.Start", "brief")
    assert sockets.ok("admin.vm.List", "brief") == "brief class=AppVM state=Running\n"
    sockets.ok("admin.vm.Pause", "brief")
    assert sockets.ok("admin.vm.List", "brief") == "brief class=AppVM state=Paused\n"
    sockets.ok("admin.vm.Unpause", "brief")
    sockets.ok("admin.vm.Kill", "brief")
    sockets.ok("admin.vm.Remove", "brief")
    assert sockets.refused("admin.vm.List", "brief") == "QubesVMNotFoundError"


def test_shutdown_takes_no_argument(sockets: Sockets) -> None:
    for argument in ("force", "wait", "force+wait"):
        assert sockets.refused("admin.vm.Shutdown", "work", argument) == "ProtocolError"
        # R4 takes it, and finds that the qube is off.
        found = sockets.refused("admin.vm.Shutdown", "work", argument, r4=True)
        assert found == "QubesVMNotStartedError"
    assert sockets.refused("admin.vm.Shutdown", "work") == "QubesVMNotStartedError"
