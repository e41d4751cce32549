"""Looking at the pins of a tier: which keep something, and whose holders are dead.

Promise: a pin is called dead only where its holder is a process of this machine that is gone, or the same beat was
seen twice, an hour or more apart by the tier's own time; where that is this machine's clock, which somebody may set,
the beat was watched as well, by one that nobody sets. What
cannot be read, or says more than this version knows, is never dead, and keeps everything until it is let go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from repository.errors import ObjectMissing, PinNotFound, RepositoryError
from repository.index.pack_catalog import is_fault_of_object
from repository.opened.open_tier import OpenTier
from repository.opened.repository import Repository
from repository.retention.holder import has_ended
from repository.retention.pins import remove
from repository.stored.object_reading import read_object
from repository.stored.pin import (
    PIN_PREFIX,
    Pin,
    PinSeen,
    decode_pin,
    encode_pin,
    pin_object_key,
    pin_of,
    seen_object_key,
)

SILENT_AFTER: Final = timedelta(hours=1)
WATCH_SECONDS: Final = 150.0
_STEP_SECONDS: Final = 0.25


@dataclass
class PinFound:
    """A pin on a tier. `pin`: None where it cannot be read, and `error` says why. `silent_since`: the first look at its
    present beat, by the tier's time; None: it was not looked at before. `is_dead`: its holder has not renewed it.
    """

    tier: str
    id: bytes
    pin: Pin | None
    error: RepositoryError | None = None
    silent_since: datetime | None = None
    is_dead: bool = False


def look(
    repository: Repository,
    tier: OpenTier,
    *,
    is_noted: bool = True,
    check_cancelled: Callable[[], None] = lambda: None,
) -> list[PinFound]:
    """The pins on the tier that keep something, and the dead. `is_noted`: the look is remembered there, and the dead
    are taken away (and told once more here), with notes of pins that are gone: who took one away died before its note.
    Raises the store's errors.
    """
    named = [name for info in tier.store.list(PIN_PREFIX) if (name := pin_of(info.key))]
    ids = [pin_id for pin_id, is_note in named if not is_note]
    for pin_id in {pin_id for pin_id, is_note in named if is_note}.difference(ids) if is_noted else ():
        with suppress(RepositoryError):
            tier.store.delete(seen_object_key(pin_id))
    found = [each for pin_id in ids if (each := _read(repository, tier, pin_id)) is not None]
    if not found:
        return []
    gone = [each for each in found if each.pin and has_ended(each.pin.holder)]
    left = [each for each in found if each not in gone]
    now = tier.store.now()
    silent = [
        each for each in left if each.pin and _is_silent(repository, tier, each, each.pin.beat, now, is_noted=is_noted)
    ]
    if is_noted and silent and tier.store.capabilities.local:
        silent = _watched(repository, tier, silent, check_cancelled)
    for each in [*gone, *silent]:
        each.is_dead = True
        if is_noted:
            with suppress(RepositoryError):
                remove(repository, tier, each.id)
    return found


def release(repository: Repository, pin_id: str, only: Sequence[str] = ()) -> dict[str, RepositoryError | None]:
    """Let a pin go on each ready tier (of `only` these) that has it, whether it can be read or not.

    `pin_id`: hex, or the beginning of one. By tier, why it could not be let go; None: it is gone. Raises `PinNotFound`,
    `NoUsableTier`.
    """
    repository.any_ready()
    done: dict[str, RepositoryError | None] = {}
    there: dict[str, set[bytes]] = {}
    for tier in repository.ready_tiers():
        if only and tier.name not in only:
            continue
        try:
            names = (pin_of(info.key) for info in tier.store.list(PIN_PREFIX))
            there[tier.name] = {each[0] for each in names if each and not each[1] and each[0].hex().startswith(pin_id)}
        except RepositoryError as error:
            done[tier.name] = error
    matching = set[bytes]().union(*there.values())
    if len(matching) > 1:
        raise PinNotFound("several pins begin with this id", id=pin_id, matches=len(matching))
    if not matching:
        raise next((each for each in done.values() if each), PinNotFound("no pin has this id", id=pin_id))
    for name in (name for name, ids in there.items() if ids):
        try:
            remove(repository, repository.tier(name), *matching)
            done[name] = None
        except RepositoryError as error:
            done[name] = error
    return done


def _read(repository: Repository, tier: OpenTier, pin_id: bytes) -> PinFound | None:
    try:
        pin = decode_pin(read_object(tier.store, pin_object_key(pin_id)), Pin, pin_id, repository.keys)
    except ObjectMissing:
        return None  # its holder is done
    except RepositoryError as error:
        if not is_fault_of_object(error):
            raise
        return PinFound(tier.name, pin_id, None, error)
    return None if pin.is_over else PinFound(tier.name, pin_id, pin)


def _is_silent(
    repository: Repository, tier: OpenTier, found: PinFound, beat: int, now: datetime, *, is_noted: bool
) -> bool:
    """Whether its beat was the same long before; else the look is noted, where it is the first at this beat."""
    seen: PinSeen | None = None
    with suppress(RepositoryError):
        seen = decode_pin(read_object(tier.store, seen_object_key(found.id)), PinSeen, found.id, repository.keys)
    now_ns = int(now.timestamp() * 1e9)
    # A note from the future is of no use: the clock was set back since.
    if seen is not None and seen.beat == beat and seen.at_ns <= now_ns:
        found.silent_since = datetime.fromtimestamp(seen.at_ns / 1e9, UTC)
        return now - found.silent_since >= SILENT_AFTER
    if is_noted:
        note = PinSeen(beat=beat, at_ns=now_ns)
        with suppress(RepositoryError):
            body = encode_pin(note, found.id, repository.keys.root, repository.randomness)
            tier.store.put(seen_object_key(found.id), body)
    return False


def _watched(
    repository: Repository, tier: OpenTier, silent: Sequence[PinFound], check_cancelled: Callable[[], None]
) -> list[PinFound]:
    """Those of them whose beat does not change while it is watched."""
    end = time.monotonic() + WATCH_SECONDS
    left = list(silent)
    while left and time.monotonic() < end:
        check_cancelled()
        time.sleep(_STEP_SECONDS)  # In steps: what is called off leaves within one.
    dead = []
    for each in left:
        again = _read(repository, tier, each.id)
        if again is not None and again.pin == each.pin:
            dead.append(each)
    return dead
