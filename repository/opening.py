"""Finding out what lies on the tiers: config and keys, before anything is believed.

Promise: one tier that answers and is whole is enough; what is wrong with the others is said of each.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

from repository.config import CONFIG_KEY, ReadConfig, decode_config, verify_config
from repository.errors import (
    Damaged,
    NotARepository,
    NoUsableTier,
    ObjectMissing,
    RepositoryError,
    Truncated,
    UnknownKey,
    UnsupportedFormat,
    WrongKey,
)
from repository.keys import KEY_PREFIX, KeyProvider, KeyRecord, KeyRing, open_ring
from repository.log_entry import LOG_PREFIX
from repository.open_tier import TierState
from repository.pack_catalog import PACK_PREFIX
from repository.tiers.port import ObjectStore


@dataclass
class Probe:
    """What one tier shows. `state` is READY where a config was read, which still has to be verified."""

    store: ObjectStore
    state: TierState
    config: ReadConfig | None = None
    keys: list[KeyRecord] = field(default_factory=list)
    error: RepositoryError | None = None

    @property
    def repository_id(self) -> bytes | None:
        """What the config says, or None where there is none."""
        return bytes.fromhex(self.config.config.repository_id) if self.config is not None else None


class Opened(NamedTuple):
    """What all tiers together say."""

    ring: KeyRing
    config: ReadConfig
    probes: list[Probe]


def probe(store: ObjectStore) -> Probe:
    """Read one tier's config and key objects; raises nothing that a tier can answer."""
    try:
        keys = _keys(store)
        try:
            config = decode_config(store.get(CONFIG_KEY))
        except ObjectMissing as error:
            # Keys alone are what an interrupted `init` leaves: nothing depends on them.
            if _holds(store, LOG_PREFIX) or _holds(store, PACK_PREFIX):
                return Probe(store, TierState.DAMAGED, None, keys, error)
            return Probe(store, TierState.EMPTY)
        except (Damaged, Truncated) as error:
            return Probe(store, TierState.DAMAGED, None, keys, error)
    except UnsupportedFormat as error:
        return Probe(store, TierState.UNSUPPORTED, error=error)
    except RepositoryError as error:
        return Probe(store, TierState.UNREACHABLE, error=error)
    return Probe(store, TierState.READY, config, keys)


def _keys(store: ObjectStore) -> list[KeyRecord]:
    return [KeyRecord(info.key, _read(store, info.key)) for info in store.list(KEY_PREFIX)]


def _read(store: ObjectStore, key: str) -> bytes:
    try:
        return store.get(key)
    except (ObjectMissing, Truncated):
        return b""  # a damaged key object like any other: another tier's may be whole


def _holds(store: ObjectStore, prefix: str) -> bool:
    return next(iter(store.list(prefix)), None) is not None


def probe_all(stores: Sequence[ObjectStore]) -> list[Probe]:
    """Probe all tiers at once, so that a dead one costs its own time only."""
    with ThreadPoolExecutor(max(1, len(stores)), thread_name_prefix="tier-open") as pool:
        return list(pool.map(probe, stores))


def agree(probes: list[Probe], provider: KeyProvider) -> Opened:
    """Find the repository that the key opens, and judge each tier by it.

    Raises `NotARepository`, `NoUsableTier`, `WrongKey`, `Damaged`, `KeyUnavailable`.
    """
    errors: list[RepositoryError] = []
    for candidate in dict.fromkeys(each.repository_id for each in probes if each.repository_id is not None):
        own = [each for each in probes if each.repository_id == candidate]
        # A tier whose config is lost may still hold the only whole key object.
        lost = [each for each in probes if each.state is TierState.DAMAGED]
        records = list(dict.fromkeys(record for each in [*own, *lost] for record in each.keys))
        try:
            ring = open_ring(records, candidate, provider)
            config = _verified(own, ring)
        except (WrongKey, Damaged, UnknownKey) as error:
            errors.append(error)
            continue
        for each in probes:
            if each.repository_id is not None and each.repository_id != candidate:
                each.state = TierState.FOREIGN
                each.error = NotARepository("tier holds another repository", tier=each.store.name)
        return Opened(ring, config, probes)
    raise _why_not(probes, errors)


def _verified(own: list[Probe], ring: KeyRing) -> ReadConfig:
    """The first authentic config; tiers that hold another one are damaged."""
    first: ReadConfig | None = None
    error: Damaged | None = None
    for each in own:
        if each.config is None:
            continue
        try:
            verify_config(each.config, ring.root)
            if first is not None and first.digest != each.config.digest:
                raise Damaged("tier has another config than the others", tier=each.store.name)
            first = first or each.config
        except Damaged as damage:
            each.state, each.error = TierState.DAMAGED, damage
            error = damage
    if first is None:
        raise error or Damaged("no tier has a config")
    return first


def _why_not(probes: list[Probe], errors: list[RepositoryError]) -> RepositoryError:
    if errors:
        return errors[0]
    context = {each.store.name: f"{each.state}: {each.error}" for each in probes}
    if all(each.state is TierState.EMPTY for each in probes):
        return NotARepository("there is no repository here", tiers=context)
    for each in probes:
        if each.state in (TierState.DAMAGED, TierState.UNSUPPORTED) and each.error is not None:
            return each.error
    return NoUsableTier("no tier with a repository answers", tiers=context)
