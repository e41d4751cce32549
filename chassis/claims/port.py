"""What a claim is, and what the loop asks of the table and of whoever performs the work.

All calls may raise `PlatformError`; those with retry class *later* may be made again.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

import msgspec

from chassis.context import Context
from contracts import errors
from contracts.configuration import Tier
from contracts.errors import ErrorCode, PlatformError

GIVEN_BACK = frozenset(
    {
        errors.CONCURRENT_CHANGE,
        errors.UNAVAILABLE,
        errors.KEYS_UNUSABLE,
        errors.KEYS_UNREACHABLE,
        errors.LOCATIONS_UNREADABLE,
        errors.EVENT_UNREADABLE,
        errors.MEMORY_TAKEN,
    }
)
"""What may be wrong for a while, or with one worker alone: the next one may do better."""
GIVEN_BACK_MAX = 48
"""After so many troubles what keeps the work from being done counts as its own: it ends with that.

With the pauses in between one worker takes three quarters of an hour for it: others, who may do better, can be busy.
"""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's right to one piece of work, until somebody holds a higher fence.

    `silenced`: how many workers have fallen silent over it; `troubles`: how many have given it back because something
    kept them from doing it, and not because they stopped. `subject`: what no other open work is about. `body`: what was
    asked for, as it was written down; None where nothing was.
    """

    work_id: str
    organisation: str
    correlation_id: str
    worker: str
    fence: int
    silenced: int = 0
    troubles: int = 0
    traceparent: str | None = None
    subject: str | None = None
    body: bytes | None = None

    def context(self, actor: str) -> Context:
        """In which what happens to the work is recorded."""
        return Context(
            organisation=self.organisation,
            actor=actor,
            correlation_id=self.correlation_id,
            traceparent=self.traceparent,
        )


class Unclaimed(msgspec.Struct, frozen=True, kw_only=True):
    """Work that no worker can take. `code`: what was told of that last; `seconds`: how long ago it was first told."""

    claim: Claim
    code: str | None
    seconds: float | None


class ClaimLost(PlatformError):
    """Another worker has taken the work over; what this one still wants to say does not count."""

    def __init__(self, work_id: str, *, fence: int, current: int) -> None:
        super().__init__(
            errors.CLAIM_LOST, "another worker has taken the work over", work_id=work_id, fence=fence, current=current
        )


class Trouble(msgspec.Struct, frozen=True):
    """What keeps a worker from doing work that it gives back, and when the same worker tries it again."""

    error: PlatformError
    next_attempt_at: datetime


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What a request would queue up behind: its subject's open work, and how much work waits for a worker."""

    open_work: str | None = None
    waiting_of_organisation: int = 0
    waiting_in_all: int = 0


class QueueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much work may wait for a worker. Deciders that are at it together may go beyond by one each."""

    per_organisation: int
    in_all: int


class Queue(Protocol):
    """The work that waits for a worker."""

    async def standing(self, *, subject: str, organisation: str) -> Standing:
        """What a request about this subject would queue up behind."""
        ...

    async def latest(self, subject: str) -> str | None:
        """The work about it that was asked for last, cancelled work aside; None: there is none."""
        ...


class Claims(Protocol):
    """Who may work on what. A claim is a row in Postgres; a heartbeat keeps it.

    `freed`: set where a change made through this object lets work be taken that could not be before.
    """

    freed: asyncio.Event

    async def take(self, worker: str, *, aside: Collection[str] = ()) -> Claim | None:
        """Claim the next work, or that of a worker who has fallen silent; its fence grows by one. None: there is none.

        `aside`: work that is left to other workers.

        The organisation that was served longest ago comes first. While one of an organisation's claims is *opening*,
        which each is when it is taken, no other work of the organisation is claimed; `opened` ends that.
        """
        ...

    async def beat(self, claims: Sequence[Claim]) -> frozenset[str]:
        """Say that the worker lives; the ids of the work that is still its own, and was not cancelled."""
        ...

    async def present(self, worker: str, lack: ErrorCode | None) -> None:
        """Say that the worker looks for work, or what keeps it from that: of work that waits nobody else knows why."""
        ...

    async def opened(self, claim: Claim) -> bool:
        """What one of an organisation does at a time is done: others may do it. False: the claim is another's."""
        ...

    async def release(self, claim: Claim, *, is_left: bool = False, in_trouble: bool = False) -> None:
        """Give the work back unfinished, for another worker to take at once.

        `is_left`: a call was left behind in a thread. Where the claim is still opening, the organisation's work waits
        until the worker's process has surely ended. `in_trouble`: it counts among the claim's `troubles`.
        """
        ...

    def is_sure(self, claim: Claim) -> bool:
        """Whether nobody can have taken the work over. Of this process alone, from any thread; it asks nobody.

        A process that was stopped for longer than a silence finds out by it before a heartbeat tells.
        """
        ...

    async def close(self, claim: Claim) -> bool:
        """Let nobody take the work again, since it has ended. False: the claim is another's."""
        ...


