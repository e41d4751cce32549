"""Configurations as resources. Sealed fields are opened here, for people of the organisation, and nowhere else."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.clock import SystemClock
from chassis.locations import Locations
from chassis.sealing import Sealer
from contracts import errors
from contracts.configuration import (
    DATA_SUBJECT_FIELD,
    EXCLUDE_FIELD,
    NAME_FIELD,
    PURPOSE_FIELD,
    SOURCE_IDENTIFIER_FIELD,
    WEDDING_DATE_FIELD,
    ConfigurationBody,
    ConfigurationState,
    Tier,
)
from contracts.errors import PlatformError
from contracts.reading import read_plain, written_as
from gateway.groups.configurations.next_runs import reason_of
from gateway.groups.configurations.projection import MissedView, configuration_body, missed_view
from gateway.groups.configurations.resources import (
    Configuration,
    ConfigurationContent,
    ConfigurationHealth,
    ConfigurationVersion,
    LastRecoveryPoint,
    LastRun,
    LastRunState,
    MissedRun,
    SourceProtection,
    SourceRule,
)
from gateway.http.resources import ListPage
from gateway.projections.applied import Database
from gateway.reading.cursor import Cursors, Place
from gateway.reading.opened import OpenedFields
from gateway.reading.slices import Reading, page_of
from gateway.runs.projection import runs_view
from gateway.runs.protection import judged, kinds_of
from gateway.runs.queries import state_of
from gateway.runs.standing import CHANGED, NEVER_RUN, SOURCE, counted, standing_in
from gateway.runs.views import LastRunView, RunsView

_SELECT: LiteralString = f"""
    SELECT c.configuration_id, c.version, c.state, coalesce(q.actor, c.created_by), c.created_at, c.body::text,
        r.view::text, {CHANGED}, c.next_run, c.missed::text
    FROM configurations c
    LEFT JOIN configuration_runs r USING (configuration_id)
    LEFT JOIN requests q ON q.request_id = c.request_id
    WHERE c.organisation = %s
"""  # noqa: S608  # of this program's own words


_VERSIONS: LiteralString = """
    SELECT h.version, h.change, h.state, coalesce(q.actor, h.actor), h.changed_at, h.request_id, h.body::text,
        b.body::text
    FROM configuration_history h
    LEFT JOIN configuration_history b ON b.configuration_id = h.configuration_id AND b.version = h.version - 1
    LEFT JOIN requests q ON q.request_id = h.request_id
    WHERE h.organisation = %s
"""
_BODY = "SELECT body::text FROM configurations WHERE organisation = %s AND configuration_id = %s"


class ConfigurationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which configurations a list shows. `status` is the state of the latest run; times bound the creation."""

    status: tuple[LastRunState, ...] = ()
    created_from: datetime | None = None
    created_before: datetime | None = None
    is_wedding_critical: bool | None = None


class _OfOne(msgspec.Struct, frozen=True):
    configuration: str


