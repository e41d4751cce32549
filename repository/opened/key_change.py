"""Keys that come and go: new wrappings, new domains, new generations.

Promise: no object is changed and no data is encrypted anew; after a crash in between, the same call finishes
the work. A new wrapping is on each ready tier before the log says so.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

from repository.errors import (
    Damaged,
    KeyNotGiven,
    KeysNotOpened,
    LimitExceeded,
    ObjectMissing,
    RepositoryError,
    TierBehind,
    Truncated,
    WrongKey,
)
from repository.keys import crypto
from repository.keys.key_ring import (
    DEFAULT_DOMAIN,
    KEY_PREFIX,
    ROOT_DOMAIN,
    KeyProvider,
    KeyRecord,
    WrappedKey,
    decode_wrapped_key,
    kek_id_of,
    key_id_of,
    new_keys,
    unwrap,
    wrap,
)
from repository.log.state import LogState
from repository.opened import legal_holds
from repository.opened.open_tier import OpenTier
from repository.opened.open_tiers import OpenTiers
from repository.opened.tier_state import TierState
from repository.stored.log_entry import Body, KeksEnded, KeysChanged, KeysDestroyed
from repository.stored.object_reading import read_object


def record_keys(repository: OpenTiers, tier: OpenTier, made_of: bytes | None = None) -> None:
    """Let the tier's log say which key objects there are, unless it does; `check` compares them with it.

    Only what this ring opened or made, or a log names already, is signed for: anybody may put objects there. What is
    gone stays named, so that it is missed, unless another wrapping of the same key is there. Where a hold keeps a
    snapshot that needs them, they are held. What is wrapped under a key-encryption key that was removed is named no
    more where another wrapping is. Raises the store's errors and `LegalHoldNotSet`; `UnknownKey`, where the domain of a
    new key (`made_of`: the id of its secret) was destroyed.
    """
    follow_root(repository, tier)
    end_keks(repository, tier)
    known = known_objects(repository)
    destroyed = destroyed_keys(repository)
    before = set(tier.log.state.key_objects.items())  # what is named later another one makes meanwhile
    present = {key: crypto.sha256(body).hex() for key, body in present_keys(tier)}
    tier.keys_seen = frozenset(present.items())
    ours = {object_key: digest for object_key, digest in present.items() if (object_key, digest) in known}
    held = {key_id_of(object_key) for object_key in ours}
    gone = {each for each in before if each[0] not in present and key_id_of(each[0]) in held}

    def decide(state: LogState) -> Body | None:
        if made_of is not None:  # whoever destroyed the domain meanwhile has not seen the key that was made just now
            repository.keys.expect_not_destroyed(made_of, state.destroyed_keys)
        missed = {key: each for key, each in state.key_objects.items() if (key, each) not in gone}
        objects = {key: each for key, each in (missed | ours).items() if key_id_of(key) not in destroyed}
        covered = {key_id_of(key) for key in objects if kek_id_of(key) not in state.ended_keks}
        ended = {key for key in objects if kek_id_of(key) in state.ended_keks and key_id_of(key) in covered}
        objects = {key: each for key, each in objects.items() if key not in ended}
        if state.key_objects == objects:
            return None
        return KeysChanged(time_ns=repository.clock.now_ns(), objects=objects)

    tier.log.append(decide)
    legal_holds.keep_keys(tier)


def present_keys(tier: OpenTier) -> Iterator[KeyRecord]:
    """What lies below `keys/`. Anybody may put things there: what is too long, or gone again, counts as not there.

    Raises what the store raises.
    """
    for info in tier.store.list(KEY_PREFIX):
        try:
            yield KeyRecord(info.key, read_object(tier.store, info.key))
        except (Damaged, ObjectMissing, Truncated):
            continue


def known_objects(repository: OpenTiers) -> set[tuple[str, str]]:
    """Key objects that are this repository's: key and SHA-256 (hex).

    Those of destroyed keys are left out, and those that count no more (`ended_wrappings`).
    """
    is_gone = gone_objects(repository)
    return {each for each in named_or_proven(repository) if not is_gone(each[0])}


def named_or_proven(repository: OpenTiers) -> set[tuple[str, str]]:
    """Every key object (with its SHA-256 in hex) that a log names, or that this ring opened or made."""
    logs = (tier.log.state.key_objects.items() for tier in repository.readable_tiers())
    return repository.keys.proven.union(*logs)


def ended_keks(repository: OpenTiers) -> set[str]:
    """Ids (hex) of key-encryption keys that any tier's log calls removed."""
    return {kek for each in repository.readable_tiers() for kek in each.log.state.ended_keks}


