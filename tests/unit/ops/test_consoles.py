"""Console logs stay small, and go with their qube."""

from qubeward.ops import consoles
from world import made_world


def test_a_log_that_is_too_long_is_cut_and_its_end_kept(tmp_path):
    log = tmp_path / "work.log"
    log.write_bytes(b"x" * consoles.LIMIT_BYTES + b"the end")
    with log.open("ab") as qemu:
        assert consoles.trim(tmp_path, "work")
        assert log.stat().st_size == 0
        qemu.write(b"more")
    assert log.read_bytes() == b"more"
    kept = (tmp_path / "work.log.old").read_bytes()
    assert kept.endswith(b"the end")
    assert len(kept) == 1 << 20


def test_a_short_or_missing_log_is_left_alone(tmp_path):
    (tmp_path / "work.log").write_bytes(b"short")
    assert not consoles.trim(tmp_path, "work")
    assert not consoles.trim(tmp_path, "nosuch")
    assert (tmp_path / "work.log").read_bytes() == b"short"


async def test_logs_are_gone_with_their_qube(tmp_path):
    async with made_world(root=tmp_path) as made:
        await made.create("work", "StandaloneVM")
        made.world.consoles.mkdir(parents=True)
        for name in ("work.log", "work.log.old", "other.log"):
            (made.world.consoles / name).write_text("x")
        await made.ok("admin.vm.Remove", "work")
        assert [path.name for path in made.world.consoles.iterdir()] == ["other.log"]
