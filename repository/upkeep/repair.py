"""Repairs a tier: what is damaged or missing comes from another tier, or from what the tier itself still has.

Promise: nothing is stored that is not proven first (packs and segments by their names, keys by the digest in
the log, log entries by signature and chain, the config by the root key), nothing whole is overwritten, what is
damaged is set aside before something is put in its place (`quarantine`), and each call may be repeated. What
cannot be repaired is left as it is and named: a log entry that may hold a snapshot is given up (bridged) only
where the caller says so. The order: config, keys, log, packs, index, orphans, snapshots.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from repository.errors import AccessDenied, BackupCancelled, Damaged, Locked, NoUsableTier, ObjectMissing, Truncated
from repository.format import is_named, pack_id_in, pack_object_key
from repository.index.segments import segment_object_key
from repository.keys import crypto
from repository.opened import key_change, pending
from repository.opened.open_tier import OpenTier, TierState
from repository.opened.own_folders import blocked_folders
from repository.opened.withheld import withheld_by
from repository.retention import held_objects
from repository.stored.config import CONFIG_KEY, encode_config
from repository.stored.log_entry import LOG_PREFIX, Bridged, SnapshotCommitted, entry_object_key
from repository.stored.manifest_object import manifest_id
from repository.stored.object_reading import read_object
from repository.upkeep import catch_up, lock_check, manifests, quarantine, rebuild, stream_repair
from repository.upkeep.bad_packs import lost_packs
from repository.upkeep.check import check
from repository.upkeep.check_report import OF_PACKS, CheckReport, Finding, Problem
from repository.upkeep.harmed import still_harmed
from repository.upkeep.hidden_objects import needed_and_hidden
from repository.upkeep.log_repair import FaultyLog, copies_of
from repository.upkeep.repair_result import RepairAction, RepairResult

if TYPE_CHECKING:
    from repository.opened.repository import Repository

PASSES_MAX: Final = 4
_OF_LOG: Final = frozenset((Problem.LOG_ENTRY, Problem.UNCOMMITTED))
_GIVES_SNAPSHOTS_BACK: Final = _OF_LOG | {Problem.LOG_LOST}


def repair(
    repository: Repository,
    tier: OpenTier,
    report: CheckReport | None = None,
    *,
    bridge: bool = False,
    gives_up_streams: bool = False,
    check_cancelled: Callable[[], None] = lambda: None,
) -> RepairResult:
    """Repair one tier by the findings of `report`; without one, by those of a check of the structure.

    Damage within packs is only known to a report of a check that read them. Works in passes, since one damage may hide
    another or look like it (a lost index segment looks like a lost pack). `bridge`: log entries of which there is no
    whole copy are given up, and objects behind a stream's end. `gives_up_streams`: what this tier has of streams of
    which another one has another history is set aside for that. `check_cancelled` may raise `BackupCancelled`: what was
    done is told. Raises `NoUsableTier` (the tier cannot be read, or was rolled back: see `accept_history`) and this
    tier's errors.
    """
    put_back = manifests.put_seen_end_back(repository, tier) if tier.state is TierState.REPLAYED else []
    _refuse_unrepairable(tier)
    result = RepairResult(tier.name)
    work = _Repair(repository, tier, result, check_cancelled, bridge=bridge, gives_up_streams=gives_up_streams)
    result.actions += [RepairAction(key, f"copy on {tier.name}") for key in put_back]
    given = report or CheckReport()
    try:
        work.clear_places()
        if report is None or work.result.actions:
            # What lay in a folder's place hid what is lacking below it; only what was read within packs is still true.
            read = [finding for finding in given.findings if finding.problem is Problem.PACK_DAMAGED]
            given = check(repository, tiers=[tier.name], check_cancelled=check_cancelled)
            given.findings += [finding for finding in read if finding not in given.findings]
        for _ in range(PASSES_MAX):
            done = len(work.result.actions)
            work.one_pass([finding for finding in given.findings if finding.tier == tier.name])
            given = check(repository, tiers=[tier.name], check_cancelled=check_cancelled)
            if given.is_ok or len(work.result.actions) == done:
                break
        result.unrepaired = work.left_over(given)
        # What the caller's check was not given, within packs perhaps, nobody has looked at since.
        told = {each.object_key for each in result.unrepaired if each.problem is Problem.TIER}
        missed = [
            each for each in (report or given).findings if each.problem is Problem.TIER and each.tier == tier.name
        ]
        result.unrepaired += [each for each in missed if each.object_key not in told]
        # The last look read nothing within packs: what is known of them harms as well.
        if not any(each.problem is Problem.TIER for each in result.unrepaired):
            result.harmed = still_harmed(repository, tier, result.unrepaired, check_cancelled)
    except BackupCancelled:
        result.is_interrupted = True
    return result


def _refuse_unrepairable(tier: OpenTier) -> None:
    if not tier.is_readable or tier.state is TierState.REPLAYED:
        raise NoUsableTier.because("tier cannot be repaired", [tier.error], tier=tier.name, state=tier.state.value)


class _Repair:
    def __init__(
        self,
        repository: Repository,
        tier: OpenTier,
        result: RepairResult,
        check_cancelled: Callable[[], None],
        *,
        bridge: bool,
        gives_up_streams: bool,
    ) -> None:
        self._repository = repository
        self._tier = tier
        self._sources = repository.sources_for(tier)
        self._check_cancelled = check_cancelled
        self._bridges = bridge
        self._gives_up_streams = gives_up_streams
        self._broken: dict[str, Finding] = {}
        self._rebuilt_without: set[bytes] = set()
        self._is_rebuilt = False
        self.result = result

    def clear_places(self) -> None:
        """Set aside what lies in the places of folders: before it is gone, nothing can be put below it."""
        blocked = blocked_folders(self._tier.store, self._tier.log.state.head.number)
        for folder in blocked:
            self._set_aside(folder)
            self._tier.store.delete(folder)  # it has another name by now
            self._done(folder, "set aside")
        if blocked:
            self._tier.load()
            # What lay there may have hidden how far the log goes, and may not.
            self._repository.detect_replays()
            _refuse_unrepairable(self._tier)

    def one_pass(self, findings: list[Finding]) -> None:
        """Repair what these findings say, in the order in which one thing needs another."""
        repository, tier = self._repository, self._tier
        kinds = {finding.problem for finding in findings}
        if Problem.HIDDEN in kinds:
            self._uncover()
        self._beginnings(findings)
        self._second_copies(findings)
        if kinds & _OF_LOG:
            self._log()
        tier.load()
        # Packs before the index: should it be rebuilt, it needs their footers.
        self._packs(findings)
        self._unshare(findings)
        self._segments(findings)
        tier.load()
        self._leave_out(findings)
        tier.load()
        if Problem.ORPHAN in kinds and not tier.log.state.faults and self._has_log():
            adopted, bad = pending.adopt_orphans(repository, tier)
            self._name_bad_orphans(bad)
            if adopted:
                self._done(segment_object_key(""), f"adopted {adopted} packs")
                # A tier that had lost its whole log has one again.
                tier.load()
        if not tier.is_ready:
            return
        if kinds & {Problem.KEY, Problem.LOG_ENTRY, Problem.LOG_LOST}:
            key_change.record_keys(repository, tier)
        streams = stream_repair.StreamRepair(
            repository,
            tier,
            self._sources,
            replace=self._replace,
            set_aside=self._set_aside,
            done=self._done,
            gives_up_junk=self._bridges,
            gives_up_forks=self._gives_up_streams,
        )
        self._broken |= {finding.object_key: finding for finding in streams.repair(findings)}
        if kinds & _GIVES_SNAPSHOTS_BACK:
            self._commit_again()
        if self._sources and kinds & {Problem.TREE, Problem.LOG_ENTRY, Problem.LOG_LOST}:
            caught = catch_up.catch_up(repository, tier, check_cancelled=self._check_cancelled)
            for snapshot_id in caught.snapshots:
                self._done(f"snapshot {snapshot_id}", "committed again")
            if caught.copied_packs:
                self._done(segment_object_key(""), f"caught up with {caught.copied_packs} packs")
        if Problem.UNLOCKED in kinds:
            for object_key in lock_check.lock_again(repository, tier, self._check_cancelled):
                self._done(object_key, "locked as long as a snapshot that needs it")
            streams.lock_again()
        if Problem.UNHELD in kinds and (count := held_objects.set_again(repository, tier, self._check_cancelled)):
            self._done("", f"{count} objects are under legal hold, as the log says")

    def _has_log(self) -> bool:
        """Whether packs can be adopted. A log that is lost as a whole is begun anew, and with it what it said given up,
        only where another tier has snapshots to commit again, or where that was asked for.
        """
        if not self._tier.log.state.head.number:
            if not self._bridges and not any(source.snapshots() for source in self._sources):
                return False
            self.result.given_up.append(1)
            self._done(entry_object_key(1), "begun anew")
        return True

    def _commit_again(self) -> None:
        """Snapshots whose entries are lost and whose manifests are here, and what else a checkpoint alone says."""
        log = FaultyLog(self._repository, self._tier)
        if log.withheld:
            return  # what seems to be lost may be there
        bodies = log.only_said_by_checkpoint(self._repository.clock.now_ns())
        done, incomplete = manifests.commit_again(self._repository, self._tier, log.state)
        for body in bodies:
            self._tier.log.append(lambda _, body=body: body)  # type: ignore[misc]
            self._done(LOG_PREFIX, "said again, from a checkpoint")
        for snapshot in done:
            self._done(f"snapshot {snapshot.id}", "committed again, from its manifest")
        for snapshot in incomplete:
            detail = "its log entry was lost, and not all that it references is here"
            name = f"snapshot {snapshot.id}"
            self._broken[name] = Finding(self._tier.name, Problem.TREE, name, detail)

    def _done(self, object_key: str, source: str) -> None:
        self.result.actions.append(RepairAction(object_key, source))

    def _set_aside(self, object_key: str) -> None:
        """Keep what lies under the key before something is put there."""
        aside = quarantine.set_aside(self._tier.store, object_key, self._repository.randomness)
        if aside is not None:
            self.result.set_aside[object_key] = aside

    def _replace(self, object_key: str, body: bytes, source: str) -> None:
        if object_key not in self.result.set_aside:  # else it lies there already, and what is replaced is ours
            self._set_aside(object_key)
        self._tier.store.put(object_key, body)
        self._done(object_key, source)

    def _copy(self, finding: Finding, is_whole: Callable[[bytes], bool]) -> None:
        """Store the object as the first source has it whole."""
        for copy in copies_of(self._repository, self._tier, finding.object_key):
            if is_whole(copy.body):
                self._replace(finding.object_key, copy.body, copy.source)
                self._broken.pop(finding.object_key, None)
                self._is_rebuilt = False
                return
        self._broken[finding.object_key] = finding

    def _uncover(self) -> None:
        """Take delete markers away from what is needed. What may not be uncovered the next look tells again."""
        for each in list(needed_and_hidden(self._tier)):
            self._check_cancelled()
            with suppress(AccessDenied):
                self._tier.store.uncover(each.key)
                self._done(each.key, f"a delete marker lay over it since {each.since.isoformat()}")

    def _beginnings(self, findings: list[Finding]) -> None:
        """Config and keys."""
        repository = self._repository
        if any(finding.problem is Problem.CONFIG for finding in findings):
            self._replace(CONFIG_KEY, encode_config(repository.config, repository.keys.first_root), "made from the key")
            self._tier.config_error = None
        recorded = self._tier.log.state.key_objects
        for finding in findings:
            if finding.problem is Problem.KEY:
                known = key_change.named_or_proven(repository)
                named = {digest for key, digest in known if key == finding.object_key}
                digests = {recorded.get(finding.object_key)} & named or named
                self._copy(finding, partial(_has_digest, digests))

    def _log(self) -> None:
        """Put whole copies in the place of faulty entries; what has none is bridged, where that was asked for.

        A bridge lets the log take entries again, and the chain behind it is kept. An entry with which no snapshot was
        lost that cannot be committed again is bridged unasked.
        """
        self._tier.log.reload()
        is_any_whole = self._tier.log.state.tier_id is not None
        log = FaultyLog(self._repository, self._tier)
        for entry in log.entries():
            self._check_cancelled()
            key = entry_object_key(entry.number)
            if entry.number in log.withheld:
                continue
            if entry.copy is not None:
                self._replace(key, entry.copy.body, entry.copy.source)
            elif log.may_be_bridged(entry, is_asked=self._bridges):
                self._set_aside(key)
                body = Bridged(time_ns=self._repository.clock.now_ns(), stands_for=entry.follower.hex())
                digest = self._tier.log.replace_fault(body, entry.place)
                log.digests[entry.number] = entry.follower or digest
                self._done(key, "bridged")
                if not entry.holds_nothing_lost:
                    self.result.given_up.append(entry.number)
        self._tier.log.reload()
        if not is_any_whole:
            # Until now nobody could say whose history it is: it may be another one than was seen.
            self._tier.load()
            self._repository.detect_replays()
            _refuse_unrepairable(self._tier)
        for key in manifests.put_end_back(self._tier):
            self._done(key, f"second copy on {self._tier.name}")

    def _second_copies(self, findings: list[Finding]) -> None:
        """Manifests and checkpoints: the log says what they say."""
        for finding in findings:
            if finding.problem is Problem.MANIFEST:
                self._manifest(finding.object_key)
            elif finding.problem is Problem.CHECKPOINT:
                self._checkpoint(finding.object_key)

    def _manifest(self, object_key: str) -> None:
        identity = manifest_id(object_key)
        snapshot = self._tier.snapshots().get(identity or "")
        if snapshot is not None:
            number = self._tier.log.state.entry_of[snapshot.id]
            with suppress(ObjectMissing, Damaged, Truncated):
                body = read_object(self._tier.store, entry_object_key(number))
                said = self._tier.log.decoded(body, number).body
                if isinstance(said, SnapshotCommitted) and said.id == snapshot.id:
                    self._replace(object_key, body, "made from the log")

    def _checkpoint(self, object_key: str) -> None:
        self._set_aside(object_key)
        with suppress(Locked, AccessDenied):
            self._tier.store.delete(object_key)
            self._done(object_key, "taken away")

    def _packs(self, findings: list[Finding]) -> None:
        """Damaged and missing packs."""
        for key, finding in {each.object_key: each for each in findings if each.problem in OF_PACKS}.items():
            self._check_cancelled()
            if (pack_id := pack_id_in(key)) is not None:
                self._copy(finding, partial(is_named, pack_id))

    def _unshare(self, findings: list[Finding]) -> None:
        """Give packs that are another tier's files ones of their own: what is put takes the name, not the file."""
        for finding in findings:
            if finding.problem is Problem.PACK_SHARED:
                self._check_cancelled()
                body = read_object(self._tier.store, finding.object_key)
                if (pack_id := pack_id_in(finding.object_key)) is not None and is_named(pack_id, body):
                    self._tier.store.put(finding.object_key, body)
                    self._done(finding.object_key, "a file of its own")

    def _leave_out(self, findings: list[Finding]) -> None:
        """Take out of the index what nobody has of bad packs: else every writer to come would count on it."""
        broken = [finding for finding in findings if finding.object_key in self._broken]
        packs = lost_packs(self._tier.store, broken) - self._rebuilt_without
        if not self._tier.log.state.faults and packs & self._tier.index.pack_ids():
            self._rebuild()

    def _segments(self, findings: list[Finding]) -> None:
        """Damaged segments from another tier; where one is not to be had, all of the index from the packs."""
        damaged = [finding for finding in findings if finding.problem is Problem.SEGMENT]
        for finding in damaged:
            name = finding.object_key.removeprefix(segment_object_key(""))
            self._copy(finding, lambda body, name=name: crypto.sha256(body).hex() == name)  # type: ignore[misc]
        lost = [finding.object_key for finding in damaged if finding.object_key in self._broken]
        if not damaged:
            # With damaged segments or lost entries these are the consequence; the next pass sees what is left.
            wrong = [each for each in findings if each.problem in (Problem.INDEX_INCOMPLETE, Problem.TREE)]
            is_cause = not any(each.problem in (Problem.LOG_ENTRY, Problem.PACK_MISSING) for each in findings)
            lost = [each.object_key for each in wrong] if is_cause else []
        if lost and not self._tier.log.state.faults and withheld_by(self._tier) is None:
            for key in lost:
                self._broken.pop(key, None)
            self._rebuild()

    def _name_bad_orphans(self, packs: list[bytes]) -> None:
        self.result.bad_orphans = sorted({*self.result.bad_orphans, *map(pack_object_key, packs)})

    def _rebuild(self) -> None:
        """Make the index anew, and copy what was found damaged by that. Once, as long as nothing was put here since."""
        if self._is_rebuilt or withheld_by(self._tier) is not None:
            return  # what a segment lists that may not be read would be left to chance
        self._is_rebuilt = True
        lost = lost_packs(self._tier.store, self._broken.values())
        rebuilt = rebuild.rebuild_index(
            self._repository, self._tier, given_up=lost, check_cancelled=self._check_cancelled
        )
        self._done(segment_object_key(""), f"rebuilt from {rebuilt.packs} packs")
        self._rebuilt_without |= {*rebuilt.damaged, *rebuilt.left_out}
        for pack_id in rebuilt.left_out:
            self._broken.pop(pack_object_key(pack_id), None)
        self._name_bad_orphans(rebuilt.left_out)
        self._packs(
            [
                Finding(self._tier.name, Problem.PACK_DAMAGED, pack_object_key(each), "it is not whole")
                for each in rebuilt.damaged
            ]
        )

    def left_over(self, report: CheckReport) -> list[Finding]:
        """What could not be copied, and what the last look at the structure found."""
        known = {finding.object_key for finding in report.damage}
        known |= {f"snapshot {identity}" for identity in self._tier.snapshots()}
        return [*report.damage, *(finding for key, finding in self._broken.items() if key not in known)]


def _has_digest(digests: Collection[str | None], body: bytes) -> bool:
    return crypto.sha256(body).hex() in digests
