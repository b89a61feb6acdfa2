"""The daemon is killed at random moments, and loses nothing that it acknowledged (R1, R2)."""

import copy
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from daemon_process import CallFailedError, DaemonProcess, until

FAKE = ["hypervisor.driver=fake", "storage.default_driver=file", "log.format=json"]
CLIENTS = 4
KILLS = 3
CHANGES = 200

Call = tuple[str, str, str, str]  # method, destination, argument, payload


@pytest.fixture
def daemon(tmp_path):
    made = DaemonProcess(tmp_path / "root", list(FAKE))
    made.root.mkdir()
    made.start()
    made.call("admin.vm.Create.TemplateVM", payload="name=tpl label=black")
    yield made
    if made.process.poll() is None:
        made.kill()


@dataclass
class State:
    """What one client's qube should be like."""

    properties: dict[str, str] = field(default_factory=dict)
    features: dict[str, str] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    notes: str = ""


NOT_THERE = ("QubesTagNotFoundError", "QubesFeatureNotFoundError")
NUMBERS = ("memory", "vcpus", "qrexec_timeout", "shutdown_timeout")


def change(rng: random.Random, qube: str) -> tuple[Call, Callable[[State], None]]:  # noqa: PLR0911  # a row each
    """Return a random call about the qube, and what it makes of the state."""
    what = rng.choice(["property", "network", "feature", "feature", "tag", "tag", "notes"])
    name, value = f"x{rng.randrange(4)}", str(rng.randrange(1, 10_000))
    if what == "property":
        name = rng.choice(NUMBERS)
        if rng.random() < 0.3:
            reset = ("admin.vm.property.Reset", qube, name, "")
            return reset, lambda s: s.properties.pop(name, None) and None
        call = ("admin.vm.property.Set", qube, name, value)
        return call, lambda s: s.properties.update({name: value})
    if what == "network":  # two rows that land together
        is_on = rng.random() < 0.5
        call = ("admin.vm.property.Set", qube, "provides_network", str(is_on))

        def network(state: State) -> None:
            state.properties["provides_network"] = str(is_on)
            if is_on:
                state.features["servicevm"] = "1"
            else:
                state.features.pop("servicevm", None)

        return call, network
    if what == "feature":
        if rng.random() < 0.3:
            call = ("admin.vm.feature.Remove", qube, name, "")
            return call, lambda s: s.features.pop(name, None) and None
        call = ("admin.vm.feature.Set", qube, name, value)
        return call, lambda s: s.features.update({name: value})
    if what == "tag":
        if rng.random() < 0.3:
            return ("admin.vm.tag.Remove", qube, name, ""), lambda s: s.tags.discard(name)
        return ("admin.vm.tag.Set", qube, name, ""), lambda s: s.tags.add(name)
    call = ("admin.vm.notes.Set", qube, "", value)
    return call, lambda s: setattr(s, "notes", value)


def read(daemon: DaemonProcess, qube: str) -> State:
    state = State()
    for name in (*NUMBERS, "provides_network"):
        default, _, value = daemon.call("admin.vm.property.Get", qube, name).split(" ")
        if default == "default=False":
            state.properties[name] = value
    for name in daemon.call("admin.vm.feature.List", qube).split():
        state.features[name] = daemon.call("admin.vm.feature.Get", qube, name)
    managed = ("created-by-", "guivm-", "audiovm-")
    tags = daemon.call("admin.vm.tag.List", qube).split()
    state.tags = {tag for tag in tags if not tag.startswith(managed)}
    state.notes = daemon.call("admin.vm.notes.Get", qube)
    return state


class Client(threading.Thread):
    """Makes one call after another until the daemon is gone; keeps book of what was answered."""

    def __init__(self, daemon: DaemonProcess, seed: int) -> None:
        super().__init__(daemon=True)
        self.served = daemon
        self.rng = random.Random(seed)
        self.acknowledged = 0
        self.problem: BaseException | None = None
        self.step: Callable[[], None] = self.stop
        self.start_again = False

    def stop(self) -> None:
        raise EOFError

    def run(self) -> None:
        try:
            while True:
                self.step()
                self.acknowledged += 1
        except (OSError, AssertionError) as error:  # hung up on, or answered by nothing
            if isinstance(error, CallFailedError):
                self.problem = error


