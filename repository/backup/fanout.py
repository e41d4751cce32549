"""Sends every sealed pack of a group of backups to all tiers at once, each through a queue of its own.

Promise: a slow tier holds the others up for no longer than `patience_seconds` in all, a dead one not at all: a tier
that fails is dropped for the rest of the group with its error, a tier that is too slow is dropped as *behind*
(unless it is required, then it is waited for). What a dropped tier lacks is for catch-up. A pack's
buffer goes back to the pool when the last tier is done with it. The order per tier and backup is: all packs durable
that were submitted until then, then whatever `finish` does (index segments, log entry); never the other way round.
A tier that is not dropped has every pack.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from repository.errors import LockNotProven, NoUsableTier, RepositoryError, TierBehind, TierError
from repository.format import pack_object_key
from repository.keys import crypto
from repository.opened.open_tier import OpenTier
from repository.stored.buffers import WAIT_SECONDS
from repository.stored.pack_builder import BufferPool, SealedPack
from repository.tiers.port import ObjectStore

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
    """One pack on its way: how many tiers still read its buffer, and where the buffer goes then.

    `number`: how many were submitted before it. `owner`: the backup that its bytes are counted for.
    """

    pack: SealedPack
    pool: BufferPool
    holders: int
    number: int
    owner: object
    summing: threading.Lock = field(default_factory=threading.Lock)
    sha256: bytes | None = None

    def checksum_for(self, store: ObjectStore) -> bytes | None:
        """What a tier's server checks the pack by, computed once for all; None for a folder, which checks nothing."""
        if store.capabilities.local:
            return None
        with self.summing:
            self.sha256 = self.sha256 or crypto.sha256(self.pack.body)
            return self.sha256


@dataclass(eq=False, slots=True)
class Sent:
    """What a tier acknowledged of one backup's packs. A pack with chunks of several is counted for one of them."""

    bytes: int = 0
    packs: int = 0


@dataclass(eq=False, slots=True)
class TierDelivery:
    """What one tier received. `required_by`: how many backups wait for it however slow it is."""

    tier: OpenTier
    required_by: int = 0
    state: Delivery = Delivery.SENDING
    error: Exception | None = None
    sent: dict[object, Sent] = field(default_factory=dict)
    queue: deque[_Parcel] = field(default_factory=deque)
    in_flight: int = 0
    held_up_seconds: float = 0.0
    unsent: set[int] = field(default_factory=set)
    """The numbers of the parcels that it is still to have."""
    syncing: threading.Lock = field(default_factory=threading.Lock)
    """Held while what it has is made durable, until the delivery is dropped where that fails."""

    def sent_for(self, owner: object) -> Sent:
        """Of one backup's packs."""
        return self.sent.get(owner) or Sent()

    @property
    def name(self) -> str:
        """The tier's name."""
        return self.tier.name

    @property
    def bytes_waiting(self) -> int:
        """Bytes that are queued or being sent; as a gauge, read without a lock."""
        return sum(len(parcel.pack.body) for parcel in tuple(self.queue))


@dataclass(eq=False, slots=True)
class Finished:
    """How one tier came out of one backup."""

    delivery: TierDelivery
    state: Delivery
    error: Exception | None = None
    at: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """The tier's name."""
        return self.delivery.name


