"""What a worker does with claimed work, whatever the work is: from the claim to its end in the record.

Every step is recorded before the next begins, so that a takeover, a person and an auditor see where work stands. A
crash at any point leaves a claim without heartbeats: the next worker goes on under a higher fence.
"""

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from chassis.claims.port import (
    GIVEN_BACK,
    GIVEN_BACK_MAX,
    Claim,
    ClaimLost,
    Claims,
    Performed,
    ProgressFeed,
    ProgressReport,
    Trouble,
    WorkRecord,
)
from chassis.context import Context
from chassis.life.blocking import NoAnswer, RunInterrupted, call_in_thread
from chassis.life.patience import patiently
from chassis.life.signs import Signs
from chassis.life.standstills import Standstills
from chassis.telemetry.logging import describe
from contracts import errors
from contracts.errors import ErrorCode, PlatformError

ATTEMPTS_BEFORE_FAILURE = 6
"""A machine may die, a worker be killed by mistake: after so many workers that fell silent it is the work itself."""
CLOSE_SECONDS = 30.0

_log = logging.getLogger(__name__)

T = TypeVar("T")
W = TypeVar("W", bound=Performed)


class Opened(Protocol):
    """What was opened for the work: connections, threads."""

    def close(self) -> None:
        """Give them back. Blocking."""
        ...


@dataclass
class Attempt(Generic[W]):
    """One piece of work under one claim. `opened`: closed when it has ended, however. `is_quiet`: tells no progress."""

    work: W
    claim: Claim
    context: Context
    is_cancelled: Callable[[], bool]
    signs: Signs = field(default_factory=Signs)
    opened: Opened | None = None
    is_quiet: bool = False


A = TypeVar("A", bound=Attempt[Any])


