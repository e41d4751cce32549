"""Rounds of validations: a timer for each organisation that has points, and what was proven when of each location."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import LiteralString

import msgspec

from chassis.claims.work import CLAIM
from chassis.context import Context
from chassis.life.health import Health
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore, Statement, StatementRefused
from chassis.timers.table import STATEMENTS as TIMERS
from chassis.timers.table import Timer
from contracts import errors
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.validation_events import TierWholeness, ValidationDepth, ValidationEnd
from services.recovery.adapters.work import VALIDATIONS
from services.recovery.validating.domain import RecoveryValidation
from services.recovery.validating.found import ValidationOrder
from services.recovery.validating.scheduled import Place, Round

ROUND = "validations"
"""The kind of the timers, each named by its organisation."""
OVERDUE = "validations-overdue"
SCHEMA: tuple[LiteralString, ...] = (
    *TIMERS,
    """CREATE TABLE proven_places (
        organisation text NOT NULL,
        location text NOT NULL,
        since timestamptz NOT NULL DEFAULT clock_timestamp(),
        proven_at timestamptz,
        begun_at timestamptz,
        read_bytes bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (organisation, location)
    )""",
    """INSERT INTO timers (kind, name, due_at, body, fence)
       SELECT DISTINCT 'validations', organisation, clock_timestamp(), ''::bytea, 0 FROM recovery_points""",
)
_FIRST: LiteralString = """
    INSERT INTO timers (kind, name, due_at, body, fence)
    VALUES ('validations', %s, clock_timestamp(), '', pg_current_xact_id()::text::bigint) ON CONFLICT DO NOTHING
"""
# Of each configuration that has points the places of its version in force, each with the newest point that it may have.
_PLACES: LiteralString = """
    SELECT DISTINCT ON (p.location) p.tier, p.location, kept.recovery_point_id
    FROM configuration_places p JOIN recovery_points kept USING (configuration_id, organisation)
    WHERE p.organisation = %(organisation)s
        AND p.version = (SELECT max(version) FROM configuration_places q WHERE q.configuration_id = p.configuration_id)
        AND NOT EXISTS (SELECT FROM gone_points g
            WHERE g.organisation = kept.organisation AND g.recovery_point_id = kept.recovery_point_id)
    ORDER BY p.location, kept.recovery_point_id DESC
"""
_SEEN: LiteralString = """
    INSERT INTO proven_places (organisation, location) SELECT %s, unnest(%s::text[]) ON CONFLICT DO NOTHING
"""
_LEFT: LiteralString = "DELETE FROM proven_places WHERE organisation = %s AND location <> ALL(%s)"
_PROOFS: LiteralString = """
    SELECT location, since, proven_at, read_bytes, begun_at FROM proven_places
    WHERE organisation = %s AND location = ANY(%s)
"""
_PROVEN: LiteralString = """
    INSERT INTO proven_places (organisation, location, proven_at, read_bytes) VALUES (%s, %s, clock_timestamp(), %s)
    ON CONFLICT (organisation, location) DO UPDATE SET proven_at = excluded.proven_at, read_bytes = excluded.read_bytes
"""
_BEGUN: LiteralString = "UPDATE proven_places SET begun_at = %s WHERE organisation = %s AND location = %s"
_BUSY: LiteralString = "SELECT EXISTS (SELECT FROM validation_claims WHERE organisation = %s AND state <> 'done')"
_OVERDUE: LiteralString = """
    SELECT count(*), min(location) FROM proven_places
    WHERE coalesce(proven_at, since) < clock_timestamp() - make_interval(secs => %s)
"""


def first_round(organisation: str) -> Statement:
    """Has an organisation that has a point looked at, where it is not already."""
    return Statement(_FIRST, (organisation,))


def proofs_of(pending: Sequence[Event], organisation: str) -> Iterator[Statement]:
    """What is proven by an end: of each location all of whose bytes were read, be they whole or damaged."""
    for event in pending:
        if not isinstance(event, ValidationEnd) or event.depth is not ValidationDepth.WHOLE:
            continue
        for tier in event.tiers:
            is_read = tier.code is None and tier.read_bytes == tier.stored_bytes
            if is_read and tier.verdict is not TierWholeness.NOT_LOOKED_AT:
                yield Statement(_PROVEN, (organisation, tier.location, tier.read_bytes))


class RecordedRounds:
    """`Rounds` on an event store and its timers."""

    def __init__(self, store: EventStore, pool: Pool, health: Health) -> None:
        self._store = store
        self._pool = pool
        self._health = health

    @staticmethod
    def round_of(timer: Timer) -> Round:
        """The round that a timer has brought up."""
        return Round(timer.name, timer.now, timer)

    async def places(self, organisation: str) -> Sequence[Place]:
        """Where the organisation's points lie. What is seen first is noted, what nothing lies in any more is let go."""
        with translated():
            async with self._pool.connection() as connection:
                found = await (await connection.execute(_PLACES, {"organisation": organisation})).fetchall()
                names = [location for _, location, _ in found]
                await connection.execute(_SEEN, (organisation, names))
                await connection.execute(_LEFT, (organisation, names))
                rows = await (await connection.execute(_PROOFS, (organisation, names))).fetchall()
        proofs = {location: proof for location, *proof in rows}
        return [
            Place(
                tier=tier,
                location=location,
                newest_point=point,
                since=proofs[location][0],
                proven_at=proofs[location][1],
                read_bytes=proofs[location][2],
                begun_at=proofs[location][3],
            )
            for tier, location, point in found
            if location in proofs
        ]

    async def is_busy(self, organisation: str) -> bool:
        """Whether a validation of the organisation has not ended."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_BUSY, (organisation,))).fetchone()
        return row == (True,)

    async def record(
        self, round_: Round, following: datetime, validation: RecoveryValidation | None, order: ValidationOrder | None
    ) -> None:
        """Record a validation with its claim, and the next round, in one transaction. Raises VALIDATION_OPEN."""
        timer = round_.timer
        assert isinstance(timer, Timer)  # noqa: S101  # `round_of` has put it there
        organisation = round_.organisation
        about = timer.name if validation is None else validation.id
        context = Context(organisation, "schedule:validations", correlation_id=about)
        also = [timer.moved(following)]
        if validation is not None and order is not None:
            subject, body = f"{organisation}/{validation.recovery_point_id}", msgspec.json.encode(order)
            also.append(VALIDATIONS.asked(validation.id, context=context, subject=subject, body=body))
            also += [Statement(_BEGUN, (round_.now, organisation, place.location)) for place in order.places]
        try:
            await self._store.save(*([] if validation is None else [validation]), context=context, also=also)
        except StatementRefused as error:
            if error.name != CLAIM:
                raise
            raise PlatformError(errors.VALIDATION_OPEN, "another validation of it is open") from error

    async def tell_overdue(self, within: timedelta) -> None:
        """Have readiness say which places were not read within the time."""
        with translated():
            async with self._pool.connection() as connection:
                row = await (await connection.execute(_OVERDUE, (within.total_seconds(),))).fetchone()
        count, example = row or (0, None)
        if not count:
            self._health.restore(OVERDUE)
            return
        message = f"{count} locations, such as {example}, were not read whole within {within.days} days"
        self._health.degrade(OVERDUE, PlatformError(errors.VALIDATION_OVERDUE, message))
