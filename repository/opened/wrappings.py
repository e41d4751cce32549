"""Which keys a repository has, under what they are wrapped, and the end of a wrapping.

Promise: a wrapping is taken away only where each tier has, of every key that it wraps, another one that the caller's
provider opens: whoever opens the repository today can open it afterwards. It is on record before anything is deleted,
so that nothing brings it back, and what a lock keeps is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Final, NamedTuple

from repository.errors import (
    AccessDenied,
    Damaged,
    KeyNotFound,
    KeyNotGiven,
    KeysNotOpened,
    KeyStillNeeded,
    LegalHoldNotSet,
    Locked,
    NoUsableTier,
    RepositoryError,
    UnknownKey,
    UnsupportedFormat,
    WrongKey,
)
from repository.keys import crypto
from repository.keys.key_ring import (
    KEY_PREFIX,
    KeyProvider,
    KeyRecord,
    decode_wrapped_key,
    kek_id_of,
    key_id_of,
    unwrap,
)
from repository.opened import key_change, legal_holds
from repository.opened.open_tier import OpenTier
from repository.opened.open_tiers import OpenTiers
from repository.stored.object_reading import read_object

QUARANTINE_PREFIX: Final = "quarantine/"


class KeyCopy(NamedTuple):
    """A wrapped key that lies on a tier. `locked_until` is None where no lock is known to keep it."""

    object_key: str
    locked_until: datetime | None


@dataclass
class TierRid:
    """What became of one tier: `removed`, object keys; `left`: what still lies there, by object key, and why."""

    removed: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    failed: RepositoryError | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the tier has nothing any more that is wrapped under the KEK."""
        return self.failed is None and not self.left


class KeyFound(NamedTuple):
    """One key of the repository. `wrapped_under`: ids (hex) of the KEKs that open it, each with the tiers (names) whose
    logs name such a wrapping. `domain` and `generation` are None where this provider does not open it; `is_active` is
    where that is not known, since a key that is not opened may be newer.
    """

    key_id: str
    domain: str | None
    generation: int | None
    is_active: bool | None
    is_destroyed: bool
    wrapped_under: dict[str, list[str]]


def keys_of(repository: OpenTiers) -> list[KeyFound]:
    """Every key that some tier's log names, and those that were destroyed."""
    opened = {keys.key_id.hex(): keys for keys in repository.keys.all()}
    destroyed = key_change.destroyed_keys(repository)
    newest = {keys.domain: keys.key_id.hex() for keys in repository.keys.all()}
    under: dict[str, dict[str, list[str]]] = {each: {} for each in (*opened, *destroyed)}
    for tier in repository.readable_tiers():
        for object_key in tier.log.state.key_objects:
            key_id, kek_id = key_id_of(object_key), kek_id_of(object_key)
            under.setdefault(key_id, {}).setdefault(kek_id, []).append(tier.name)
    all_opened = all(key_id in opened or key_id in destroyed for key_id in under)
    found = [
        KeyFound(
            key_id,
            opened[key_id].domain if key_id in opened else None,
            opened[key_id].generation if key_id in opened else None,
            _is_active(key_id in newest.values(), key_id in opened, key_id in destroyed, all_opened=all_opened),
            key_id in destroyed,
            wrappings,
        )
        for key_id, wrappings in under.items()
    ]
    return sorted(found, key=lambda each: (each.domain or "~", each.generation or 0, each.key_id))


def _is_active(is_newest: bool, is_opened: bool, is_destroyed: bool, *, all_opened: bool) -> bool | None:
    if is_destroyed:
        return False
    if not is_opened or (is_newest and not all_opened):
        return None
    return is_newest


def refuse_unopened(repository: OpenTiers) -> None:
    """Raises `KeysNotOpened` where a log names keys that this provider does not open: whoever writes must read all."""
    shut = [each.key_id for each in keys_of(repository) if each.domain is None and not each.is_destroyed]
    lost = {key_id_of(object_key) for object_key in repository.keys.lost}
    shut = [each for each in shut if each not in lost and not _is_found(repository, each)]
    if shut:
        raise KeysNotOpened(
            "the key that was given does not open every key of the repository", keys=len(shut), key_id=shut[0]
        )


def _is_found(repository: OpenTiers, key_id: str) -> bool:
    """Whether a key was made since the keys were read, and opens."""
    with suppress(UnknownKey):
        repository.keys.by_id(bytes.fromhex(key_id))
        return True
    return False


