"""A repository over its tiers: created, opened with whatever answers, its snapshots found.

Promise: one whole tier and a key open the repository; a dead, damaged, foreign or rolled-back tier is listed
with its state and stops nothing. A tier's rollback is noticed against the heads that the other tiers' entries
bear witness to, and against heads that the caller remembers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

from repository.errors import (
    AlreadyExists,
    NoUsableTier,
    RepositoryError,
    RepositoryExists,
    SnapshotNotFound,
    TierVanished,
    UnknownKey,
)
from repository.format import REPOSITORY_ID_LENGTH
from repository.index.index import Index
from repository.index.segments import SealedSegment, SegmentCache, SharedSegments
from repository.keys import crypto
from repository.keys.key_ring import KeyProvider, KeyRecord, KeyRing, key_id_of, new_keys, wrap
from repository.log.commit_log import CommitLog, Head
from repository.log.state import holding, joint_holds
from repository.opened import compaction, key_change, opening, pending, replays, root_in_force, second_copies
from repository.opened.open_tier import LockUntil, OpenTier, TierState, no_lock
from repository.opened.open_tiers import OpenTiers
from repository.opened.opening import Patience
from repository.opened.seen import SeenTier
from repository.opened.snapshot_order import may_hide, moments_of, of_label, parents_first
from repository.ports import SYSTEM_CLOCK, SYSTEM_RANDOMNESS, Clock, Randomness
from repository.stored.chunker import ChunkerParameters
from repository.stored.config import CONFIG_KEY, RepositoryConfig, encode_config, make_config
from repository.stored.object_reading import read_object
from repository.stored.snapshot import Snapshot
from repository.tiers.local_cache import LocalCache
from repository.tiers.port import ObjectStore
from repository.tiers.proof import prove

__all__ = ["Head", "OpenTier", "Repository", "SealedSegment", "Snapshot", "TierState"]

LATEST = "latest"


class Repository(OpenTiers):
    """An open repository. Thread-safe. Use as a context manager or call `close`."""

    def __init__(
        self,
        ring: KeyRing,
        config: RepositoryConfig,
        genesis: bytes,
        probes: Sequence[opening.Probe],
        clock: Clock,
        randomness: Randomness,
        shared: SharedSegments | None = None,
        disk: LocalCache | None = None,
    ) -> None:
        cache = SegmentCache(ring, shared=shared, disk=disk)
        tiers: list[OpenTier] = []
        for probe in probes:
            kept = None if probe.store.capabilities.local else disk
            log = CommitLog(probe.store, ring, genesis, clock, randomness, kept)
            damage = probe.error if probe.is_faulty else None
            tier = OpenTier(probe.store, log, cache, clock, damage)
            tier.set_state(probe.state, probe.error)
            with suppress(UnknownKey):  # without it what a bucket states of packs is not believed, and they are read
                probe.store.prove_packs(ring.first_root.pack_proof)
            tier.keys_seen = frozenset((each.object_key, crypto.sha256(each.body).hex()) for each in probe.keys)
            tiers.append(tier)
        super().__init__(ring, config, tiers, clock, randomness)
        for tier in tiers:
            tier.log.bring_keys = partial(key_change.bring_keys, self, tier)
        self._keys_named = self._named_keys()
        self._known: Mapping[str, Sequence[SeenTier]] = {}

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # Creating and opening

    @staticmethod
    def init(
        stores: Sequence[ObjectStore],
        key_provider: KeyProvider,
        *,
        chunker: ChunkerParameters | None = None,
        clock: Clock = SYSTEM_CLOCK,
        randomness: Randomness = SYSTEM_RANDOMNESS,
        patience: Patience | None = None,
    ) -> Repository:
        """Create a repository on all these tiers, which have to answer and be empty, and open it.

        After a crash in between, `open` works with the tiers that were finished; `add_tier` does the others.
        `patience`: who is told while they are waited for; none of them is given up.
        Raises `RepositoryExists`, `LocationInvalid` (a store does not keep its promises) and the stores' errors.
        """
        patience = patience or Patience()
        for probe in opening.probe_all(stores, patience.for_all()):
            if probe.state is not TierState.EMPTY:
                if probe.state is TierState.UNREACHABLE and probe.error is not None:
                    raise probe.error
                raise RepositoryExists("tier is not empty", tier=probe.store.name, state=probe.state.value)
        for store in stores:
            prove(store, pending.PENDING_PREFIX)
        root = new_keys(randomness.token_bytes(REPOSITORY_ID_LENGTH), randomness=randomness)
        config = encode_config(make_config(root, chunker or ChunkerParameters()), root)
        wrapped = wrap(root, key_provider)
        for store in stores:
            _write_beginnings(store, config, [KeyRecord(wrapped.object_key, wrapped.encode())])
        repository = Repository.open(stores, key_provider, clock=clock, randomness=randomness, patience=patience)
        for tier in repository.ready_tiers():
            key_change.record_keys(repository, tier)
        return repository

    @staticmethod
    def open(
        stores: Sequence[ObjectStore],
        key_provider: KeyProvider,
        *,
        clock: Clock = SYSTEM_CLOCK,
        randomness: Randomness = SYSTEM_RANDOMNESS,
        known: Callable[[bytes], Mapping[str, Sequence[SeenTier]]] = lambda _repository_id: {},
        patience: Patience | None = None,
        shared: SharedSegments | None = None,
        cache: LocalCache | None = None,
    ) -> Repository:
        """Open what answers. `known`: what was seen before of tiers of a repository, whose id is given, by tier name;
        under the empty name, of tiers wherever they are.

        `cache`: where segments and checkpoints of tiers that are not on this machine are kept on its disk.
        `patience`: how long to wait for the others once a tier has answered; by default half a minute.
        `shared`: what other open repositories of the same owner have read of the index.
        Raises `NotARepository`, `NoUsableTier`, `WrongKey`, `UnknownKey`, `Damaged`, `UnsupportedFormat`,
        `KeyUnavailable`.
        """
        patience = patience or Patience()
        found = opening.probe_all(stores, patience)
        try:
            ring, config, probes = opening.agree(found, key_provider)
        except RepositoryError:
            if not any(probe.is_given_up for probe in found):
                raise
            # Who has answered was of no use, and others were given up for it: now each has its whole time.
            ring, config, probes = opening.agree(opening.probe_all(stores, patience.for_all()), key_provider)
        repository = Repository(ring, config.config, config.digest, probes, clock, randomness, shared, cache)
        ring.find = lambda key_id: key_change.find_key(repository, key_id, key_provider)
        # Before the logs are read: others go on meanwhile, and what they note of that is no older history here.
        seen = known(repository.id)
        repository.load()
        root_in_force.judge(repository, max((each.root for each in seen.get("", ())), default=ring.root.rank))
        ring.destroyed = key_change.destroyed_keys(repository)
        repository.find_lost_keys(record for probe in probes for record in probe.keys)
        repository._keys_named = repository._named_keys()
        repository.detect_replays(seen)
        repository.miss_tiers(seen)
        if not repository.readable_tiers():
            for tier in repository.tiers:
                if tier.state is TierState.UNSUPPORTED and tier.error is not None:
                    raise tier.error
            errors = (tier.error for tier in repository.tiers)
            raise NoUsableTier.because("no tier can be read", errors, tiers=repository.states())
        return repository

    def load(self) -> None:
        """Read logs and indexes anew, all tiers at once."""
        own = [tier for tier in self.tiers if tier.is_readable and tier.state is not TierState.REPLAYED]
        if own:
            with ThreadPoolExecutor(len(own), thread_name_prefix="tier-load") as pool:
                list(pool.map(OpenTier.load, own))

    def find_lost_keys(self, present: Iterable[KeyRecord]) -> None:
        """Which keys that the logs name are on no tier, in no wrapping: nothing is written under an older one instead.

        A key that is there and that this key provider does not open is not lost.
        """
        whole = {(record.object_key, crypto.sha256(record.body).hex()) for record in present}
        self.keys.lost = self._lost_keys(whole)
        for object_key in self.keys.lost:
            # The log was read after the keys: what was made in between is looked for once more.
            with suppress(UnknownKey):
                self.keys.by_id(bytes.fromhex(key_id_of(object_key)))
            for tier in self.readable_tiers():
                with suppress(RepositoryError):
                    found = object_key, crypto.sha256(read_object(tier.store, object_key)).hex()
                    tier.keys_seen |= {found}
                    whole.add(found)
        self.keys.lost = self._lost_keys(whole)

    def _lost_keys(self, whole: set[tuple[str, str]]) -> list[str]:
        held = {keys.key_id.hex() for keys in self.keys.all()}
        held |= key_change.destroyed_keys(self)
        named = [item for tier in self.readable_tiers() for item in tier.log.state.key_objects.items()]
        held |= {key_id_of(object_key) for object_key, digest in named if (object_key, digest) in whole}
        return sorted({object_key for object_key, _ in named if key_id_of(object_key) not in held})

    def knows_its_keys(self) -> bool:
        """Whether the logs name the keys, and call those destroyed, that they did when it was opened.

        If not, somebody made or destroyed keys: it must be opened anew before anything is written.
        """
        return self._keys_named == self._named_keys()

    def _named_keys(self) -> tuple[set[tuple[str, str]], set[str]]:
        named = (tier.log.state.key_objects.items() for tier in self.readable_tiers())
        return set().union(*named), key_change.destroyed_keys(self)

    def detect_replays(self, known: Mapping[str, Sequence[SeenTier]] | None = None) -> None:
        """Set REPLAYED where a tier shows less, or other, than what was seen of it. `known`: None: as it was opened.

        Where something lies in the log's place that hides it, that is what is told: it is DAMAGED.
        """
        self._known = self._known if known is None else known
        replays.detect(self, self._known)

    def heads_beyond(self, tier: OpenTier) -> list[Head]:
        """The heads that were seen of a tier's log of which nothing but the end is gone; see `replays.heads_beyond`."""
        return replays.heads_beyond(self, tier, self._known)

    def heads_seen(self) -> dict[str, tuple[int, str]]:
        """The highest head that was seen of each tier, whichever is open now, as of `OpenTier.witnesses`."""
        found: dict[str, Head] = {}
        for seen in (each for tiers in self._known.values() for each in tiers if each.tier_id is not None):
            identity = (seen.tier_id or b"").hex()
            found[identity] = max(seen.head, found.get(identity, seen.head))
        return {identity: (head.number, head.digest.hex()) for identity, head in found.items() if head.number}

    def contradicts(self, known: Mapping[str, Sequence[SeenTier]]) -> bool:
        """Whether some tier shows less, or other, than was seen; no state is changed."""
        return any(replays.contradictions(self, tier, known) for tier in self.readable_tiers())

    def miss_tiers(self, known: Mapping[str, Sequence[SeenTier]]) -> None:
        """Set VANISHED where a tier was seen, and nothing is there: its disk is not mounted, more likely than not."""
        for tier in self.tiers:
            if tier.state is TierState.EMPTY and known.get(tier.name):
                hint = f"{TierVanished.hint} If it is gone for good: `repo catch-up --begin-anew {tier.name}`."
                error = TierVanished("tier was in use, and is empty now", hint=hint, tier=tier.name)
                tier.set_state(TierState.VANISHED, error)

    def add_tier(self, tier: OpenTier) -> None:
        """Make an EMPTY tier one of this repository's; it is behind until caught up. May be repeated."""
        if tier.state is not TierState.EMPTY:
            raise RepositoryExists("tier is not empty", tier=tier.name, state=tier.state.value)
        prove(tier.store, pending.PENDING_PREFIX)
        source = self.any_ready()
        known = key_change.known_objects(self)
        found = key_change.present_keys(source)
        records = [each for each in found if (each.object_key, crypto.sha256(each.body).hex()) in known]
        _write_beginnings(tier.store, read_object(source.store, CONFIG_KEY), records)
        tier.load()
        key_change.record_keys(self, tier)

    # Writing

    def begin_writing(
        self, writer_token: bytes, tiers: Sequence[OpenTier] | None = None, lock_until: LockUntil = no_lock
    ) -> list[pending.Adoption]:
        """Announce a writer on these tiers (each ready one), after adopting what an earlier one left unfinished.

        `writer_token`: 16 random bytes, the same for all tiers and until `end_writing`.
        """
        return pending.begin_writing(self, writer_token, tiers, lock_until)

    def end_writing(
        self, writer_token: bytes, tiers: Sequence[OpenTier] | None = None, lock_until: LockUntil = no_lock
    ) -> None:
        """Take the announcement back, compact indexes that have grown many segments, leave checkpoints of long logs.

        `tiers`: those on which everything that was uploaded is committed; None: each ready tier.
        """
        pending.end_writing(self, writer_token, tiers)
        ready = [tier for tier in (self.ready_tiers() if tiers is None else tiers) if tier.is_ready]
        compaction.compact_indexes(self, tiers=ready, lock_until=lock_until)
        for tier in ready:
            if tier.is_ready:
                tier.leave_checkpoint(lock_until(tier))

    def session_index(self, tiers: Sequence[OpenTier] | None = None) -> Index:
        """The index that a backup deduplicates against: of these (the ready) tiers' indexes the one with the most rows.

        It shares that tier's segments without a copy and takes the session's new packs by `add_pack`. Packs
        that any ready tier marked do not count. A tier that `lacks(index.pack_ids())` has to be caught up
        before the snapshot is committed to it. Raises `NoUsableTier`.
        """
        chosen = self.ready_tiers() if tiers is None else tiers
        reference = max(chosen, key=lambda tier: len(tier.index), default=None) or self.any_ready()
        index = Index(reference.index.segments())
        index.exclude_packs(set().union(*(tier.log.state.marked_packs for tier in self.ready_tiers())))
        return index

    # Snapshots

    def snapshots(self, label: str | None = None) -> list[Snapshot]:
        """All snapshots (of a label, where one is given) that a readable tier has, the oldest first by their own times.

        What some tier was told to forget, and no hold keeps, is not among them.

        None comes before the one that it was made from, whatever the clocks said. What a tier was brought later, by
        catch-up or by repair, is as old as it was; in which order the tiers are given decides nothing.
        """
        return self._in_order({}, {}, label)

    def _in_order(
        self, known: dict[str, Snapshot], entries: dict[str, int], label: str | None = None
    ) -> list[Snapshot]:
        """These and those that are committed. `entries`: by id, the lowest number that it has anywhere."""
        for tier in self.readable_tiers():
            numbers = tier.log.state.entry_of.plain()
            for identity, snapshot in tier.log.state.snapshots.plain().items():
                known.setdefault(identity, snapshot)
                entries[identity] = min(numbers[identity], entries.get(identity, numbers[identity]))
        for identity in self._forgotten():
            known.pop(identity, None)
        if label is not None:
            known = of_label(known, label)
        moments = moments_of(known)
        order = sorted(known, key=lambda identity: (moments[identity], entries[identity], identity))
        ordered = (known[identity] for identity in parents_first(order, known))
        return [each for each in ordered if label is None or each.brief.label == label]

    def _forgotten(self) -> set[str]:
        """What some tier was told to forget and no hold keeps: a tier that was away then shows nobody what it has."""
        states = [tier.log.state for tier in self.readable_tiers()]
        forgotten: set[str] = set().union(*(state.forgotten for state in states))
        holds = joint_holds(states)
        return {each for each in forgotten if not holding(each, holds)} if holds else forgotten

    def may_hide_snapshots(self, *, newest: bool = False) -> list[OpenTier]:
        """Readable tiers of which nobody can say that all their snapshots are listed. `newest`: that the newest is.

        They show an older state than was seen, or entries of their logs are lost (for `newest`: behind the last
        snapshot that is whole). That another tier's log is whole says nothing of what that one never got.
        """
        return [tier for tier in self.readable_tiers() if may_hide(tier, newest=newest)]

    def find_snapshot(self, name: str, *, label: str | None = None) -> Snapshot:
        """By `latest` (of a label, where one is given) or an unambiguous prefix of the id.

        Where the log does not have it, or its end is damaged, snapshots count whose entries are lost and of which the
        second copy is whole: see `is_committed`. Raises `SnapshotNotFound`.
        """

        def matching() -> list[Snapshot]:
            return (
                snapshots[-1:] if name == LATEST else [each for each in snapshots if each.id.startswith(name.lower())]
            )

        snapshots = self.snapshots(label)
        found = matching()
        if (name == LATEST and self.may_hide_snapshots(newest=True)) or (name and not found):
            copies = [copy for tier in self.readable_tiers() for copy in second_copies.readable_copies(tier)]
            lost = {copy.snapshot.id: copy.snapshot for copy in copies}
            snapshots = self._in_order(lost, {copy.snapshot.id: copy.entry.number for copy in copies}, label)
            found = matching()
        if not name or not found:
            raise SnapshotNotFound("no snapshot has this id", id=name, snapshots=len(snapshots))
        if len(found) > 1:
            raise SnapshotNotFound("several snapshots begin with this id", id=name, matches=len(found))
        return found[0]

    def is_committed(self, snapshot: Snapshot) -> bool:
        """Whether a log that can be read has the snapshot. If not, its entry is lost, or was never made."""
        return bool(self.tiers_with(snapshot))

    def tiers_with(self, snapshot: Snapshot) -> list[OpenTier]:
        """Readable tiers on which the snapshot is committed."""
        return [tier for tier in self.readable_tiers() if snapshot.id in tier.snapshots()]


def _write_beginnings(store: ObjectStore, config: bytes, keys: Sequence[KeyRecord]) -> None:
    """Keys, then the config that needs them, each created once. Raises `RepositoryExists`."""
    try:
        for record in keys:
            store.put(record.object_key, record.body, if_absent=True)
        store.put(CONFIG_KEY, config, if_absent=True)
    except AlreadyExists as error:
        raise RepositoryExists("somebody else began a repository here", tier=store.name) from error
