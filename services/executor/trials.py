"""What a worker does with a test of a configuration that it has claimed: one look, one answer.

Nothing of a look is recorded before it is over: a worker that dies leaves a claim without heartbeats, and the next one
looks anew. After `SILENCED_MAX` of them, or so many troubles, it is refused: whoever asked is not left without a word.
"""

import logging
import time
from collections.abc import Callable

from chassis.claims.port import GIVEN_BACK, Claim, Claims, Trouble
from chassis.life.blocking import NoAnswer, call_in_thread
from chassis.life.patience import patiently
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.executor_events import ConfigurationTested, ConfigurationTestRefused
from contracts.trial import Check, Finding, Verdict
from services.executor.domain import ConfigurationTest
from services.executor.ports import Places, Trials

LOOK_SECONDS = 90.0
"""How long a look may take, which ends by itself before; what it still does then is discarded."""
SILENCED_MAX = 2
TROUBLES_MAX = 5

_log = logging.getLogger(__name__)


class TrialPerformance:
    """`Performer` of tests."""

    ACTOR = "service:executor-worker"

    def __init__(self, trials: Trials, claims: Claims, places: Places) -> None:
        self._trials = trials
        self._claims = claims
        self._places = places

    async def perform(self, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
        """Look, and record what was found."""
        if claim.silenced > SILENCED_MAX:
            await self._refuse(claim, errors.TEST_GIVEN_UP, is_cancelled)
            return
        until = time.monotonic() + LOOK_SECONDS
        began = time.monotonic()
        try:
            task = self._trials.task_of(claim)
            findings, estimate = await call_in_thread(
                lambda: self._places.look(claim.organisation, task),
                is_cancelled=is_cancelled,
                is_overdue=lambda: time.monotonic() > until,
            )
        except NoAnswer:
            await self._refuse(claim, errors.TEST_GIVEN_UP, is_cancelled)
            return
        except PlatformError as error:
            if error.code in GIVEN_BACK and claim.troubles < TROUBLES_MAX:
                raise  # Another worker, or this one a little later, may do better.
            _log.warning("a test was given up", extra={"code": error.code.code, "cause": describe(error)})
            code = errors.CONFIGURATION_UNREADABLE
            await self._refuse(claim, error.code if error.code is code else errors.TEST_GIVEN_UP, is_cancelled)
            return
        test = ConfigurationTest(claim.work_id)
        test.record(
            ConfigurationTested(
                request_id=claim.work_id,
                configuration_id=task.configuration_id,
                configuration_version=task.version,
                verdict=verdict_of(findings),
                findings=findings,
                seconds=round(time.monotonic() - began, 3),
                estimate=estimate,
            )
        )
        await self._end(test, claim, is_cancelled)

    async def give_back(self, claim: Claim, *, is_left: bool = False, trouble: Trouble | None = None) -> None:
        """Let another worker look."""
        await self._claims.release(claim, is_left=is_left, in_trouble=trouble is not None)

    async def _refuse(self, claim: Claim, code: ErrorCode, is_cancelled: Callable[[], bool]) -> None:
        test = ConfigurationTest(claim.work_id)
        test.record(
            ConfigurationTestRefused(
                request_id=claim.work_id, configuration_id=claim.subject or "", code=code.code, hint=code.hint
            )
        )
        await self._end(test, claim, is_cancelled)

    async def _end(self, test: ConfigurationTest, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
        await patiently(
            lambda: self._trials.record_end(test, claim=claim, context=claim.context(self.ACTOR)), is_cancelled
        )


def verdict_of(findings: tuple[Finding, ...]) -> Verdict:
    """Fail where one of them is; else undecided where one is: what was not seen is not promised.

    But for the space of a bucket, which nobody can ever know: no configuration with one would pass.
    """
    found = {each.verdict for each in findings}
    if Verdict.FAIL in found:
        return Verdict.FAIL
    open_ones = [each for each in findings if each.verdict is not Verdict.PASS]
    return Verdict.PASS if all(each.check is Check.TIER_SPACE for each in open_ones) else Verdict.UNDECIDED
