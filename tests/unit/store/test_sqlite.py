"""The store's file: what goes in comes out, batches share a sync, and failures are survived."""

import asyncio
import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.filesystems import mounted
from qubeward.bus import Bus
from qubeward.errors import StoreError
from qubeward.model.change import Commit, Write
from qubeward.model.label import BUILT_IN
from qubeward.model.system import Host, System
from qubeward.names import ADMIN, FeatureName, TagName
from qubeward.store.load import fill
from qubeward.store.schema import TABLES, VERSION
from qubeward.store.sqlite import SqliteBackend, StoreUnusableError
from qubeward.store.transaction import Ledger
from unit.model.systems import add, edit, empty_system, state_of

SEEDS = st.integers(0, 2**32)


def read(path: Path, reports: list[str] | None = None) -> System:
    """Load a system from the file."""
    system = System(Host(16384, 4))
    fill(system, SqliteBackend(path).load(), (reports if reports is not None else []).append)
    return system


def written(system: System) -> list[Write]:
    """Return writes that the system was made with before the store listened."""
    commits: list[Commit] = []
    made = empty_system(commit=commits.append)
    with made.change() as change:
        for label in BUILT_IN.values():
            change.add_label(label)
    assert state_of(made) == state_of(system)
    return [write for commit in commits for write in commit.writes]


class Stored:
    """A system with its file, and an awaitable for its disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.backend = SqliteBackend(path)
        self.system = empty_system()
        self.bus = Bus()
        self.told: list[object] = []
        self.bus.subscribe(lambda _, fact: self.told.append(fact))
        self.backend.load()
        self.ledger = Ledger(self.system, self.backend, self.bus)
        with self.system.change() as change:
            change.writes.extend(written(self.system))

    async def on_disk(self) -> None:
        async with asyncio.timeout(20):
            await self.promise()

    def promise(self) -> asyncio.Future[None]:
        """Return what is done once all changes so far are on disk, or undone."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def waiter(error: StoreError | None) -> None:
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        self.ledger.when_stored(self.system.sequence, waiter)
        return done

    def tag(self, tag: str) -> None:
        with self.system.change() as change:
            change.add_tag(self.system.admin, TagName(tag))

    async def until_writable(self) -> int:
        """Try to write until it works; return how many tries were refused."""
        for refused in range(50):
            try:
                self.tag(f"again{refused}")
                await self.on_disk()
            except StoreError:
                await asyncio.sleep(0.01)
            else:
                return refused
        raise AssertionError("never writable again")


@pytest.fixture
async def stored(tmp_path):
    made = Stored(tmp_path / "state.db")
    await made.on_disk()
    yield made
    made.backend.close()


@given(seed=SEEDS, changes=st.integers(1, 8))
def test_a_random_system_comes_back_as_it_was(seed, changes, tmp_path_factory) -> None:
    path = tmp_path_factory.mktemp("store") / "state.db"
    rng = random.Random(seed)

    async def live() -> dict[str, object]:
        made = Stored(path)
        for _ in range(changes):
            with made.system.change() as change:
                edit(change, rng, 6)
            if rng.random() < 0.3:
                await made.on_disk()
        await made.on_disk()
        made.backend.close()
        return state_of(made.system)

    before = asyncio.run(live())
    reports: list[str] = []
    after = state_of(read(path, reports))
    assert after == before
    assert not reports


async def test_features_keep_their_order(stored) -> None:
    def set_(*names: str) -> None:
        with stored.system.change() as change:
            for name in names:
                change.set_feature(stored.system.admin, FeatureName(name), name)

    set_("c", "a", "b")
    with stored.system.change() as change:
        change.remove_feature(stored.system.admin, FeatureName("a"))
    set_("b", "a", "c")
    await stored.on_disk()
    expected = ["c", "b", "a"]
    assert list(stored.system.admin.features) == expected
    assert list(read(stored.path).admin.features) == expected


async def test_what_belongs_to_a_removed_qube_goes_with_it(stored) -> None:
    with stored.system.change() as change:
        change.write("running", (stored.system.admin.uuid,), ({"time_s": 1.5},))
    work = add(stored.system, "work")
    with stored.system.change() as change:
        change.add_tag(work, TagName("x"))
        change.set_feature(work, FeatureName("x"), "1")
        change.set_notes(work, "x")
        change.write("running", (work.uuid,), ({"time_s": None},))
    with stored.system.change() as change:
        change.remove_qube(work)
    await stored.on_disk()
    rows = SqliteBackend(stored.path).load()
    for table in TABLES.values():
        if table.of_qube:
            assert str(work.uuid) not in [row[0] for row in rows[table.name]]
    assert rows["running"] == [(str(stored.system.admin.uuid), {"time_s": 1.5})]


