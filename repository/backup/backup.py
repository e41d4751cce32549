"""Backs up a source into a repository: one reading, all tiers.

Promise: when `backup` returns, each tier whose result says `committed` restores the snapshot alone. Whatever
concerns one file alone is in `file_errors`, and the rest was saved. What was uploaded before a failure is
found by the next run and not uploaded again.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib import import_module
from typing import Final

from repository.backup.fanout import Delivery, Fanout, TierDelivery, no_tier_left
from repository.backup.pack_usage import PackUsage
from repository.backup.parent_pages import ParentPages
from repository.backup.pipeline import Pipeline
from repository.backup.problems import FileError, ProblemLog
from repository.backup.reading import BLOCK_LENGTH
from repository.backup.result import BackupResult, TierResult
from repository.backup.session import ChunkSession, ClassCount
from repository.backup.source import Source
from repository.backup.walk import Walker
from repository.errors import (
    BackupCancelled,
    LimitExceeded,
    LockNotProven,
    RepositoryError,
    SnapshotNotFound,
    TextInvalid,
)
from repository.format import ContentClass
from repository.opened.locking import lock_date
from repository.opened.open_tier import FORGOTTEN_HINT, OpenTier
from repository.opened.pack_access import ChunkReader, nearest_first
from repository.opened.repository import Repository
from repository.progress import Progress, Ticker, TierProgress
from repository.stored.buffers import BoundedPool
from repository.stored.pack_builder import BUFFER_LENGTH_MIN, PACK_TARGET
from repository.stored.snapshot import ClassTotals, Snapshot, SnapshotManifest, Totals
from repository.stored.tree_builder import TreeBuilder

__all__ = ["BackupOptions", "BackupResult", "TierResult", "backup"]

MEMORY_BUDGET: Final = 256 << 20
"""Bytes of buffers for one backup, by default: the process stays below twice that."""
TREE_PACK_TARGET: Final = BUFFER_LENGTH_MIN
WORKERS_MAX: Final = 8
PACKS_MIN: Final = 2
"""One pack that is filled while another is sent."""


@dataclass(frozen=True, kw_only=True)
class BackupOptions:
    """How one backup is made.

    `run_token`: chosen by the caller; a token is committed at most once, so a run that is repeated after a
    lost answer adds no second snapshot. `label`: names the source; the latest snapshot of the same label is
    the parent. `paranoid`: read every file, and send what was in packs that a tier has lost. `memory_budget`: bytes of
    buffers. `compression`: zstd levels per content class, 0 for none. `required`: tiers (by name) that are waited for
    however slow they are.
    `lock_days`: by tier, for how long what the snapshot needs cannot be deleted; a tier that does not prove to lock
    gets nothing, and where it is required there is no backup.
    `patience_seconds`: how long a slow tier may hold up a faster one, in all. `workers`: threads that compress and
    encrypt, 0: one for each core. Raises `TextInvalid`.
    """

    run_token: str
    label: str
    tags: tuple[str, ...] = ()
    domain: str = "default"
    paranoid: bool = False
    memory_budget: int = MEMORY_BUDGET
    compression: Mapping[ContentClass, int] | None = None
    required: frozenset[str] = frozenset()
    lock_days: Mapping[str, int] = field(default_factory=dict)
    patience_seconds: float = 60.0
    workers: int = 0
    on_progress: Callable[[Progress], None] | None = None
    on_problem: Callable[[FileError], None] | None = None
    is_cancelled: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        """Refuse what the manifest could not hold, before anything is uploaded."""
        for name, text in (("run_token", self.run_token), ("label", self.label), *(("tag", tag) for tag in self.tags)):
            if text.encode(errors="ignore").decode() != text:
                raise TextInvalid("text is not UTF-8", field=name)


def backup(repository: Repository, source: Source, *, options: BackupOptions) -> BackupResult:
    """Back up `source` to every ready tier of `repository`.

    Raises `NoUsableTier` (no tier took it; the causes are in its context), `SourceUnreachable`,
    `BackupCancelled`, `UnknownKey`, `NotInIndex`, `LockNotProven` (a required tier does not lock, or none does). The
    calling thread does the walking.
    """
    return _Backup(repository, source, options).run()


class _Backup:
    """The parts of one backup, wired together."""

    def __init__(self, repository: Repository, source: Source, options: BackupOptions) -> None:
        self._repository = repository
        self._options = options
        self._started = time.monotonic()
        self._time_ns = repository.clock.now_ns()
        self._source = source
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
        self._repository.begin_writing(token, self._tiers, self._lock_until)
        # A tier may have failed while the writer was announced.
        self._tiers = [tier for tier in self._tiers if tier.is_ready]
        self._wire()
        ticker = Ticker(self._options.on_progress, self._progress)
        try:
            self._fanout.start()
            self._pipeline.start()
            ticker.start()
            self._walker.run()
            if self._session.new_packs:
                # The index will need it. While the workers are still busy, this thread has nothing else to do.
                import_module("numpy")
            self._pipeline.finish()
            self._session.flush()
            self._require_source()
            result = self._commit()
        except BaseException as error:
            self._abort(error)
            raise
        finally:
            ticker.stop()
            for pool in (self._data_pool, self._tree_pool, self._pipeline.blocks):
                pool.dissolve()
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
        for tier in self._tiers:
            state = tier.log.state
            identity = state.by_token.get(self._options.run_token)
            if identity is not None:
                snapshot = state.snapshots.get(identity)
                if snapshot is None:
                    raise SnapshotNotFound(
                        "this run's snapshot was forgotten", hint=FORGOTTEN_HINT, tier=tier.name, id=identity
                    )
                results = {each.name: self._found_on(each, snapshot) for each in self._tiers}
                return BackupResult(snapshot, results, [], {}, time.monotonic() - self._started, True)
        return None

    def _found_on(self, tier: OpenTier, snapshot: Snapshot) -> TierResult:
        """How a tier came out of an earlier run. That one may have died before its entry was durable."""
        state, failure = Delivery.BEHIND, None
        try:
            # Reads the log again, too: the earlier run may have gone on since it was read.
            tier.log.append(lambda _state: None)
            if snapshot.id in tier.snapshots():
                if self._options.lock_days.get(tier.name):
                    tier.expect_locked(snapshot.id)
                state = Delivery.COMMITTED
        except RepositoryError as error:
            state, failure = Delivery.FAILED, error
        return TierResult(state, failure, 0, 0, 0.0, tier.name in self._options.required)

    def _wire(self) -> None:
        options, repository = self._options, self._repository
        parameters = repository.config.chunker
        workers, packs = _shared_out(options, BLOCK_LENGTH + parameters.maximum)
        self._index = repository.session_index(self._tiers)
        if options.paranoid:
            gone = set[bytes]().union(*(tier.gone_packs() for tier in self._tiers))
            self._index.exclude_packs(self._index.excluded_packs() | gone)
        self._problems = ProblemLog(options.on_problem)
        self._fanout = Fanout(
            self._tiers,
            required=options.required,
            patience_seconds=options.patience_seconds,
            lock_until=self._lock_until,
        )
        self._data_pool = BoundedPool(packs, PACK_TARGET, self._fanout.relieve)
        self._tree_pool = BoundedPool(2, TREE_PACK_TARGET, self._fanout.relieve)
        self._parent = self._find_parent()
        reader = ChunkReader(
            nearest_first(repository.tiers_with(self._parent) if self._parent else []), repository.keys
        )
        self._usage = PackUsage(self._index, reader.chunk)
        self._session = ChunkSession(
            self._keys,
            self._index,
            data_pool=self._data_pool,
            tree_pool=self._tree_pool,
            randomness=repository.randomness,
            on_pack=self._fanout.submit,
            on_known=self._usage.add,
        )
        tree = TreeBuilder(self._session.store_tree_chunk, self._usage.add)
        levels = dict(options.compression) if options.compression is not None else None
        self._pipeline = Pipeline(
            self._session,
            tree,
            self._problems,
            workers=workers,
            parameters=parameters,
            levels=levels,
            check=self._check,
        )
        self._fanout.on_no_tier_left = self._end
        root = bytes.fromhex(self._parent.manifest.root[0]) if self._parent else b""
        self._walker = Walker(
            self._source,
            self._pipeline,
            parent=ParentPages(root, 0, reader.chunk),
            paranoid=options.paranoid,
            use_content=self._usage.add,
            check=self._check,
        )

    def _find_parent(self) -> Snapshot | None:
        """The latest snapshot of the same source, in the same key domain, whose tree the session's index has."""
        for snapshot in reversed(self._repository.snapshots()):
            brief = snapshot.brief
            if brief.label == self._options.label and brief.domain == self._keys.identity_id.hex():
                return snapshot if self._index.contains(bytes.fromhex(snapshot.manifest.root[0])) else None
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
                until = self._lock_until(tier)
                if until is not None:
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
        self._pipeline.fail(error)
        self._data_pool.close(error)
        self._tree_pool.close(error)

    def _abort(self, error: BaseException) -> None:
        self._end(error)
        self._pipeline.join()
        self._fanout.abort()
        self._session.discard()

    def _require_source(self) -> None:
        """Raise `SourceUnreachable` where the root is gone by now.

        What had been listed below it is told entry by entry, and what had not is told by nobody: a folder that was
        emptied first looks as if it had always been empty. That is no snapshot of the source.
        """
        _, root = self._source.root()
        root.close()

    def _commit(self) -> BackupResult:
        self._check()
        root_id = self._pipeline.tree.root_id
        assert root_id is not None  # noqa: S101 - the root page is complete when all work is done
        manifest = self._manifest(root_id)
        packs = self._usage.packs() | frozenset(self._session.new_packs)
        sealed = self._repository.seal_segments(self._index.take_new_segments())
        committed: dict[str, Snapshot] = {}

        def finish(delivery: TierDelivery) -> None:
            tier = delivery.tier
            committed[tier.name] = tier.commit_snapshot(
                manifest,
                packs=packs,
                new_segments=sealed,
                lock_until=self._lock_until(tier),
            )

        self._fanout.close(finish, check=self._check)
        if not committed:
            raise no_tier_left(self._fanout.deliveries)
        snapshot = next(iter(committed.values()))
        return BackupResult(
            snapshot,
            {delivery.name: _result_of(delivery) for delivery in self._fanout.deliveries} | self._left_out,
            self._problems.kept,
            dict(self._problems.counts),
            time.monotonic() - self._started,
        )

    def _manifest(self, root_id: bytes) -> SnapshotManifest:
        walked = self._walker.counts
        counts = self._pipeline.counts()
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
                files=walked.files - self._pipeline.files_lost,
                folders=walked.folders,
                others=walked.others,
                failed=self._problems.losses,
                unchanged_files=walked.unchanged_files,
                chunks=total.chunks,
                new_chunks=total.new_chunks,
                source_bytes=walked.bytes + self._pipeline.size_changes,
                new_bytes=total.new_bytes,
                stored_bytes=total.stored_bytes,
            ),
            by_class={
                content_class.name.lower(): ClassTotals(
                    chunks=count.chunks,
                    source_bytes=count.source_bytes,
                    new_bytes=count.new_bytes,
                    stored_bytes=count.stored_bytes,
                )
                for content_class, count in zip(ContentClass, counts, strict=True)
                if count.chunks
            },
        )

    def _progress(self) -> Progress:
        walked = self._walker.counts
        workers, links = self._pipeline.workers, self._pipeline.links
        return Progress(
            files_found=walked.files,
            files_done=walked.unchanged_files + links.names_filled + sum(worker.files_done for worker in workers),
            bytes_found=walked.bytes + self._pipeline.size_changes,
            bytes_done=walked.unchanged_bytes + links.bytes_filled + sum(worker.bytes_done for worker in workers),
            is_walk_complete=walked.is_complete,
            problems=sum(self._problems.counts.values()),
            tiers={
                delivery.name: TierProgress(
                    delivery.state.value, delivery.bytes_sent, delivery.bytes_waiting, delivery.packs_sent
                )
                for delivery in self._fanout.deliveries
            },
        )


def _shared_out(options: BackupOptions, block_length: int) -> tuple[int, int]:
    """Workers and data packs that the memory budget holds: rather fewer workers than fewer than two packs."""
    wanted = options.workers or min(os.cpu_count() or 1, WORKERS_MAX)
    for workers in range(wanted, 0, -1):
        left = options.memory_budget - (workers + 1) * block_length - 2 * TREE_PACK_TARGET
        if left >= PACKS_MIN * PACK_TARGET:
            return workers, left // PACK_TARGET
    raise LimitExceeded("memory budget is too small", budget=options.memory_budget)


def _result_of(delivery: TierDelivery) -> TierResult:
    return TierResult(
        delivery.state,
        delivery.error,
        delivery.bytes_sent,
        delivery.packs_sent,
        delivery.seconds,
        delivery.is_required,
    )