def not_opening(repository: OpenTiers, key_id: str) -> list[str]:
    """Ids (hex) of the KEKs that open other keys of the repository and not this one."""
    found = {each.key_id: each for each in keys_of(repository) if not each.is_destroyed}
    others = {kek for each in found.values() for kek in each.wrapped_under}
    return sorted(others - found[key_id].wrapped_under.keys())


def remove_wrappings(repository: OpenTiers, kek_id: str, provider: KeyProvider) -> dict[str, TierRid]:
    """Take away what is wrapped under this KEK (hex), on every tier; by tier, what became of it.

    First each tier's log says that the KEK was removed: from then on nothing brings its wrappings back, locks or holds
    them. Then they are deleted, and what repairs set aside of them; what a lock keeps is told, and the same call goes
    on when it has ended. All tiers that were given have to be ready. Raises `NoUsableTier`, `KeyNotFound`,
    `KeyStillNeeded` (nothing was said or deleted) and the stores' errors; what fails on one tier once the first log
    says it is told of that tier.
    """
    for tier in repository.tiers:
        if not tier.is_ready:
            raise NoUsableTier.because(
                "a tier is away, and would keep the wrappings",
                [tier.error],
                tier=tier.name,
                state=tier.state.value,
            )
    if kek_id == provider.kek_id().hex():
        raise KeyStillNeeded("this is the key that opens the repository now", kek_id=kek_id)
    key_change.refuse_ended(repository, provider)
    on_tiers = {tier.name: _under(tier, kek_id) for tier in repository.tiers}
    if not any(on_tiers.values()) and kek_id not in key_change.ended_keks(repository):
        raise KeyNotFound("nothing is wrapped under this key", kek_id=kek_id)
    # Whoever has the stolen key may put there what bears its name: of what is nobody's key nothing is lost.
    known = {key_id_of(object_key) for object_key, _ in key_change.named_or_proven(repository)}
    for tier in repository.tiers:
        for object_key in on_tiers[tier.name]:
            key_id = key_id_of(object_key.removeprefix(QUARANTINE_PREFIX))
            if key_id in known and not _opens(repository, tier, key_id, provider):
                message = "a key would be lost: nothing else that this key file opens wraps it"
                hint = "`repo key add` wraps every key under the key file that is to stay."
                raise KeyStillNeeded(message, hint=hint, tier=tier.name, object_key=object_key)
    done = {tier.name: TierRid() for tier in repository.tiers}
    for tier in repository.tiers:
        with _told(done[tier.name]):
            key_change.end_keks(repository, tier, [kek_id])
    errors = [each.failed for each in done.values() if each.failed is not None]
    if len(errors) == len(done):
        raise errors[0]
    for tier in repository.tiers:
        result = done[tier.name]
        if result.failed is None:
            with _told(result):
                # Before they are deleted: what another one wraps is named and held no more.
                key_change.record_keys(repository, tier)
                for object_key in on_tiers[tier.name]:
                    if (why := delete_copy(tier, object_key, is_held=False)) is None:
                        result.removed.append(object_key)
                    else:
                        result.left[object_key] = why
                result.left |= left_beside(tier, partial(_is_under, kek_id))
                tier.keys_seen = frozenset(each for each in tier.keys_seen if each[0] not in result.removed)
    return done


@contextmanager
def _told(result: TierRid) -> Iterator[None]:
    try:
        yield
    except RepositoryError as error:
        result.failed = error


def left_of_removed(repository: OpenTiers) -> dict[str, dict[str, list[KeyCopy]]]:
    """What still lies on ready tiers under KEKs that were removed, by KEK (hex) and tier: it opens what it wraps.

    KEKs of which nothing is left are in it as well. Raises the stores' errors.
    """
    ready = repository.ready_tiers()
    return {
        kek_id: {
            tier.name: [KeyCopy(each, locked_until(tier, each)) for each in found]
            for tier in ready
            if (found := _under(tier, kek_id))
        }
        for kek_id in sorted(key_change.ended_keks(repository))
    }


def give_all_keys(repository: OpenTiers) -> dict[str, RepositoryError | None]:
    """Let each ready tier have, and its log name, every key that is known here: also one of which who made it died
    before all tiers had it. By tier, why it does not; None: it does.
    """
    outcome: dict[str, RepositoryError | None] = {}
    for tier in repository.ready_tiers():
        try:
            key_change.copy_keys(repository, tier)
            key_change.record_keys(repository, tier)
            outcome[tier.name] = None
        except RepositoryError as error:
            outcome[tier.name] = error
    return outcome


