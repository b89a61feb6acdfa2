"""Settings: defaults, the file, the command line, and clear words for what is wrong."""

import pytest

from qubeward.daemon.config import SETTINGS, Config, ConfigError, load


def written(tmp_path, text: str):
    path = tmp_path / "qubeward.toml"
    path.write_text(text)
    return path


def test_without_a_file_all_is_default(tmp_path) -> None:
    config = load(tmp_path / "none.toml")
    assert dict(config) == {setting.key: setting.default for setting in SETTINGS}
    assert len(config) == len(SETTINGS)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.key)
def test_every_default_is_a_value_that_the_setting_takes(setting) -> None:
    assert setting.parse(setting.default) == setting.default
    assert setting.doc


def test_the_command_line_wins_over_the_file(tmp_path) -> None:
    path = written(
        tmp_path,
        '[log]\nlevel = "debug"\n[hypervisor]\ndriver = "fake"\n'
        "[hypervisor.fake]\nmemory_mib = 4096\ncpus = 2\n",
    )
    config = load(path, ["hypervisor.fake.cpus=8", "storage.reflink_fallback=true"])
    assert config["log.level"] == "debug"
    assert config["hypervisor.fake.memory_mib"] == 4096
    assert config["hypervisor.fake.cpus"] == 8
    assert config["storage.reflink_fallback"] is True


BAD = [
    ("[log]\nlevel = 5\n", "log.level: one of"),
    ('[log]\nlevel = "loud"\n', "log.level: one of"),
    ("[server]\nconnections = 0\n", "server.connections: a number from 1"),
    ("[server]\nconnections = true\n", "server.connections: a number from 1"),
    ("[server]\ngroup = 5\n", "server.group: a text"),
    ('[storage]\nreflink_fallback = "maybe"\n', "storage.reflink_fallback: true or false"),
    ("[none]\nsuch = 1\n", "no such setting: none.such"),
    ("none = 1\n", "no such setting: none"),
    ("[log\n", "qubeward.toml"),
    ('[log]\nlevel = "a\x00b"\n', "qubeward.toml"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "why"), BAD)
def test_a_bad_file_is_said_with_its_name_and_key(tmp_path, text, why) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, text))
    assert why in str(caught.value)
    assert "qubeward.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("log.level", "key=value"),
        ("log.level=loud", "--set: log.level"),
        ("none.such=1", "--set: no such setting"),
        ("server.connections=many", "--set: server.connections"),
        ("server.connections=-1", "--set: server.connections"),
    ],
)
def test_a_bad_override_is_said(tmp_path, override, why) -> None:
    with pytest.raises(ConfigError, match=why):
        load(tmp_path / "none.toml", [override])


def test_a_file_that_cannot_be_read_is_said(tmp_path) -> None:
    with pytest.raises(ConfigError, match="directory"):
        load(tmp_path)


def test_what_is_below_a_prefix_is_text_for_drivers() -> None:
    texts = Config({"storage.reflink_fallback": True}).below("storage")
    assert texts == {"default_driver": "auto", "reflink_fallback": "true"}
