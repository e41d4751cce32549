"""Holding what is read: whoever reads long puts a pin on each tier, renews it, and takes it away.

Promise: what was on a tier when `pinned` read its log, and that the pin names, is deleted there by no prune while the
pin is renewed (ADR 0076). A tier that takes no pin is told, with the reason, and read all the same. No lock: nobody
waits for a pin, and one whose holder died keeps for an hour or so, by the looks of those who prune; on the machine
where it died, no longer (`holder`).
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from msgspec.structs import replace

from repository.errors import RepositoryError, SnapshotNotFound
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.retention.holder import holder_of
from repository.stored.pin import PIN_ID_LENGTH, Pin, encode_pin, pin_object_key, seen_object_key
from repository.stored.snapshot import Snapshot

BEAT_SECONDS: Final = 60.0
END_SECONDS: Final = 5.0
"""How long the end waits for a renewal that is under way."""


class Pinning:
    """Pins of one reader. `unpinned`: tiers (by name) where nothing is held, and why; `lapsed`: where a pin that stood
    was gone: what it named may have been deleted. `forgotten`: those of them on which all that it named is forgotten by
    now, as their logs say. `tiers`: where pins were put. Thread-safe.
    """

    def __init__(self, repository: Repository, pin: Pin) -> None:
        self._repository = repository
        self._pin = pin
        self._id = repository.randomness.token_bytes(PIN_ID_LENGTH)
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self._beats: dict[str, int] = {}
        self.tiers: list[OpenTier] = []
        self.unpinned: dict[str, RepositoryError] = {}
        self.lapsed: set[str] = set()
        self.forgotten: set[str] = set()

    @property
    def id(self) -> str:
        """The pin's id (hex), the same on each tier."""
        return self._id.hex()

    def words(self) -> dict[str, str]:
        """By tier, why nothing is held there (any more): a code and what it says."""
        told = {name: f"{error} [{error.code}]" for name, error in self.unpinned.items()}
        told |= dict.fromkeys(self.lapsed, "the pin was let go before the end [pin-lapsed]")
        taken = "the pin was let go and what it held is forgotten: what is lost there a prune took [pin-lapsed]"
        return told | dict.fromkeys(self.forgotten, taken)

    def begin(self, tiers: Sequence[OpenTier]) -> None:
        """Put the pins, then read the logs anew: what they call forgotten or swept by now is not counted on."""
        for tier in tiers:
            try:
                self._put(tier, self._pin)
                self.tiers.append(tier)
                tier.refresh()
            except RepositoryError as error:
                self.unpinned[tier.name] = error
        for tier in self.tiers:
            thread = threading.Thread(target=self._renew, args=(tier,), name=f"pin-{tier.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """Take the pins away. One that cannot be deleted says that it is over, or dies by itself."""
        self._over.set()
        for thread in self._threads:
            thread.join(END_SECONDS)
        for tier in self.tiers:
            with suppress(RepositoryError):
                remove(self._repository, tier, self._id)

    def _put(self, tier: OpenTier, pin: Pin) -> None:
        body = encode_pin(pin, self._id, self._repository.keys.root, self._repository.randomness)
        tier.store.put(pin_object_key(self._id), body)

    def renew(self, tier: OpenTier) -> None:
        """Raise the beat on one tier. Raises the store's errors."""
        beat = self._beats[tier.name] = self._beats.get(tier.name, self._pin.beat) + 1
        if tier.store.head(pin_object_key(self._id)) is None:
            self.lapsed.add(tier.name)
        self._put(tier, replace(self._pin, beat=beat))

    def look_again(self) -> None:
        """Something was lost where pins stood: see whether they do still, and whether what they named is forgotten.

        A tier that does not answer is not judged.
        """
        named = {each.hex() for each in self._pin.snapshots}
        for tier in self.tiers:
            with suppress(RepositoryError):
                if tier.store.head(pin_object_key(self._id)) is None:
                    self.lapsed.add(tier.name)
                if tier.name in self.lapsed and named and named <= tier.refresh().forgotten.keys():
                    self.forgotten.add(tier.name)

    def _renew(self, tier: OpenTier) -> None:
        while not self._over.wait(BEAT_SECONDS):
            # A tier that is away for a moment gets the next one.
            with suppress(RepositoryError):
                self.renew(tier)


@contextmanager
def pinned(
    repository: Repository,
    what: str,
    snapshots: Collection[str] = (),
    *,
    everything: bool = False,
    only: Collection[str] = (),
) -> Iterator[Pinning]:
    """Hold what these snapshots (ids) need, or `everything`, on each ready tier (of `only` these) as long as the block.

    `what`: the work, in a word, for whoever asks who holds. Raises `SnapshotNotFound`: one was forgotten meanwhile.
    """
    ids = tuple(bytes.fromhex(each) for each in snapshots)
    pin = Pin(beat=1, time_ns=repository.clock.now_ns(), holder=holder_of(what), snapshots=ids, everything=everything)
    pinning = Pinning(repository, pin)
    tiers = [tier for tier in repository.ready_tiers() if not only or tier.name in only]
    having = [tier for tier in tiers if not snapshots or any(each in tier.snapshots() for each in snapshots)]
    try:
        pinning.begin(having or tiers)
        _expect_not_forgotten(repository, snapshots)
        yield pinning
    finally:
        pinning.end()


def reading_tiers(repository: Repository, snapshot: Snapshot) -> list[OpenTier]:
    """The tiers that may be read for a snapshot: those that have it; if its entries are lost, any may have it whole."""
    return repository.tiers_with(snapshot) or repository.readable_tiers()


def remove(repository: Repository, tier: OpenTier, pin_id: bytes) -> None:
    """Let a pin go, whoever put it: what is left of one that must not be deleted says that it is over.

    Raises the store's errors.
    """
    key = pin_object_key(pin_id)
    try:
        tier.store.delete(key)
    except RepositoryError:
        over = Pin(beat=0, time_ns=repository.clock.now_ns(), holder="", is_over=True)
        tier.store.put(key, encode_pin(over, pin_id, repository.keys.root, repository.randomness))
    with suppress(RepositoryError):
        tier.store.delete(seen_object_key(pin_id))


def _expect_not_forgotten(repository: Repository, snapshots: Collection[str]) -> None:
    forgotten: set[str] = set().union(*(tier.log.state.forgotten for tier in repository.readable_tiers()))
    for identity in snapshots:
        if identity in forgotten and not any(identity in tier.snapshots() for tier in repository.readable_tiers()):
            raise SnapshotNotFound("the snapshot was forgotten just now", id=identity)
