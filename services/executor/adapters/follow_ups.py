"""What is to follow a run by itself: a durable timer of its configuration.

Promise: it is set in the transaction that ends a run, and taken away by the next end that is whole and by every
cancellation.
"""

import msgspec

from chassis.context import Context
from chassis.record.eventstore import Statement
from chassis.timers.table import Timer, cancelled, set_at
from contracts.executor_events import BackupCompleted, BackupFailed
from services.executor.domain import BackupRun

FOLLOW_UP = "follow-up"
"""The kind of the timers: one for each configuration whose latest run was not whole, named by its id."""


class Preceding(msgspec.Struct, frozen=True):
    """The run that is followed."""

    run_id: str
    organisation: str


_PRECEDING = msgspec.json.Decoder(Preceding)


def followed_by(run: BackupRun, context: Context) -> list[Statement]:
    """What the end of a run sets or takes away, in its transaction."""
    ends = [event for event in run.pending if isinstance(event, BackupCompleted | BackupFailed)]
    if not ends:
        return []
    at = ends[-1].follow_up_at
    if at is None:
        return [not_followed(run.configuration_id)]
    body = msgspec.json.encode(Preceding(run.id, context.organisation))
    return [set_at(FOLLOW_UP, run.configuration_id, at, body)]


def not_followed(configuration_id: str) -> Statement:
    """Lets no run of a configuration follow by itself."""
    return cancelled(FOLLOW_UP, configuration_id)


def preceding(timer: Timer) -> Preceding:
    """Which run a timer is about."""
    return _PRECEDING.decode(timer.body)
