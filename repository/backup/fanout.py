"""Sends every sealed pack to all tiers at once, each through a queue of its own.

Promise: a slow tier holds the others up for no longer than `patience_seconds` in all, a dead one not at all: a tier
that fails is dropped for the rest of the backup with its error, a tier that is too slow is dropped as *behind*
(unless it is required, then the backup waits for it). What a dropped tier lacks is for catch-up. A pack's
buffer goes back to the pool when the last tier is done with it. The order per tier is: all packs durable,
then whatever `finish` does (index segments, log entry); never the other way round.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from repository.errors import NoUsableTier, RepositoryError, TierBehind
from repository.format import pack_object_key
from repository.opened.open_tier import OpenTier
from repository.stored.pack_builder import BufferPool, SealedPack

UPLOADS_LOCAL: Final = 2
"""Packs written to one directory tier at a time: one waits for the disk's fsync, one is being written."""
UPLOADS_REMOTE: Final = 4
"""Packs sent to one S3 tier at a time; a single connection seldom fills a line."""


class Delivery(StrEnum):
    """How far a tier got."""

    SENDING = "sending"
    COMMITTED = "committed"
    BEHIND = "behind"  # too slow, or lacking packs from before; owed a catch-up
    FAILED = "failed"


@dataclass(slots=True)
class _Parcel:
    """One pack on its way: how many tiers still read its buffer, and where the buffer goes then."""

    pack: SealedPack
    pool: BufferPool
    holders: int


@dataclass(eq=False, slots=True)
class TierDelivery:
    """What one tier received. Bytes and packs count what the tier acknowledged."""

    tier: OpenTier
    is_required: bool
    state: Delivery = Delivery.SENDING
    error: Exception | None = None
    bytes_sent: int = 0
    packs_sent: int = 0
    seconds: float = 0.0
    queue: deque[_Parcel] = field(default_factory=deque)
    in_flight: int = 0
    held_up_seconds: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """The tier's name."""
        return self.tier.name

    @property
    def bytes_waiting(self) -> int:
        """Bytes that are queued or being sent; as a gauge, read without a lock."""
        return sum(len(parcel.pack.body) for parcel in tuple(self.queue))


