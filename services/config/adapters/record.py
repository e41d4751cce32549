"""The record of configurations, in the config service's event store."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from chassis.context import Context
from chassis.domain import Aggregate
from chassis.handling import Handling
from chassis.record.answers import Answers
from chassis.record.eventstore import EventStore, Statement, StatementRefused
from chassis.timers.table import Timer, TimerTable, cancelled, set_at, set_in
from contracts.config_events import BackupFellDue, ConfigurationFact, ConfigurationRetired
from services.config.domain import Configuration, DueBackup, RetentionPolicy
from services.config.errors import ConfigurationNameTaken
from services.config.ports import Planning, Turn

_TAKE_NAME = """
    INSERT INTO configuration_names (organisation, digest, configuration_id) VALUES (%s, %s, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET digest = excluded.digest
"""
_FREE_NAME = "DELETE FROM configuration_names WHERE configuration_id = %s"
TAKE_NAME = "take-name"
DUE = "scheduled-backup"
"""The kind of the timers: one for each configuration whose schedule is not at its end, named by its id."""
OVERDUE = "overdue-run"
"""Of the timers of runs that fell due, by their ids: they end with the run, and fire where it has not in time."""
_INSTANT = msgspec.json.Decoder(datetime)


class RecordedConfigurations(Answers[Configuration]):
    """`Configurations` on an event store."""

    KIND = Configuration

    async def record_answer(self, thing: Configuration, handling: Handling, missed: Aggregate | None = None) -> None:
        """Record an answer with the inbox row, the name that it takes, and what is missed, in one transaction."""
        try:
            await super().record_answer(thing, handling, missed)
        except StatementRefused as error:
            raise ConfigurationNameTaken from error

    def beside(self, thing: Configuration, handling: Handling) -> Sequence[Statement]:
        """With a version its name is taken, and the one before is free again; its next instant is waited for."""
        facts = [event for event in thing.pending if isinstance(event, ConfigurationFact)]
        names = [
            Statement(_FREE_NAME, (thing.id,))
            if isinstance(event, ConfigurationRetired)
            else Statement(
                _TAKE_NAME, (handling.context.organisation, event.body.name_digest, thing.id), rows=1, name=TAKE_NAME
            )
            for event in facts
        ]
        return [*names, *(waits_for(thing.id, event.next_run_at) for event in facts)]


class RecordedPolicies(Answers[RetentionPolicy]):
    """Retention policies on an event store."""

    KIND = RetentionPolicy


class RecordedTurns:
    """`Turns` on the timers beside the record. A timer's body is the instant that it is about.

    `overdue_seconds`: after which a run that fell due and has not ended is told of.
    """

    def __init__(self, store: EventStore, timers: TimerTable, *, overdue_seconds: float = 7200.0) -> None:
        self._store = store
        self._timers = timers
        self._overdue_seconds = overdue_seconds

    @staticmethod
    def turn_of(timer: Timer) -> Turn:
        """The instant that a timer has brought up."""
        return Turn(timer.name, _INSTANT.decode(timer.body), timer.now, timer)

    async def look(self, configuration_id: str) -> Planning:
        """Where a configuration's schedule stands."""
        now, body = await self._timers.look(DUE, configuration_id)
        return Planning(now, None if body is None else _INSTANT.decode(body))

    async def configuration(self, configuration_id: str) -> Configuration | None:
        """What an instant is of."""
        return await self._store.find(Configuration, configuration_id)

    async def is_dealt_with(self, due: DueBackup) -> bool:
        """Whether the record has it."""
        return await self._store.find(DueBackup, due.id) is not None

    async def record(
        self,
        turn: Turn,
        configuration: Configuration | None,
        due: DueBackup | None = None,
        *,
        next_run_at: datetime | None,
        waits_for: datetime | None = None,
    ) -> None:
        """Record what is pending, and end the timer or move it, in one transaction."""
        timer = turn.timer
        assert isinstance(timer, Timer)  # noqa: S101  # `turn_of` has put it there
        ended = timer.done()
        if next_run_at is not None:
            ended = timer.moved(next_run_at, msgspec.json.encode(waits_for or next_run_at))
        organisation = configuration.organisation if configuration is not None else None
        id = due.id if due is not None else timer.name  # noqa: A001  # as the record calls it
        context = Context(organisation or "none", f"schedule:{timer.name}", correlation_id=id)
        changed: list[Aggregate] = [each for each in (due, configuration) if each is not None and each.pending]
        waits = [
            set_in(OVERDUE, event.execution_id, self._overdue_seconds, event.configuration_id.encode())
            for event in (due.pending if due is not None else ())
            if isinstance(event, BackupFellDue)
        ]
        await self._store.save(*changed, context=context, also=[ended, *waits])


def waits_for(configuration_id: str, next_run_at: datetime | None) -> Statement:
    """Has a configuration's next instant waited for, or none, in the transaction of what says so."""
    if next_run_at is None:
        return cancelled(DUE, configuration_id)
    return set_at(DUE, configuration_id, next_run_at, msgspec.json.encode(next_run_at))