class Changer(Client):
    """Changes a qube of its own."""

    def __init__(self, daemon: DaemonProcess, seed: int, qube: str, state: State) -> None:
        super().__init__(daemon, seed)
        self.qube, self.state = qube, state
        self.perhaps = copy.deepcopy(state)
        self.step = self.change

    def change(self) -> None:
        (method, dest, arg, payload), apply = change(self.rng, self.qube)
        self.perhaps = copy.deepcopy(self.state)
        apply(self.perhaps)
        try:
            self.served.call(method, dest, arg, payload, timeout_s=30)
        except CallFailedError as error:
            if error.failure.wire_name not in NOT_THERE:
                raise
            self.perhaps = copy.deepcopy(self.state)
            return
        self.state = self.perhaps


def run_until_killed(daemon: DaemonProcess, clients: list[Client], changes: int) -> int:
    """Let the clients work, kill the daemon after about so many changes, and start it again."""
    for client in clients:
        client.start()

    def done() -> int:
        return sum(client.acknowledged for client in clients)

    until(lambda: done() >= changes or not any(c.is_alive() for c in clients), every_s=0.0005)
    daemon.kill()
    for client in clients:
        client.join(30)
        assert not client.is_alive()
        assert client.problem is None, client.problem
    daemon.start()
    return done()


def test_no_acknowledged_change_is_lost_and_none_is_half_done(daemon, rounds) -> None:
    rng = random.Random(1)
    states: dict[str, State] = {}
    for number in range(CLIENTS):
        daemon.call("admin.vm.Create.AppVM", arg="tpl", payload=f"name=c{number} label=red")
        states[f"c{number}"] = read(daemon, f"c{number}")
    kept = 0
    for _ in range(KILLS * rounds):
        clients = [
            Changer(daemon, rng.getrandbits(64), qube, state) for qube, state in states.items()
        ]
        changes = rng.randrange(1, 2 * CHANGES // KILLS)
        kept += run_until_killed(daemon, clients, changes)
        for client in clients:
            found = read(daemon, client.qube)
            assert found in (client.state, client.perhaps)
            states[client.qube] = found
    assert kept >= CHANGES * rounds / 2


class Maker(Client):
    """Makes and removes qubes with names of its own."""

    def __init__(self, daemon: DaemonProcess, seed: int, names: list[str]) -> None:
        super().__init__(daemon, seed)
        self.present: set[str] = set()
        self.under_way = ""
        self.names = names
        self.step = self.make_or_remove

    def make_or_remove(self) -> None:
        self.under_way = name = self.rng.choice(self.names)
        if name in self.present:
            self.served.call("admin.vm.Remove", name, timeout_s=30)
            self.present.discard(name)
        else:
            payload = f"name={name} label=red"
            self.served.call("admin.vm.Create.AppVM", arg="tpl", payload=payload, timeout_s=30)
            self.present.add(name)
        self.under_way = ""


def qubes(daemon: DaemonProcess) -> set[str]:
    lines = daemon.call("admin.vm.List").splitlines()
    return {line.split()[0] for line in lines} - {"dom0", "tpl"}


def check_disks(root: Path, names: set[str]) -> None:
    appvms = root / "var/lib/qubes/appvms"

    def found() -> dict[str, list[str]]:
        return {
            directory.name: sorted(path.name for path in directory.iterdir())
            for directory in appvms.iterdir()
        }

    # The records are behind by a moment.
    until(lambda: all("private.record" in files for files in found().values()))
    assert found() == {name: ["private.img", "private.record"] for name in names}


def test_a_kill_while_qubes_come_and_go_leaves_none_half_made(daemon, rounds) -> None:
    rng = random.Random(2)
    present: dict[int, set[str]] = {number: set() for number in range(CLIENTS)}
    for _ in range(KILLS * rounds):
        clients = []
        for number, names in present.items():
            made = Maker(daemon, rng.getrandbits(64), [f"m{number}-{n}" for n in range(3)])
            made.present = set(names)
            clients.append(made)
        run_until_killed(daemon, clients, rng.randrange(1, 15))
        found = qubes(daemon)
        for number, client in enumerate(clients):
            mine = {name for name in found if name.startswith(f"m{number}-")}
            assert mine ^ client.present <= {client.under_way}
            present[number] = mine
        check_disks(daemon.root, found)
    # Every name that was used can be used again.
    for number, names in present.items():
        for n in range(3):
            name = f"m{number}-{n}"
            if name in names:
                daemon.call("admin.vm.Remove", name)
            daemon.call("admin.vm.Create.AppVM", arg="tpl", payload=f"name={name} label=red")
    assert daemon.stop() == 0