class Traced:
    """A connection that counts, and fails where the test says so."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.commits = 0
        self.failing: str | None = None

    def execute(self, sql: str, *args):
        if self.failing is not None and sql.startswith(self.failing):
            raise sqlite3.OperationalError("disk I/O error")
        if sql == "COMMIT":
            self.commits += 1
        return self._db.execute(sql, *args)

    def __getattr__(self, name):
        return getattr(self._db, name)


@pytest.fixture
async def traced(tmp_path, monkeypatch):
    connections: list[Traced] = []
    connect = SqliteBackend._connect

    def connect_traced(self):
        connections.append(Traced(connect(self)))
        return connections[-1]

    monkeypatch.setattr(SqliteBackend, "_connect", connect_traced)
    made = Stored(tmp_path / "state.db")
    await made.on_disk()
    made.db = connections[-1]
    yield made
    made.db.failing = None
    made.backend.close()


async def test_changes_at_once_share_a_sync(traced) -> None:
    before = traced.db.commits
    for number in range(500):
        traced.tag(f"t{number}")
    await traced.on_disk()
    assert traced.db.commits - before <= 25
    assert len(read(traced.path).admin.tags) == 500


@pytest.mark.parametrize("where", ["BEGIN", "INSERT", "COMMIT"])
async def test_a_failed_batch_is_undone_with_all_later_changes(traced, where) -> None:
    traced.tag("kept")
    await traced.on_disk()
    before = state_of(traced.system)
    traced.told.clear()
    traced.db.failing = where
    waiters = []
    for number in range(5):
        traced.tag(f"lost{number}")
        with traced.system.change() as change:
            change.set_feature(traced.system.admin, FeatureName("f"), str(number))
        waiters.append(traced.promise())
    errors = await asyncio.gather(*waiters, return_exceptions=True)
    assert [type(error) for error in errors] == [StoreError] * 5
    assert state_of(traced.system) == before
    assert traced.told == []  # nobody heard of what didn't last
    assert state_of(read(traced.path)) == before


async def test_after_a_failure_reads_go_on_and_writes_wait_for_a_probe(traced) -> None:
    traced.db.failing = "COMMIT"
    traced.tag("lost")
    with pytest.raises(StoreError, match="disk I/O error"):
        await traced.on_disk()
    for _ in range(3):  # still broken: refused at once, nothing is touched
        with pytest.raises(StoreError):
            traced.tag("refused")
        await asyncio.sleep(0.02)
        assert traced.ledger.broken
    await traced.on_disk()  # a read's wait
    assert "lost" not in traced.system.admin.tags
    traced.db.failing = None
    assert await traced.until_writable() >= 1
    assert not traced.ledger.broken
    assert state_of(read(traced.path)) == state_of(traced.system)


async def test_a_value_that_no_row_holds_fails_its_change_and_no_later_one(stored) -> None:
    with stored.system.change() as change:
        change.write("counter", ("x",), (object(),))
    with pytest.raises(StoreError):
        await stored.on_disk()
    await stored.until_writable()


async def test_a_full_disk_refuses_changes_until_there_is_room(tmp_path) -> None:
    with mounted("ext4", tmp_path) as disk:
        made = Stored(disk / "state.db")
        await made.on_disk()
        with suppress(OSError), (disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(1 << 16))
        before = None
        for number in range(300):
            before = state_of(made.system)
            try:
                with made.system.change() as change:
                    change.set_notes(made.system.admin, str(number) * 20_000)
                await made.on_disk()
            except StoreError:
                break
        else:
            raise AssertionError("the disk never was full")
        assert state_of(made.system) == before
        await made.on_disk()
        with pytest.raises(StoreError):
            made.tag("refused")
        (disk / "ballast").unlink()
        await made.until_writable()
        assert state_of(read(made.path)) == state_of(made.system)
        made.backend.close()


async def test_closing_writes_what_was_submitted(tmp_path) -> None:
    made = Stored(tmp_path / "state.db")
    made.tag("late")
    made.backend.close()
    assert "late" in read(made.path).admin.tags
    made.backend.close()  # again is no error


def test_a_fresh_file_is_private_and_has_the_schema(tmp_path) -> None:
    path = tmp_path / "below" / "state.db"
    rows = SqliteBackend(path).load()
    assert set(rows) == set(TABLES)
    assert not any(rows.values())
    assert path.stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    db.close()


def test_a_newer_store_is_refused_in_clear_words(tmp_path) -> None:
    path = tmp_path / "state.db"
    SqliteBackend(path).load()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    with pytest.raises(StoreUnusableError, match="newer version") as caught:
        SqliteBackend(path).load()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"not a database, but long enough to be read as one" * 100])
def test_a_damaged_file_is_said_with_its_path(tmp_path, content) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    with pytest.raises(StoreUnusableError) as caught:
        SqliteBackend(path).load()
    assert str(path) in str(caught.value)


def test_a_directory_in_the_place_of_the_file_is_said(tmp_path) -> None:
    path = tmp_path / "state.db"
    path.mkdir()
    with pytest.raises(StoreUnusableError, match=r"state\.db"):
        SqliteBackend(path).load()


async def test_a_file_damaged_in_the_middle_never_ends_in_anything_but_its_error(stored) -> None:
    for number in range(40):
        add(stored.system, f"q{number}")
    await stored.on_disk()
    stored.backend.close()
    db = sqlite3.connect(stored.path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    whole = stored.path.read_bytes()
    rng = random.Random(1)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 200)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        for leftover in stored.path.parent.iterdir():
            leftover.unlink()
        stored.path.write_bytes(damaged)
        try:
            read(stored.path)
        except StoreUnusableError as error:
            assert str(stored.path) in str(error)  # noqa: PT017  # it may load, too


async def test_a_cell_that_cannot_be_read_costs_its_row_alone(stored, caplog) -> None:
    add(stored.system, "work", memory=500, vcpus=3)
    await stored.on_disk()
    stored.backend.close()
    with sqlite3.connect(stored.path) as db:
        db.execute("UPDATE property SET value = '{broken' WHERE name = 'vcpus'")
    db.close()
    loaded = read(stored.path)
    assert loaded.qube("work").properties["memory"] == 500
    assert "vcpus" not in loaded.qube("work").properties
    assert "left out of the store: property" in caplog.text


async def test_dom0_is_never_lost_with_others(stored) -> None:
    assert ADMIN in read(stored.path).qubes