def ended_wrappings(repository: OpenTiers) -> Callable[[str], bool]:
    """Whether a key object counts no more: what wraps it was removed, and the key has another wrapping.

    It is copied to none, missed by nobody, and neither locked nor held for longer than it is. The only wrapping of a
    key (which a tier made that was away when the removal was said) counts, whatever wraps it: nothing is lost.
    """
    ended = ended_keks(repository)
    if not ended:
        return lambda _object_key: False
    covered = {key_id_of(each) for each, _ in named_or_proven(repository) if kek_id_of(each) not in ended}
    return lambda object_key: kek_id_of(object_key) in ended and key_id_of(object_key) in covered


def gone_objects(repository: OpenTiers) -> Callable[[str], bool]:
    """Whether a key object counts no more, since its key was destroyed or what wraps it was removed."""
    destroyed, is_ended = destroyed_keys(repository), ended_wrappings(repository)
    return lambda object_key: key_id_of(object_key) in destroyed or is_ended(object_key)


def end_keks(repository: OpenTiers, tier: OpenTier, keks: Collection[str] = ()) -> None:
    """Let the tier's log say that these key-encryption keys were removed, and those that another's calls so."""
    ended = ended_keks(repository).union(keks)

    def decide(state: LogState) -> Body | None:
        new = tuple(sorted(ended - state.ended_keks))
        return KeksEnded(time_ns=repository.clock.now_ns(), keks=new) if new else None

    if ended:
        tier.log.append(decide)


def refuse_ended(repository: OpenTiers, provider: KeyProvider) -> None:
    """Raises `KeyNotGiven` where what would wrap keys from now on was removed: nothing would count."""
    if (kek := provider.kek_id().hex()) in ended_keks(repository):
        hint = "Take another key file: `repo key add --new-key-file FILE` makes one where none is yet."
        raise KeyNotGiven("this key was removed: nothing is wrapped under it any more", hint=hint, kek_id=kek)


def owes_keys(repository: OpenTiers, tier: OpenTier) -> bool:
    """Whether a tier has not heard of keys, of a root or of a removal: before it is written to, `copy_keys` does it."""
    has_not_heard = ended_keks(repository) - tier.log.state.ended_keks
    return bool(lacking_keys(repository, tier) or tier.log.lags or has_not_heard)


def lacking_keys(repository: OpenTiers, tier: OpenTier) -> dict[str, str]:
    """Key objects (with their SHA-256 in hex) that other tiers' logs name and this one's does not: it was away.

    And those that its own log names and that are not there as they were written, and what this ring has opened
    elsewhere though no log names it yet: who made it died, and from now on it encrypts. Without them the tier could
    not be opened alone, or its newest snapshots could not be read. What was destroyed is not missed; nor is another
    wrapping of a key that the tier has, but one that this key provider opens.
    """
    destroyed, is_ended = destroyed_keys(repository), ended_wrappings(repository)
    own = tier.log.state.key_objects
    held = {key_id_of(object_key) for object_key in own if not is_ended(object_key)}
    seen = {key_id_of(object_key) for object_key, _ in tier.keys_seen if not is_ended(object_key)}
    there = seen | held | destroyed
    made = {key: each for key, each in repository.keys.proven if key_id_of(key) not in there and not is_ended(key)}
    return (
        _gone_keys(repository, tier)
        | made
        | {
            object_key: digest
            for source in repository.readable_tiers()
            if source is not tier
            for object_key, digest in source.log.state.key_objects.items()
            if object_key not in own
            and not is_ended(object_key)
            and key_id_of(object_key) not in destroyed
            and (key_id_of(object_key) not in held or (object_key, digest) in repository.keys.proven)
        }
    )


def _gone_keys(repository: OpenTiers, tier: OpenTier) -> dict[str, str]:
    """What the tier's own log names and it has not; what no tier has is the ring's to tell of."""
    excused = destroyed_keys(repository) | {key_id_of(object_key) for object_key in repository.keys.lost}
    is_ended = ended_wrappings(repository)
    own = [each for each in tier.log.state.key_objects.items() if not is_ended(each[0])]
    held = {key_id_of(each[0]) for each in own if each in tier.keys_seen}
    return {
        object_key: digest
        for object_key, digest in own
        if (object_key, digest) not in tier.keys_seen
        and key_id_of(object_key) not in excused
        and (key_id_of(object_key) not in held or (object_key, digest) in repository.keys.proven)
    }


