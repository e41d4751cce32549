"""Tiers that remember every write, and can be rebuilt as a crash at any moment may have left them.

A recorder counts the moments at which calls begin and return, over all tiers of one repository. What a
crash leaves: of the writes that were acknowledged all; of those that were under way, and of those put with
`durable=False` that no `sync` of the same process and no `settle` has covered yet, each one on its own
whole or not at all. (That a write is never there in part is the stores' own promise; see `tests/conformance`.)

The process alone can die, too: after `Recorder.die_at` no write is taken any more; `RecordingStore.successor`
is the store as the next process opens it, with everything still there that a power cut may take later.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from random import Random  # noqa: TID251  # seeded by the test
from typing import Literal

from repository.errors import TierUnreachable
from repository.tiers.memory import MemoryObjectStore
from repository.tiers.port import Body, buffers_of

NEVER = 1 << 60
Objects = dict[str, bytes]


@dataclass
class Write:
    """One call that changes a tier. `returned` is NEVER while it has not; `failed`: it raised."""

    tier: str
    kind: Literal["put", "delete", "sync", "settle"]
    began: int
    key: str = ""
    body: bytes = b""
    if_absent: bool = False
    durable: bool = True
    process: int = 0
    keys: frozenset[str] = frozenset()
    returned: int = NEVER
    failed: bool = False

    def covers(self, other: "Write") -> bool:
        """Whether this call, once it has returned, makes the other one's object durable."""
        is_meant = other.key in self.keys if self.kind == "settle" else other.process == self.process
        return is_meant and self.began > other.returned


@dataclass(frozen=True)
class Note:
    """A remark of the test: what has happened by then."""

    moment: int
    what: object


@dataclass
class Recorder:
    """Counts moments and keeps the writes of all tiers. Thread-safe."""

    writes: list[Write] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    now: int = 0
    die_at: int = NEVER
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def moment(self) -> int:
        """The next moment."""
        with self._lock:
            self.now += 1
            return self.now

    def note(self, what: object) -> None:
        """Remember that something is true from here on."""
        self.notes.append(Note(self.moment(), what))

    def noted_until(self, moment: int) -> list[object]:
        """What was true at a moment."""
        return [note.what for note in self.notes if note.moment <= moment]

    @contextmanager
    def recorded(self, write: Write) -> Iterator[None]:
        """Record the call that is made inside."""
        with self._lock:
            if self.now >= self.die_at:
                raise TierUnreachable("the process is dead", tier=write.tier)
            self.now += 1
            write.began = self.now
            self.writes.append(write)
        try:
            yield
        except BaseException:
            write.failed = True
            raise
        finally:
            write.returned = self.moment()

    def after_crash(self, moment: int, tiers: Sequence[str], chance: Random) -> dict[str, Objects]:
        """The objects of each tier after a crash at a moment; what was not sure then is drawn."""
        return {tier: self._objects(tier, moment, chance) for tier in tiers}

    def sure_objects(self, tier: str, moment: int) -> Objects:
        """The objects of a tier that no crash at this moment takes away."""
        return self._objects(tier, moment, None)

    def _objects(self, tier: str, moment: int, chance: Random | None) -> Objects:
        # A call that failed has done nothing: the stores in memory fail before they change anything.
        begun = [each for each in self.writes if each.tier == tier and each.began <= moment and not each.failed]
        syncs = [each for each in begun if each.kind in {"sync", "settle"} and each.returned <= moment]
        objects: Objects = {}
        for write in sorted(begun, key=lambda each: each.returned):
            if write.kind in {"sync", "settle"}:
                continue
            is_durable = write.durable or any(sync.covers(write) for sync in syncs)
            is_sure = write.returned <= moment and is_durable
            if not is_sure and (chance is None or chance.random() < 0.5):
                continue
            if write.kind == "delete":
                objects.pop(write.key, None)
            elif not (write.if_absent and write.key in objects):
                objects[write.key] = write.body
        return objects


class RecordingStore(MemoryObjectStore):
    """A tier in memory whose writes are recorded."""

    def __init__(self, name: str, recorder: Recorder, *, objects: Objects | None = None) -> None:
        """`objects` count as having been there for ever."""
        super().__init__(name, objects=objects)
        self._recorder = recorder
        self._process = 0
        for key, body in (objects or {}).items():
            recorder.writes.append(Write(name, "put", 0, key, body, returned=0))

    def successor(self) -> "RecordingStore":
        """The same tier as another process opens it."""
        other = RecordingStore(self.name, self._recorder)
        other._objects = self._objects
        other._process = self._process + 1
        return other

    def put(
        self,
        key: str,
        body: Body,
        *,
        sha256: bytes | None = None,
        if_absent: bool = False,
        lock_until: datetime | None = None,
        durable: bool = True,
    ) -> None:
        """Store and record."""
        # A copy: the caller may use its buffers again as soon as the call returns.
        whole = b"".join(buffers_of(body))
        write = Write(self.name, "put", 0, key, whole, if_absent, durable, self._process)
        with self._recorder.recorded(write):
            super().put(key, whole, sha256=sha256, if_absent=if_absent, lock_until=lock_until, durable=durable)

    def sync(self) -> None:
        """Record what is durable from now on."""
        with self._recorder.recorded(Write(self.name, "sync", 0, process=self._process)):
            super().sync()

    def settle(self, keys: Iterable[str]) -> None:
        """Record what is durable from now on, whoever put it."""
        wanted = frozenset(keys)
        with self._recorder.recorded(Write(self.name, "settle", 0, keys=wanted)):
            super().settle(wanted)

    def delete(self, key: str) -> None:
        """Remove and record."""
        with self._recorder.recorded(Write(self.name, "delete", 0, key, process=self._process)):
            super().delete(key)
