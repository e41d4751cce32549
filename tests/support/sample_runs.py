"""Two small aggregates over events of the executor, for tests of the record itself."""

from typing import ClassVar

import msgspec

from chassis.context import Context
from chassis.domain import Aggregate, Snapshotted
from contracts.configuration import Tier
from contracts.event import Event
from contracts.executor_events import BackupUploading, TierFailed

ORGANISATION = "0199a0f2-1111-7000-8000-000000000001"
CONTEXT = Context(organisation=ORGANISATION, actor="user:tester", correlation_id="0199a0f2-2222-7000-8000-000000000002")


def tier_failed(run_id: str, tier: Tier = Tier.LOCAL) -> TierFailed:
    """Some event."""
    return TierFailed(execution_id=run_id, tier=tier, code="tier-full")


class SampleRun(Aggregate):
    """Keeps the tiers that failed, in order."""

    KIND: ClassVar[str] = "executor.sample-run"

    def __init__(self, id: str) -> None:  # noqa: A002  # as the base names it
        super().__init__(id)
        self.failed: list[Tier] = []

    def fail(self, tier: Tier = Tier.LOCAL) -> "SampleRun":
        """Note a failed tier."""
        self.record(tier_failed(self.id, tier))
        return self

    def apply(self, event: Event) -> None:
        """Keep the tier."""
        match event:
            case TierFailed(tier=tier):
                self.failed.append(tier)


class OtherRun(SampleRun):
    """Another kind with the same events."""

    KIND: ClassVar[str] = "executor.other-run"


class LongState(msgspec.Struct, frozen=True):
    """How many tiers failed."""

    failures: int


class LongRun(Snapshotted[LongState]):
    """Counts failed tiers; its state is kept beside it every three events. `applied` counts what was replayed."""

    KIND: ClassVar[str] = "executor.long-run"
    STATE: ClassVar[type[msgspec.Struct]] = LongState
    SNAPSHOT_EVERY: ClassVar[int] = 3

    def __init__(self, id: str) -> None:  # noqa: A002  # as the base names it
        super().__init__(id)
        self.failures = 0
        self.applied = 0

    def fail(self, times: int = 1) -> "LongRun":
        """Note failed tiers."""
        for _ in range(times):
            self.record(tier_failed(self.id))
        return self

    def apply(self, event: Event) -> None:
        """Count."""
        self.applied += 1
        match event:
            case TierFailed():
                self.failures += 1
            case BackupUploading():
                self.failures = 0

    def take_state(self) -> LongState:
        """The count."""
        return LongState(self.failures)

    def put_state(self, state: LongState) -> None:
        """Take the count over."""
        self.failures = state.failures