def destroyed_keys(repository: OpenTiers) -> set[str]:
    """Ids (hex) of keys that any tier's log calls destroyed: nobody misses them or brings them back.

    With each goes all of its domain that was opened, also a key that was made where nobody had heard of it.
    """
    said = {key_id for each in repository.readable_tiers() for key_id in each.log.state.destroyed_keys}
    return repository.keys.with_domains(said)


def copy_keys(repository: OpenTiers, tier: OpenTier) -> int:
    """Give a tier each key object that a log names and that is not there; returns how many.

    None that was destroyed, or of which the wrapping was removed: of these the tier's log is told.

    A source that fails is passed over. Raises `TierBehind` (of one that it lacks no whole copy was to be had, so that
    nothing may be written to the tier that needs it) and what the tier raises.
    """
    lacking = lacking_keys(repository, tier)
    copied = _copy_objects(repository, tier)
    follow_root(repository, tier)
    if copied or lacking or ended_keks(repository) - tier.log.state.ended_keks:
        record_keys(repository, tier)
    if lacking and (missed := sorted(lacking_keys(repository, tier))):
        raise _lacks_key(tier, key_id_of(missed[0]))
    return copied


def _copy_objects(repository: OpenTiers, tier: OpenTier) -> int:
    """Give a tier the key objects that a log names and of which nothing has the name there; how many came."""
    there = {info.key for info in tier.store.list(KEY_PREFIX)}
    named: dict[str, str] = dict(repository.keys.proven)
    for each in repository.readable_tiers():
        named |= each.log.state.key_objects
    named |= tier.log.state.key_objects
    is_gone, copied = gone_objects(repository), 0
    for object_key, digest in named.items():
        if object_key in there or is_gone(object_key):
            continue
        for source in repository.readable_tiers():
            try:
                body = read_object(source.store, object_key) if source is not tier else b""
            except RepositoryError:
                continue
            if crypto.sha256(body).hex() == digest:
                tier.store.put(object_key, body, if_absent=True, lock_until=tier.held_until())
                copied += 1
                break
    return copied


def bring_keys(repository: OpenTiers, tier: OpenTier) -> None:
    """Give a tier the keys of which it has not heard, before anything is written to it that needs them.

    Without them it could not be read alone. Raises `TierBehind` (no whole copy of one was to be had, and nothing may be
    written) and what the tier raises.
    """
    lacking = set(lacking_keys(repository, tier).items())
    root = repository.keys.root.key_id.hex()
    roots = {each for each in named_or_proven(repository) if key_id_of(each[0]) == root} if tier.log.lags else set()
    if not lacking and not roots:
        return
    _copy_objects(repository, tier)
    # By their bytes: anybody may put something under such a name.
    missed = sorted(key_id_of(each[0]) for each in lacking if not _lies_there(tier, *each))
    if roots and not any(_lies_there(tier, *each) for each in roots):
        missed.append(root)
    if missed:
        raise _lacks_key(tier, missed[0])


def _lies_there(tier: OpenTier, object_key: str, digest: str) -> bool:
    try:
        return crypto.sha256(read_object(tier.store, object_key)).hex() == digest
    except (Damaged, ObjectMissing, Truncated):
        return False


def _lacks_key(tier: OpenTier, key_id: str) -> TierBehind:
    hint = "Give the command a tier that has the key object, or look at what lies in its place (`repo check`)."
    message = "tier lacks a key that others have, and no whole copy of it was found"
    return TierBehind(message, hint=hint, tier=tier.name, key_id=key_id)


def follow_root(repository: OpenTiers, tier: OpenTier) -> None:
    """Let a tier's log say which root is in force, unless it does. Raises what the tier raises."""
    root = repository.keys.root
    if tier.log.lags:
        bring_keys(repository, tier)
        tier.log.change_root(root, tier.witnesses())


def find_key(repository: OpenTiers, key_id: bytes, provider: KeyProvider) -> None:
    """Look for a key that was made since the repository was opened, and add it to the ring.

    A tier that does not answer is passed over. Raises `KeysNotOpened` where the provider does not open it.
    """
    shut = ""
    for tier in [each for each in repository.tiers if each.state is not TierState.UNREACHABLE]:
        with suppress(RepositoryError):
            for info in tier.store.list(f"{KEY_PREFIX}{key_id.hex()}."):
                try:
                    record = KeyRecord(info.key, read_object(tier.store, info.key))
                    repository.keys.add(unwrap(decode_wrapped_key(record), repository.id, provider))
                except WrongKey:
                    shut = info.key
                    continue
                repository.keys.proven.add((info.key, crypto.sha256(record.body).hex()))
                return
    if shut:
        hint = "Use the key file of the last rotation."
        raise KeysNotOpened("the key that was given does not open a root of the repository", hint=hint, object_key=shut)


