"""The read model of configurations: each as it is in force. Only the config service's stream changes this table."""

from datetime import datetime
from typing import Any

import msgspec

from chassis.calendar.waits import longest_wait
from contracts.config_events import BackupMissed, ConfigurationFact, ConfigurationUpdated, ScheduleFact
from contracts.configuration import ConfigurationBody
from contracts.event import pinned_kinds
from contracts.executor_events import ConfigurationTested
from contracts.reading import written_as
from gateway.projections.applied import Database, read_view, upsert
from gateway.projections.projection import Batch, Projection, Side
from gateway.runs.standing import SOURCE, lock_of

_STORE = """
    INSERT INTO {configurations} AS held (
        configuration_id, organisation, version, is_wedding_critical, request_id, created_by, created_at, state, body,
        since, wait_seconds)
    SELECT configuration_id, organisation, version, is_wedding_critical, request_id, created_by, created_at, state,
        body, since, wait_seconds
    FROM json_populate_recordset(NULL::{configurations}, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET
        version = excluded.version, is_wedding_critical = excluded.is_wedding_critical, body = excluded.body,
        state = excluded.state, since = held.since || excluded.since, wait_seconds = excluded.wait_seconds
"""

_PLAN = """
    UPDATE {configurations} held SET next_run = said.next_run, missed = coalesce(said.missed, held.missed)
    FROM json_populate_recordset(NULL::{configurations}, %s) said WHERE held.configuration_id = said.configuration_id
"""

_KEEP = """
    INSERT INTO {configuration_history} (
        configuration_id, version, organisation, request_id, actor, change, changed_at, state, body, changed)
    SELECT configuration_id, version, organisation, request_id, actor, change, changed_at, state, body, changed
    FROM json_populate_recordset(NULL::{configuration_history}, %s)
    ON CONFLICT (configuration_id, version) DO NOTHING
"""


_TEST = """
    INSERT INTO {configuration_tests} (configuration_id, organisation, tested_at, fact)
    SELECT configuration_id, organisation, tested_at, fact
    FROM json_populate_recordset(NULL::{configuration_tests}, %s)
    ON CONFLICT (configuration_id) DO UPDATE SET tested_at = excluded.tested_at, fact = excluded.fact
"""
_TESTED = msgspec.json.Decoder(ConfigurationTested)


class MissedView(msgspec.Struct):
    """The latest instant of a schedule for which nothing could start a run, and why."""

    due_at: datetime
    code: str
    hint: str = ""


_MISSED = msgspec.json.Decoder(MissedView)
_BODY = msgspec.json.Decoder(ConfigurationBody)
_SOURCE = ("source_type", "source_location", "source_identifier")
_LEFT_OUT = ("exclude", "exclude_caches")
EXCLUDE = "exclude"


class Configurations(Projection):
    """Each configuration as it is in force."""

    NAME = "configurations"
    VERSION = 8
    EVENTS = (*pinned_kinds(ConfigurationFact), *pinned_kinds(ScheduleFact))
    TABLES = ("configurations",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._store, self._plan = self.sql(_STORE), self.sql(_PLAN)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction. Sealed fields stay sealed."""
        rows: dict[str, dict[str, Any]] = {}
        plans: dict[str, dict[str, Any]] = {}
        for applied in batch.events:
            event = applied.event
            if isinstance(event, ConfigurationFact | ScheduleFact):
                plan = plans.setdefault(event.configuration_id, {"configuration_id": event.configuration_id})
                plan["next_run"] = event.next_run_at
                if isinstance(event, BackupMissed):
                    plan["missed"] = MissedView(event.due_at, event.code, event.hint)
            if not isinstance(event, ConfigurationFact):
                continue
            # Whose it is, who made it and when: of its first fact alone, here and in the table.
            row = rows.setdefault(
                event.configuration_id,
                {
                    "configuration_id": event.configuration_id,
                    "organisation": applied.envelope.organisation,
                    "request_id": event.request_id,
                    "created_by": applied.envelope.actor,
                    "created_at": applied.envelope.time,
                    "since": {},
                },
            )
            since = row["since"]
            if isinstance(event, ConfigurationUpdated):
                since = since | dict.fromkeys(changed(event.before, event.body), event.version)
            row |= {
                "version": event.version,
                "is_wedding_critical": event.body.is_wedding_critical,
                "state": written_as(event.state),
                "body": event.body,
                "since": since,
                "wait_seconds": int(longest_wait(event.body.schedule).total_seconds()),
            }
        await upsert(database, self._store, list(rows.values()))
        await upsert(database, self._plan, list(plans.values()))


class ConfigurationHistory(Projection):
    """Each version of each configuration. Sealed fields stay sealed."""

    NAME = "configuration-history"
    VERSION = 2
    EVENTS = pinned_kinds(ConfigurationFact)
    TABLES = ("configuration_history",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._keep = self.sql(_KEEP)

    async def project(self, database: Database, batch: Batch) -> None:
        """Keep what was put in force, in the caller's transaction."""
        rows = [
            {
                "configuration_id": event.configuration_id,
                "version": event.version,
                "organisation": applied.envelope.organisation,
                "request_id": event.request_id,
                "actor": applied.envelope.actor,
                "change": event.NAME.split(".")[1].removeprefix("configuration-"),
                "changed_at": applied.envelope.time,
                "state": written_as(event.state),
                "body": event.body,
                "changed": changed(event.before, event.body) if isinstance(event, ConfigurationUpdated) else [],
            }
            for applied in batch.events
            if isinstance(event := applied.event, ConfigurationFact)
        ]
        await upsert(database, self._keep, rows)


def changed(before: ConfigurationBody, body: ConfigurationBody) -> list[str]:
    """What a run of the version before does not speak for: another source, other excludes, a tier's other place,
    a longer lock.

    A source that was sealed anew counts as another one: nothing is opened here.
    """
    found = []
    if any(getattr(before, name) != getattr(body, name) for name in _SOURCE):
        found.append(SOURCE)
    if any(getattr(before, name) != getattr(body, name) for name in _LEFT_OUT):
        found.append(EXCLUDE)
    known = before.storage_destinations.by_tier()
    for tier, destination in body.storage_destinations.by_tier().items():
        old = known.get(tier)
        if old is None or old.location != destination.location:
            found.append(tier.value)
        if old is None or old.lock_days < destination.lock_days:
            found.append(lock_of(tier))
    return found


def configuration_body(stored: str) -> ConfigurationBody:
    """A stored body. Raises ViewUnreadable."""
    return read_view(stored, _BODY, Configurations.NAME)


def missed_view(stored: str) -> MissedView:
    """A stored missed instant. Raises ViewUnreadable."""
    return read_view(stored, _MISSED, Configurations.NAME)


class ConfigurationTests(Projection):
    """What the latest test of each configuration has found."""

    NAME = "configuration-tests"
    VERSION = 1
    EVENTS = (ConfigurationTested,)
    TABLES = ("configuration_tests",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._store = self.sql(_TEST)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take facts over, in the caller's transaction."""
        rows: dict[str, dict[str, Any]] = {}
        for applied in batch.events:
            if isinstance(event := applied.event, ConfigurationTested):
                rows[event.configuration_id] = {
                    "configuration_id": event.configuration_id,
                    "organisation": applied.envelope.organisation,
                    "tested_at": applied.envelope.time,
                    "fact": event,
                }
        await upsert(database, self._store, list(rows.values()))


def test_found(stored: str) -> ConfigurationTested:
    """A stored fact. Raises ViewUnreadable."""
    return read_view(stored, _TESTED, ConfigurationTests.NAME)
