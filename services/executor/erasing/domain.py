"""The aggregate of an erasure.

`initializing` → `preparing` → `erasing` → `completed`; `blocked` and `waiting` lead back to `initializing`, since an
obligation does not end by a failure. Once it has begun no obstacle is looked for any more: keys may be gone already.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from chassis.claims.port import ClaimLost
from chassis.domain import Aggregate
from contracts.cleanup_events import GoingPoint
from contracts.erasure_events import (
    NAMED_MAX,
    DataSubjectErased,
    ErasureAccepted,
    ErasureAppliedAgain,
    ErasureBegun,
    ErasureBlocked,
    ErasureDeadlineNear,
    ErasureOverdue,
    ErasurePreparing,
    ErasurePutOff,
    ErasureRefused,
    ErasureRequeued,
    ErasureResumed,
    ErasureState,
    Obstacle,
    PlaceErased,
    RecoveryPointsErased,
    erasure_state_after,
)
from contracts.event import Event
from contracts.storage_requests import ErasureRequested
from services.executor.erasing.deadlines import due_by

REFUSED = "refused"


class SubjectErasure(Aggregate):
    """One data subject's erasure."""

    KIND: ClassVar[str] = "executor.subject-erasure"

    def __init__(self, id: str) -> None:  # noqa: A002  # the aggregate base names it so
        super().__init__(id)
        self.state: ErasureState | str | None = None
        self.data_subject_id = ""
        self.deadline_at: datetime | None = None
        self.fence = 0
        self.obstacles: tuple[Obstacle, ...] = ()
        self.possible_at: datetime | None = None
        self.has_begun_erasing = False
        self.key_ids: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be done."""
        return self.state in (ErasureState.COMPLETED, REFUSED)

    @property
    def is_finished(self) -> bool:
        """Whether a worker has nothing to do about it now."""
        return self.is_over or self.state in (ErasureState.BLOCKED, ErasureState.WAITING)

    def accept(self, request: ErasureRequested, *, configuration_ids: Sequence[str], point_count: int) -> None:
        """Take it on."""
        self.record(
            ErasureAccepted(
                request_id=request.request_id,
                erasure_id=self.id,
                data_subject=request.data_subject,
                data_subject_id=request.data_subject_id,
                law=request.law,
                received_at=request.received_at,
                deadline_at=due_by(request.law, request.received_at),
                configuration_ids=tuple(configuration_ids[:NAMED_MAX]),
                point_count=point_count,
            )
        )

    def block(self, obstacles: Sequence[Obstacle]) -> None:
        """Something stands against it; told where that is another thing than was told last."""
        named = tuple(obstacles[:NAMED_MAX])
        if self.state is ErasureState.BLOCKED and named == self.obstacles:
            return
        ends = [each.until for each in obstacles]
        known = [each for each in ends if each is not None]
        possible_at = max(known) if known and len(known) == len(ends) else None
        self.record(ErasureBlocked(erasure_id=self.id, obstacles=named, possible_at=possible_at))

    def resume(self) -> None:
        """A worker is to look at it again."""
        self.record(ErasureResumed(erasure_id=self.id))

    def prepare(self, *, fence: int, worker: str) -> None:
        """A worker has claimed it. A fence that is not higher than the last is a zombie's."""
        if fence <= self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
        self.record(ErasurePreparing(erasure_id=self.id, fence=fence, worker=worker))

    def requeue(
        self, *, fence: int, code: str | None = None, hint: str = "", next_attempt_at: datetime | None = None
    ) -> None:
        """It waits for another worker, or for what kept this one from going on."""
        self._refuse_when_not_mine(fence)
        self.record(
            ErasureRequeued(erasure_id=self.id, fence=fence, code=code, hint=hint, next_attempt_at=next_attempt_at)
        )

    def begin(self, key_ids: Sequence[str], *, fence: int) -> None:
        """Nobody turns back from now on. The ids are needed where a worker dies: a domain without keys has no name."""
        self._refuse_when_not_mine(fence)
        if not self.has_begun_erasing or not set(key_ids) <= set(self.key_ids):
            ids = tuple(sorted({*self.key_ids, *key_ids}))
            self.record(ErasureBegun(erasure_id=self.id, key_ids=ids))

    def erased(
        self,
        points: Sequence[GoingPoint],
        places: Sequence[PlaceErased],
        *,
        fence: int,
        is_complete: bool,
        receipt: str | None,
    ) -> None:
        """The keys are destroyed wherever they could be reached."""
        self._refuse_when_not_mine(fence)
        for start in range(0, len(points), NAMED_MAX):
            gone = tuple(points[start : start + NAMED_MAX])
            self.record(RecoveryPointsErased(erasure_id=self.id, points=gone))
        ends = [each.locked_until for each in places if each.code is not None]
        known = [each for each in ends if each is not None]
        self.record(
            DataSubjectErased(
                erasure_id=self.id,
                is_complete=is_complete,
                erased_places=tuple(places),
                receipt=receipt,
                possible_at=max(known) if known and len(known) == len(ends) else None,
            )
        )

    def fail(self, *, fence: int, code: str, hint: str) -> None:
        """An attempt has failed."""
        self._refuse_when_not_mine(fence)
        self.record(ErasurePutOff(erasure_id=self.id, code=code, hint=hint))

    def come_near(self, *, is_over: bool) -> None:
        """Its time is nearly over, or over."""
        assert self.deadline_at is not None  # noqa: S101  # it was accepted
        fact = ErasureOverdue if is_over else ErasureDeadlineNear
        self.record(fact(erasure_id=self.id, deadline_at=self.deadline_at))

    def apply_again(self) -> None:
        """The subject's key was back, and is destroyed again."""
        self.record(ErasureAppliedAgain(erasure_id=self.id))

    def apply(self, event: Event) -> None:
        """Record what an event says; runs again on every replay, so it never refuses."""
        self.state = erasure_state_after(event) or self.state
        match event:
            case ErasureRefused():
                self.state = REFUSED
            case ErasureAccepted(data_subject_id=subject, deadline_at=deadline_at):
                self.data_subject_id, self.deadline_at = subject, deadline_at
            case ErasurePreparing(fence=fence):
                self.fence = fence
            case ErasureBlocked(obstacles=obstacles, possible_at=possible_at):
                self.obstacles, self.possible_at = obstacles, possible_at
            case ErasureBegun(key_ids=key_ids):
                self.has_begun_erasing, self.key_ids = True, key_ids
            case DataSubjectErased(possible_at=possible_at):
                self.possible_at = possible_at

    def _refuse_when_not_mine(self, fence: int) -> None:
        if fence != self.fence:
            raise ClaimLost(self.id, fence=fence, current=self.fence)