def refuse_if_opens(repository: OpenTiers, provider: KeyProvider) -> None:
    """Raises `KeyNotGiven` where this provider opens every key on every ready tier already.

    A passphrase wrapped a second time would be two KEKs, of which the end of one ends nothing. One that opens a part
    (a call that was interrupted) goes on under the KEK that it has.
    """
    kept = {keys.key_id.hex() for keys in repository.keys.all()} - key_change.destroyed_keys(repository)
    known = key_change.known_objects(repository)
    lacks = False
    for tier in repository.ready_tiers():
        opened: set[str] = set()
        for record in key_change.present_keys(tier):
            if (record.object_key, crypto.sha256(record.body).hex()) in known:
                with suppress(WrongKey, Damaged, UnsupportedFormat):
                    unwrap(decode_wrapped_key(record), repository.id, provider)
                    opened.add(key_id_of(record.object_key))
        lacks = lacks or bool(kept - opened)
    if not lacks:
        hint = "Take another one; `repo key list` shows what the keys are wrapped under."
        raise KeyNotGiven("the new passphrase opens the repository already", hint=hint)


def keks_of(repository: OpenTiers) -> list[str]:
    """Ids (hex) of every KEK under which the present provider opened or wrapped something, removed ones aside."""
    own = {kek_id_of(object_key) for object_key, _ in repository.keys.proven}
    return sorted(own - key_change.ended_keks(repository))


def _under(tier: OpenTier, kek_id: str) -> list[str]:
    """What is wrapped under it, and what a repair set aside of that."""
    keys = (info.key for prefix in (KEY_PREFIX, QUARANTINE_PREFIX + KEY_PREFIX) for info in tier.store.list(prefix))
    return [key for key in keys if _is_under(kek_id, key)]


def _is_under(kek_id: str, object_key: str) -> bool:
    """Whether this is the name of a wrapping under it; what was set aside has another ending of its own."""
    aside = object_key.startswith(QUARANTINE_PREFIX)
    return kek_id_of(object_key.rpartition(".")[0] if aside else object_key) == kek_id


def locked_until(tier: OpenTier, object_key: str) -> datetime | None:
    """Until when a lock keeps the object; None where none is known to. Raises the store's errors."""
    if tier.store.capabilities.locks is False:
        return None
    found = tier.store.head(object_key)
    until = found.lock_until if found is not None else None
    return until if until is not None and until > tier.store.now() else None


def delete_copy(tier: OpenTier, object_key: str, *, is_held: bool = True) -> str | None:
    """Delete a wrapped key with all its versions; says why it is still there, None where it is gone.

    `is_held`: False where no hold is to keep it any more: then it is taken away first. Raises the store's errors.
    """
    try:
        if not is_held and tier.store.capabilities.locks is not False and tier.store.legal_hold(object_key):
            legal_holds.set_on(tier.store, {object_key: None}, is_on=False)
        tier.store.delete(object_key)
        is_left = tier.store.head(object_key) is not None
    except Locked:
        until = locked_until(tier, object_key)
        return f"locked until {until.isoformat()}" if until else "an older version is locked"
    except LegalHoldNotSet:
        return "a legal hold is on it, and the credentials may not take it away"
    except AccessDenied:
        return "the credentials may not delete it"
    return "it is still there after it was deleted" if is_left else None


def left_beside(tier: OpenTier, is_meant: Callable[[str], bool]) -> dict[str, str]:
    """What lies where wrapped keys do and is no object, by key, and why it is there: a link in a key's place, say, or
    what a writer has not given its name yet; what dead ones left is removed. `is_meant`: of these keys. Raises the
    store's errors.
    """
    found: dict[str, str] = {}
    for folder in (KEY_PREFIX.rstrip("/"), (QUARANTINE_PREFIX + KEY_PREFIX).rstrip("/")):
        for key in tier.store.sweep(folder):
            found[key] = "it could not be removed, or somebody is writing it: nobody can say which key is in it"
        for key in filter(is_meant, tier.store.no_objects(folder)):
            found[key] = f"{tier.store.blocked_by(key)}, which is no object"
    return found


def _opens(repository: OpenTiers, tier: OpenTier, key_id: str, provider: KeyProvider) -> bool:
    """Whether the tier has a wrapping of the key under the provider's present KEK, and it opens."""
    object_key = f"{KEY_PREFIX}{key_id}.{provider.kek_id().hex()}"
    if tier.store.head(object_key) is None:
        return key_id in key_change.destroyed_keys(repository)
    record = KeyRecord(object_key, read_object(tier.store, object_key))
    unwrap(decode_wrapped_key(record), repository.id, provider)
    return True
