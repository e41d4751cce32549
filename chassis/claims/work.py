"""A kind of work: its table of claims, and the statements that a service executes in the transaction of a save.

A claim is *waiting*, *running* under a fence, or *done*; a piece of work has one, and a subject one that is open.
`opening` marks the part of the work that one of an organisation does at a time. The room's table is `schema`; an
older one takes part under the names that it has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import LiteralString

from chassis.claims.port import Claim, Unclaimed
from chassis.context import Context
from chassis.record.statements import Statement

CLAIM = "claim"
"""The name of the statements below: `StatementRefused` of it says that the claim is another's, or the subject busy."""

PER_PLACE = 2
"""So many pieces of an organisation's work are at its `place` at a time, where nothing else is said."""

HEARD_SECONDS = 60.0
"""A worker that has not said anything for so long says nothing any more."""

_SCHEMA: tuple[LiteralString, ...] = (
    """CREATE TABLE {claims} (
        {id} text PRIMARY KEY,
        organisation text NOT NULL,
        correlation_id text NOT NULL,
        traceparent text,
        state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done')),
        fence integer NOT NULL DEFAULT 0,
        worker text,
        asked_at timestamptz NOT NULL DEFAULT now(),
        heartbeat_at timestamptz,
        given_back integer NOT NULL DEFAULT 0,
        troubles integer NOT NULL DEFAULT 0,
        {subject} text,
        {body} bytea,
        opening boolean NOT NULL DEFAULT false,
        cancelled boolean NOT NULL DEFAULT false,
        is_urgent boolean NOT NULL DEFAULT false,
        place text,
        told_code text,
        told_at timestamptz
    )""",
    "CREATE INDEX {claims}_open ON {claims} (asked_at) WHERE state <> 'done'",
    # What no decider and no worker may break, however many there are.
    "CREATE UNIQUE INDEX {claims}_one_per_subject ON {claims} ({subject}) WHERE state <> 'done'",
    "CREATE UNIQUE INDEX {claims}_one_opens ON {claims} (organisation) WHERE state <> 'done' AND opening",
    "CREATE TABLE {turns} (organisation text PRIMARY KEY, served_at timestamptz NOT NULL)",
    # Who looks for work; with the code of what keeps him from taking any.
    "CREATE TABLE {workers} (worker text PRIMARY KEY, looked_at timestamptz NOT NULL DEFAULT now(), code text)",
)
_LATER: tuple[LiteralString, ...] = (
    # Each as KIND:NAME, see `Bounds`.
    "ALTER TABLE {claims} ADD COLUMN places text[] NOT NULL DEFAULT ARRAY[]::text[]",
)
_ASK: LiteralString = """
    INSERT INTO {claims} ({id}, organisation, correlation_id, traceparent, {subject}, {body}, is_urgent, place, places)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
# What has ended with its attempts is not held against the next ones: nobody fell silent over it.
_ASK_AGAIN: LiteralString = (
    _ASK
    + """
    ON CONFLICT ({id}) DO UPDATE SET state = 'waiting', asked_at = now(), heartbeat_at = NULL, worker = NULL,
        given_back = {claims}.fence, troubles = 0, told_code = NULL, told_at = NULL, {body} = excluded.{body}
    WHERE {claims}.state = 'done'
"""
)
_CLOSE: LiteralString = """
    UPDATE {claims} SET state = 'done', opening = false, {body} = NULL
    WHERE {id} = %s AND fence = %s AND state = 'running'
"""
# Whose opening was left behind in a thread may be at it until his process has ended: the work waits as for a silent one
_RELEASE: LiteralString = """
    UPDATE {claims} SET state = 'waiting', given_back = given_back + 1, troubles = troubles + %(in_trouble)s::int,
        opening = opening AND %(is_left)s,
        heartbeat_at = CASE WHEN opening AND %(is_left)s THEN now() END
    WHERE {id} = %(id)s AND fence = %(fence)s AND state = 'running'
"""
# Whoever opens the repository has to let go of it first, and of a silent one nobody knows whether he has.
_CANCEL: LiteralString = """
    UPDATE {claims} SET cancelled = true, state = CASE WHEN opening THEN state ELSE 'done' END,
        {subject} = NULL, {body} = NULL
    WHERE {id} = %s AND state <> 'done'
"""

# What an open one stands at is only changed where no worker has taken it meanwhile: that would have raised the fence.
_TELL: LiteralString = """
    UPDATE {claims} SET state = 'waiting', told_code = %(code)s,
        told_at = CASE WHEN %(code)s::text IS NOT NULL THEN coalesce(told_at, now()) END
    WHERE {id} = %(id)s AND fence = %(fence)s AND told_code IS NOT DISTINCT FROM %(before)s
        AND (state = 'waiting' OR (state = 'running' AND abs(extract(epoch FROM now() - heartbeat_at)) >= %(heard)s))
