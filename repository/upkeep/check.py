"""Checks a repository: its structure, a sample of its bytes, or all of them, per tier.

Promise: every damaged or missing object that the chosen depth can show is named, with the tiers that have it
whole; one bad object never ends the check. `read_percent` 0 reads config, keys, log, index and all trees;
above that, this share of the packs (chosen at random) is read back whole: its name, every frame, the identity
of every chunk, and that the index lists each where it is. At 100 packs that no index row points at are read too:
with a damaged index they may be needed. Locks and legal holds are checked against the log's entries.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from repository.errors import (
    AccessDenied,
    BackupCancelled,
    Damaged,
    NotInIndex,
    ObjectMissing,
    RepositoryError,
    TierError,
)
from repository.format import pack_object_key
from repository.index.pack_catalog import StoredPack, each_in_parallel, is_fault_of_object, stored_packs
from repository.index.pack_sizes import least_sizes
from repository.index.segments import open_segment, segment_object_key
from repository.keys import crypto
from repository.opened.erased import ERASED_DETAIL, Erased
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.own_folders import blocked_folders
from repository.opened.pack_access import ChunkReader
from repository.opened.present_objects import deleted_packs
from repository.opened.withheld import explained, withheld_by
from repository.stored.config import CONFIG_KEY, encode_config
from repository.stored.log_entry import LOG_PREFIX
from repository.stored.object_reading import read_object
from repository.stored.snapshot import torn_of
from repository.stored.tree_visit import TreeVisitor, Wholeness
from repository.upkeep.check_report import (
    CheckProgress,
    CheckReport,
    Finding,
    Problem,
    TierCounts,
    unknown,
    unknown_once,
    why_not,
)
from repository.upkeep.gone_meanwhile import Standing
from repository.upkeep.harmed import harmed_by
from repository.upkeep.hidden_objects import hidden_findings
from repository.upkeep.key_check import key_findings
from repository.upkeep.lock_check import lock_findings
from repository.upkeep.log_check import log_findings
from repository.upkeep.manifests import manifest_findings
from repository.upkeep.pack_reading import PackReading, read_pack
from repository.upkeep.segment_check import verify_rows
from repository.upkeep.store_holds import hold_findings
from repository.upkeep.strange_objects import shared_packs, strange_objects
from repository.upkeep.stream_check import stream_findings

if TYPE_CHECKING:
    from repository.opened.repository import Repository

PACKS_AT_A_TIME: Final = 3
_SEED_LENGTH: Final = 16
_UNREAD: Final = "no index row points at the pack; whether it is whole shows when it is read"


def check(
    repository: Repository,
    *,
    read_percent: float = 0.0,
    tiers: Collection[str] | None = None,
    on_progress: Callable[[CheckProgress], None] | None = None,
    check_cancelled: Callable[[], None] = lambda: None,
) -> CheckReport:
    """Check the named tiers (all, where none is named). `check_cancelled` is called between packs and may raise.

    A tier that does not answer (any more) becomes a finding.
    """
    report = CheckReport()
    read: set[tuple[str, str]] = set()
    for tier in repository.tiers:
        if tiers is not None and tier.name not in tiers:
            continue
        counts = report.tiers[tier.name] = TierCounts()
        if not tier.is_readable:
            report.findings.append(Finding(tier.name, Problem.TIER, "", why_not(tier)))
            continue
        one = _TierCheck(repository, tier, counts, check_cancelled)
        found, standing = list[Finding](), Standing.of(tier)
        try:
            found.extend(one.structure())
            found.extend(stream_findings(repository, tier, counts, read_percent, check_cancelled))
            found.extend(lock_findings(repository, tier, check_cancelled))
            found.extend(hidden_findings(tier))
            found.extend(hold_findings(repository, tier, check_cancelled))
            found.extend(one.data(read_percent, on_progress))
            found = standing.judged(tier, found, one.anew, one.is_missed)
            # Of chunks that an index lacks which is not known as a whole nobody knows whether they are lost.
            harmed = one.harmed_by(found) if withheld_by(tier) is None else []
            if harmed or not any(each.problem is Problem.TIER for each in found):
                report.harmed[tier.name] = harmed  # else unknown: not all was given
        except BackupCancelled:
            raise
        except RepositoryError as error:
            found.append(unknown(tier.name, "", error))
        report.findings.extend(unknown_once(found))
        read.update((tier.name, object_key) for object_key in one.read)
    report.judge_sources(read)
    return report


class _TierCheck:
    """One tier's check. `structure` comes first: it learns what packs there are."""

    def __init__(
        self, repository: Repository, tier: OpenTier, counts: TierCounts, check_cancelled: Callable[[], None]
    ) -> None:
        self._repository = repository
        self._check_cancelled = check_cancelled
        self._tier = tier
        self._counts = counts
        self._others = [other for other in repository.readable_tiers() if other is not tier]
        self._packs: list[StoredPack] = []
        self._orphans: dict[bytes, str] = {}
        self._blocked: list[str] = []
        self._deleted: set[bytes] = set()
        self._hides_log = False
        self._erased: set[str] = set()
        self._reader = ChunkReader([tier], repository.keys)
        self.read: set[str] = set()
        """Keys of the packs that were read back."""

    def _finding(self, problem: Problem, object_key: str, detail: object, sources: Collection[str] = ()) -> Finding:
        text = f"{detail.code}: {detail}" if isinstance(detail, RepositoryError) else str(detail)
        return Finding(self._tier.name, problem, object_key, text, tuple(sources))

    def _tiers_with(self, object_key: str, digests: Collection[str] = ()) -> list[str]:
        """Other tiers that have the object, and whole, where its digest (hex) is given and the object small."""
        found: list[str] = []
        for other in self._others:
            try:
                if digests:
                    has = crypto.sha256(read_object(other.store, object_key)).hex() in digests
                else:
                    has = other.store.head(object_key) is not None
            except RepositoryError:
                continue
            if has:
                found.append(other.name)
        return found

    # Structure

    def structure(self) -> Iterator[Finding]:
        """Everything but the bytes of data packs."""
        if self._tier.state is TierState.REPLAYED:
            yield self._finding(Problem.REPLAYED, LOG_PREFIX, self._tier.error)
        self._blocked = blocked_folders(self._tier.store, self._tier.log.state.head.number)
        for folder in self._blocked:
            store = self._tier.store
            what = store.blocked_by(f"{folder}/_") or store.blocked_by(folder) or "something else"
            detail = f"{what} lies in its place: nothing below it is of this tier"
            yield self._finding(Problem.BLOCKED, folder, detail, [self._tier.name])
        self._packs = list(stored_packs(self._tier.store))
        self._deleted = deleted_packs(self._tier.log.state, (pack.id for pack in self._packs))
        self._counts.packs = len(self._packs)
        self._counts.pack_bytes = sum(pack.size for pack in self._packs)
        yield from self._config()
        yield from key_findings(self._repository, self._tier, self._tiers_with)
        # Of a log that something hides only that is known: what it says, and lacks, is not this tier's.
        self._hides_log = any(f"{folder}/".startswith(LOG_PREFIX) for folder in self._blocked)
        if not self._hides_log:
            yield from log_findings(self._repository, self._tier, self._counts, has_packs=bool(self._packs))
            yield from manifest_findings(self._tier)
        yield from self._index()
        yield from self._pack_list()
        yield from shared_packs(self._tier, self._others, [pack_object_key(pack.id) for pack in self._packs])
        yield from self._trees()
        explained = {pack_object_key(pack.id) for pack in self._packs}.union(self._blocked)
        yield from (self._finding(*each) for each in strange_objects(self._tier, explained))

    def anew(self) -> Iterator[Finding]:
        """The structure as it is by now, and what others know; counted was the first look."""
        for other in self._others:
            with suppress(RepositoryError):
                other.refresh()
        return _TierCheck(self._repository, self._tier, TierCounts(), self._check_cancelled).structure()

    def _config(self) -> Iterator[Finding]:
        root = self._repository.keys.first_root
        expected = encode_config(self._repository.config, root)
        try:
            if read_object(self._tier.store, CONFIG_KEY) != expected:
                raise Damaged("config is not the repository's", tier=self._tier.name, object_key=CONFIG_KEY)
        except AccessDenied as error:
            yield unknown(self._tier.name, CONFIG_KEY, error)
        except RepositoryError as error:
            if not is_fault_of_object(error):
                raise
            # All that it says follows from the key, which is open: it can be made again.
            yield self._finding(Problem.CONFIG, CONFIG_KEY, error, [self._tier.name])

    def _index(self) -> Iterator[Finding]:
        for name in self._tier.log.state.segments:
            key = segment_object_key(name)
            self._counts.segments += 1
            self._check_cancelled()
            try:
                # From the tier, not from memory: the object may have been damaged since it was loaded.
                verify_rows(open_segment(name, read_object(self._tier.store, key), self._repository.keys))
            except AccessDenied as error:
                yield unknown(self._tier.name, key, error)
            except RepositoryError as error:
                if not is_fault_of_object(error):
                    raise
                yield self._finding(Problem.SEGMENT, key, error, [*self._tiers_with(key, [name]), self._tier.name])
        self._counts.rows = len(self._tier.index)

    def _pack_list(self) -> Iterator[Finding]:
        sizes = {pack.id: pack.size for pack in self._packs}
        needed = least_sizes(self._tier.index.segments())
        for pack_id, least in sorted(needed.items()):
            key = pack_object_key(pack_id)
            if pack_id in self._deleted:
                continue  # a prune that was interrupted; the next one goes on
            if pack_id not in sizes:
                what = self._tier.store.blocked_by(key)
                detail = f"pack is in the index and {f'{what} lies in its place' if what else 'not there'}"
                yield self._finding(Problem.PACK_MISSING, key, detail, self._tiers_with(key))
            elif sizes[pack_id] < least:
                yield self._finding(
                    Problem.PACK_DAMAGED, key, f"pack has {sizes[pack_id]} bytes, too few", self._tiers_with(key)
                )
        if not self._tier.damaged_segments and not self._hides_log:
            self._orphans = dict.fromkeys(sorted(sizes.keys() - needed.keys()), _UNREAD)

    def _trees(self) -> Iterator[Finding]:
        is_index_known = withheld_by(self._tier) is None
        visitor = TreeVisitor(self._reader.chunk)
        lacking: set[str] = set()
        erased = Erased(self._repository, self._reader.chunk)
        for snapshot in self._tier.snapshots().values():
            if erased.has(snapshot):
                self._erased.add(snapshot.id)
                yield self._finding(Problem.ERASED, f"snapshot {snapshot.id}", ERASED_DETAIL)
                continue
            if torn := torn_of(snapshot.manifest):
                detail = f"{torn} files were written to while they were saved: what is kept may be a mixture"
                yield self._finding(Problem.TORN, f"snapshot {snapshot.id}", detail)
            missing = 0
            for chunk_id in visitor.chunks(snapshot.manifest.root):
                self._check_cancelled()
                self._counts.tree_chunks += 1
                missing += is_index_known and not self._is_listed(chunk_id)
            if is_index_known and self._tier.log.state.lacking_streams(snapshot.manifest):
                yield self._lacking(snapshot.id, "the log does not name as much of a stream as it leans on")
            if missing:
                lacking.add(snapshot.id)
                yield self._lacking(snapshot.id, f"{missing} chunks that it references are not in the index")
            for fault in visitor.faults:
                if erased.explains(fault.error):
                    yield self._finding(Problem.ERASED, f"snapshot {snapshot.id}", f"in parts: {ERASED_DETAIL}")
                elif not isinstance(fault.error, NotInIndex) and fault.error is not withheld_by(self._tier):
                    yield self._tree_fault(snapshot.id, fault.chunk_id, fault.error)
            visitor.faults.clear()
        if lacking:
            # What several share was visited with the first of them.
            trees = Wholeness(self._reader.chunk, self._is_listed)
            for snapshot in self._tier.snapshots().values():
                if snapshot.id not in lacking | self._erased and not trees.is_whole(snapshot.manifest.root):
                    yield self._lacking(snapshot.id, "it shares what is not in the index with another snapshot")

    def _is_listed(self, chunk_id: bytes) -> bool:
        """Whether a row leads to it, and not into a pack that a prune which is not over has deleted."""
        self._check_cancelled()
        location = self._tier.index.lookup_any(chunk_id)
        if location is None or location.pack_id not in self._deleted:
            return location is not None
        return any(each.pack_id not in self._deleted for each in self._tier.index.lookup_all(chunk_id))

    def _lacking(self, snapshot_id: str, detail: str) -> Finding:
        sources = [other.name for other in self._others if snapshot_id in other.snapshots()]
        return self._finding(Problem.TREE, f"snapshot {snapshot_id}", detail, [*sources, self._tier.name])

    def harmed_by(self, findings: Collection[Finding]) -> list[str]:
        """The snapshots (ids, in the order of their commits) that this tier cannot give back whole by itself."""
        live = [each for each in self._tier.snapshots().values() if each.id not in self._erased]
        return harmed_by(findings, self._tier, self._repository.keys, live, self._check_cancelled)

    def _tree_fault(self, snapshot_id: str, chunk_id: bytes, error: RepositoryError) -> Finding:
        location = self._tier.index.lookup_any(chunk_id)
        pack = next((pack for pack in self._packs if location is not None and pack.id == location.pack_id), None)
        if isinstance(error, TierError) and not is_fault_of_object(error):
            return unknown(self._tier.name, pack_object_key(location.pack_id) if location is not None else "", error)
        if location is None or pack is None or not is_fault_of_object(error):
            return self._finding(Problem.TREE, f"snapshot {snapshot_id}", error)
        key = pack_object_key(pack.id)
        reading = read_pack(self._repository, self._tier, pack)
        if reading.error is None:
            detail = f"the index is wrong about a page of snapshot {snapshot_id}"
            return self._finding(Problem.INDEX_INCOMPLETE, key, detail, [self._tier.name])
        return self._finding(
            Problem.PACK_DAMAGED, key, f"tree of snapshot {snapshot_id}: {reading.error}", self._tiers_with(key)
        )

    # Data

    def data(
        self,
        read_percent: float,
        on_progress: Callable[[CheckProgress], None] | None,
    ) -> Iterator[Finding]:
        """Read back a share of the packs that the index points at; all means orphans, too."""
        chosen = self._sample(read_percent)
        counts = self._counts
        known = self._tier.index.pack_ids()
        erased = Erased(self._repository, self._reader.chunk)

        def read(pack: StoredPack) -> PackReading:
            self._check_cancelled()
            try:
                reading = read_pack(self._repository, self._tier, pack)
            except AccessDenied as error:  # to this one: it says nothing of the others
                return PackReading(pack, 0, 0, 0, error)
            return reading if reading.error is None else reading._replace(error=explained(self._tier, reading.error))

        for reading in each_in_parallel(read, chosen, PACKS_AT_A_TIME):
            if isinstance(reading.error, AccessDenied):
                yield unknown(self._tier.name, pack_object_key(reading.pack.id), reading.error)
                continue
            counts.packs_read += 1
            counts.bytes_read += reading.bytes_read
            counts.chunks_read += reading.chunks
            key = pack_object_key(reading.pack.id)
            self.read.add(key)
            is_known = reading.pack.id in known
            if reading.error is not None and erased.explains(reading.error):
                continue
            if reading.error is not None:
                problem = Problem.PACK_MISSING if isinstance(reading.error, ObjectMissing) else Problem.PACK_DAMAGED
                if is_known or self.is_missed(reading.pack.id):
                    self._orphans.pop(reading.pack.id, None)
                    yield self._finding(problem, key, reading.error, self._tiers_with(key))
                elif reading.pack.id in self._orphans:
                    why = f"{reading.error.code}: {reading.error}"
                    self._orphans[reading.pack.id] = f"no index row points at it, and it is no whole pack: {why}"
            elif reading.pack.id in self._orphans:
                self._orphans[reading.pack.id] = "no index row points at the pack, which is whole"
            elif reading.unlisted and is_known:
                detail = f"{reading.unlisted} chunks of the pack are not listed where they are"
                yield self._finding(Problem.INDEX_INCOMPLETE, key, detail, [self._tier.name])
            if on_progress is not None:
                on_progress(CheckProgress(self._tier.name, counts.packs_read, len(chosen), counts.bytes_read))
        for pack_id, detail in self._orphans.items():
            yield self._finding(Problem.ORPHAN, pack_object_key(pack_id), detail)

    def is_missed(self, pack_id: bytes) -> bool:
        """Whether a pack that no row points at is needed: its row was lost here, or another tier's index has one."""
        is_lost = bool(self._tier.damaged_segments or self._tier.log.state.faults)
        return is_lost or any(not other.lacks([pack_id]) for other in self._others)

    def _sample(self, percent: float) -> list[StoredPack]:
        if percent >= 100:
            return self._packs
        known = self._tier.index.pack_ids()
        packs = [pack for pack in self._packs if pack.id in known]
        count = -(-len(packs) * percent // 100)
        seed = self._repository.randomness.token_bytes(_SEED_LENGTH)
        chosen = sorted(packs, key=lambda pack: crypto.sha256(seed, pack.id))[: int(count)]
        return sorted(chosen)