class Fanout:
    """The queues of all tiers of a group of backups. `lock_until`, per tier, is passed to every put."""

    def __init__(
        self,
        tiers: Iterable[OpenTier],
        *,
        patience_seconds: float = 60.0,
        lock_until: Callable[[OpenTier], datetime | None] = lambda _tier: None,
    ) -> None:
        self.deliveries = [TierDelivery(tier) for tier in tiers]
        self._patience = patience_seconds
        self._lock_until = lock_until
        self._changed = threading.Condition()
        self._is_closed = False
        self._is_aborted = False
        self._threads: list[threading.Thread] = []
        self._submitted = 0
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

    @property
    def is_whole(self) -> bool:
        """Whether no tier was dropped."""
        return all(delivery.state is Delivery.SENDING for delivery in self.deliveries)

    def require(self, names: Collection[str], change: int = 1) -> None:
        """One backup more (or less, -1) waits for these tiers however slow they are."""
        with self._changed:
            for delivery in self.deliveries:
                if delivery.name in names:
                    delivery.required_by += change

    def submit(self, pack: SealedPack, pool: BufferPool, owner: object = None) -> None:
        """Queue a pack for every tier that is still taking some. Does not wait."""
        with self._changed:
            takers = [delivery for delivery in self.deliveries if delivery.state is Delivery.SENDING]
            parcel = _Parcel(pack, pool, len(takers), self._submitted, owner)
            self._submitted += 1
            for delivery in takers:
                delivery.queue.append(parcel)
                delivery.unsent.add(parcel.number)
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
                if delivery.held_up_seconds > self._patience and not delivery.required_by:
                    error = TierBehind("tier was too slow for this backup", tier=delivery.name)
                    self._drop(delivery, Delivery.BEHIND, error)

    def drop(self, delivery: TierDelivery, state: Delivery, error: Exception) -> None:
        """Stop sending to a tier."""
        with self._changed:
            self._drop(delivery, state, error)
        self._check_left()

    def finish(
        self, commit: Callable[[TierDelivery], None], *, check: Callable[[], None] = lambda: None
    ) -> list[Finished]:
        """Wait until each tier has all that was submitted so far, durably, and let `commit` run for each at once.

        What `commit` raises is the tier's error in this backup; the others go on. `check` is asked about twice a second
        while tiers are waited for, which may take hours, and once more behind it: what it raises ends all of it, and
        nothing was committed.
        """
        with self._changed:
            end = self._submitted
        while not self._all_have(end):
            check()
        check()
        finished = [Finished(delivery, delivery.state, delivery.error) for delivery in self.deliveries]
        finishers = [
            threading.Thread(
                target=self._finish, args=(delivery, commit, result), name=f"commit-{delivery.name}", daemon=True
            )
            for delivery, result in zip(self.deliveries, finished, strict=True)
            if result.state is Delivery.SENDING
        ]
        for thread in finishers:
            thread.start()
        for thread in finishers:
            thread.join()
        return finished

    def _all_have(self, end: int) -> bool:
        """Whether each tier has all parcels with lower numbers, or takes none any more, after a short wait."""
        with self._changed:
            return self._changed.wait_for(
                lambda: all(_has_all(delivery, end) for delivery in self.deliveries), WAIT_SECONDS
            )

    def close(self) -> None:
        """No backup is left: what is queued still goes to the tiers, then the senders end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._join()

    def abort(self) -> None:
        """Stop sending, drop the queues, wait for what is being sent. What arrived stays there for the next run."""
        with self._changed:
            self._is_aborted = True
            self._changed.notify_all()
        self._join()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _finish(self, delivery: TierDelivery, commit: Callable[[TierDelivery], None], result: Finished) -> None:
        try:
            with delivery.syncing:
                if delivery.state is not Delivery.SENDING and delivery.error is not None:
                    raise delivery.error
                try:
                    delivery.tier.store.sync()
                    commit(delivery)
                except TierError as error:
                    # What others put may be what could not be made durable, and no later sync would say so.
                    if not isinstance(error, LockNotProven):
                        self.drop(delivery, Delivery.FAILED, error)
                    raise
        except Exception as error:  # noqa: BLE001 - the tier's end, whatever it was, is its own
            result.state, result.error = Delivery.FAILED, error
            if isinstance(error, TierBehind):
                result.state = Delivery.BEHIND
        else:
            result.state = Delivery.COMMITTED
        result.at = time.monotonic()

    def _send_all(self, delivery: TierDelivery) -> None:
        while (parcel := self._next(delivery)) is not None:
            try:
                self._send(delivery, parcel)
            except Exception as error:  # noqa: BLE001 - a tier that fails must not stop the others
                self.drop(delivery, Delivery.FAILED, error)
            finally:
                with self._changed:
                    delivery.in_flight -= 1
                    delivery.unsent.discard(parcel.number)
                    self._let_go(parcel)
                    self._changed.notify_all()

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

    def _send(self, delivery: TierDelivery, parcel: _Parcel) -> None:
        pack = parcel.pack
        delivery.tier.store.put(
            pack_object_key(pack.id),
            pack.body,
            sha256=parcel.checksum_for(delivery.tier.store),
            lock_until=self._lock_until(delivery.tier),
            durable=False,
        )
        with self._changed:
            sent = delivery.sent.setdefault(parcel.owner, Sent())
            sent.bytes += len(pack.body)
            sent.packs += 1

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


def _has_all(delivery: TierDelivery, end: int) -> bool:
    """Whether the tier has all parcels with lower numbers, or takes none any more."""
    return delivery.state is not Delivery.SENDING or not any(number < end for number in delivery.unsent)


def no_tier_left(deliveries: Sequence[TierDelivery | Finished]) -> NoUsableTier:
    """The error that says of each tier why it took nothing more; the first tier's error is its cause."""
    reasons = {delivery.name: str(delivery.error) for delivery in deliveries}
    for delivery in deliveries:
        if isinstance(delivery.error, RepositoryError):
            delivery.error.context.setdefault("tier", delivery.name)
    return NoUsableTier.because("no tier takes the backup", (delivery.error for delivery in deliveries), tiers=reasons)
