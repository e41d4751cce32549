"""Backs up a source into a repository: one reading, all tiers.

Promise: when `backup` returns, each tier whose result says `committed` restores the snapshot alone. Whatever
concerns one file alone is in `file_errors`, and the rest was saved. What was uploaded before a failure is
found by the next run and not uploaded again.
"""

import time
from collections.abc import Mapping
from datetime import datetime
from importlib import import_module

from repository.backup.fanout import Delivery, Finished, TierDelivery, no_tier_left
from repository.backup.leftovers import bring
from repository.backup.lock_classes import keep_apart
from repository.backup.options import BackupOptions
from repository.backup.pack_usage import PackUsage, lost_packs_of
from repository.backup.parent_pages import UNREADABLE, ParentPages
from repository.backup.pipeline import Pipeline
from repository.backup.problems import ProblemLog
from repository.backup.reading import BLOCK_LENGTH
from repository.backup.result import BackupResult, TierResult, by_class_of, found_of_run, of_one_run
from repository.backup.session import ChunkSession, ClassCount
from repository.backup.sharing import Member, Sharing, terms_of
from repository.backup.source import Source
from repository.backup.walk import Walker
from repository.backup.workshop import Workshop
from repository.errors import (
    BackupCancelled,
    LockNotProven,
    NoUsableTier,
    PackMarked,
    RepositoryError,
    TierBehind,
)
from repository.opened.locking import lock_date
from repository.opened.open_tier import OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.progress import Progress, Ticker, TierProgress
from repository.stored.snapshot import Snapshot, SnapshotManifest, Totals, of_host, of_torn
from repository.stored.tree_builder import TreeBuilder
from repository.streams.on_tier import leaning_on

__all__ = ["BackupOptions", "BackupResult", "TierResult", "backup"]

PRUNES_MAX = 3
"""How often a backup begins again because of prunes that ran beside it."""


def backup(
    repository: Repository, source: Source, *, options: BackupOptions, sharing: Sharing | None = None
) -> BackupResult:
    """Back up `source` to every ready tier of `repository`.

    `sharing`: of this repository, with other backups that run at the same time; without it, the backup shares nothing.
    Raises `NoUsableTier` (no tier took it; the causes are in its context), `SourceUnreachable`,
    `BackupCancelled`, `UnknownKey`, `NotInIndex`, `LockNotProven` (a required tier does not lock, or none does). The
    calling thread does the walking. Where a prune took away what the backup had counted on, the source is read again.
    """
    for _ in range(PRUNES_MAX):
        try:
            return _Backup(repository, source, options, sharing).run()
        except NoUsableTier as error:
            if not any(isinstance(each, PackMarked | TierBehind) and "packs" in each.context for each in error.causes):
                raise
        for tier in repository.ready_tiers():
            tier.refresh()
    return _Backup(repository, source, options, sharing).run()


