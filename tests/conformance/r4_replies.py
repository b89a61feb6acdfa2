"""Does an answer say what the recorded one says, apart from what only that host could say?"""

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent / "vectors/r4.jsonl.gz"

_NIL = "00000000-0000-0000-0000-000000000000"
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TOKEN = re.compile(r"TOKEN\d{6}x*")
#: Properties whose value is the recording host's or clock's.
_OF_HOST = frozenset(
    [
        "start_time",
        "xid",
        "stubdom_xid",
        "stubdom_uuid",
        "maxmem",
        "no_cpus",
        "uuid",
        "backup_timestamp",
        "kernelopts",
        "keyboard_layout",
    ]
)
#: Fields of Info that are the recording host's; the size of a volume is not.
_OF_DISK = "path|usage|data_size|data_usage|metadata_size|metadata_usage"


@dataclass(frozen=True, slots=True)
class Vector:
    """One recorded call. `raw` is a whole request that is no call, or empty."""

    n: int
    section: str
    method: str
    arg: str
    source: str
    dest: str
    payload: str
    raw: str
    expect: Mapping[str, str]

    def request(self, tokens: Mapping[str, str]) -> bytes:
        """Spell the request, with the tokens of this run for those of the recording."""
        if self.raw:
            return self.raw.encode("latin-1")
        payload = tokens.get(self.payload.strip(), self.payload)
        head = f"{self.method}+{self.arg} {self.source} name {self.dest}"
        return f"{head}\0{payload}".encode("latin-1")


def vectors() -> Iterator[Vector]:
    """Yield all vectors, in the order in which they must be sent."""
    with gzip.open(VECTORS, "rt", encoding="utf-8") as lines:
        for line in lines:
            row: dict[str, Any] = json.loads(line)
            yield Vector(
                n=row["n"],
                section=row["section"],
                method=row.get("method", ""),
                arg=row.get("arg", ""),
                source=row.get("src", "dom0"),
                dest=row.get("dest", ""),
                payload=row.get("payload", ""),
                raw=row.get("raw", ""),
                expect=row["expect"],
            )


def is_token(vector: Vector) -> bool:
    """Tell whether the reply is a token that later requests carry."""
    return bool(_TOKEN.fullmatch(vector.expect.get("content", "")))


def agrees(vector: Vector, answer: bytes) -> bool:
    """Tell whether the answer is as good as the recorded one."""
    text = answer.decode("latin-1")
    is_failure = text.startswith("2\0") and text.endswith("\0") and text.count("\0") >= 4
    match vector.expect["kind"]:
        case "ok":
            return text.startswith("0\0") and _same(vector, text[2:])
        case "exception":
            return is_failure and text.split("\0")[1] == vector.expect["type"]
        case "any-exception":
            return is_failure or text.startswith("0\0")
        case "closed-or-exception":
            return is_failure or not text
        case kind:
            raise ValueError(kind)


def _same(vector: Vector, content: str) -> bool:
    expected = vector.expect["content"]
    if is_token(vector):
        return len(content) == len(expected)
    if vector.method in ("admin.deviceclass.List", "admin.pool.ListDrivers"):
        return _first_words(expected) <= _first_words(content)  # there may be more of ours
    return _without_host(vector, content) == _without_host(vector, expected)


def _first_words(text: str) -> set[str]:
    return {line.split(" ")[0] for line in text.splitlines()}


def _without_host(vector: Vector, text: str) -> str:
    for concerns, mask in _MASKS:
        if concerns(vector):
            text = mask(text)
    return text


def _is_info(vector: Vector) -> bool:
    pool = vector.method in ("admin.pool.Info", "admin.pool.UsageDetails")
    return pool or vector.method.endswith(".volume.Info")


def _all_readings(text: str) -> str:
    names = "|".join(_OF_HOST)
    return re.sub(rf"(?m)^((?:{names}) \S+ type=\w+) .*$", r"\1 *", text)


#: What to overwrite, and in whose replies.
_MASKS: tuple[tuple[Callable[[Vector], bool], Callable[[str], str]], ...] = (
    (lambda _: True, lambda text: _UUID.sub(lambda m: m[0] if m[0] == _NIL else "UUID", text)),
    (
        lambda v: v.method == "admin.vm.CurrentState",
        lambda text: re.sub(r"\b(mem|mem_static_max|cputime)=\d+", r"\1=*", text),
    ),
    (_is_info, lambda text: re.sub(rf"(?m)^({_OF_DISK})=.*$", r"\1=*", text)),
    (
        lambda v: _is_info(v) and v.method.startswith("admin.pool."),
        lambda text: re.sub(r"(?m)^size=.*$", "size=*", text),
    ),
    (
        lambda v: v.method == "admin.pool.Info" and v.arg == "varlibqubes",
        lambda text: re.sub(r"(?m)^(driver|dir_path)=.*$", r"\1=*", text),
    ),
    (
        lambda v: v.method == "admin.vm.Console",
        lambda text: re.sub(r"/dev/pts/\d+", "/dev/pts/*", text),
    ),
    (lambda v: v.method.endswith("property.GetAll"), _all_readings),
    (
        lambda v: v.method.endswith(("property.Get", "GetDefault")) and v.arg in _OF_HOST,
        lambda text: re.sub(r"(?s)(type=\w+) .*", r"\1 *", text),
    ),
)
