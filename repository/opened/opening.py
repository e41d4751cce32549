"""Finding out what lies on the tiers: config and keys, before anything is believed.

Promise: one tier that answers and is whole is enough; what is wrong with the others is said of each. All are asked
at once; a tier that hangs is waited for only so long once another has answered (`Patience`).
"""

import math
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from repository.errors import (
    AccessDenied,
    Damaged,
    NotARepository,
    NoUsableTier,
    ObjectMissing,
    PlaceBlocked,
    RepositoryError,
    TierUnreachable,
    TooFewDescriptors,
    Truncated,
    UnknownKey,
    UnsupportedFormat,
    WrongKey,
    about,
)
from repository.index.pack_catalog import PACK_PREFIX
from repository.keys.key_ring import KEY_PREFIX, KeyProvider, KeyRecord, KeyRing, decode_wrapped_key, key_id_of
from repository.keys.ring_opening import open_ring
from repository.opened.open_tier import TierState
from repository.stored.chunker import ChunkerParameters
from repository.stored.config import (
    CONFIG_KEY,
    ReadConfig,
    decode_config,
    encode_config,
    is_authentic,
    make_config,
    verify_config,
)
from repository.stored.log_entry import LOG_PREFIX, decode_entry_header, entry_object_key
from repository.stored.object_reading import length_max_of, read_object
from repository.tiers.port import ObjectStore


@dataclass
class Probe:
    """What one tier shows. `state` is READY where a config was read, which still has to be verified."""

    store: ObjectStore
    state: TierState
    body: bytes = b""
    config: ReadConfig | None = None
    keys: list[KeyRecord] = field(default_factory=list)
    older_keys: list[KeyRecord] = field(default_factory=list)
    """What the store keeps of key objects that were overwritten; it is looked for where no other key opens."""
    error: RepositoryError | None = None
    withheld_key: AccessDenied | None = None
    """Why the tier does not give one of its key objects."""
    is_given_up: bool = False

    @property
    def is_faulty(self) -> bool:
        """Whether it is read with another tier's config or keys, or with what is left of its own."""
        return self.state in (TierState.DAMAGED, TierState.PARTLY_UNREADABLE)

    def may_hold(self, claims: Collection[bytes]) -> bool:
        """Whether it may be of any repository, whatever it speaks of (`claims`)."""
        return self.state is TierState.DAMAGED or (self.state is TierState.PARTLY_UNREADABLE and not claims)

    def repository_ids(self) -> list[bytes]:
        """The repositories that config and key objects speak of; one of them may be damaged."""
        found = [bytes.fromhex(self.config.config.repository_id)] if self.config is not None else []
        for record in (*self.keys, *self.older_keys):
            try:
                found.append(bytes.fromhex(decode_wrapped_key(record).repository_id))
            except (Damaged, UnsupportedFormat):
                continue
        return found

    def damage(self, error: RepositoryError) -> None:
        """The config is not to be used."""
        self.state, self.error, self.config = TierState.DAMAGED, error, None


@dataclass(frozen=True)
class Patience:
    """How long opening waits for the other tiers once one has answered with a repository. While none has, without end.

    `seconds_of` has the tiers (by name) for which `seconds` is not right. `on_waiting` is called with the tiers that
    have not answered after `say_seconds`, and again every `again_seconds`.
    """

    seconds: float = 30.0
    seconds_of: Mapping[str, float] = field(default_factory=dict)
    say_seconds: float = 1.0
    again_seconds: float = 10.0
    on_waiting: Callable[[Sequence[str]], None] = lambda _names: None

    def for_all(self) -> "Patience":
        """The same, without giving anybody up."""
        return replace(self, seconds=math.inf, seconds_of={})

    def of(self, store: ObjectStore) -> float:
        """The seconds for one tier."""
        return self.seconds_of.get(store.name, self.seconds)


class Opened(NamedTuple):
    """What all tiers together say."""

    ring: KeyRing
    config: ReadConfig
    probes: list[Probe]


def probe(store: ObjectStore) -> Probe:
    """Read one tier's config and key objects; raises nothing that a tier can answer."""
    found = Probe(store, TierState.READY)
    try:
        with about(tier=store.name):
            found.keys = _keys(found)
            found.body = read_object(store, CONFIG_KEY)
            found.config = decode_config(found.body)
            # Keys are written before the config: where it is seen and they are not, they were looked for too early.
            found.keys = found.keys or _keys(found)
        if found.withheld_key is not None:
            found.state, found.error = TierState.PARTLY_UNREADABLE, found.withheld_key
    except ObjectMissing as error:
        return _without_config(found, error)
    except (Damaged, Truncated) as error:
        found.damage(error)
    except UnsupportedFormat as error:
        found.state, found.error = TierState.UNSUPPORTED, error
    except TooFewDescriptors:
        raise  # it says nothing of the tier
    except AccessDenied as error:
        # Where it gives keys it is the config alone that may not be read.
        found.state, found.error = TierState.PARTLY_UNREADABLE if found.keys else TierState.UNREACHABLE, error
    except RepositoryError as error:
        found.state, found.error = TierState.UNREACHABLE, error
    return found


