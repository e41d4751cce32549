"""A tier in a directory whose disk may hang: whoever asks it has an answer within `SILENT_SECONDS`, if a refusal.

What hangs goes on when its disk does, and gives no object its name any more. Meanwhile everything else is refused at
once: the other tiers are not held up by one that is silent.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Final, TypeVar

from repository.errors import TierUnreachable
from repository.tiers.folder.disk import LocalDisk
from repository.tiers.folder.hands import SILENT_SECONDS, Hands, Silent, step
from repository.tiers.folder.nothing_kept import NothingKept
from repository.tiers.folder.store import DirectoryObjectStore
from repository.tiers.port import OBJECT_LENGTH_MAX, Body, Capabilities, ObjectInfo

T = TypeVar("T")

_TOGETHER: Final = 1000
"""Objects of a listing that are asked for at once."""


class AnsweringStore(NothingKept):
    """See the port; raises `TierUnreachable` where the disk is silent."""

    def __init__(
        self, root: str, name: str, *, within: str | None = None, silent_seconds: float = SILENT_SECONDS
    ) -> None:
        """As `DirectoryObjectStore`. `silent_seconds`: how long one step of the disk may take."""
        self._store = DirectoryObjectStore(root, name, within=within, disk=_StepByStep())
        self._hands = Hands(name, seconds=silent_seconds)
        self._seconds = silent_seconds
        # Known without the disk.
        self.now = self._store.now
        self.name = self._store.name
        self.capabilities: Capabilities = self._store.capabilities

    def _ask(self, ask: Callable[[], T]) -> T:
        return self._answered(lambda: self._hands.do(ask))

    def _answered(self, made: Callable[[], T]) -> T:
        try:
            return made()
        except Silent as silent:
            raise TierUnreachable(
                f"its disk does not answer within {self._seconds:g} s",
                tier=self.name,
                hint="Look at the disk and its mount (a dead server of a share, a frozen volume). What it lacks by then"
                " is brought by catch-up.",
            ) from silent

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
        """See the port. Where it was refused for silence `body` may be used anew: nothing gets a name by it."""
        self._ask(
            lambda: self._store.put(
                key, body, sha256=sha256, if_absent=if_absent, lock_until=lock_until, durable=durable
            )
        )

    def sync(self) -> None:
        """See the port."""
        self._ask(self._store.sync)

    def settle(self, keys: Iterable[str]) -> None:
        """See the port."""
        self._ask(lambda: self._store.settle(keys))

    def get(self, key: str, *, length_max: int = OBJECT_LENGTH_MAX) -> bytes:
        """See the port."""
        return self._ask(lambda: self._store.get(key, length_max=length_max))

    def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        return self._ask(lambda: self._store.get_range(key, offset, length))

    def read_into(self, key: str, offset: int, room: memoryview) -> None:
        """See the port."""
        self._ask(lambda: self._store.read_into(key, offset, room))

    def while_reading(self, work: Callable[[], None]) -> None:
        """See the port: to change threads for each read takes a seventh of a restore's time."""
        self._answered(lambda: self._hands.work(work))

    def head(self, key: str) -> ObjectInfo | None:
        """See the port."""
        return self._ask(lambda: self._store.head(key))

    def list(self, prefix: str, *, after: str = "") -> Iterator[ObjectInfo]:
        """See the port."""
        return self._each(self._store.list(prefix, after=after))

    def delete(self, key: str) -> None:
        """See the port."""
        self._ask(lambda: self._store.delete(key))

    def local_path(self, key: str) -> str | None:
        """See the port. Raises as `head`, too."""
        return self._ask(lambda: self._store.local_path(key))

    def blocked_by(self, key: str) -> str | None:
        """See the port."""
        return self._ask(lambda: self._store.blocked_by(key))

    def no_objects(self, folder: str) -> Iterator[str]:
        """See the port."""
        return self._each(self._store.no_objects(folder))

    def sweep(self, folder: str) -> Sequence[str]:
        """See the port."""
        return self._ask(lambda: self._store.sweep(folder))

    def set_aside(self, key: str, aside: str) -> None:
        """See the port."""
        self._ask(lambda: self._store.set_aside(key, aside))

    def close(self) -> None:
        """Sync what is owed; nothing where the disk is silent: what is not durable was told to nobody as that."""
        if not self._hands.hang:
            self._ask(self._store.close)
        self._hands.close()

    def _each(self, found: Iterator[T]) -> Iterator[T]:
        """Some at a time: a step of the disk is none of the thread's that asks."""
        while some := self._ask(lambda: [*islice(found, _TOGETHER)]):
            yield from some


class _StepByStep(LocalDisk):
    """A disk whose steps are told to the call that takes them; one that was given up takes none but to clean up."""

    def make_folder(self, path: str) -> bool:
        """See `Disk`."""
        step()
        return super().make_folder(path)

    def create(self, path: str) -> int:
        """See `Disk`."""
        step()
        return super().create(path)

    def write(self, descriptor: int, buffers: Sequence[memoryview]) -> None:
        """See `Disk`."""
        step()
        super().write(descriptor, buffers)

    def sync(self, descriptor: int) -> None:
        """See `Disk`."""
        step()
        super().sync(descriptor)

    def sync_folder(self, path: str) -> None:
        """See `Disk`."""
        step()
        super().sync_folder(path)

    def link(self, source: str, target: str) -> None:
        """See `Disk`."""
        step()
        super().link(source, target)

    def rename(self, source: str, target: str) -> None:
        """See `Disk`."""
        step()
        super().rename(source, target)