"""
_END: LiteralString = """
    UPDATE {claims} SET state = 'done', opening = false, {body} = NULL
    WHERE {id} = %s AND fence = %s AND state = 'waiting'
"""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much work is performed at a time by all workers together. None: as much as they have slots for.

    `per_place`: of an organisation at the one `place`; `per_kind`: at each of its `places` of a kind, whoever's work it
    is. Workers that take at one instant may go beyond by one each. Work of a worker that is silent does not count.
    """

    per_organisation: int | None = None
    per_place: int = PER_PLACE
    per_kind: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Work:
    """A kind of work. `noun`: what an operator calls a piece of it. The others: names of tables and columns."""

    noun: str
    claims: LiteralString
    turns: LiteralString
    workers: LiteralString
    id: LiteralString = "id"
    subject: LiteralString = "subject"
    body: LiteralString = "body"

    def sql(self, template: LiteralString) -> LiteralString:
        """A statement with this work's names in it."""
        names = {"claims": self.claims, "turns": self.turns, "workers": self.workers, "id": self.id}
        return template.format(**names, subject=self.subject, body=self.body)

    def schema(self) -> tuple[LiteralString, ...]:
        """The tables, for the statements of a service's schema. Complete: what comes later is a tuple of its own."""
        return tuple(self.sql(statement) for statement in _SCHEMA)

    def later_schema(self) -> tuple[LiteralString, ...]:
        """What came later: for the end of the statements of a service whose tables are there."""
        return tuple(self.sql(statement) for statement in _LATER)

    def asked(
        self,
        work_id: str,
        *,
        context: Context,
        subject: str | None = None,
        body: bytes = b"",
        is_urgent: bool = False,
        place: str | None = None,
        places: Sequence[str] = (),
    ) -> Statement:
        """Lets work wait for a worker, before what is not urgent of its organisation.

        `place`: where no more than `Bounds.per_place` pieces of the organisation's work are at a time; `places`: where
        it is, each as KIND:NAME (`Bounds.per_kind`). Refused where there is open work about the subject.
        """
        whose = (context.organisation, context.correlation_id, context.traceparent)
        parameters = (work_id, *whose, subject, body, is_urgent, place, list(places))
        return Statement(self.sql(_ASK), parameters, rows=1, name=CLAIM)

    def asked_again(self, work_id: str, *, context: Context, subject: str | None = None) -> Statement:
        """Lets work wait for a worker, be it for the first time or after an attempt that has ended.

        Refused where it waits or is worked on, or where there is other open work about the subject.
        """
        whose = (context.organisation, context.correlation_id, context.traceparent)
        places: list[str] = []
        parameters = (work_id, *whose, subject, b"", False, None, places)
        return Statement(self.sql(_ASK_AGAIN), parameters, rows=1, name=CLAIM)

    def closed(self, claim: Claim) -> Statement:
        """Lets nobody take the work again, since it has ended. Refused where the claim is another's."""
        return self._change(_CLOSE, (claim.work_id, claim.fence), rows=1)

    def released(self, claim: Claim, *, is_left: bool, in_trouble: bool) -> Statement:
        """Gives the work back, see `Claims.release`. Refused where the claim is another's."""
        parameters = {"id": claim.work_id, "fence": claim.fence, "is_left": is_left, "in_trouble": in_trouble}
        return self._change(_RELEASE, parameters, rows=1)

    def told(self, unclaimed: Unclaimed, code: str | None) -> Statement:
        """Notes what is told of work that no worker can take. Refused where one has, or where it was told already."""
        claim = unclaimed.claim
        parameters = {
            "id": claim.work_id,
            "fence": claim.fence,
            "code": code,
            "before": unclaimed.code,
            "heard": HEARD_SECONDS,
        }
        return self._change(_TELL, parameters, rows=1)

    def ended(self, unclaimed: Unclaimed) -> Statement:
        """Lets nobody take such work any more. Refused where a worker has."""
        return self._change(_END, (unclaimed.claim.work_id, unclaimed.claim.fence), rows=1)

    def cancelled(self, work_id: str) -> Statement:
        """Takes work away from whoever performs it, who is told by his heartbeat; changes nothing where it is over."""
        return self._change(_CANCEL, (work_id,), rows=None)

    def _change(
        self, template: LiteralString, parameters: Sequence[object] | dict[str, object], *, rows: int | None
    ) -> Statement:
        # A heartbeat locks the claims of all that its worker holds.
        return Statement(self.sql(template), parameters, rows=rows, name=CLAIM, is_contended=True)