class _Backup:
    """The parts of one backup, wired together."""

    def __init__(self, repository: Repository, source: Source, options: BackupOptions, sharing: Sharing | None) -> None:
        self._repository = repository
        self._sharing = sharing
        self._member: Member | None = None
        self._pipeline: Pipeline | None = None
        self._finished: list[Finished] = []
        self._options = options
        self._started = time.monotonic()
        self._time_ns = repository.clock.now_ns()
        self._source = source
        self._parent_error: RepositoryError | None = None
        self._locks: dict[str, datetime | None] = {}
        self._left_out: dict[str, TierResult] = {}
        self._tiers = repository.ready_tiers()
        if not self._tiers:
            raise repository.none_ready()

    def run(self) -> BackupResult:
        """Everything, in order."""
        earlier = self._committed_before()
        if earlier is not None:
            return earlier
        self._keys = self._repository.keys.active(self._options.domain)
        self._leave_out_what_does_not_lock()
        token = self._repository.randomness.token_bytes(16)
        self._repository.live_writers.add(token)
        try:
            return self._write(token)
        finally:
            self._repository.live_writers.discard(token)

    def _write(self, token: bytes) -> BackupResult:
        self._repository.begin_writing(token, self._tiers, self._lock_until)
        for tier in self._tiers:
            if not tier.is_ready:  # it failed while the writer was announced: read-only, full, gone
                is_required = tier.name in self._options.required
                self._left_out[tier.name] = TierResult(Delivery.FAILED, tier.error, 0, 0, 0.0, is_required)
        self._tiers = [tier for tier in self._tiers if tier.is_ready]
        if not self._tiers:
            raise self._repository.none_ready()
        member = self._member = self._join()
        ticker = Ticker(self._options.on_progress, self._progress)
        is_done = False
        try:
            if self._options.on_begin is not None:
                self._options.on_begin()
            pipeline = self._wire(member)
            pipeline.start()
            ticker.start()
            self._walker.run()
            if member.index.has_many_new():
                # Their segments need it. While the workers are still busy, this thread has nothing else to do.
                import_module("numpy")
            pipeline.finish()
            self._session.flush()
            self._require_source()
            result = self._commit(member, pipeline)
            is_done = True
        except BaseException as error:
            self._end(error)
            if self._pipeline is not None:
                self._pipeline.join()
            raise
        finally:
            ticker.stop()
            member.leave(is_failed=not is_done)
        # Where the backup did not get through, packs wait for the next writer to adopt: the marker says so.
        states = result.tiers
        self._repository.end_writing(
            token,
            [tier for tier in self._tiers if states[tier.name].state is Delivery.COMMITTED],
            self._lock_until,
        )
        return result

    def _committed_before(self) -> BackupResult | None:
        """The result of an earlier run with the same token, if one got as far as any tier."""
        found = found_of_run(self._tiers, self._options.run_token)
        if not found:
            return None
        snapshot, others = of_one_run(found, self._options.required)
        results = {each.name: self._found_on(each, snapshot, others.get(each.name)) for each in self._tiers}
        return BackupResult(snapshot, results, [], {}, time.monotonic() - self._started, True)

    def _found_on(self, tier: OpenTier, snapshot: Snapshot, failure: RepositoryError | None) -> TierResult:
        """How a tier came out of an earlier run. That one may have died before its entry was durable."""
        state = Delivery.BEHIND
        try:
            # Reads the log again, too: the earlier run may have gone on since it was read.
            tier.log.append(lambda _state: None)
            if snapshot.id in tier.snapshots():
                if self._options.lock_days.get(tier.name):
                    tier.expect_locked(snapshot.id)
                state, failure = Delivery.COMMITTED, None
        except RepositoryError as error:
            state, failure = Delivery.FAILED, error
        return TierResult(state, failure, 0, 0, 0.0, tier.name in self._options.required)

    def _join(self) -> Member:
        """Take part in the sharing, once there is memory for it."""
        options = self._options
        block_length = BLOCK_LENGTH + self._repository.config.chunker.maximum
        sharing = self._sharing or Sharing(
            self._repository,
            Workshop.for_one(options.memory_budget, workers=options.workers, block_length=block_length),
        )
        self._workshop = sharing.workshop

        gone = frozenset[bytes]().union(*(lost_packs_of(tier) for tier in self._tiers if options.paranoid))

        def on_waiting() -> None:
            self._check()
            if options.on_waiting is not None:
                options.on_waiting()

        return sharing.join(
            self._keys,
            self._tiers,
            terms_of(
                self._keys,
                self._tiers,
                lock_days=options.lock_days,
                levels=options.compression,
                patience_seconds=options.patience_seconds,
                is_paranoid=options.paranoid,
            ),
            gone=gone,
            required=options.required,
            lock_until=self._lock_until,
            block_length=block_length,
            on_end=self._end,
            on_waiting=on_waiting,
        )

    def _wire(self, member: Member) -> Pipeline:
        options, repository = self._options, self._repository
        self._problems = ProblemLog(options.on_problem)
        self._parent = self._find_parent(member)
        reader = ChunkReader(
            nearest_first(repository.tiers_with(self._parent) if self._parent else []), repository.keys
        )

        def load(chunk_id: bytes) -> bytes:
            try:
                return reader.chunk(chunk_id)
            except UNREADABLE as error:
                # Its files are read again; that they have to be is told.
                self._parent_error = self._parent_error or error
                raise

        self._usage = PackUsage(member.index, load)
        compressor = self._workshop.compressor(options.compression)
        self._session = member.session = ChunkSession(member.store, compressor, self._usage.add)
        tree = TreeBuilder(self._session.store_tree_chunk, self._usage.add)
        self._pipeline = pipeline = Pipeline(
            self._session,
            tree,
            self._problems,
            workers=self._workshop.workers,
            blocks=member.blocks,
            parameters=repository.config.chunker,
            compressor=compressor,
            check=self._check,
        )
        # Where nothing is believed of the parent, it is not read.
        root = bytes.fromhex(self._parent.manifest.root[0]) if self._parent and not options.paranoid else b""
        self._walker = Walker(
            self._source,
            pipeline,
            parent=ParentPages(root, 0, load),
            paranoid=options.paranoid,
            use_content=self._usage.add,
            check=self._check,
        )
        return pipeline

    def _find_parent(self, member: Member) -> Snapshot | None:
        """The latest snapshot of the same source, in the same key domain, whose tree the session's index has."""
        given = self._options.parent
        if given is not None or self._options.commit is not OpenTier.commit_snapshot:
            return given if given and member.index.contains(bytes.fromhex(given.manifest.root[0])) else None
        for snapshot in reversed(self._repository.snapshots(self._options.label)):
            brief = snapshot.brief
            if brief.label == self._options.label and brief.domain == self._keys.identity_id.hex():
                return snapshot if member.index.contains(bytes.fromhex(snapshot.manifest.root[0])) else None
        return None

    def _lock_until(self, tier: OpenTier) -> datetime | None:
        """Until when this backup's objects are locked on a tier: asked once, by the tier's own clock."""
        if tier.name not in self._locks:
            self._locks[tier.name] = lock_date(tier.store, self._options.lock_days.get(tier.name, 0))
        return self._locks[tier.name]

    def _leave_out_what_does_not_lock(self) -> None:
        """Before anything is uploaded: who asked for a lock is not given a copy without one."""
        for tier in self._tiers:
            try:
                if (until := self._lock_until(tier)) is not None:
                    tier.prove_locks(until)
            except RepositoryError as error:
                is_required = tier.name in self._options.required
                if is_required and isinstance(error, LockNotProven):
                    raise
                self._left_out[tier.name] = TierResult(Delivery.FAILED, error, 0, 0, 0.0, is_required)
        self._tiers = [tier for tier in self._tiers if tier.name not in self._left_out]
        if not self._tiers:
            raise next(result.error for result in self._left_out.values() if result.error is not None)

    def _check(self) -> None:
        if self._options.is_cancelled is not None and self._options.is_cancelled():
            raise BackupCancelled("backup was cancelled")

    def _end(self, error: BaseException) -> None:
        """End all waiting with this error, on all threads."""
        if self._pipeline is not None:
            self._pipeline.fail(error)
        if self._member is not None:
            self._member.fail(error)

    def _require_source(self) -> None:
        """Raise `SourceUnreachable` where the root is gone by now.

        What had been listed below it is told entry by entry, and what had not is told by nobody: a folder that was
        emptied first looks as if it had always been empty. That is no snapshot of the source.
        """
        self._source.require()

    def _commit(self, member: Member, pipeline: Pipeline) -> BackupResult:
        self._check()
        root_id = pipeline.tree.root_id
        assert root_id is not None  # noqa: S101 - the root page is complete when all work is done
        manifest = self._manifest(root_id, pipeline)
        until = {tier: self._lock_until(tier) for tier in self._tiers}
        compressor = self._workshop.compressor(self._options.compression)
        ring = self._repository.keys
        keep_apart(self._session, member, self._usage, compressor, ring, until, root_id, self._check)
        packs = self._usage.packs() | frozenset(self._session.new_packs)
        # Also those that others have made, where some tier's index does not have them yet: each snapshot brings
        # what it needs, for who made them may never commit.
        new = packs & member.index.new_pack_ids()
        bring(self._repository, member.fanout, packs - new, self._lock_until, self._check)
        lacking = set[bytes]().union(*(tier.lacks(new) for tier in self._tiers))
        sealed = self._repository.seal_segments(member.index.new_segments_of(lacking))
        committed: dict[str, Snapshot] = {}

        def commit(delivery: TierDelivery) -> None:
            tier = delivery.tier
            date = self._lock_until(tier)
            committed[tier.name] = self._options.commit(
                tier, manifest, packs=packs, new_segments=sealed, lock_until=date
            )

        self._finished = member.fanout.finish(commit, check=self._check)
        if not committed:
            raise no_tier_left(self._finished)
        snapshot, others = of_one_run(committed, self._options.required)
        for each in self._finished:
            if each.name in others:
                each.state, each.error = Delivery.BEHIND, others[each.name]
        return BackupResult(
            snapshot,
            {each.name: self._result_of(each) for each in self._finished} | self._left_out,
            self._problems.kept,
            dict(self._problems.counts),
            time.monotonic() - self._started,
            packs=frozenset(packs) if snapshot.body == manifest.encode() else None,
            parent_error=self._parent_error,
        )

    def _result_of(self, finished: Finished) -> TierResult:
        sent = finished.delivery.sent_for(self._session)
        seconds, is_required = finished.at - self._started, finished.name in self._options.required
        return TierResult(finished.state, finished.error, sent.bytes, sent.packs, seconds, is_required)

    def _manifest(self, root_id: bytes, pipeline: Pipeline) -> SnapshotManifest:
        walked = self._walker.counts
        counts = pipeline.counts()
        total = ClassCount()
        for count in counts:
            total.add(count)
        return SnapshotManifest(
            time_ns=self._time_ns,
            run_token=self._options.run_token,
            label=self._options.label,
            root=(root_id.hex(),),
            domain=self._keys.identity_id.hex(),
            parent=self._parent.id if self._parent else None,
            tags=self._options.tags,
            totals=Totals(
                files=walked.files - pipeline.files_lost,
                folders=walked.folders,
                others=walked.others,
                failed=self._problems.losses,
                unchanged_files=walked.unchanged_files,
                chunks=total.chunks,
                new_chunks=total.new_chunks,
                source_bytes=walked.bytes + pipeline.size_changes,
                new_bytes=total.new_bytes,
                stored_bytes=total.stored_bytes,
            ),
            by_class=by_class_of(counts),
            extra=leaning_on(self._options.streams) | of_host(self._options.host) | of_torn(self._problems.torn),
        )

    def _progress(self) -> Progress:
        member, pipeline = self._member, self._pipeline
        if member is None or pipeline is None:
            return Progress(0, 0, 0, 0, is_walk_complete=False)
        walked = self._walker.counts
        workers, links = pipeline.workers, pipeline.links
        states = {each.name: each.state for each in self._finished}
        return Progress(
            files_found=walked.files,
            files_done=walked.unchanged_files + links.names_filled + sum(worker.files_done for worker in workers),
            bytes_found=walked.bytes + pipeline.size_changes,
            bytes_done=walked.unchanged_bytes + links.bytes_filled + sum(worker.bytes_done for worker in workers),
            is_walk_complete=walked.is_complete,
            problems=sum(self._problems.counts.values()),
            tiers={each.name: self._tier_progress(each, states) for each in member.fanout.deliveries},
        )

    def _tier_progress(self, delivery: TierDelivery, states: Mapping[str, Delivery]) -> TierProgress:
        sent = delivery.sent_for(self._session)
        state = states.get(delivery.name, delivery.state)
        return TierProgress(state.value, sent.bytes, delivery.bytes_waiting, sent.packs)
