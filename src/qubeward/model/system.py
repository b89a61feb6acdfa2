"""All qubes, labels, pools and properties, and the one way to change them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from ..errors import LabelNotFoundError, QubeNotFoundError
from ..facts import Fact, PropertyValue
from ..names import ADMIN, LabelName, PoolName, PropertyName, QubeName, QubeRef, QubeUuid
from ..spec.label import Color
from .change import Change, Commit
from .label import BUILT_IN, Label
from .pool import Pool
from .qube import Qube
from .qube_properties import QUBE
from .references import References
from .system_properties import SYSTEM


@dataclass(frozen=True, slots=True)
class Host:
    """What the host has: memory in MiB, and processors."""

    memory_mib: int
    cpus: int


def _ignore(change: Change, fact: Fact) -> None:
    pass


def _keep(commit: Commit) -> None:
    pass


def _open() -> None:
    pass


@dataclass(slots=True)
class System:
    """The model. `react` gets each fact inside its change; `commit` each finished change.

    `guard` is called before a change and raises where none can be stored.

    `has_kernel` tells whether a kernel of that name can be booted.
    """

    host: Host
    react: Callable[[Change, Fact], None] = _ignore
    commit: Callable[[Commit], None] = _keep
    guard: Callable[[], None] = _open
    has_kernel: Callable[[str], bool] = lambda _: True
    qubes: dict[QubeName, Qube] = field(default_factory=dict)
    by_uuid: dict[UUID, Qube] = field(default_factory=dict)
    labels: dict[LabelName, Label] = field(default_factory=lambda: dict(BUILT_IN))
    pools: dict[PoolName, Pool] = field(default_factory=dict)
    properties: dict[PropertyName, PropertyValue] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    references: References = field(default_factory=References)
    sequence: int = 0
    _qids: set[int] = field(default_factory=set)
    _lowest_free_qid: int = 1
    _names: list[QubeName] | None = None
    _open: bool = False

    @contextmanager
    def change(self, source: QubeName = ADMIN) -> Iterator[Change]:
        """All edits of the block happen, or none. Never await inside, never nest.

        Durable once the store says so for `sequence`; wait for that before any reply.
        """
        if self._open:
            raise RuntimeError("a change inside a change")
        self.guard()
        self._open = True
        change = Change(self, source)
        try:
            yield change
        except BaseException:
            for undo in reversed(change.undo):
                undo()
            raise
        finally:
            self._open = False
        if change.writes or change.facts:
            self.sequence += 1
            self.commit(Commit(self.sequence, change.writes, change.facts, change.undo))

    @property
    def admin(self) -> Qube:
        """Return dom0."""
        return self.qubes[ADMIN]

    def qube(self, name: str) -> Qube:
        """Return the qube, or raise `QubeNotFoundError`."""
        try:
            return self.qubes[QubeName(name)]
        except KeyError:
            raise QubeNotFoundError(name) from None

    def find(self, ref: QubeRef) -> Qube:
        """Return the qube that a reference names, or raise `QubeNotFoundError`."""
        if not isinstance(ref, QubeUuid):
            return self.qube(ref)
        try:
            return self.by_uuid[ref.value]
        except KeyError:
            raise QubeNotFoundError(f"uuid:{ref.value}") from None

    def in_order(self) -> Iterator[Qube]:
        """Yield all qubes: dom0, then the others by name."""
        if self._names is None:
            self._names = sorted(self.qubes, key=lambda name: (name != ADMIN, name))
        for name in self._names:
            yield self.qubes[name]

    def label(self, reference: str) -> Label:
        """Return the label of this name, index, or `label-INDEX`."""
        label = self.labels.get(LabelName(reference))
        if label is not None:
            return label
        digits = reference.removeprefix("label-")
        if digits.isascii() and digits.isdigit() and len(digits) < 10:
            for label in self.labels.values():
                if label.index == int(digits):
                    return label
        raise LabelNotFoundError(reference)

    def new_label(self, name: LabelName, color: Color) -> Label:
        """Return a label with the next index; it isn't added yet."""
        return Label(name, max(label.index for label in self.labels.values()) + 1, color)

    def value(self, qube: Qube | None, name: PropertyName) -> PropertyValue:
        """Return a property's effective value. `qube` None: of the system."""
        if qube is None:
            return SYSTEM[name].value(self)
        return QUBE[name].value(self, qube)

    def admit(self, qube: Qube) -> None:
        """Take a qube in. For `Change` and for loading only."""
        self.qubes[qube.name] = qube
        self.by_uuid[qube.uuid] = qube
        self._qids.add(qube.qid)
        self._names = None
        for name, value in qube.properties.items():
            self.references.replace(qube, name, None, value)

    def dismiss(self, qube: Qube) -> None:
        """Let a qube go. For `Change` only."""
        del self.qubes[qube.name]
        del self.by_uuid[qube.uuid]
        self._qids.discard(qube.qid)
        self._lowest_free_qid = min(self._lowest_free_qid, qube.qid)
        self._names = None
        for name, value in qube.properties.items():
            self.references.replace(qube, name, value, None)

    def free_qid(self) -> int:
        """Return the lowest number that no qube has."""
        qid = self._lowest_free_qid
        while qid in self._qids:
            qid += 1
        self._lowest_free_qid = qid
        return qid