def _without_config(found: Probe, error: RepositoryError) -> Probe:
    try:
        if _holds(found.store, LOG_PREFIX) or _holds(found.store, PACK_PREFIX):
            # Looked for first, and written before log and packs: another writer may have begun in between.
            if found.store.head(CONFIG_KEY) is not None:
                return probe(found.store)
            found.damage(error)
        else:
            # Keys alone are what an interrupted `init` leaves: nothing depends on them.
            found.state, found.keys = TierState.EMPTY, []
    except RepositoryError as unreachable:
        found.state, found.error = TierState.UNREACHABLE, unreachable
    return found


def _keys(found: Probe) -> list[KeyRecord]:
    """The key objects that the tier gives; why it does not give another one is noted."""
    records = list[KeyRecord]()
    for info in found.store.list(KEY_PREFIX):
        try:
            records.append(KeyRecord(info.key, read_object(found.store, info.key)))
        except (ObjectMissing, Truncated, Damaged):
            records.append(KeyRecord(info.key, b""))  # a damaged one like any other: another tier's may be whole
        except AccessDenied as error:
            found.withheld_key = error
    return records


def _holds(store: ObjectStore, prefix: str) -> bool:
    return next(iter(store.list(prefix)), None) is not None


def probe_all(stores: Sequence[ObjectStore], patience: Patience) -> list[Probe]:
    """Probe all tiers at once, so that a dead one costs its own time only, or less than that (`patience`).

    What is given up counts as unreachable; its probe ends with its store's `close`, and is believed by nobody.
    """
    finished: queue.SimpleQueue[tuple[int, Probe | BaseException]] = queue.SimpleQueue()

    def ask(number: int, store: ObjectStore) -> None:
        try:
            finished.put((number, probe(store)))
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits
            finished.put((number, error))

    for number, store in enumerate(stores):
        threading.Thread(target=ask, args=(number, store), name=f"tier-open-{store.name}", daemon=True).start()
    return _gather(stores, finished, patience)


def _gather(
    stores: Sequence[ObjectStore],
    finished: "queue.SimpleQueue[tuple[int, Probe | BaseException]]",
    patience: Patience,
) -> list[Probe]:
    found: dict[int, Probe] = {}
    begun = time.monotonic()
    answered: float | None = None
    say_at = begun + patience.say_seconds
    while waiting := {number: store for number, store in enumerate(stores) if number not in found}:
        now = time.monotonic()
        moments: dict[int, float] = {}
        if answered is not None:
            moments = {number: answered + patience.of(store) for number, store in waiting.items()}
        if late := [number for number, moment in moments.items() if moment <= now]:
            found.update((number, _given_up(stores[number], now - begun)) for number in late)
            continue
        if now >= say_at:
            patience.on_waiting([store.name for store in waiting.values()])
            say_at = time.monotonic() + patience.again_seconds
        try:
            number, result = finished.get(timeout=max(0.0, min((say_at, *moments.values())) - now))
        except queue.Empty:
            continue
        if isinstance(result, BaseException):
            raise result
        found[number] = result
        if result.state is TierState.READY and answered is None:
            answered = time.monotonic()
    return [found[number] for number in range(len(stores))]


def _given_up(store: ObjectStore, seconds: float) -> Probe:
    error = TierUnreachable(f"no answer for {seconds:.0f} s, while another tier has answered", tier=store.name)
    return Probe(store, TierState.UNREACHABLE, error=error, is_given_up=True)


def agree(probes: list[Probe], provider: KeyProvider) -> Opened:
    """Find the repository that the key opens, and judge each tier by it.

    Raises `NotARepository`, `NoUsableTier`, `WrongKey`, `UnknownKey` (no key object is there), `Damaged`,
    `UnsupportedFormat`, `KeyUnavailable`.
    """
    try:
        return _agree(probes, provider)
    except RepositoryError:
        # Whoever may write to a tier that keeps versions has hidden the keys, and not taken them away.
        for each in probes:
            _look_for_older_keys(each)
        if not any(each.older_keys for each in probes):
            raise
        return _agree(probes, provider)


def _look_for_older_keys(found: Probe) -> None:
    """What the store keeps of the key objects that lie there. A tier that fails meanwhile adds no more."""
    with suppress(RepositoryError):
        for record in found.keys:
            for body in found.store.versions(record.object_key, length_max=length_max_of(record.object_key)):
                if body != record.body:
                    found.older_keys.append(KeyRecord(record.object_key, body))


