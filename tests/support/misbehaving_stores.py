"""Tiers that fail, lie, fill up, or keep another time: each around a store that works."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from repository.tiers.port import OBJECT_LENGTH_MAX, Body, Capabilities, Hidden, ObjectInfo, ObjectStore, PackProof


class WrappedStore:
    """Passes every call on to `inner`; the subclasses change some."""

    def __init__(self, inner: ObjectStore) -> None:
        self.inner = inner

    @property
    def name(self) -> str:
        """The inner store's."""
        return self.inner.name

    @property
    def capabilities(self) -> Capabilities:
        """The inner store's."""
        return self.inner.capabilities

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
        """Pass on."""
        self.inner.put(key, body, sha256=sha256, if_absent=if_absent, lock_until=lock_until, durable=durable)

    def sync(self) -> None:
        """Pass on."""
        self.inner.sync()

    def settle(self, keys: Iterable[str]) -> None:
        """Pass on."""
        self.inner.settle(keys)

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """Pass on."""
        return self.inner.get(key, length_max=length_max)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Pass on."""
        return self.inner.get_range(key, offset, length)

    def read_into(self, key: str, offset: int, room: memoryview) -> None:
        """Pass on, as a range."""
        room[:] = self.get_range(key, offset, len(room))

    def while_reading(self, work: Callable[[], None]) -> None:
        """Pass on."""
        self.inner.while_reading(work)

    def head(self, key: str) -> ObjectInfo | None:
        """Pass on."""
        return self.inner.head(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """Pass on."""
        return self.inner.list(prefix, after=after)

    def delete(self, key: str) -> None:
        """Pass on."""
        self.inner.delete(key)

    def extend_lock(self, key: str, until: datetime, *, sha256: bytes | None = None) -> None:
        """Pass on."""
        self.inner.extend_lock(key, until, sha256=sha256)

    def set_legal_hold(self, key: str, is_on: bool, *, sha256: bytes | None = None) -> None:
        """Pass on."""
        self.inner.set_legal_hold(key, is_on, sha256=sha256)

    def legal_hold(self, key: str) -> bool | None:
        """Pass on."""
        return self.inner.legal_hold(key)

    def now(self) -> datetime:
        """Pass on."""
        return self.inner.now()

    def local_path(self, key: str) -> str | None:
        """Pass on."""
        return self.inner.local_path(key)

    def blocked_by(self, key: str) -> str | None:
        """Pass on."""
        return self.inner.blocked_by(key)

    def no_objects(self, folder: str) -> Iterator[str]:
        """Pass on."""
        return self.inner.no_objects(folder)

    def sweep(self, folder: str) -> Sequence[str]:
        """Pass on."""
        return self.inner.sweep(folder)

    def versions(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> Iterator[bytes]:
        """Pass on."""
        return self.inner.versions(key, length_max=length_max)

    def hidden(self) -> Iterator[Hidden]:
        """Pass on."""
        return self.inner.hidden()

    def uncover(self, key: str) -> None:
        """Pass on."""
        self.inner.uncover(key)

    def set_aside(self, key: str, aside: str) -> None:
        """Pass on."""
        self.inner.set_aside(key, aside)

    def originals(self) -> ObjectStore | None:
        """Pass on."""
        return self.inner.originals()

    def prove_packs(self, prove: PackProof) -> None:
        """Pass on."""
        self.inner.prove_packs(prove)

    def close(self) -> None:
        """Pass on."""
        self.inner.close()


class FailingStore(WrappedStore):
    """Fails from the `after`-th call on, for `times` calls (None: for ever); `does_it` before it fails."""

    def __init__(
        self,
        inner: ObjectStore,
        error: Callable[[], Exception],
        *,
        after: int,
        times: int | None = None,
        does_it: bool = False,
        calls: frozenset[str] = frozenset({"put", "sync", "settle", "get", "get_range", "head", "list", "delete"}),
    ) -> None:
        super().__init__(inner)
        self._error, self._after, self._times, self._does_it, self._calls = error, after, times, does_it, calls
        self._lock = threading.Lock()
        self.count = 0

    def _step(self, call: str, do: Callable[[], object]) -> None:
        if call not in self._calls:
            return
        with self._lock:
            self.count += 1
            number = self.count - self._after
        if number > 0 and (self._times is None or number <= self._times):
            if self._does_it:
                do()
            raise self._error()

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
        """Store, or fail."""

        def do() -> None:
            self.inner.put(key, body, sha256=sha256, if_absent=if_absent, lock_until=lock_until, durable=durable)

        self._step("put", do)
        do()

    def sync(self) -> None:
        """Sync, or fail."""
        self._step("sync", self.inner.sync)
        self.inner.sync()

    def settle(self, keys: Iterable[str]) -> None:
        """Settle, or fail."""
        wanted = list(keys)
        self._step("settle", lambda: self.inner.settle(wanted))
        self.inner.settle(wanted)

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """Read, or fail."""
        self._step("get", bool)
        return self.inner.get(key, length_max=length_max)

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Read, or fail."""
        self._step("get_range", bool)
        return self.inner.get_range(key, offset, length)

    def head(self, key: str) -> ObjectInfo | None:
        """Look, or fail."""
        self._step("head", bool)
        return self.inner.head(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """List, or fail at the first object."""
        self._step("list", bool)
        yield from self.inner.list(prefix, after=after)

    def delete(self, key: str) -> None:
        """Remove, or fail."""
        self._step("delete", lambda: self.inner.delete(key))
        self.inner.delete(key)


class LyingStore(WrappedStore):
    """Acknowledges every put and drops those of which `drops(key)` is true."""

    def __init__(self, inner: ObjectStore, drops: Callable[[str], bool]) -> None:
        super().__init__(inner)
        self._drops = drops
        self.dropped: list[str] = []

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
        """Store, or say so."""
        if self._drops(key):
            self.dropped.append(key)
            return
        super().put(key, body, sha256=sha256, if_absent=if_absent, lock_until=lock_until, durable=durable)


class LateStore(WrappedStore):
    """A store whose own clock differs from this machine's."""

    def __init__(self, inner: ObjectStore, ahead: timedelta) -> None:
        super().__init__(inner)
        self._ahead = ahead

    def now(self) -> datetime:
        """The other time."""
        return self.inner.now() + self._ahead


class KeepingStore(WrappedStore):
    """Refuses every deletion: a bucket that locks whatever it gets, or a writer without the right to delete."""

    def __init__(self, inner: ObjectStore, error: Callable[[], Exception]) -> None:
        super().__init__(inner)
        self._error = error

    def delete(self, key: str) -> None:
        """Refuse where there is something to delete."""
        if self.inner.head(key) is not None:
            raise self._error()
