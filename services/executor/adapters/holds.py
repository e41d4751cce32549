"""Holds and approvals in the executor's event store, and in its own tables: which holds are in force.

Promise: what decides that points go, and what decides that they stay, have one order: whoever decides says at which
*turn* of the organisation he looked, and is refused where somebody has decided since.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.context import Context
from chassis.domain import Aggregate
from chassis.handling import Handling
from chassis.life.blocking import call_in_thread
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.answers import Answers
from chassis.record.eventstore import EventStore, Statement
from chassis.timers.table import Timer, cancelled, set_at, set_within
from contracts.approval_events import ApprovalAsked, ApprovalState
from contracts.configuration import ConfigurationBody
from contracts.hold_events import HoldReleased
from contracts.holds import HoldScope
from services.executor.holding.approval import Approval
from services.executor.holding.domain import Hold
from services.executor.holding.ports import Reach

SCHEMA: tuple[LiteralString, ...] = (
    # The holds in force. `scope`: a `HoldScope`; `tagged`: configurations that had a tag of it when it was placed.
    """CREATE TABLE retention_holds (
        hold_id text PRIMARY KEY,
        organisation text NOT NULL,
        scope bytea NOT NULL,
        tagged text[] NOT NULL
    )""",
    "CREATE INDEX retention_holds_of ON retention_holds (organisation)",
    # How often it was decided what goes and what stays, of each organisation.
    "CREATE TABLE retention_turns (organisation text PRIMARY KEY, turn bigint NOT NULL)",
    # What has decided to let a point go: from then on it may be gone on some tier, until it is known to be on all.
    "ALTER TABLE recovery_points ADD COLUMN going_by text",
)
LATER_SCHEMA: tuple[LiteralString, ...] = (
    # A hold that is over: the tiers let go of it as well, and of no other one that is not in force.
    "ALTER TABLE retention_holds ADD COLUMN is_released boolean NOT NULL DEFAULT false",
)
APPROVAL = "approval"
"""The kind of the timers: one for each open approval, named by its id; its body is the organisation."""

TIER_HOLDS = "tier-holds"
"""Of the timers of organisations whose tiers are to follow their holds, by their ids."""
NEW_POINT_SECONDS = 600.0
"""So long after a run its point is held on the tiers, together with those of the runs meanwhile."""

_TURN: LiteralString = """
    INSERT INTO retention_turns AS kept (organisation, turn) VALUES (%(organisation)s, 1)
    ON CONFLICT (organisation) DO UPDATE SET turn = kept.turn + 1 WHERE kept.turn = %(seen)s
"""
_PLACE: LiteralString = """
    INSERT INTO retention_holds (hold_id, organisation, scope, tagged) VALUES (%s, %s, %s, %s)
"""
_RELEASE: LiteralString = "UPDATE retention_holds SET is_released = true WHERE hold_id = %s AND organisation = %s"
_IS_HOLDING: LiteralString = "EXISTS (SELECT 1 FROM retention_holds WHERE organisation = %(name)s AND NOT is_released)"
_GOING: LiteralString = """
    UPDATE recovery_points SET going_by = %s WHERE organisation = %s AND recovery_point_id = ANY(%s)
"""
_STAYED: LiteralString = """
    UPDATE recovery_points SET going_by = NULL
    WHERE organisation = %(organisation)s AND gone_at IS NULL AND going_by IS NOT NULL
        AND (%(of)s::text[] IS NULL OR configuration_id = ANY(%(of)s))
        AND going_by NOT IN (SELECT erasure_id FROM subject_erasures WHERE NOT is_over)
"""
_TURN_OF: LiteralString = "SELECT turn FROM retention_turns WHERE organisation = %s"
_HOLDS: LiteralString = """
    SELECT hold_id, scope, tagged FROM retention_holds WHERE organisation = %s AND NOT is_released ORDER BY hold_id
"""
_RELEASED: LiteralString = "SELECT hold_id FROM retention_holds WHERE organisation = %s AND is_released"
_BODIES: LiteralString = "SELECT configuration_id, body FROM configuration_replicas WHERE organisation = %s"
_POINTS: LiteralString = """
    SELECT recovery_point_id, configuration_id, at, gone_at IS NOT NULL, going_by IS NOT NULL FROM recovery_points
    WHERE organisation = %(organisation)s AND (gone_at IS NULL OR recovery_point_id = ANY(%(named)s))
"""
_SCOPE = msgspec.json.Decoder(HoldScope)


class _Tags(msgspec.Struct, frozen=True):
    """Of a configuration's body what is looked at."""

    tags: tuple[str, ...] = ()


_TAGS = msgspec.json.Decoder(_Tags)


class HoldInForce(msgspec.Struct, frozen=True):
    """One that keeps what it covers."""

    id: str
    scope: HoldScope
    tagged: frozenset[str]


def turned(organisation: str, seen: int) -> Statement:
    """Takes the next turn after the one that was seen; refused where that was taken."""
    return Statement(_TURN, {"organisation": organisation, "seen": seen}, rows=1, name="retention-turn")


def going_points(ids: Sequence[str], cleanup_id: str, organisation: str) -> Statement:
    """Notes that a cleanup has decided to let points go."""
    return Statement(_GOING, (cleanup_id, organisation, list(ids)), name="points-going")


def stayed_points(organisation: str, configuration_ids: Sequence[str]) -> Statement:
    """Notes that what was decided to go and is not gone is there, as every tier has said; none named: of all."""
    return Statement(_STAYED, {"organisation": organisation, "of": list(configuration_ids) or None}, name="stayed")


async def turn_of(connection: Any, organisation: str) -> int:
    """The organisation's turn. To be asked before what is decided by is looked at."""
    row = await (await connection.execute(_TURN_OF, (organisation,))).fetchone()
    return 0 if row is None else row[0]


