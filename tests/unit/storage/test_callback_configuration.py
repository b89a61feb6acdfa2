"""The hooks' file: what is understood, what is refused and why, and who must not write to it."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qubeward.errors import BadValueError, StorageError
from qubeward.storage.callback_configuration import (
    HOOKS,
    Configuration,
    load_configuration,
    parse_conf_id,
    parse_configuration,
)

DRIVERS = ("file", "file-reflink", "callback")
MINIMAL = {"bdriver": "file"}


def parse(entry: object, conf_id: str = "one") -> Configuration:
    return parse_configuration(json.dumps({conf_id: entry}).encode(), conf_id, drivers=DRIVERS)


def why(raw: str, conf_id: str = "one") -> str:
    with pytest.raises(StorageError) as raised:
        parse_configuration(raw.encode(), conf_id, drivers=DRIVERS)
    return str(raised.value)


def test_an_entry_of_every_key_is_understood() -> None:
    found = parse(
        {
            "bdriver": "file",
            "bdriver_args": {"dir_path": "/srv/pool", "revisions_to_keep": 0, "setup_check": True},
            "cmd": "/usr/bin/hook --about 'two words' $HOME ;",
            "pre_setup": "/bin/mount /srv/pool",
            "post_volume_stop": "-",
            "signal_back": True,
            "timeout_s": 2.5,
            "description": "a pool on demand",
        }
    )
    default = ("/usr/bin/hook", "--about", "two words", "$HOME", ";")
    commands = dict.fromkeys(HOOKS, default) | {"pre_setup": ("/bin/mount", "/srv/pool")}
    del commands["post_volume_stop"]
    assert found == Configuration(
        conf_id="one",
        driver="file",
        options={"dir_path": "/srv/pool", "revisions_to_keep": "0", "setup_check": "True"},
        commands=commands,
        signal_back=True,
        timeout_s=2.5,
    )


def test_an_entry_needs_its_driver_alone_and_then_runs_nothing() -> None:
    assert parse(MINIMAL) == Configuration(conf_id="one", driver="file", timeout_s=120)
    assert parse(MINIMAL | {"cmd": "-"}).commands == {}


def test_the_hooks_are_those_of_r4_before_and_after() -> None:
    words = (
        "setup", "destroy", "volume_create", "volume_remove", "volume_resize", "volume_start",
        "volume_stop", "volume_import", "volume_import_data", "volume_import_data_end",
        "volume_export", "volume_export_end",
    )  # fmt: skip
    assert set(HOOKS) == {"pre_sinit", *(f"pre_{w}" for w in words), *(f"post_{w}" for w in words)}
    for hook in HOOKS:
        assert parse(MINIMAL | {hook: "/bin/true"}).commands == {hook: ("/bin/true",)}


def test_a_wrong_entry_is_no_other_entrys_concern() -> None:
    raw = json.dumps({"one": MINIMAL, "two": {"bdriver": 3}}).encode()
    assert parse_configuration(raw, "one", drivers=DRIVERS).driver == "file"
    with pytest.raises(StorageError, match="'two': 'bdriver': it must be text"):
        parse_configuration(raw, "two", drivers=DRIVERS)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ([], "'one': it must be an object"),
        ({}, "it needs the key 'bdriver'"),
        ({"bdriver": ""}, "'bdriver': there is no driver ''"),
        ({"bdriver": None}, "'bdriver': it must be text"),
        ({"bdriver": "callback"}, "'bdriver': hooks around hooks are refused"),
        ({"bdriver": "nfs"}, "'bdriver': there is no driver 'nfs'"),
        ({"bdriver_args": []}, "'bdriver_args': it must be an object"),
        ({"bdriver_args": {"dir_path": None}}, "'bdriver_args': it must be text"),
        ({"bdriver_args": {"size": 1.5}}, "'bdriver_args': it must be text"),
        ({"bdriver_args": {"\0": "x"}}, "'bdriver_args': it has a character"),
        ({"bdriver_args": {"dir_path": "\ud800"}}, "'bdriver_args': 'utf-8' codec can't"),
        ({"cmd": ""}, "'cmd': it must begin with the absolute path of a program, or be '-'"),
        ({"cmd": "hook"}, "'cmd': it must begin with the absolute path"),
        ({"cmd": "exit 1"}, "'cmd': it must begin with the absolute path"),
        ({"cmd": ["/bin/true"]}, "'cmd': it must be text"),
        ({"cmd": False}, "'cmd': it must be text"),
        ({"cmd": "/bin/echo \0"}, "'cmd': it has a character that no program can be given"),
        ({"cmd": "/bin/echo \ud800"}, "'cmd': 'utf-8' codec can't"),
        ({"pre_setup": "/bin/sh -c 'unclosed"}, "'pre_setup': No closing quotation"),
        ({"pre_setup": None}, "'pre_setup': it must be text"),
        ({"post_sinit": "/bin/true"}, "'post_sinit': there is no such key"),
        ({"pre_volume_revert": "/bin/true"}, "'pre_volume_revert': there is no such key"),
        ({"signal_back": "true"}, "'signal_back': it must be true or false"),
        ({"signal_back": 1}, "'signal_back': it must be true or false"),
        ({"timeout_s": True}, "'timeout_s': it must be a number of seconds"),
        ({"timeout_s": "120"}, "'timeout_s': it must be a number of seconds"),
        ({"timeout_s": 0}, "'timeout_s': it must be above 0"),
        ({"timeout_s": 1e9}, "'timeout_s': it must be above 0, and 86400 at most"),
        ({"description": 1}, "'description': it must be text"),
        ({"bdriver_arg": {}}, "'bdriver_arg': there is no such key"),
        ({"x" * 100: 1}, f"'{'x' * 60}': there is no such key"),
        ({"\ud800\n": 1}, r"'\ud800\n': there is no such key"),
    ],
)
def test_what_is_wrong_is_named(entry: Any, says: str) -> None:
    if isinstance(entry, dict) and entry and "bdriver" not in entry:
        entry = MINIMAL | entry
    told = why(json.dumps({"one": entry}))
    assert told.startswith("Storage: qubes_callback.json: 'one': ")
    assert says in told


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ("", "qubes_callback.json: it is not JSON"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ("[]", "it must be an object of conf_ids"),
        ('{"two": {}}', "there is no conf_id 'one'"),
        ('{"one": {}, "one": {}}', "it is not JSON: the key 'one' is there twice"),
        ('{"one": {"bdriver": "file", "bdriver": "file"}}', "the key 'bdriver' is there twice"),
        ('{"one": {"bdriver": "file", "timeout_s": NaN}}', "NaN is no number"),
        ('{"one": {"bdriver": "file", "timeout_s": 1e999}}', "'timeout_s': it must be above 0"),
    ],
)
def test_what_is_no_such_file_is_refused(raw: str, says: str) -> None:
    assert says in why(raw)
    with pytest.raises(StorageError, match="it is not JSON"):
        parse_configuration(b'{"one": "\xff"}', "one", drivers=DRIVERS)


WORDS = st.sampled_from(
    [*HOOKS, "bdriver", "bdriver_args", "cmd", "signal_back", "timeout_s", "description", "one"]
)
TEXTS = st.one_of(
    st.sampled_from(["file", "callback", "/bin/true", "-", "/bin/sh -c 'x"]),
    st.text(st.characters(codec=None)),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(WORDS | TEXTS, inner),
    max_leaves=20,
)


@given(found=JSON | st.fixed_dictionaries({"one": st.dictionaries(WORDS, SCALARS | JSON)}))
@example({"one": {"bdriver": "file", "cmd": "/bin/true"}})
def test_any_json_is_a_configuration_or_a_storage_error(found: object) -> None:
    try:
        made = parse_configuration(json.dumps(found).encode(), "one", drivers=DRIVERS)
    except StorageError as error:
        str(error).encode()  # it can be sent
    else:
        assert made.driver in {"file", "file-reflink"}
        assert set(made.commands) <= set(HOOKS)
        assert all(command[0].startswith("/") for command in made.commands.values())
        assert 0 < made.timeout_s <= 86_400


@given(raw=st.binary())
def test_any_bytes_are_a_configuration_or_a_storage_error(raw: bytes) -> None:
    with pytest.raises(StorageError) as raised:
        parse_configuration(raw, "one", drivers=DRIVERS)
    str(raised.value).encode()


@pytest.mark.parametrize("text", ["one", "my-pool_2.x", "_", "0", "x" * 64])
def test_a_conf_id_is_a_plain_word(text: str) -> None:
    assert parse_conf_id(text) == text
    assert parse(MINIMAL, text).conf_id == text


@pytest.mark.parametrize("text", ["", "-o", ".x", "a b", "a/b", "a\n", "\0", "é", "x" * 65])
def test_nothing_else_is_a_conf_id(text: str) -> None:
    with pytest.raises(BadValueError, match="conf_id"):
        parse_conf_id(text)
    with pytest.raises(StorageError, match="there is no conf_id"):
        parse(MINIMAL, text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "qubes_callback.json"
    path.write_text(json.dumps({"one": MINIMAL}))
    path.chmod(0o644)
    return path


def load(path: Path) -> Configuration:
    return load_configuration(path, "one", drivers=DRIVERS)


def test_a_file_that_its_owner_alone_may_write_to_is_read(path: Path) -> None:
    assert load(path) == Configuration(conf_id="one", driver="file")


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o602, 0o620, 0o777])
def test_a_file_that_others_may_write_to_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(StorageError, match=r"qubes_callback\.json: its group and others must not"):
        load(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_file_of_somebody_else_is_refused(path: Path) -> None:
    os.chown(path, 65534, 0)
    with pytest.raises(StorageError, match="it must belong to root, or to the daemon's user"):
        load(path)


def test_what_is_no_file_is_refused_at_once(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(StorageError, match=r"qubes_callback\.json: No such file"):
        load(path)
    path.symlink_to("elsewhere")
    with pytest.raises(StorageError, match="ELOOP"):
        load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError, match="it is not a regular file"):
        load(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(StorageError, match="it is not a regular file"):
        load(path)


def test_a_file_that_is_too_large_is_refused(path: Path) -> None:
    path.write_text(json.dumps({"one": MINIMAL}) + " " * (1 << 20))
    with pytest.raises(StorageError, match="it is larger than 1048576 bytes"):
        load(path)