class Fanout:
    """The queues of all tiers of one backup.

    `finish(delivery)` runs on a thread of the tier once all packs are durable there; it commits.
    `lock_until`, per tier, is passed to every put.
    """

    def __init__(
        self,
        tiers: Iterable[OpenTier],
        *,
        required: frozenset[str] = frozenset(),
        patience_seconds: float = 60.0,
        lock_until: Callable[[OpenTier], datetime | None] = lambda _tier: None,
    ) -> None:
        self.deliveries = [TierDelivery(tier, tier.name in required) for tier in tiers]
        self._patience = patience_seconds
        self._lock_until = lock_until
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_aborted = False
        self._threads: list[threading.Thread] = []
        self.on_no_tier_left: Callable[[RepositoryError], None] = lambda _error: None

    def start(self) -> None:
        """Start the senders."""
        for delivery in self.deliveries:
            count = UPLOADS_LOCAL if delivery.tier.store.capabilities.local else UPLOADS_REMOTE
            for number in range(count):
                name = f"tier-{delivery.name}-{number}"
                thread = threading.Thread(target=self._send_all, args=(delivery,), name=name, daemon=True)
                self._threads.append(thread)
                thread.start()

    def submit(self, pack: SealedPack, pool: BufferPool) -> None:
        """Queue a pack for every tier that is still taking some. Does not wait."""
        with self._changed:
            takers = [delivery for delivery in self.deliveries if delivery.state is Delivery.SENDING]
            parcel = _Parcel(pack, pool, len(takers))
            for delivery in takers:
                delivery.queue.append(parcel)
            self._changed.notify_all()
        if not takers:
            pool.release(pack.buffer)

    def relieve(self, waited_seconds: float) -> None:
        """Somebody waited so long for a buffer: drop a tier that has held up an idle one for too long.

        Only time in which another tier has nothing to do counts; where none has, as with tiers that are equally
        slow, what counted is forgotten as fast.
        """
        with self._changed:
            sending = [delivery for delivery in self.deliveries if delivery.state is Delivery.SENDING]
            busy = [delivery for delivery in sending if delivery.queue or delivery.in_flight]
            is_held_up = len(busy) < len(sending)
            for delivery in busy:
                change = waited_seconds if is_held_up else -waited_seconds
                delivery.held_up_seconds = max(0.0, delivery.held_up_seconds + change)
                if delivery.held_up_seconds > self._patience and not delivery.is_required:
                    error = TierBehind("tier was too slow for this backup", tier=delivery.name)
                    self._drop(delivery, Delivery.BEHIND, error)

    def drop(self, delivery: TierDelivery, state: Delivery, error: Exception) -> None:
        """Stop sending to a tier."""
        with self._changed:
            self._drop(delivery, state, error)
        self._check_left()

    def close(self, finish: Callable[[TierDelivery], None], *, check: Callable[[], None] = lambda: None) -> None:
        """No more packs: wait until each tier has all of them, and let each finish, all at the same time.

        What `finish` raises is the tier's error; the others go on. `check` is asked once all tiers have been waited
        for, which may have taken hours: what it raises ends all of it, and no tier has finished.
        """
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._join()
        check()
        finishers = [
            threading.Thread(target=self._finish, args=(delivery, finish), name=f"commit-{delivery.name}", daemon=True)
            for delivery in self.deliveries
            if delivery.state is Delivery.SENDING
        ]
        for thread in finishers:
            thread.start()
        for thread in finishers:
            thread.join()

    def abort(self) -> None:
        """Stop sending, drop the queues, wait for what is being sent. What arrived stays there for the next run."""
        with self._changed:
            self._is_aborted = True
            self._changed.notify_all()
        self._join()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _finish(self, delivery: TierDelivery, finish: Callable[[TierDelivery], None]) -> None:
        try:
            delivery.tier.store.sync()
            finish(delivery)
        except Exception as error:  # noqa: BLE001 - the tier's end, whatever it was, is its own
            delivery.state, delivery.error = Delivery.FAILED, error
            if isinstance(error, TierBehind):
                delivery.state = Delivery.BEHIND
        else:
            delivery.state = Delivery.COMMITTED
        delivery.seconds = time.monotonic() - delivery._started  # noqa: SLF001 - this module's own record

    def _send_all(self, delivery: TierDelivery) -> None:
        while (parcel := self._next(delivery)) is not None:
            try:
                self._send(delivery, parcel.pack)
            except Exception as error:  # noqa: BLE001 - a tier that fails must not stop the others
                self.drop(delivery, Delivery.FAILED, error)
            finally:
                with self._changed:
                    delivery.in_flight -= 1
                    self._let_go(parcel)

    def _next(self, delivery: TierDelivery) -> _Parcel | None:
        with self._changed:
            while True:
                if delivery.state is not Delivery.SENDING or self._is_aborted:
                    self._empty(delivery)
                    return None
                if delivery.queue:
                    delivery.in_flight += 1
                    return delivery.queue.popleft()
                if self._is_closed:
                    return None
                self._changed.wait()

    def _send(self, delivery: TierDelivery, pack: SealedPack) -> None:
        store = delivery.tier.store
        store.put(
            pack_object_key(pack.id),
            pack.body,
            sha256=pack.id,
            lock_until=self._lock_until(delivery.tier),
            durable=False,
        )
        with self._changed:
            delivery.bytes_sent += len(pack.body)
            delivery.packs_sent += 1
            delivery.seconds = time.monotonic() - delivery._started  # noqa: SLF001 - this module's own record

    def _drop(self, delivery: TierDelivery, state: Delivery, error: Exception) -> None:
        if delivery.state is Delivery.SENDING:
            delivery.state, delivery.error = state, error
            self._empty(delivery)
            self._changed.notify_all()

    def _empty(self, delivery: TierDelivery) -> None:
        while delivery.queue:
            self._let_go(delivery.queue.popleft())

    def _let_go(self, parcel: _Parcel) -> None:
        parcel.holders -= 1
        if parcel.holders == 0:
            parcel.pool.release(parcel.pack.buffer)

    def _check_left(self) -> None:
        if not any(delivery.state is Delivery.SENDING for delivery in self.deliveries):
            self.on_no_tier_left(no_tier_left(self.deliveries))


def no_tier_left(deliveries: Sequence[TierDelivery]) -> NoUsableTier:
    """The error that says of each tier why it took nothing more; the first tier's error is its cause."""
    reasons = {delivery.name: str(delivery.error) for delivery in deliveries}
    for delivery in deliveries:
        if isinstance(delivery.error, RepositoryError):
            delivery.error.context.setdefault("tier", delivery.name)
    return NoUsableTier.because("no tier takes the backup", (delivery.error for delivery in deliveries), tiers=reasons)
