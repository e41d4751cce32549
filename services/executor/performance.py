"""What a worker does with a run that it has claimed, from the first look at the source to the last byte read back.

Every step is recorded before the next begins, so that a takeover, a person and an auditor see where a run stands.
A crash at any point leaves a claim without heartbeats: the next worker starts again under a higher fence and finds
what is on the tiers already.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from chassis.claims.port import GIVEN_BACK, GIVEN_BACK_MAX, Claim, Claims, Trouble
from chassis.clock import Clock, SystemClock
from chassis.context import Context
from chassis.life.blocking import NoAnswer, RunInterrupted, call_in_thread
from chassis.life.patience import patiently
from chassis.life.signs import Signs
from chassis.life.standstills import StandsStill, Standstills
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.executor_events import ExecutionState
from contracts.tier_failure import TierFailure, at_location
from services.executor.domain import BackupRun
from services.executor.errors import ClaimLost
from services.executor.failures import failure_report, failures_of, tier_of, told_code, told_hint, waiting_hint
from services.executor.kept import KeptConfiguration, Replica
from services.executor.outcomes import error_of, judged, tell_of_tier
from services.executor.policies import ATTEMPTS_BEFORE_FAILURE, catch_ups_owed, failure_of, when_fell_due
from services.executor.ports import (
    BackupOutcome,
    Configurations,
    DataPlane,
    OpenBackup,
    ProgressFeed,
    ProgressReport,
    Reports,
    Runs,
    SealedReport,
    TierOutcome,
)

ACTOR = "service:executor-worker"

OPEN_SECONDS = {errors.SOURCE_UNREACHABLE: 60.0, errors.TIER_UNREACHABLE: 900.0}
"""How long opening waits for the source, and for all tiers together, which know their own patience better.