class Performer(Protocol):
    """Does the work that was claimed; calls may overlap."""

    async def perform(self, claim: Claim, is_cancelled: Callable[[], bool]) -> None:
        """Bring the work to its end, and close its claim. Raises `RunInterrupted` soon after it was cancelled.

        A code of `GIVEN_BACK` gives it back, which the performer ends after `GIVEN_BACK_MAX` times; whatever else is
        raised leaves the claim to fall silent.
        """
        ...

    async def give_back(self, claim: Claim, *, is_left: bool = False, trouble: Trouble | None = None) -> None:
        """Say in the record that the work waits again, and why, and release its claim (`Claims.release`)."""
        ...


class Performed(Protocol):
    """An aggregate that is worked on. `fence`: of the claim under which it was worked on last."""

    fence: int

    @property
    def id(self) -> str:
        """Its identity: the work's."""
        ...

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        ...

    def prepare(self, *, fence: int, worker: str) -> None:
        """A worker has claimed it."""
        ...

    def requeue(
        self, *, fence: int, code: str | None = None, hint: str = "", next_attempt_at: datetime | None = None
    ) -> None:
        """It waits for another worker, or for what kept this one from going on."""
        ...

    def fail(self, *, fence: int, code: str, hint: str) -> None:
        """It has ended without what was asked for."""
        ...


W = TypeVar("W", bound=Performed)


class WorkRecord(Protocol[W]):
    """The record of such work, as `chassis.claims.record.RecordedWork` keeps it."""

    async def load(self, work_id: str, /) -> W:
        """Read one from its history. Raises AGGREGATE_NOT_FOUND."""
        ...

    async def at_hand(self, claim: Claim, /) -> W:
        """One to be told about or ended, whatever can be read of its history."""
        ...

    async def record(self, thing: W, /, *, context: Context) -> None:
        """Record what has happened. Raises CONCURRENT_CHANGE."""
        ...

    async def record_told(self, thing: W, /, unclaimed: Unclaimed, lack: ErrorCode | None, *, context: Context) -> None:
        """Record what is told of work that no worker can take, and note it. Raises CLAIM_LOST where one has."""
        ...

    async def record_unclaimed_end(self, thing: W, /, unclaimed: Unclaimed, *, context: Context) -> None:
        """Record the end of such work and close its claim: both or none. Raises CLAIM_LOST where a worker has it."""
        ...

    async def record_release(
        self, thing: W, /, *, claim: Claim, is_left: bool, in_trouble: bool, context: Context
    ) -> None:
        """Record that it waits again and give its claim back: both or none. Raises CLAIM_LOST."""
        ...


class Teller(Protocol):
    """Says in the record what becomes of work that no worker can take."""

    async def tell(self, unclaimed: Unclaimed, lack: ErrorCode | None) -> None:
        """Why it waits; None: no longer for that. Raises CLAIM_LOST where a worker has taken it."""
        ...

    async def end(self, unclaimed: Unclaimed, lack: ErrorCode) -> None:
        """It ends with that. Raises CLAIM_LOST where a worker has taken it."""
        ...


class ProgressReport(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of work under way. `tiers` maps a tier to its state, uploaded and queued bytes."""

    files_done: int
    files_total: int | None
    bytes_done: int
    bytes_total: int | None
    tiers: tuple[tuple[Tier, str, int, int], ...]


class ProgressFeed(Protocol):
    """Where progress goes: not durable, the last value counts."""

    async def tell(self, claim: Claim, phase: str, report: ProgressReport) -> None:
        """Announce; never raises, since progress is not history."""
        ...

    def forget(self, work_id: str) -> None:
        """It has ended, or was left."""
        ...
