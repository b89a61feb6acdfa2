"""Mistakes that the types must catch. mypy checks that every ignore here is needed."""

from typing import assert_type

from qubeward.api.call import Call, Route
from qubeward.facts import TagAdded
from qubeward.hooks import Hooks
from qubeward.model.change import Change
from qubeward.names import TAG, LabelName, QubeName, TagName
from qubeward.spec import notes, tag
from qubeward.untrusted import Codec, Untrusted

# A handler takes what its row parses, and returns what its row spells.


def takes_text(call: Call[str, None]) -> None: ...
def takes_payload(call: Call[TagName, bytes]) -> None: ...
def says_nothing(call: Call[TagName, None]) -> None: ...
def says_flag(call: Call[TagName, None]) -> bool:
    return call.arg in call.dest.tags


async def says_later(call: Call[None, None]) -> str:
    return call.dest.notes


Route(tag.SET, says_nothing)
Route(tag.GET, says_flag)
Route(notes.GET, says_later)
Route(tag.SET, takes_text)  # type: ignore[arg-type]
Route(tag.SET, takes_payload)  # type: ignore[misc]
Route(tag.SET, says_flag)  # type: ignore[misc]
Route(notes.SET, says_later)  # type: ignore[arg-type]

# What came from outside is nothing until it is parsed.


def log_line(text: bytes) -> None: ...


raw = Untrusted(b"evil")
log_line(raw)  # type: ignore[arg-type]
TagName(raw)  # type: ignore[arg-type]
len(raw)
assert_type(raw.parse(TAG), TagName)
raw.decode()  # type: ignore[attr-defined]
raw + b""  # type: ignore[operator]

# One kind of name is not another, and text is no name.

name: TagName = "not parsed"  # type: ignore[assignment]
label: LabelName = TagName("red")  # type: ignore[assignment]
QubeName("work").missing()  # type: ignore[attr-defined]

# A codec reads and writes one type.


def read(raw: bytes) -> bytes:
    return raw


def spell(value: int) -> bytes:
    return b"%d" % value


wrong: Codec[int] = Codec(name="n", decode=read, encode=spell, examples=(1,), rejects=())  # type: ignore[arg-type]

# A rule is given the fact that it asked for.


def on_tag(change: Change, fact: TagAdded) -> None: ...
def on_text(change: Change, fact: str) -> None: ...


hooks = Hooks()
hooks.rule(TagAdded, on_tag)
hooks.rule(TagAdded, on_text)  # type: ignore[arg-type]