Meanwhile the organisation's other runs wait, too.
"""
LEAVE_SECONDS = 3600.0
"""How long copying and reading back wait for the source or a tier that gives no sign."""
CLOSE_SECONDS = 30.0

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class _Attempt:
    """One run under one claim."""

    run: BackupRun
    claim: Claim
    context: Context
    is_cancelled: Callable[[], bool]
    configuration: Replica | None = None
    report: bytes | None = None
    is_copied: bool = False
    signs: Signs = field(default_factory=Signs)


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
        standstills: Standstills,
        open_seconds: Mapping[ErrorCode, float] = MappingProxyType(OPEN_SECONDS),
        leave_seconds: float = LEAVE_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        self._runs = runs
        self._configurations = configurations
        self._claims = claims
        self._data_plane = data_plane
        self._reports = reports
        self._progress = progress
        self._standstills = standstills
        self._open_seconds = open_seconds
        self._leave_seconds = dict.fromkeys([*OPEN_SECONDS, errors.MEMORY_TAKEN], leave_seconds)

    async def perform(self, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
        """Bring a run to its end. Raises CLAIM_LOST when it is another's by now, `RunInterrupted` when cancelled."""
        try:
            run = await patiently(lambda: self._runs.load(claim.work_id), is_cancelled)
        except PlatformError as error:
            if error.code is errors.EVENT_UNREADABLE and claim.troubles >= GIVEN_BACK_MAX:
                unread = await patiently(lambda: self._runs.at_hand(claim), is_cancelled)
                await self._fail(_Attempt(unread, claim, claim.context(ACTOR), is_cancelled), error)
                return
            if error.code is not errors.AGGREGATE_NOT_FOUND:
                raise
            # Nobody can ever perform it, and it would keep the organisation's other runs waiting.
            _log.error("a claim has no run in the record, and is closed", extra={"run_id": claim.work_id})
            await patiently(lambda: self._claims.close(claim), is_cancelled)
            return
        if run.is_finished and await patiently(lambda: self._claims.close(claim), is_cancelled):
            return  # The record is right, and nobody else needs to find that out again.
        attempt = _Attempt(run, claim, claim.context(ACTOR), is_cancelled)
        run.prepare(fence=claim.fence, worker=claim.worker)
        if claim.silenced >= ATTEMPTS_BEFORE_FAILURE:
            abandoned = PlatformError(errors.RUN_ABANDONED, f"{claim.silenced} workers fell silent over the run")
            await self._fail(attempt, abandoned)
            return
        await self._record(attempt)
        try:
            await self._perform(attempt)
        finally:
            self._progress.forget(claim.work_id)
            self._standstills.forget(claim.work_id)

    async def give_back(self, claim: Claim, *, is_left: bool = False, trouble: Trouble | None = None) -> None:
        """Let another worker take the run; in the record, too, so that nobody takes it for being worked on."""
        in_trouble = trouble is not None
        try:
            run = await self._runs.at_hand(claim)
            if run.fence == claim.fence and not run.is_finished:
                if trouble is None:
                    run.requeue(fence=claim.fence)
                else:
                    run.requeue(
                        fence=claim.fence,
                        code=told_code(trouble.error.code).code,
                        hint=waiting_hint(trouble.error),
                        next_attempt_at=trouble.next_attempt_at,
                    )
                await self._runs.record_release(
                    run, claim=claim, is_left=is_left, in_trouble=in_trouble, context=claim.context(ACTOR)
                )
                return
        except PlatformError as error:
            # What counts is that another may take it: the claim alone may still be to be reached.
            _log.warning("given back without a word in the record", exc_info=error, extra={"run_id": claim.work_id})
        await self._claims.release(claim, is_left=is_left, in_trouble=in_trouble)

    async def _perform(self, attempt: _Attempt) -> None:
        claim = attempt.claim
        started = time.monotonic()
        opened: OpenBackup | None = None
        try:
            opened = await self._open(attempt)
            outcome = await self._copy(opened, attempt)
            attempt.report = outcome.report
            await self._conclude(attempt, opened, outcome, started)
        except PlatformError as error:
            if error.code is errors.CLAIM_LOST or (error.code in GIVEN_BACK and claim.troubles < GIVEN_BACK_MAX):
                raise  # This ends the worker's part in the run, and not the run.
            await self._fail(attempt, error)
        except RunInterrupted:
            raise
        except Exception as error:  # noqa: BLE001  # a run must not go round for ever, whatever it was
            # It would be the same for the next worker, and for five more: the run ends, and its cause is told.
            _log.exception("a run broke off", extra={"run_id": claim.work_id})
            broken = PlatformError(errors.INTERNAL, f"the worker broke off: {describe(error)}")
            await self._fail(attempt, broken)
        finally:
            if opened is not None:
                await self._close(opened, attempt)

    async def _open(self, attempt: _Attempt) -> OpenBackup:
        run, claim = attempt.run, attempt.claim
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
            if not await patiently(lambda: self._claims.opened(claim), attempt.is_cancelled):
                raise ClaimLost(claim.work_id, fence=claim.fence, current=claim.fence + 1)
        except BaseException:
            await self._close(opened, attempt)
            raise
        return opened

    async def _open_in_time(self, attempt: _Attempt, configuration: Replica) -> OpenBackup:
        signs = attempt.signs
        signs.at("opening", f"the source at {configuration.body.source_location}", errors.SOURCE_UNREACHABLE)

        try:
            return await self._in_time(
                attempt,
                partial(self._data_plane.open, attempt.claim, configuration, signs),
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

    async def _in_time(
        self,
        attempt: _Attempt,
        call: Callable[[], T],
        seconds: Mapping[ErrorCode, float],
        discard: Callable[[T], object] = lambda _result: None,
    ) -> T:
        """Make a call in a thread, show when it stands still, and let go of it after so long without a sign."""
        return await self._standstills.watched(
            attempt.run.id, call, attempt.signs, seconds, is_cancelled=attempt.is_cancelled, discard=discard
        )

    async def _close(self, opened: OpenBackup, attempt: _Attempt) -> None:
        until = time.monotonic() + CLOSE_SECONDS
        try:
            await call_in_thread(
                opened.close, is_cancelled=attempt.is_cancelled, is_overdue=lambda: time.monotonic() > until
            )
        except NoAnswer:
            _log.warning("a tier does not let itself be closed", extra={"run_id": attempt.run.id})

    async def _copy(self, opened: OpenBackup, attempt: _Attempt) -> BackupOutcome:
        loop = asyncio.get_running_loop()
        announcements: set[asyncio.Task[None]] = set()
        beginnings: list[asyncio.Task[None]] = []

        def announce(report: ProgressReport) -> None:
            if attempt.is_copied:
                return  # Whatever is told now would be of a run that has been forgotten.
            task = loop.create_task(self._progress.tell(attempt.claim, ExecutionState.BACKING_UP, report))
            announcements.add(task)
            task.add_done_callback(announcements.discard)

        def announce_from_thread(report: ProgressReport) -> None:
            loop.call_soon_threadsafe(announce, report)

        if attempt.configuration is not None:
            place = f"the source at {attempt.configuration.body.source_location}"
            attempt.signs.at("backing up", place, errors.SOURCE_UNREACHABLE)

        def is_cancelled() -> bool:
            # What was left behind commits nothing when its disk answers after all: the run has been told as failed.
            return attempt.signs.is_left or attempt.is_cancelled()

        async def begin() -> None:
            if attempt.is_copied:
                raise RunInterrupted
            if beginnings:
                return  # A prune came between, and the backup has begun anew.
            beginnings.append(loop.create_task(self._begin(attempt)))
            await beginnings[-1]

        def begin_from_thread() -> None:
            asyncio.run_coroutine_threadsafe(begin(), loop).result()

        copy = partial(
            opened.copy, on_begin=begin_from_thread, on_progress=announce_from_thread, is_cancelled=is_cancelled
        )
        try:
            outcome = await self._in_time(attempt, copy, self._leave_seconds)
        finally:
            attempt.is_copied = True
            for task in announcements:
                task.cancel()
            if beginnings:
                # Of a run that was left: two that write down what becomes of it at once would contradict each other.
                await asyncio.wait(beginnings)
        if not beginnings:
            await self._begin(attempt)
        return outcome

    async def _begin(self, attempt: _Attempt) -> None:
        attempt.run.upload(fence=attempt.claim.fence)
        await self._record(attempt)

    async def _verify(
        self, attempt: _Attempt, opened: OpenBackup, outcome: BackupOutcome, tier: TierOutcome
    ) -> str | None:
        try:
            return await self._in_time(attempt, partial(opened.verify, outcome, tier.tier), self._leave_seconds)
        except StandsStill as error:
            _log.error("a tier could not be read back", exc_info=error, extra={"run_id": attempt.run.id})
            return error.code.code

    async def _conclude(self, attempt: _Attempt, opened: OpenBackup, outcome: BackupOutcome, started: float) -> None:
        run, claim = attempt.run, attempt.claim
        for tier in outcome.tiers:
            tell_of_tier(run, claim, outcome, tier)
        failed = failure_of(outcome.tiers)
        if failed is not None:
            await self._fail(attempt, error_of(failed))
            return
        run.verify(fence=claim.fence)
        await self._record(attempt)
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
            await self._fail(attempt, error_of(failed))
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
        )
        await self._record_end(attempt, report)

    async def _record(self, attempt: _Attempt) -> None:
        await patiently(lambda: self._runs.record(attempt.run, context=attempt.context), attempt.is_cancelled)

    async def _record_end(self, attempt: _Attempt, report: SealedReport | None) -> None:
        await patiently(
            lambda: self._runs.record_end(attempt.run, claim=attempt.claim, context=attempt.context, report=report),
            attempt.is_cancelled,
        )

    async def _sealed(self, attempt: _Attempt, report: bytes) -> SealedReport | None:
        """The report; None where it cannot be sealed: the run's end is told all the same."""
        try:
            return await self._reports.seal(attempt.claim.organisation, report)
        except PlatformError as error:
            _log.exception("a run ends without its report", extra={"run_id": attempt.run.id, "hint": error.hint})
            return None

    async def _fail(self, attempt: _Attempt, error: PlatformError) -> None:
        """End the run. What the fact says in the clear is the code's; the error's own words go into a sealed report."""
        code, tier = told_code(error.code), tier_of(error)
        _log.error(
            "a run has failed",
            extra={"run_id": attempt.run.id, "code": error.code.code, "tier": tier, "cause": describe(error)},
        )
        report = await self._sealed(attempt, failure_report(error, tier, attempt.configuration, attempt.report))
        for failure in failures_of(error):
            if failure.tier not in attempt.run.failed:
                attempt.run.tier_failed(
                    fence=attempt.claim.fence, tier=failure.tier, code=failure.code, hint=failure.hint
                )
        attempt.run.fail(
            fence=attempt.claim.fence,
            code=code.code,
            hint=told_hint(error, tier),
            tier=tier,
            report_digest=None if report is None else report.digest,
        )
        await self._record_end(attempt, report)