def rewrap(repository: OpenTiers, new_provider: KeyProvider) -> dict[str, RepositoryError | None]:
    """Wrap every key under the new provider's present KEK too; says of each ready tier whether it has them.

    The old wrappings stay: who has the old KEK can still open. `wrappings.remove_wrappings` ends that. Raises
    `KeyNotGiven` (the new one was removed) and what the provider raises.
    """
    refuse_ended(repository, new_provider)
    kept = [keys for keys in repository.keys.all() if keys.key_id.hex() not in repository.keys.destroyed]
    return _store(repository, [wrap(keys, new_provider) for keys in kept], new_provider)


def add_generation(
    repository: OpenTiers, provider: KeyProvider, domain: str = DEFAULT_DOMAIN
) -> dict[str, RepositoryError | None]:
    """A new key for what a domain writes from now on; a domain that is new begins with generation 1.

    What is stored under the keys before is recognised, and stays readable. A domain may be wrapped under a KEK of its
    own: whoever has not that one opens all but the domain. Raises `LimitExceeded` (name of the
    domain), `KeyNotGiven`, and what the provider raises; per tier as `rewrap`.
    """
    if not domain or len(domain.encode()) > 255:
        raise LimitExceeded("name of a key domain has 1 to 255 bytes", length=len(domain))
    if domain == ROOT_DOMAIN:
        hint = "`repo key rotate --root` changes the root; for what is backed up choose another name."
        raise KeyNotGiven("this key domain is that of the repository's own root", hint=hint, domain=domain)
    refuse_ended(repository, provider)
    repository.keys.expect_none_lost()
    own = [keys for keys in repository.keys.all() if keys.domain == domain]
    if own:
        repository.keys.active(domain)  # nothing follows a key that was destroyed
        keys = own[-1].next_generation(repository.randomness)
    else:
        keys = new_keys(repository.id, domain, randomness=repository.randomness)
    stored = _store(repository, [wrap(keys, provider)], provider, keys.identity_id)
    if own and own[-1].key_id.hex() in destroyed_keys(repository):
        _destroy(repository, keys.key_id.hex())
        repository.keys.active(domain)
    # Only a key that is safe somewhere may encrypt anything.
    if any(error is None for error in stored.values()):
        repository.keys.add(keys)
    for tier in repository.ready_tiers():
        if stored.get(tier.name, keys) is None:
            try:
                legal_holds.keep_keys(tier)  # of the ring's keys, of which it is one now
            except RepositoryError as error:
                stored[tier.name] = error
    return stored


def put_wrapped(repository: OpenTiers, tier: OpenTier, wrapped: list[WrappedKey], provider: KeyProvider) -> None:
    """Put these wrappings on a tier; its log does not name them yet. Raises what the tier raises."""
    present = {info.key for info in tier.store.list(KEY_PREFIX)}
    for key in wrapped:
        body = key.encode()
        if key.object_key not in present:
            tier.store.put(key.object_key, body, if_absent=True, lock_until=tier.held_until())
        else:
            # Of an earlier call that was interrupted: if it is, it opens.
            body = read_object(tier.store, key.object_key)
            unwrap(decode_wrapped_key(KeyRecord(key.object_key, body)), repository.id, provider)
        repository.keys.proven.add((key.object_key, crypto.sha256(body).hex()))


def _destroy(repository: OpenTiers, key_id: str) -> None:
    """Its domain was destroyed while it was made: it goes, too, from wherever it lies by now."""
    new = KeysDestroyed(time_ns=repository.clock.now_ns(), key_ids=(key_id,))
    for tier in repository.ready_tiers():
        with suppress(RepositoryError):
            tier.log.append(lambda state: None if key_id in state.destroyed_keys else new)
    repository.keys.destroyed = destroyed_keys(repository)


def _store(
    repository: OpenTiers, wrapped: list[WrappedKey], provider: KeyProvider, made_of: bytes | None = None
) -> dict[str, RepositoryError | None]:
    outcome: dict[str, RepositoryError | None] = {}
    for tier in repository.ready_tiers():
        try:
            put_wrapped(repository, tier, wrapped, provider)
            record_keys(repository, tier, made_of)
            outcome[tier.name] = None
        except RepositoryError as error:
            outcome[tier.name] = error
    return outcome
