"""A tier in memory: for tests and for benchmarks that must not measure a disk.

It passes the conformance suite of the real ones, object locks included. It is as durable as the process.
"""

import hashlib
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from repository.errors import (
    HELD_HINT,
    AlreadyExists,
    ChecksumMismatch,
    Damaged,
    Locked,
    ObjectMissing,
    TierFull,
    Truncated,
)
from repository.format import is_named, pack_id_in
from repository.ports import SYSTEM_CLOCK, Clock
from repository.tiers.port import (
    OBJECT_LENGTH_MAX,
    Body,
    Capabilities,
    Hidden,
    KnownCapabilities,
    ObjectInfo,
    ObjectStore,
    PackProof,
    buffers_of,
    check_length,
    checked_key,
    checked_prefix,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MemoryObjectStore:
    """Objects in a dictionary. `capacity_bytes` makes it full, `locks` makes locks hold."""

    def __init__(
        self,
        name: str = "memory",
        *,
        objects: Mapping[str, bytes] | None = None,
        locks: bool = False,
        capacity_bytes: int | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """Starts with a copy of `objects`."""
        self._name = name
        self._objects = dict(objects or {})
        self._locked_until: dict[str, datetime] = {}
        self._held: set[str] = set()
        self._capabilities = KnownCapabilities(locks=locks)
        self._capacity = capacity_bytes
        self._stored = sum(len(body) for body in self._objects.values())
        self._clock = clock
        self._guard = threading.Lock()

    @property
    def name(self) -> str:
        """What people call the tier."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do."""
        return self._capabilities

    def contents(self) -> dict[str, bytes]:
        """A copy of all objects, from which an equal store can be made."""
        with self._guard:
            return dict(self._objects)

    def put(
        self,
        key: str,
        body: Body,
        *,
        sha256: bytes | None = None,
        if_absent: bool = False,
        lock_until: datetime | None = None,
        durable: bool = True,  # noqa: ARG002  # memory keeps all or nothing
    ) -> None:
        """Store the object; see the port."""
        checked_key(key)
        whole = b"".join(buffers_of(body))
        if sha256 is not None and hashlib.sha256(whole).digest() != sha256:
            raise ChecksumMismatch("the bytes are not the ones of the checksum", tier=self._name, key=key)
        with self._guard:
            present = self._objects.get(key)
            if if_absent and present is not None:
                if present != whole:
                    raise AlreadyExists("there is another object of this key", tier=self._name, key=key)
                self._lock(key, lock_until)
                return
            if present is not None and present != whole:
                self._refuse_if_locked(key)
            grows = len(whole) - len(present or b"")
            if self._capacity is not None and self._stored + grows > self._capacity:
                raise TierFull("no space left", tier=self._name, key=key)
            self._objects[key] = whole
            self._stored += grows
            self._lock(key, lock_until)

    def sync(self) -> None:
        """Nothing is owed."""

    def settle(self, keys: Iterable[str]) -> None:
        """Nothing is owed by anybody."""
        for key in keys:
            checked_key(key)

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """The whole object; see the port."""
        checked_key(key)
        with self._guard:
            body = self._objects.get(key)
        if body is None:
            raise ObjectMissing("no object of this key", tier=self._name, key=key)
        check_length(len(body), length_max, tier=self._name, key=key)
        return body

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """A part of the object; see the port."""
        body = self.get(key)
        start = offset if offset >= 0 else len(body) + offset
        if start < 0 or start + length > len(body):
            raise Truncated("the object ends before the range", tier=self._name, key=key, size=len(body))
        return body[start : start + length]

    def read_into(self, key: str, offset: int, room: memoryview) -> None:
        """A part of the object; see the port."""
        room[:] = self.get_range(key, offset, len(room))

    def while_reading(self, work: Callable[[], None]) -> None:
        """See the port."""
        work()

    def head(self, key: str) -> ObjectInfo | None:
        """What is known of the object; see the port."""
        checked_key(key)
        with self._guard:
            body = self._objects.get(key)
            until = self._locked_until.get(key)
        if body is None:
            return None
        pack_id = pack_id_in(key)
        return ObjectInfo(key, len(body), None if pack_id is None else is_named(pack_id, body), until)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """The objects of a prefix; see the port."""
        checked_prefix(prefix)
        with self._guard:
            keys = sorted(self._objects)
        for key in keys[bisect_left(keys, max(prefix, after)) :]:
            if not key.startswith(prefix):
                return
            with self._guard:
                body = self._objects.get(key)
            if key > after and body is not None:
                yield ObjectInfo(key, len(body))

    def delete(self, key: str) -> None:
        """Remove the object; see the port."""
        checked_key(key)
        with self._guard:
            self._refuse_if_locked(key)
            self._stored -= len(self._objects.pop(key, b""))
            self._locked_until.pop(key, None)

    def extend_lock(self, key: str, until: datetime, *, sha256: bytes | None = None) -> None:
        """Lock the object for longer; see the port."""
        checked_key(key)
        with self._guard:
            if self._capabilities.locks:
                self._expect(key, sha256)
            self._lock(key, until)

    def set_legal_hold(self, key: str, is_on: bool, *, sha256: bytes | None = None) -> None:
        """Hold the object, or do so no more; see the port."""
        checked_key(key)
        with self._guard:
            if not self._capabilities.locks:
                return
            self._expect(key, sha256, is_any_own=not is_on)
            (self._held.add if is_on else self._held.discard)(key)

    def legal_hold(self, key: str) -> bool | None:
        """Whether the object is held; see the port."""
        checked_key(key)
        return key in self._held if self._capabilities.locks else None

    def now(self) -> datetime:
        """The time by the clock that was given."""
        return _EPOCH + timedelta(microseconds=self._clock.now_ns() // 1000)

    def local_path(self, key: str) -> str | None:
        """None: nothing is on a disk."""
        checked_key(key)
        return None

    def blocked_by(self, key: str) -> str | None:
        """Nothing: here is nothing but objects."""
        checked_key(key)
        return None

    def no_objects(self, folder: str) -> Iterator[str]:
        """None: here is nothing but objects."""
        checked_key(folder)
        return iter(())

    def sweep(self, folder: str) -> Sequence[str]:
        """None: what a writer does not end is never there."""
        checked_key(folder)
        return ()

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:  # noqa: ARG002
        """Nothing is kept of what was overwritten."""
        checked_key(key)
        return iter(())

    def hidden(self) -> Iterator[Hidden]:
        """None: nothing is kept of what was deleted."""
        return iter(())

    def uncover(self, key: str) -> None:
        """Nothing: no object is hidden."""
        checked_key(key)

    def set_aside(self, key: str, aside: str) -> None:
        """A second name for the same bytes; see the port."""
        self.put(aside, self.get(key))

    def originals(self) -> ObjectStore | None:
        """None: nothing is kept of what was overwritten."""
        return None

    def prove_packs(self, prove: PackProof) -> None:
        """Nothing: what is in memory is looked at itself."""

    def close(self) -> None:
        """Nothing to give back; the objects stay as long as the store."""

    def _lock(self, key: str, until: datetime | None) -> None:
        if until is not None and self._capabilities.locks:
            present = self._locked_until.get(key)
            self._locked_until[key] = until if present is None else max(present, until)

    def _expect(self, key: str, sha256: bytes | None, *, is_any_own: bool = False) -> None:
        body = self._objects.get(key)
        if body is None:
            raise ObjectMissing("no object of this key", tier=self._name, key=key)
        pack_id = None if is_any_own else pack_id_in(key)
        is_other = sha256 is not None and hashlib.sha256(body).digest() != sha256
        if is_other or (pack_id is not None and not is_named(pack_id, body)):
            raise Damaged("the object has other bytes than its own", tier=self._name, key=key)

    def _refuse_if_locked(self, key: str) -> None:
        if key in self._held:
            raise Locked("the object is under legal hold", hint=HELD_HINT, tier=self._name, key=key)
        until = self._locked_until.get(key)
        if until is not None and until > self.now():
            raise Locked("the object is locked", tier=self._name, key=key, until=until.isoformat())
