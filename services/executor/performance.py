"""What a worker does with a run that it has claimed, from the first look at the source to the last byte read back.

Every step is recorded before the next begins, so that a takeover, a person and an auditor see where a run stands.
A crash at any point leaves a claim without heartbeats: the next worker starts again under a higher fence and finds
what is on the tiers already.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from chassis.claims.performance import Attempt, Performance
from chassis.claims.port import Claim, Claims
from chassis.clock import Clock, SystemClock
from chassis.life.blocking import RunInterrupted
from chassis.life.patience import patiently
from chassis.life.standstills import StandsStill, Standstills
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.executor_events import ExecutionState
from contracts.tier_failure import TierFailure, at_location
from services.executor.domain import BackupRun
from services.executor.failures import failure_report, failures_of, tier_of, told_code, told_hint, waiting_hint
from services.executor.follow_ups import NEVER, FollowUps
from services.executor.kept import KeptConfiguration, Replica
from services.executor.outcomes import error_of, judged, tell_of_tier
from services.executor.policies import catch_ups_owed, failure_of, when_fell_due
from services.executor.ports import (
    BackupOutcome,
    Configurations,
    DataPlane,
    OpenBackup,
    ProgressFeed,
    Reports,
    Runs,
    SealedReport,
    TierOutcome,
)

OPEN_SECONDS = {errors.SOURCE_UNREACHABLE: 60.0, errors.TIER_UNREACHABLE: 900.0}
"""How long opening waits for the source, and for all tiers together, which know their own patience better.

