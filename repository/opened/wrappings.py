"""Which keys a repository has, under what they are wrapped, and the end of a wrapping.

Promise: a wrapping is taken away only where each tier has, of every key that it wraps, another one that the caller's
provider opens: whoever opens the repository today can open it afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import NamedTuple

from repository.errors import (
    Damaged,
    KeyNotFound,
    KeyNotGiven,
    KeysNotOpened,
    KeyStillNeeded,
    NoUsableTier,
    UnsupportedFormat,
    WrongKey,
)
from repository.keys import crypto
from repository.keys.key_ring import KEY_PREFIX, KeyProvider, KeyRecord, decode_wrapped_key, key_id_of, unwrap
from repository.opened import key_change
from repository.opened.open_tier import OpenTier
from repository.opened.open_tiers import OpenTiers
from repository.stored.object_reading import read_object


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
            key_id, kek_id = key_id_of(object_key), object_key.rpartition(".")[2]
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
    shut = [each for each in shut if each not in lost]
    if shut:
        raise KeysNotOpened(
            "the key that was given does not open every key of the repository", keys=len(shut), key_id=shut[0]
        )


def not_opening(repository: OpenTiers, key_id: str) -> list[str]:
    """Ids (hex) of the KEKs that open other keys of the repository and not this one."""
    found = {each.key_id: each for each in keys_of(repository) if not each.is_destroyed}
    others = {kek for each in found.values() for kek in each.wrapped_under}
    return sorted(others - found[key_id].wrapped_under.keys())


def remove_wrappings(repository: OpenTiers, kek_id: str, provider: KeyProvider) -> dict[str, int]:
    """Take away what is wrapped under this KEK (hex), on every tier; by tier, how many objects.

    All tiers that were given have to be ready: one that is away would bring them back. Raises `NoUsableTier`,
    `KeyNotFound`, `KeyStillNeeded`, `Locked` and the stores' errors; called again, it goes
    on.
    """
    for tier in repository.tiers:
        if not tier.is_ready:
            raise NoUsableTier.because(
                "a tier is away, and would bring the wrappings back",
                [tier.error],
                tier=tier.name,
                state=tier.state.value,
            )
    if kek_id == provider.kek_id().hex():
        raise KeyStillNeeded("this is the key that opens the repository now", kek_id=kek_id)
    on_tiers = {tier.name: list(_under(tier, kek_id)) for tier in repository.tiers}
    if not any(on_tiers.values()):
        raise KeyNotFound("nothing is wrapped under this key", kek_id=kek_id)
    for tier in repository.tiers:
        for object_key in on_tiers[tier.name]:
            if not _opens(repository, tier, key_id_of(object_key), provider):
                message = "a key would be lost: nothing else that this key file opens wraps it"
                hint = "`repo key add` wraps every key under the key file that is to stay."
                raise KeyStillNeeded(message, hint=hint, tier=tier.name, object_key=object_key)
    for tier in repository.tiers:
        for object_key in on_tiers[tier.name]:
            tier.store.delete(object_key)
        key_change.record_keys(repository, tier)
    return {name: len(objects) for name, objects in on_tiers.items()}


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
    """Ids (hex) of every KEK under which the present provider opened or wrapped something."""
    return sorted({object_key.rpartition(".")[2] for object_key, _ in repository.keys.proven})


def _under(tier: OpenTier, kek_id: str) -> Iterator[str]:
    for info in tier.store.list(KEY_PREFIX):
        if info.key.rpartition(".")[2] == kek_id:
            yield info.key


def _opens(repository: OpenTiers, tier: OpenTier, key_id: str, provider: KeyProvider) -> bool:
    """Whether the tier has a wrapping of the key under the provider's present KEK, and it opens."""
    object_key = f"{KEY_PREFIX}{key_id}.{provider.kek_id().hex()}"
    if tier.store.head(object_key) is None:
        return key_id in key_change.destroyed_keys(repository)
    record = KeyRecord(object_key, read_object(tier.store, object_key))
    unwrap(decode_wrapped_key(record), repository.id, provider)
    return True