async def holds_in_force(connection: Any, organisation: str) -> list[HoldInForce]:
    """The holds of an organisation."""
    rows = await (await connection.execute(_HOLDS, (organisation,))).fetchall()
    return [HoldInForce(each, _SCOPE.decode(bytes(scope)), frozenset(tagged)) for each, scope, tagged in rows]


async def released_holds(connection: Any, organisation: str) -> frozenset[str]:
    """The ids of the organisation's holds that are over."""
    rows = await (await connection.execute(_RELEASED, (organisation,))).fetchall()
    return frozenset(each for (each,) in rows)


def held_on_tiers(organisation: str) -> Statement:
    """Has the organisation's tiers follow its holds, as soon as a worker can."""
    return set_within(TIER_HOLDS, organisation, 0.0)


def new_points_held(organisation: str) -> Statement:
    """The same of the points that runs have made, where the organisation has holds."""
    return set_within(TIER_HOLDS, organisation, NEW_POINT_SECONDS, condition=_IS_HOLDING)


def holding(
    holds: Sequence[HoldInForce],
    point_id: str,
    configuration_id: str,
    at: datetime,
    bodies: Mapping[str, ConfigurationBody],
) -> tuple[str, ...]:
    """The ids of the holds that keep a point. `bodies`: of configurations, as they are now."""
    if not holds:
        return ()
    body = bodies.get(configuration_id)
    tags = () if body is None else body.tags
    return tuple(each.id for each in holds if each.scope.covers(point_id, configuration_id, at, tags, each.tagged))


def _reach(
    scope: HoldScope,
    turn: int,
    rows: Sequence[tuple[Any, ...]],
    points: Sequence[tuple[Any, ...]],
) -> Reach:
    tags = {each: _TAGS.decode(bytes(body)).tags for each, body in rows}
    tagged = sorted(each for each, of in tags.items() if any(tag in scope.tags for tag in of))
    covered = [
        (point, is_going)
        for point, configuration, at, is_gone, is_going in points
        if not is_gone and scope.covers(point, configuration, at, tags.get(configuration, ()), tagged)
    ]
    known = {point: is_gone for point, _, _, is_gone, _ in points}
    configurations = enumerate(scope.configuration_ids)
    return Reach(
        turn=turn,
        tagged=tagged,
        kept=len(covered),
        too_late=[point for point, is_going in covered if is_going],
        unknown=next((place for place, each in configurations if each not in tags), None),
        unknown_point=next((place for place, each in enumerate(scope.recovery_point_ids) if each not in known), None),
        gone_point=next((place for place, each in enumerate(scope.recovery_point_ids) if known.get(each)), None),
    )


class RecordedHolds(Answers[Hold]):
    """`Holds` on an event store, with the pool of the service's own tables."""

    KIND = Hold

    def __init__(self, store: EventStore, pool: Pool) -> None:
        super().__init__(store)
        self._pool = pool

    async def reach(self, organisation: str, scope: HoldScope) -> Reach:
        """See `Holds.reach`."""
        asked = {"organisation": organisation, "named": list(scope.recovery_point_ids)}
        with translated():
            async with self._pool.connection() as connection:
                turn = await turn_of(connection, organisation)
                rows = await (await connection.execute(_BODIES, (organisation,))).fetchall()
                points = await (await connection.execute(_POINTS, asked)).fetchall()
        # Off the loop: an organisation may have hundreds of thousands of points, and others are heard meanwhile.
        return await call_in_thread(partial(_reach, scope, turn, rows, points))

    async def record_placed(self, hold: Hold, scope: HoldScope, reach: Reach, handling: Handling) -> None:
        """See `Holds.record_placed`."""
        organisation = handling.context.organisation
        row = (hold.id, organisation, msgspec.json.encode(scope), list(reach.tagged))
        placing = Statement(_PLACE, row, rows=1, name="place-hold")
        also = [turned(organisation, reach.turn), placing, held_on_tiers(organisation)]
        await self._store.save(hold, context=handling.context, handled=handling.handled, also=also)

    async def record_awaited(self, hold: Hold, approval: Approval, handling: Handling) -> None:
        """See `Holds.record_awaited`."""
        organisation = handling.context.organisation
        also = [
            set_at(APPROVAL, approval.id, event.expires_at, organisation.encode())
            for event in approval.pending
            if isinstance(event, ApprovalAsked)
        ]
        await self._store.save(hold, approval, context=handling.context, handled=handling.handled, also=also)


class RecordedApprovals(Answers[Approval]):
    """`Approvals` on an event store."""

    KIND = Approval

    async def record_answer(self, thing: Approval, handling: Handling, other: Aggregate | None = None) -> None:
        """See `Approvals.record_answer`."""
        also = [] if thing.state is ApprovalState.OPEN else [cancelled(APPROVAL, thing.id)]
        for event in () if other is None else other.pending:
            if isinstance(event, HoldReleased):
                released = (event.hold_id, handling.context.organisation)
                also.append(Statement(_RELEASE, released, rows=1, name="release-hold"))
                also.append(held_on_tiers(handling.context.organisation))
        saved = (thing,) if other is None else (thing, other)
        await self._store.save(*saved, context=handling.context, handled=handling.handled, also=also)

    async def expire(self, timer: Timer) -> None:
        """Record that an approval's time is over, where it is still open, and end its timer: once."""
        organisation = timer.body.decode()
        approval = await self.find(timer.name, organisation)
        context = Context(organisation, "service:executor", correlation_id=timer.name)
        if approval is None or approval.state is not ApprovalState.OPEN:
            await self._store.save(context=context, also=[timer.done()])
            return
        approval.expire()
        await self._store.save(approval, context=context, also=[timer.done()])