Meanwhile the organisation's other runs wait, too.
"""
LEAVE_SECONDS = 3600.0
"""How long copying and reading back wait for the source or a tier that gives no sign."""

_log = logging.getLogger(__name__)


@dataclass
class _Attempt(Attempt[BackupRun]):
    """One run under one claim."""

    configuration: Replica | None = None
    report: bytes | None = None
    has_let_others: bool = False
    """Whether others of the organisation may open the repository meanwhile."""


class RunPerformance(Performance[BackupRun, _Attempt]):
    """Performs claimed runs."""

    NOUN = "run"
    ID = "run_id"
    ACTOR = "service:executor-worker"
    ABANDONED = errors.RUN_ABANDONED

    def __init__(
        self,
        *,
        runs: Runs,
        configurations: Configurations,
        claims: Claims,
        data_plane: DataPlane,
        reports: Reports,
        progress: ProgressFeed,
        standstills: Standstills,
        open_seconds: Mapping[ErrorCode, float] = MappingProxyType(OPEN_SECONDS),
        leave_seconds: float = LEAVE_SECONDS,
        clock: Clock | None = None,
        follow_ups: FollowUps = NEVER,
    ) -> None:
        super().__init__(runs, claims, progress=progress, standstills=standstills)
        self._clock = clock or SystemClock()
        self._follow_ups = follow_ups
        self._runs = runs
        self._configurations = configurations
        self._data_plane = data_plane
        self._reports = reports
        self._open_seconds = open_seconds
        self._leave_seconds = dict.fromkeys([*OPEN_SECONDS, errors.MEMORY_TAKEN], leave_seconds)

    def attempt(self, work: BackupRun, claim: Claim, is_cancelled: Callable[[], bool]) -> _Attempt:
        """A run under a claim."""
        return _Attempt(work, claim, claim.context(self.ACTOR), is_cancelled)

    def waits_for(self, error: PlatformError) -> tuple[ErrorCode, str]:
        """What a run waits for."""
        return told_code(error.code), waiting_hint(error)

    async def carry_out(self, attempt: _Attempt) -> None:
        """Open source and tiers, copy, read back, and tell the end."""
        started = time.monotonic()
        opened = attempt.opened = await self._open(attempt)
        outcome = await self._copy(opened, attempt)
        attempt.report = outcome.report
        await self._conclude(attempt, opened, outcome, started)

    async def _open(self, attempt: _Attempt) -> OpenBackup:
        run, claim = attempt.work, attempt.claim
        if claim.body is not None:
            configuration: Replica | None = KeptConfiguration(
                configuration_id=run.configuration_id,
                organisation=claim.organisation,
                version=run.configuration_version,
                body=claim.body,
            ).read()
        else:
            configuration = await patiently(
                lambda: self._configurations.find(run.configuration_id), attempt.is_cancelled
            )
        if configuration is None or configuration.organisation != claim.organisation:
            raise PlatformError(errors.CONFIGURATION_UNKNOWN, "the run's configuration is not known here")
        attempt.configuration = configuration
        if run.due_at is not None and not run.has_copied:
            missed = when_fell_due(configuration.body.schedule, run.due_at, self._clock.now())
            if missed is not None:
                raise PlatformError(missed.code, "it waited beyond its time for a worker", hint=missed.hint)
        opened = await self._open_in_time(attempt, configuration)
        try:
            if not attempt.has_let_others:
                await self.let_others_open(attempt)
        except BaseException:
            await self.close(opened, attempt)
            raise
        return opened

    async def _open_in_time(self, attempt: _Attempt, configuration: Replica) -> OpenBackup:
        signs, loop = attempt.signs, asyncio.get_running_loop()
        signs.at("opening", f"the source at {configuration.body.source_location}", errors.SOURCE_UNREACHABLE)

        async def let_others() -> None:
            if signs.is_left:
                raise RunInterrupted
            await self.let_others_open(attempt)
            attempt.has_let_others = True

        def let_others_from_thread() -> None:
            asyncio.run_coroutine_threadsafe(let_others(), loop).result()

        try:
            return await self.in_time(
                attempt,
                partial(self._data_plane.open, attempt.claim, configuration, signs, let_others_from_thread),
                self._open_seconds,
                discard=lambda left: left.close(),
            )
        except StandsStill as error:
            # A tier alone is left out after its patience: here none of them has answered.
            is_tiers = error.code is errors.TIER_UNREACHABLE
            tiers = configuration.body.storage_destinations.by_tier() if is_tiers else {}
            error.context["failures"] = [
                TierFailure(tier, error.code.code, at_location(error.code.hint, each.location))
                for tier, each in tiers.items()
            ]
            raise

    async def _copy(self, opened: OpenBackup, attempt: _Attempt) -> BackupOutcome:
        loop = asyncio.get_running_loop()
        beginnings: list[asyncio.Task[None]] = []
        if attempt.configuration is not None:
            place = f"the source at {attempt.configuration.body.source_location}"
            attempt.signs.at("backing up", place, errors.SOURCE_UNREACHABLE)

        def is_cancelled() -> bool:
            # What was left behind commits nothing when its disk answers after all: the run has been told as failed.
            return attempt.signs.is_left or attempt.is_cancelled()

        async def begin() -> None:
            if attempt.is_quiet:
                raise RunInterrupted
            if beginnings:
                return  # A prune came between, and the backup has begun anew.
            beginnings.append(loop.create_task(self._begin(attempt)))
            await beginnings[-1]

        def begin_from_thread() -> None:
            asyncio.run_coroutine_threadsafe(begin(), loop).result()

        try:
            with self.telling(attempt, ExecutionState.BACKING_UP) as tell:
                copy = partial(opened.copy, on_begin=begin_from_thread, on_progress=tell, is_cancelled=is_cancelled)
                outcome = await self.in_time(attempt, copy, self._leave_seconds)
        finally:
            if beginnings:
                # Of a run that was left: two that write down what becomes of it at once would contradict each other.
                await asyncio.wait(beginnings)
        if not beginnings:
            await self._begin(attempt)
        return outcome

    async def _begin(self, attempt: _Attempt) -> None:
        attempt.work.upload(fence=attempt.claim.fence)
        await self.note(attempt)

    async def _verify(
        self, attempt: _Attempt, opened: OpenBackup, outcome: BackupOutcome, tier: TierOutcome
    ) -> str | None:
        try:
            return await self.in_time(attempt, partial(opened.verify, outcome, tier.tier), self._leave_seconds)
        except StandsStill as error:
            _log.error("a tier could not be read back", exc_info=error, extra={"run_id": attempt.work.id})
            return error.code.code

    async def _conclude(self, attempt: _Attempt, opened: OpenBackup, outcome: BackupOutcome, started: float) -> None:
        run, claim = attempt.work, attempt.claim
        for tier in outcome.tiers:
            tell_of_tier(run, claim, outcome, tier)
        failed = failure_of(outcome.tiers)
        if failed is not None:
            await self.fail(attempt, error_of(failed))
            return
        run.verify(fence=claim.fence)
        await self.note(attempt)
        tiers = tuple(
            [
                tier if tier.code is not None else judged(tier, await self._verify(attempt, opened, outcome, tier))
                for tier in outcome.tiers
            ]
        )
        for before, after in zip(outcome.tiers, tiers, strict=True):
            if before.code is None and after.code is not None:
                run.tier_failed(fence=claim.fence, tier=after.tier, code=after.code, hint=after.hint)
        failed = failure_of(tiers)
        if failed is not None:
            await self.fail(attempt, error_of(failed))
            return
        report = None if outcome.report is None else await self._sealed(attempt, outcome.report)
        run.complete(
            fence=claim.fence,
            snapshot_id=outcome.snapshot_id,
            totals=outcome.totals,
            verified=tuple(tier.tier for tier in tiers if tier.code is None),
            catch_ups=catch_ups_owed(tiers),
            report_digest=None if report is None else report.digest,
            seconds=time.monotonic() - started,
            is_report_lost=outcome.report is not None and report is None,
            is_emptied=outcome.is_emptied,
            follow_up_at=self._follow_ups.of_owed(run, catch_ups_owed(tiers), self._clock.now()),
        )
        await self._record_end(attempt, report)

    async def _record_end(self, attempt: _Attempt, report: SealedReport | None) -> None:
        await patiently(
            lambda: self._runs.record_end(attempt.work, claim=attempt.claim, context=attempt.context, report=report),
            attempt.is_cancelled,
        )

    async def _sealed(self, attempt: _Attempt, report: bytes) -> SealedReport | None:
        """The report; None where it cannot be sealed: the run's end is told all the same."""
        try:
            subject = None if attempt.configuration is None else attempt.configuration.body.data_subject_id
            return await self._reports.seal(attempt.claim.organisation, report, subject=subject)
        except PlatformError as error:
            _log.exception("a run ends without its report", extra={"run_id": attempt.work.id, "hint": error.hint})
            return None

    async def fail(self, attempt: _Attempt, error: PlatformError) -> None:
        """End the run. What the fact says in the clear is the code's; the error's own words go into a sealed report."""
        code, tier = told_code(error.code), tier_of(error)
        _log.error(
            "a run has failed",
            extra={"run_id": attempt.work.id, "code": error.code.code, "tier": tier, "cause": describe(error)},
        )
        report = await self._sealed(attempt, failure_report(error, tier, attempt.configuration, attempt.report))
        for failure in failures_of(error):
            if failure.tier not in attempt.work.failed:
                attempt.work.tier_failed(
                    fence=attempt.claim.fence, tier=failure.tier, code=failure.code, hint=failure.hint
                )
        attempt.work.fail(
            fence=attempt.claim.fence,
            code=code.code,
            hint=told_hint(error, tier),
            tier=tier,
            report_digest=None if report is None else report.digest,
            follow_up_at=self._follow_ups.of_failed(attempt.work, code, self._clock.now()),
        )
        await self._record_end(attempt, report)
