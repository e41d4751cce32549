"""Tests of configurations in the executor's event store, and their claims: of a configuration one is open."""

import msgspec

from chassis.claims.port import Claim, ClaimLost, Unclaimed
from chassis.claims.work import Work
from chassis.context import Context
from chassis.handling import Handling
from chassis.record.answers import Answers
from chassis.record.eventstore import StatementRefused
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.executor_events import ConfigurationTestRefused
from contracts.reading import read_json
from services.executor.domain import ConfigurationTest
from services.executor.errors import TestOpen
from services.executor.ports import TrialTask

TRIALS = Work(noun="test", claims="test_claims", turns="test_turns", workers="test_workers")
_TASK = msgspec.json.Decoder(TrialTask)


class RecordedTrials(Answers[ConfigurationTest]):
    """`Trials` on an event store. What waits is a claim alone: the record has one event of a test, its answer."""

    KIND = ConfigurationTest

    async def record_asked(self, request_id: str, handling: Handling, task: TrialTask) -> None:
        """Have a configuration tested, with the inbox row."""
        asked = TRIALS.asked(
            request_id, context=handling.context, subject=task.configuration_id, body=msgspec.json.encode(task)
        )
        try:
            await self._store.save(context=handling.context, handled=handling.handled, also=[asked])
        except StatementRefused as error:
            raise TestOpen(task.configuration_id) from error

    def task_of(self, claim: Claim) -> TrialTask:
        """What is to be tested. Raises CONFIGURATION_UNREADABLE."""
        try:
            return read_json(claim.body or b"", _TASK)
        except (msgspec.MsgspecError, ValueError) as error:
            raise PlatformError(
                errors.CONFIGURATION_UNREADABLE, "what is to be tested cannot be read", request_id=claim.work_id
            ) from error

    async def record_end(self, test: ConfigurationTest, *, claim: Claim, context: Context) -> None:
        """Record the answer and close the claim, in one transaction."""
        try:
            await self._store.save(test, context=context, also=[TRIALS.closed(claim)])
        except StatementRefused as error:
            raise ClaimLost(claim.work_id, fence=claim.fence, current=claim.fence + 1) from error


class TrialTeller:
    """`Teller` of tests that no worker can take: noted, and refused in the end."""

    def __init__(self, trials: RecordedTrials, *, actor: str) -> None:
        self._store = trials._store  # noqa: SLF001  # of this module
        self._actor = actor

    async def tell(self, unclaimed: Unclaimed, lack: ErrorCode | None) -> None:
        """Since when it is so; whoever asked is told the end of it, soon."""
        claim = unclaimed.claim
        await self._change(unclaimed, None, claim.context(self._actor), lack)

    async def end(self, unclaimed: Unclaimed, lack: ErrorCode) -> None:
        """It is refused by what kept all workers from it."""
        claim = unclaimed.claim
        test = ConfigurationTest(claim.work_id)
        code = errors.NO_WORKER if lack is errors.NO_WORKER else errors.TEST_GIVEN_UP
        test.record(
            ConfigurationTestRefused(
                request_id=claim.work_id, configuration_id=claim.subject or "", code=code.code, hint=code.hint
            )
        )
        await self._change(unclaimed, test, claim.context(self._actor), lack)

    async def _change(
        self, unclaimed: Unclaimed, test: ConfigurationTest | None, context: Context, lack: ErrorCode | None
    ) -> None:
        statement = TRIALS.told(unclaimed, lack.code if lack else None) if test is None else TRIALS.ended(unclaimed)
        try:
            await self._store.save(*([] if test is None else [test]), context=context, also=[statement])
        except StatementRefused as error:
            claim = unclaimed.claim
            raise ClaimLost(claim.work_id, fence=claim.fence, current=claim.fence + 1) from error
