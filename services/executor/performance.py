"""What a worker does with a run that it has claimed, from the first look at the source to the last byte read back.

Every step is recorded before the next begins, so that a takeover, a person and an auditor see where a run stands.
A crash at any point leaves a claim without heartbeats: the next worker starts again under a higher fence and finds
what is on the tiers already.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import msgspec

from chassis.context import Context
from contracts import errors
from contracts.configuration import Tier
from contracts.errors import ErrorCode, PlatformError
from services.executor.domain import BackupRun
from services.executor.policies import ATTEMPTS_BEFORE_FAILURE, catch_ups_owed, failure_of
from services.executor.ports import (
    BackupOutcome,
    Claim,
    Claims,
    Configurations,
    DataPlane,
    OpenBackup,
    ProgressFeed,
    ProgressReport,
    Reports,
    Runs,
    TierOutcome,
)

ACTOR = "service:executor-worker"

PATIENCE_SECONDS = 300.0
PAUSE_SECONDS = 0.5

T = TypeVar("T")


class RunInterrupted(Exception):
    """The data plane stopped because it was asked to: the worker is stopping, or has lost its claim."""


class RunPerformance:
    """Performs claimed runs, one call per run; calls may overlap."""

    def __init__(
        self,
        *,
        runs: Runs,
        configurations: Configurations,
        claims: Claims,
        data_plane: DataPlane,
        reports: Reports,
        progress: ProgressFeed,
    ) -> None:
        self._runs = runs
        self._configurations = configurations
        self._claims = claims
        self._data_plane = data_plane
        self._reports = reports
        self._progress = progress

    async def perform(self, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
        """Bring a run to its end. Raises CLAIM_LOST when it is another's by now, `RunInterrupted` when cancelled."""
        context = Context(
            organisation=claim.organisation,
            actor=ACTOR,
            correlation_id=claim.correlation_id,
            traceparent=claim.traceparent,
        )
        run = await _patiently(lambda: self._runs.load(claim.run_id))
        if run.is_finished and await _patiently(lambda: self._claims.close(claim)):
            return  # The record is right, and nobody else needs to find that out again.
        run.prepare(fence=claim.fence, worker=claim.worker)
        if claim.silenced >= ATTEMPTS_BEFORE_FAILURE:
            await self._fail(run, claim, context, errors.RUN_ABANDONED, errors.RUN_ABANDONED.hint, None)
            return
        await self._record(run, context)
        started = time.monotonic()
        opened: OpenBackup | None = None
        try:
            opened = await self._open(run, claim)
            run.upload(fence=claim.fence)
            await self._record(run, context)
            outcome = await self._copy(opened, claim, is_cancelled)
            await self._conclude(run, claim, context, opened, outcome, started)
        except PlatformError as error:
            if error.code is errors.CLAIM_LOST or error.code in {errors.CONCURRENT_CHANGE, errors.UNAVAILABLE}:
                raise
            await self._fail(run, claim, context, error.code, error.hint, _tier_of(error))
        finally:
            if opened is not None:
                await asyncio.to_thread(opened.close)

    async def _open(self, run: BackupRun, claim: Claim) -> OpenBackup:
        configuration = await _patiently(lambda: self._configurations.find(run.configuration_id))
        if configuration is None or configuration.organisation != claim.organisation:
            raise PlatformError(errors.CONFIGURATION_UNKNOWN, "the run's configuration is not known here")
        async with self._claims.alone_with_repository(claim.organisation):
            return await asyncio.to_thread(self._data_plane.open, claim, configuration)

    async def _copy(self, opened: OpenBackup, claim: Claim, is_cancelled: Callable[[], bool]) -> BackupOutcome:
        loop = asyncio.get_running_loop()
        announcements: set[asyncio.Task[None]] = set()

        def announce(report: ProgressReport) -> None:
            task = loop.create_task(self._progress.tell(claim, "backing_up", report))
            announcements.add(task)
            task.add_done_callback(announcements.discard)

        def announce_from_thread(report: ProgressReport) -> None:
            loop.call_soon_threadsafe(announce, report)

        return await asyncio.to_thread(
            partial(opened.copy, on_progress=announce_from_thread, is_cancelled=is_cancelled)
        )

    async def _conclude(
        self,
        run: BackupRun,
        claim: Claim,
        context: Context,
        opened: OpenBackup,
        outcome: BackupOutcome,
        started: float,
    ) -> None:
        for tier in outcome.tiers:
            self._tell_of_tier(run, claim, outcome, tier)
        failed = failure_of(outcome.tiers)
        if failed is not None:
            await self._fail(run, claim, context, _code(failed.code), failed.hint, failed.tier)
            return
        run.verify(fence=claim.fence)
        await self._record(run, context)
        verdicts = dict(await asyncio.to_thread(opened.verify, outcome))
        tiers = tuple(_judged(tier, verdicts.get(tier.tier)) for tier in outcome.tiers)
        for before, after in zip(outcome.tiers, tiers, strict=True):
            if before.code is None and after.code is not None:
                run.tier_failed(fence=claim.fence, tier=after.tier, code=after.code, hint=after.hint)
        failed = failure_of(tiers)
        if failed is not None:
            await self._fail(run, claim, context, _code(failed.code), failed.hint, failed.tier)
            return
        digest = None
        if outcome.report is not None:
            report = outcome.report
            digest = await _patiently(lambda: self._reports.keep(run.id, claim.organisation, report))
        run.complete(
            fence=claim.fence,
            snapshot_id=outcome.snapshot_id,
            totals=outcome.totals,
            verified=tuple(tier.tier for tier in tiers if tier.code is None),
            catch_ups=catch_ups_owed(tiers),
            report_digest=digest,
            seconds=time.monotonic() - started,
        )
        await self._record_end(run, claim, context)

    async def _record(self, run: BackupRun, context: Context) -> None:
        await _patiently(lambda: self._runs.record(run, context=context))

    async def _record_end(self, run: BackupRun, claim: Claim, context: Context) -> None:
        await _patiently(lambda: self._runs.record_end(run, claim=claim, context=context))
        self._progress.forget(run.id)

    @staticmethod
    def _tell_of_tier(run: BackupRun, claim: Claim, outcome: BackupOutcome, tier: TierOutcome) -> None:
        if tier.code is not None:
            run.tier_failed(fence=claim.fence, tier=tier.tier, code=tier.code, hint=tier.hint)
            return
        run.tier_uploaded(
            fence=claim.fence,
            tier=tier.tier,
            snapshot_id=outcome.snapshot_id,
            log_entry=tier.log_entry or 0,
            uploaded_bytes=tier.uploaded_bytes,
            objects=tier.objects,
            seconds=tier.seconds,
        )

    async def _fail(
        self, run: BackupRun, claim: Claim, context: Context, code: ErrorCode, hint: str, tier: Tier | None
    ) -> None:
        run.fail(fence=claim.fence, code=code.code, hint=hint, tier=tier)
        await self._record_end(run, claim, context)


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Make a call again while a part of the platform is away: hours of reading are not thrown away for a restart."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await call()
        except PlatformError as error:
            if error.code is not errors.UNAVAILABLE or time.monotonic() > deadline:
                raise
        await asyncio.sleep(PAUSE_SECONDS)


def _judged(tier: TierOutcome, damage: str | None) -> TierOutcome:
    if damage is None or tier.code is not None:
        return tier
    return msgspec.structs.replace(tier, code=damage, hint=_code(damage).hint)


def _code(code: str | None) -> ErrorCode:
    return errors.catalogue().get(code or "", errors.INTERNAL)


def _tier_of(error: PlatformError) -> Tier | None:
    tier = error.context.get("tier")
    return tier if isinstance(tier, Tier) else None