def _agree(probes: list[Probe], provider: KeyProvider) -> Opened:
    errors: list[RepositoryError] = []
    claims = {id(each): each.repository_ids() for each in probes}
    for candidate in dict.fromkeys(claim for each in probes for claim in claims[id(each)]):
        # A tier whose config is lost may still hold the only whole key object.
        own = [each for each in probes if candidate in claims[id(each)] or each.may_hold(claims[id(each)])]
        try:
            records = [record for each in own for record in (*each.keys, *each.older_keys)]
            ring = open_ring(list(dict.fromkeys(records)), candidate, provider)
            config = _agreed_config(own, ring)
        except (AccessDenied, WrongKey, Damaged, UnknownKey, UnsupportedFormat) as error:
            errors.append(error)
            continue
        for each in probes:
            if (each.config is not None or each.state is TierState.PARTLY_UNREADABLE) and each not in own:
                each.state = TierState.FOREIGN
                name = each.store.name
                hint = (
                    "Is another disk mounted there, or the address another's? If what lies there may go, move it away,"
                    f" then: `repo catch-up --begin-anew {name}`."
                )
                each.error = NotARepository("tier holds another repository", hint=hint, tier=name)
        return Opened(ring, config, probes)
    raise _hidden_key(probes) or _withheld_key(probes) or _why_not(probes, errors)


def _hidden_key(probes: list[Probe]) -> PlaceBlocked | None:
    """What lies in the place of a key object: no listing shows it, and the key that it hides may be the right one."""
    folder = KEY_PREFIX.rstrip("/")
    for each in probes:
        if each.state is TierState.READY or each.is_faulty:
            with suppress(RepositoryError):
                for key in (*each.store.no_objects(folder), f"{folder}/_"):
                    if (what := each.store.blocked_by(key)) is not None:
                        hint = (
                            "Take it away and put the key object back from a copy of this tier, or give another tier."
                        )
                        message = f"{what} lies where the tier's keys belong, and no other key object opens it"
                        return PlaceBlocked(message, hint=hint, tier=each.store.name, object_key=key)
    return None


def _withheld_key(probes: list[Probe]) -> NoUsableTier | None:
    """That a key object may not be read, where no other one opens: it may be the right one."""
    withheld = [each.withheld_key for each in probes if each.withheld_key is not None]
    return NoUsableTier.because("no key object that may be read opens the repository", withheld) if withheld else None


def _agreed_config(own: list[Probe], ring: KeyRing) -> ReadConfig:
    """The first authentic config; tiers that hold anything else are damaged."""
    first: ReadConfig | None = None
    for each in own:
        if each.state is TierState.UNSUPPORTED and not is_authentic(each.body, ring.first_root):
            each.damage(Damaged("repository config is not authentic", tier=each.store.name, object_key=CONFIG_KEY))
        if each.config is None:
            continue
        try:
            with about(tier=each.store.name):
                verify_config(each.config, ring.first_root)
            if first is not None and first.digest != each.config.digest:
                raise Damaged("tier has another config than the others", tier=each.store.name)
            first = first or each.config
        except Damaged as damage:
            each.damage(_damaged_root(each.store.name, each.config, ring) or damage)
    return first or _older_config(own, ring) or _config_made_again(own, ring)


def _damaged_root(tier: str, config: ReadConfig, ring: KeyRing) -> Damaged | None:
    """That it is the root's key object which is bad, where a config that cannot be proven names that as the root."""
    bad = next((each for each in ring.damaged if key_id_of(each) == config.config.root_key_id), None)
    if bad is None:
        return None
    hint = "Put the key object back from a copy of this tier, or give another tier, which repairs it (`repo repair`)."
    return Damaged("key object of the repository's root cannot be opened", hint=hint, tier=tier, object_key=bad)


def _older_config(own: list[Probe], ring: KeyRing) -> ReadConfig | None:
    """One that a store keeps beneath what was written over it: it proves itself."""
    for each in own:
        with suppress(RepositoryError):
            for body in each.store.versions(CONFIG_KEY, length_max=length_max_of(CONFIG_KEY)):
                with suppress(Damaged, UnsupportedFormat):
                    config = decode_config(body)
                    verify_config(config, ring.first_root)
                    return config
    return None


def _config_made_again(own: list[Probe], ring: KeyRing) -> ReadConfig:
    """No tier has its config: make it from the key, with the usual chunk lengths, and prove it by a log."""
    config = decode_config(encode_config(make_config(ring.first_root, ChunkerParameters()), ring.first_root))
    for each in own:
        try:
            header = decode_entry_header(read_object(each.store, entry_object_key(1)))
        except RepositoryError:
            continue
        if header.place.previous == config.digest:
            return config
    raise next(
        (each.error for each in own if each.error is not None), Damaged("no tier has its config", object_key=CONFIG_KEY)
    )


def _why_not(probes: list[Probe], errors: list[RepositoryError]) -> RepositoryError:
    if errors:
        # That a key opened something that is damaged says more than that it did not open another thing.
        return next((error for error in errors if not isinstance(error, WrongKey)), errors[0])
    context = {each.store.name: f"{each.state}" + (f": {each.error}" if each.error else "") for each in probes}
    if all(each.state is TierState.EMPTY for each in probes):
        return NotARepository("there is no repository here", tiers=context)
    for each in probes:
        if each.state in (TierState.DAMAGED, TierState.UNSUPPORTED) and each.error is not None:
            return each.error
    return NoUsableTier.because("no tier with a repository answers", (each.error for each in probes), tiers=context)