class ConfigurationQueries:
    """Reads configurations and opens what is sealed in them."""

    def __init__(self, sealer: Sealer, locations: Locations) -> None:
        self._sealer = sealer
        self._locations = locations

    async def one(self, reading: Reading, organisation: str, configuration_id: str) -> Configuration:
        """A configuration. Raises CONFIGURATION_UNKNOWN, also where it is another organisation's."""
        query = _SELECT + " AND c.configuration_id = %s"
        async with reading(organisation) as database:
            row = await (await database.execute(query, (organisation, configuration_id))).fetchone()
        if row is None:
            raise PlatformError(errors.CONFIGURATION_UNKNOWN, "there is no such configuration")
        (told,) = await self._all_told(organisation, [row])
        return told

    async def page(
        self, reading: Reading, organisation: str, wanted: ConfigurationFilter, *, limit: int, cursor: str | None
    ) -> ListPage[Configuration]:
        """A page of configurations, the latest first. Raises INVALID_CURSOR."""
        conditions: list[tuple[LiteralString, Any]] = [
            (" AND coalesce(r.last_state, 'never-run') = ANY(%s)", [state.value for state in wanted.status] or None),
            (" AND c.created_at >= %s", wanted.created_from),
            (" AND c.created_at < %s", wanted.created_before),
            (" AND c.is_wedding_critical = %s", wanted.is_wedding_critical),
        ]
        return await page_of(
            reading,
            organisation,
            _SELECT,
            conditions,
            partial(self._all_told, organisation),
            key=("c.created_at", "c.configuration_id"),
            place=lambda each: Place(each.created_at, each.id),
            cursors=Cursors(self._sealer, organisation, "configurations", wanted),
            limit=limit,
            cursor=cursor,
        )

    async def _all_told(self, organisation: str, rows: Sequence[tuple[Any, ...]]) -> list[Configuration]:
        """Configurations of rows, beside the event loop: what opens their fields lies on a disk."""
        kinds = await kinds_of(self._locations, organisation)
        return await self._sealer.ask(lambda: [self._told(organisation, row, kinds) for row in rows])

    def _told(self, organisation: str, row: tuple[Any, ...], kinds: Mapping[str, str]) -> Configuration:
        configuration_id, version, state, created_by, created_at, stored, runs, changed, next_run, missed = row
        body = configuration_body(stored)
        view = runs_view(runs) if runs is not None else None
        fields = OpenedFields(self._sealer, organisation)
        content = _content(fields, body)
        return Configuration(
            **{name: getattr(content, name) for name in content.__struct_fields__},
            id=configuration_id,
            version=version,
            state=read_plain(state, ConfigurationState),
            created_by=created_by,
            created_at=created_at,
            next_run=next_run,
            next_run_reason=reason_of(
                body, read_plain(state, ConfigurationState), next_run, SystemClock().now(), wedding=content.wedding_date
            ),
            last_missed=_missed(missed, view),
            last_run=_last_run(view),
            last_recovery_point=_recovery_point(view, changed),
            changed_since=changed if view is not None and view.recovery_point is not None else [],
            health=health_of(view, changed),
            protection=_protection(body, view, changed, kinds),
            unreadable_fields=fields.unreadable,
        )

    async def history(
        self, reading: Reading, organisation: str, configuration_id: str, *, limit: int, cursor: str | None
    ) -> ListPage[ConfigurationVersion]:
        """A page of a configuration's versions, the latest first. Raises CONFIGURATION_UNKNOWN and INVALID_CURSOR."""
        async with reading(organisation) as database:
            if await (await database.execute(_BODY, (organisation, configuration_id))).fetchone() is None:
                raise PlatformError(errors.CONFIGURATION_UNKNOWN, "there is no such configuration")

        async def told(rows: Sequence[tuple[Any, ...]]) -> list[ConfigurationVersion]:
            return await self._sealer.ask(lambda: [self._version(organisation, row) for row in rows])

        return await page_of(
            reading,
            organisation,
            _VERSIONS,
            [(" AND h.configuration_id = %s", configuration_id)],
            told,
            # Versions, not times, say what came first: a clock may have been put back.
            key=("to_timestamp(h.version)", "h.configuration_id"),
            place=lambda each: Place(datetime.fromtimestamp(each.version, UTC), configuration_id),
            cursors=Cursors(self._sealer, organisation, "configuration-history", _OfOne(configuration_id)),
            limit=limit,
            cursor=cursor,
        )

    def _version(self, organisation: str, row: tuple[Any, ...]) -> ConfigurationVersion:
        version, change, state, changed_by, changed_at, request_id, stored, stored_before = row
        after = _content(OpenedFields(self._sealer, organisation), configuration_body(stored))
        before = None
        if stored_before is not None:
            before = _content(OpenedFields(self._sealer, organisation), configuration_body(stored_before))
        fields = zip(after.__struct_fields__, after.__struct_encode_fields__, strict=True)
        return ConfigurationVersion(
            version=version,
            change=change,
            state=read_plain(state, ConfigurationState),
            changed_by=changed_by,
            changed_at=changed_at,
            request_id=request_id,
            changed=[told for name, told in fields if before and getattr(before, name) != getattr(after, name)],
            before=before,
            after=after,
        )