class Performance(ABC, Generic[W, A]):
    """`Performer` of claimed work, one call a piece; calls may overlap. A subclass says what is done, and its words."""

    NOUN: ClassVar[str]
    """What it is in messages, such as `run`."""
    ID: ClassVar[str]
    """Under which name its id is logged, such as `run_id`."""
    ACTOR: ClassVar[str]
    """Who records what happens to it."""
    ABANDONED: ClassVar[ErrorCode]
    """Of what it fails where too many workers fell silent over it."""

    def __init__(
        self, record: WorkRecord[W], claims: Claims, *, progress: ProgressFeed, standstills: Standstills
    ) -> None:
        self._record_of_work = record
        self._claims = claims
        self._progress = progress
        self._standstills = standstills

    @abstractmethod
    def attempt(self, work: W, claim: Claim, is_cancelled: Callable[[], bool]) -> A:
        """Work and claim in one."""

    @abstractmethod
    async def carry_out(self, attempt: A) -> None:
        """Do it and record its end. What is raised ends it (`fail`), or gives it back."""

    @abstractmethod
    async def fail(self, attempt: A, error: PlatformError) -> None:
        """Record its end, with why."""

    @abstractmethod
    def waits_for(self, error: PlatformError) -> tuple[ErrorCode, str]:
        """Code and hint of what keeps it from being done now, for people of the organisation."""

    async def perform(self, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
        """Bring work to its end. Raises CLAIM_LOST when it is another's by now, `RunInterrupted` when cancelled."""
        try:
            work = await patiently(lambda: self._record_of_work.load(claim.work_id), is_cancelled)
        except PlatformError as error:
            if error.code is errors.EVENT_UNREADABLE and claim.troubles >= GIVEN_BACK_MAX:
                unread = await patiently(lambda: self._record_of_work.at_hand(claim), is_cancelled)
                await self.fail(self.attempt(unread, claim, is_cancelled), error)
                return
            if error.code is not errors.AGGREGATE_NOT_FOUND:
                raise
            # Nobody can ever perform it, and it would keep the organisation's other work waiting.
            _log.error(f"a claim has no {self.NOUN} in the record, and is closed", extra=self._named(claim))
            await patiently(lambda: self._claims.close(claim), is_cancelled)
            return
        if work.is_finished and await patiently(lambda: self._claims.close(claim), is_cancelled):
            return  # The record is right, and nobody else needs to find that out again.
        attempt = self.attempt(work, claim, is_cancelled)
        work.prepare(fence=claim.fence, worker=claim.worker)
        if claim.silenced >= ATTEMPTS_BEFORE_FAILURE:
            message = f"{claim.silenced} workers fell silent over the {self.NOUN}"
            await self.fail(attempt, PlatformError(self.ABANDONED, message))
            return
        await self.note(attempt)
        try:
            await self._carry_out(attempt)
        finally:
            attempt.is_quiet = True
            self._progress.forget(claim.work_id)
            self._standstills.forget(claim.work_id)

    async def give_back(self, claim: Claim, *, is_left: bool = False, trouble: Trouble | None = None) -> None:
        """Let another worker take it; in the record, too, so that nobody takes it for being worked on."""
        in_trouble = trouble is not None
        try:
            work = await self._record_of_work.at_hand(claim)
            if work.fence == claim.fence and not work.is_finished:
                if trouble is None:
                    work.requeue(fence=claim.fence)
                else:
                    code, hint = self.waits_for(trouble.error)
                    work.requeue(fence=claim.fence, code=code.code, hint=hint, next_attempt_at=trouble.next_attempt_at)
                await self._record_of_work.record_release(
                    work, claim=claim, is_left=is_left, in_trouble=in_trouble, context=claim.context(self.ACTOR)
                )
                return
        except PlatformError as error:
            # What counts is that another may take it: the claim alone may still be to be reached.
            _log.warning("given back without a word in the record", exc_info=error, extra=self._named(claim))
        await self._claims.release(claim, is_left=is_left, in_trouble=in_trouble)

    async def note(self, attempt: A) -> None:
        """Record what has happened so far."""
        await patiently(
            lambda: self._record_of_work.record(attempt.work, context=attempt.context), attempt.is_cancelled
        )

    async def let_others_open(self, attempt: A) -> None:
        """What one of an organisation does at a time is done. Raises CLAIM_LOST."""
        claim = attempt.claim
        if not await patiently(lambda: self._claims.opened(claim), attempt.is_cancelled):
            raise ClaimLost(claim.work_id, fence=claim.fence, current=claim.fence + 1)

    async def in_time(
        self,
        attempt: A,
        call: Callable[[], T],
        seconds: Mapping[ErrorCode, float],
        discard: Callable[[T], object] = lambda _result: None,
    ) -> T:
        """Make a call in a thread, show when it stands still, and let go of it after so long without a sign."""
        return await self._standstills.watched(
            attempt.work.id, call, attempt.signs, seconds, is_cancelled=attempt.is_cancelled, discard=discard
        )

    @contextmanager
    def telling(self, attempt: A, phase: str) -> Iterator[Callable[[ProgressReport], None]]:
        """Who is given to a call in a thread to tell its progress; after the block nothing of it is told any more."""
        loop = asyncio.get_running_loop()
        announcements: set[asyncio.Task[None]] = set()

        def announce(report: ProgressReport) -> None:
            if attempt.is_quiet:
                return  # Whatever is told now would be of work that has been forgotten.
            task = loop.create_task(self._progress.tell(attempt.claim, phase, report))
            announcements.add(task)
            task.add_done_callback(announcements.discard)

        def announce_from_thread(report: ProgressReport) -> None:
            loop.call_soon_threadsafe(announce, report)

        try:
            yield announce_from_thread
        finally:
            attempt.is_quiet = True
            for task in announcements:
                task.cancel()

    async def close(self, opened: Opened, attempt: A) -> None:
        """Close what was opened; left behind where it does not let itself be closed."""
        until = time.monotonic() + CLOSE_SECONDS
        try:
            await call_in_thread(
                opened.close, is_cancelled=attempt.is_cancelled, is_overdue=lambda: time.monotonic() > until
            )
        except NoAnswer:
            _log.warning("a tier does not let itself be closed", extra=self._named(attempt.claim))

    async def _carry_out(self, attempt: A) -> None:
        claim = attempt.claim
        try:
            await self.carry_out(attempt)
        except PlatformError as error:
            if error.code is errors.CLAIM_LOST or (error.code in GIVEN_BACK and claim.troubles < GIVEN_BACK_MAX):
                raise  # This ends the worker's part in it, and not the work.
            await self.fail(attempt, error)
        except RunInterrupted:
            raise
        except Exception as error:  # noqa: BLE001  # work must not go round for ever, whatever it was
            # It would be the same for the next worker, and for five more: it ends, and its cause is told.
            _log.exception(f"a {self.NOUN} broke off", extra=self._named(claim))
            await self.fail(attempt, PlatformError(errors.INTERNAL, f"the worker broke off: {describe(error)}"))
        finally:
            if attempt.opened is not None:
                await self.close(attempt.opened, attempt)

    def _named(self, claim: Claim) -> dict[str, object]:
        return {self.ID: claim.work_id}
