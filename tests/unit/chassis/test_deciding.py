"""Answering requests about things that are there."""

from chassis.context import Context
from chassis.deciding import Deciding
from chassis.handling import Handled, Handling
from contracts import errors
from contracts.executor_events import BackupCancellationRefused
from contracts.gateway_events import BackupCancellationRequested, Evidence
from services.executor.domain import BackupRun


class NoRuns:
    """A record in which there is nothing yet."""

    def __init__(self) -> None:
        self.answered: list[BackupRun] = []

    async def find(self, id: str, organisation: str) -> BackupRun | None:  # noqa: A002  # as the aggregate names it
        """Nobody has any."""

    async def record_answer(self, thing: BackupRun, handling: Handling) -> None:
        """Keep it."""
        self.answered.append(thing)


async def test_what_is_missing_is_told_by_the_code_of_its_kind() -> None:
    """An owner says the same of what is not there as the API does, which each kind of thing names for itself."""
    runs = NoRuns()
    of_runs = Deciding(BackupRun, runs, about="execution_id", missing=errors.CONFIGURATION_UNKNOWN)
    decide = of_runs.by(BackupRun.cancel, BackupCancellationRefused)
    request = BackupCancellationRequested(request_id="r", execution_id="x", evidence=Evidence(assurance="aal1"))
    context = Context(organisation="org-a", actor="user:u1", correlation_id="c")
    await decide(request, Handling(context=context, handled=Handled(consumer="c", event_id="e")))
    ((refused,),) = [thing.pending for thing in runs.answered]
    assert isinstance(refused, BackupCancellationRefused)
    assert refused.code == errors.CONFIGURATION_UNKNOWN.code