def _content(fields: OpenedFields, body: ConfigurationBody) -> ConfigurationContent:
    wedding = fields.text(WEDDING_DATE_FIELD, body.wedding_date, "weddingDate")
    exclude = fields.text(EXCLUDE_FIELD, body.exclude, "exclude")
    return ConfigurationContent(
        name=fields.text(NAME_FIELD, body.name, "name"),
        source_type=body.source_type,
        source_location=body.source_location,
        source_identifier=fields.text(SOURCE_IDENTIFIER_FIELD, body.source_identifier, "sourceIdentifier"),
        backup_type=body.backup_type,
        storage_destinations=body.storage_destinations,
        compression_enabled=body.compression_enabled,
        is_wedding_critical=body.is_wedding_critical,
        wedding_date=date.fromisoformat(wedding) if wedding else None,
        tags=list(body.tags),
        schedule=body.schedule,
        exclude=[] if body.exclude is None else None if exclude is None else exclude.split("\n"),
        exclude_caches=body.exclude_caches,
        retention_policy_id=body.retention_policy_id,
        purpose=fields.text(PURPOSE_FIELD, body.purpose, "purpose"),
        data_categories=list(body.data_categories),
        data_subject=fields.text(DATA_SUBJECT_FIELD, body.data_subject, "dataSubject"),
    )


async def body_of(database: Database, organisation: str, configuration_id: str) -> ConfigurationBody:
    """What a configuration that is there says. Raises ViewUnreadable."""
    ((stored,),) = await (await database.execute(_BODY, (organisation, configuration_id))).fetchall()
    return configuration_body(stored)


def health_of(view: RunsView | None, changed: Collection[str] = ()) -> ConfigurationHealth:
    """How a configuration is doing, by its latest run that has ended; `changed`: what that does not speak for."""
    if view is None or view.ended is None:
        return ConfigurationHealth.NEVER_RUN
    if view.ended.state != "completed":
        return ConfigurationHealth.FAILING
    if SOURCE in changed:
        return ConfigurationHealth.NEVER_RUN
    return ConfigurationHealth.DEGRADED if view.ended.degraded or changed else ConfigurationHealth.HEALTHY


def _protection(
    body: ConfigurationBody, view: RunsView | None, changed: Collection[str], kinds: Mapping[str, str]
) -> SourceProtection:
    standing = counted(NEVER_RUN if view is None else standing_in(view), changed)
    found = judged(written_as(body.source_type), body.storage_destinations.by_tier(), standing, kinds)
    return SourceProtection(
        satisfied=all(each.is_kept for each in found),
        rules=[SourceRule(rule=each.rule, satisfied=each.is_kept, evidence=list(each.by)) for each in found],
    )


def _last_run(view: RunsView | None) -> LastRun | None:
    last: LastRunView | None = view.last if view is not None else None
    if last is None:
        return None
    return LastRun(
        execution_id=last.execution_id,
        state=state_of(last.state),
        degraded=last.degraded,
        started_at=last.started_at,
        finished_at=last.finished_at,
        error_code=last.error_code,
    )


def _missed(stored: str | None, view: RunsView | None) -> MissedRun | None:
    """The later of what had passed before it could be asked for, and what was asked for and refused."""
    found = [missed_view(stored)] if stored is not None else []
    if view is not None and view.refused is not None:
        found.append(MissedView(view.refused.due_at, view.refused.code, view.refused.hint))
    last = max(found, key=lambda each: each.due_at, default=None)
    return MissedRun(due_at=last.due_at, code=last.code, hint=last.hint) if last else None


def _recovery_point(view: RunsView | None, changed: Collection[str]) -> LastRecoveryPoint | None:
    point = view.recovery_point if view is not None else None
    if point is None or SOURCE in changed:
        return None
    return LastRecoveryPoint(
        execution_id=point.execution_id,
        snapshot_id=point.snapshot_id,
        completed_at=point.completed_at,
        tiers=[read_plain(tier, Tier) for tier in point.tiers if tier not in changed],
    )
