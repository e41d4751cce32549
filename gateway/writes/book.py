"""Writes: the idempotency row and the request event in one transaction, then a bounded wait for the answer.

Promise: the same key with the same body is one request, however often and at however many gateways it is sent; with
another body it is refused. What was taken down is in the record before anything is answered, and is answered by its
owner sooner or later: who does not get the answer at once is told where it will be.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from chassis.clock import Clock
from chassis.context import Context
from chassis.ids import Ids
from chassis.postgres.circuit import answering
from chassis.postgres.database import translated
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore, Statement, StatementRefused
from chassis.sealing import Sealer
from chassis.telemetry.instruments import current_traceparent
from contracts import errors
from contracts.errors import PlatformError
from contracts.event import Event
from gateway.auth.principal import Principal
from gateway.auth.rate_limit import TokenBuckets, refuse_above
from gateway.http.problems import WrongFields
from gateway.reading.shares import WRITINGS, SharedConnections, Shares
from gateway.writes.declaration import accepting
from gateway.writes.domain import WriteRequest
from gateway.writes.items import SHOW, batched, item_row, item_writes
from gateway.writes.refused import Refused
from gateway.writes.waiters import Waiters

KEY_LENGTH_MAX = 200
KEYS_KEPT_DAYS = 7
SEALED_AT_ONCE = 20
"""Items whose fields are sealed by one question to the keys: others ask in between."""
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_DIGEST_PURPOSE = "idempotency"

_TAKE_KEY = """
    INSERT INTO idempotency_keys (organisation, actor, route, key, body_digest, request_id, resource_id, created_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
"""
_SHOW = """
    INSERT INTO requests (request_id, organisation, kind, resource_id, actor, submitted_at)
    VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (request_id) DO NOTHING
"""
_FIND_KEY = """
    SELECT body_digest, request_id, resource_id, created_at FROM idempotency_keys
    WHERE organisation = %s AND actor = %s AND route = %s AND key = %s
"""
_SEALED = """
    SELECT EXISTS (SELECT 1 FROM configurations WHERE organisation = %(organisation)s)
           OR EXISTS (SELECT 1 FROM retention_policies WHERE organisation = %(organisation)s)
           OR EXISTS (SELECT 1 FROM notification_channels WHERE organisation = %(organisation)s)
           OR EXISTS (SELECT 1 FROM requests WHERE organisation = %(organisation)s)
"""
_STATE = "SELECT state, code, field, hint, wrong::text FROM requests WHERE request_id = %s AND organisation = %s"
_FORGET = "DELETE FROM idempotency_keys WHERE created_at < now() - make_interval(days => %s)"


_Known = tuple[str, str, str, datetime]
"""Of the request that has a key: the digest of its body, its id, its resource's, and when it was submitted."""


class Outcome(msgspec.Struct, frozen=True):
    """What became of a write within the time that was waited. `refusal` is the owner's no.

    Not answered is also what cannot be looked up at this moment: it is in the record all the same.
    """

    request_id: str
    resource_id: str
    kind: str
    submitted_at: datetime
    is_answered: bool = False
    refusal: Refused | None = None


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """One write as it arrives.

    `event` makes its request event of the ids of the request and of its resource; it reads keys, and is called beside
    the event loop. `target`: the id of the resource where that is there already; otherwise it gets one. `wrong`: why it
    can never succeed, each field by an error of its own; then it is not recorded. `items`: make the events of what it
    asks for at once, of the ids of a request and of a resource for each, and of the request that they are of.
    """

    kind: str
    route: str
    key: str
    body: Any
    event: Callable[[str, str], Event]
    target: str | None = None
    wrong: Sequence[PlatformError] = ()
    items: Sequence[Callable[[str, str, str], Event]] = ()


class RequestBook:
    """Takes writes down. One for each process."""

    def __init__(
        self,
        *,
        store: EventStore,
        pool: Pool,
        connections: SharedConnections,
        sealer: Sealer,
        waiters: Waiters,
        until_answering: Callable[[], Awaitable[None]],
        writers: TokenBuckets,
        organisations: TokenBuckets,
        clock: Clock,
        ids: Ids,
        wait_seconds: float,
    ) -> None:
        self._store = store
        self._pool = pool
        self._connections = connections
        self._sealer = sealer
        self._waiters = waiters
        self._until_answering = until_answering
        self._writers = writers
        self._organisations = organisations
        self._shares = Shares(WRITINGS)
        self._clock = clock
        self._ids = ids
        self._wait_seconds = wait_seconds

    async def submit(self, principal: Principal, submission: Submission) -> Outcome:
        """Take a write down, or recognise it, and wait for its answer.

        Raises IDEMPOTENCY_KEY_MISSING, IDEMPOTENCY_KEY_REUSED, TOO_MANY_REQUESTS, UNAVAILABLE, and what is wrong with
        the submission: not where it was taken down earlier, under rules that it kept then.
        """
        key = check_key(submission.key)
        # What is written down stays in the record for ever, and its key for days: nobody fills them alone.
        refuse_above(self._writers.take((principal.organisation, principal.actor)))
        refuse_above(self._organisations.take(principal.organisation))
        await self.require_keys(principal.organisation)
        if submission.wrong or submission.items:
            known = await self._known(principal, submission, key)
            if known is not None:
                digest = await self._sealer.ask(partial(self._digest, principal, submission.body))
                return await self._recognise(principal, submission, known, digest)
        if submission.wrong:
            raise WrongFields(submission.wrong)
        request = WriteRequest(self._ids.new())
        # Of what asks for several things the result is the request: what became of each of them.
        resource_id = submission.target or (request.id if submission.items else self._ids.new())
        taken = Outcome(request.id, resource_id, submission.kind, self._clock.now())
        # Beside the event loop: what seals lies on a disk.
        digest, event = await self._sealer.ask(lambda: self._drawn_up(principal, submission, request.id, resource_id))
        for several in batched(submission.items, SEALED_AT_ONCE):
            for item in await self._sealer.ask(partial(self._items, several, request.id)):
                request.ask(item)
        request.ask(event)
        with self._waiters.expect(request.id) as waiter:
            try:
                await self._record(principal, submission, key, digest, request, taken)
            except StatementRefused:
                known = await self._known(principal, submission, key)
                if known is None:
                    raise PlatformError(
                        errors.CONCURRENT_CHANGE, "the idempotency key was let go at this moment"
                    ) from None
                return await self._recognise(principal, submission, known, digest)
            fact = await waiter.wait(self._wait_seconds)
        if fact is not None and fact.type in accepting():
            return msgspec.structs.replace(taken, is_answered=True)
        return await self._outcome(principal, taken)

    async def require_keys(self, organisation: str) -> None:
        """Raise KEYS_UNUSABLE where one of an organisation's keys is gone, though it has things that they sealed.

        To be called before keys are made: one that is made beside old data opens none of it.
        """
        await self._until_answering()  # What there is is not known before.
        has_keys = partial(self._sealer.has_keys, organisation)
        if all(await self._sealer.ask(has_keys)):
            return
        with translated():
            async with self._connections.of(organisation) as connection:
                row = await (await connection.execute(_SEALED, {"organisation": organisation})).fetchone()
        # Looked at after the record: keys are made before what they seal is recorded, perhaps by others meanwhile.
        if row == (True,) and not all(await self._sealer.ask(has_keys)):
            raise PlatformError(errors.KEYS_UNUSABLE, "the organisation's keys are missing", organisation=organisation)

    async def forget_old(self) -> None:
        """Let go of keys that nobody sends again."""
        with translated():
            async with self._pool.connection() as connection:
                await connection.execute(_FORGET, (KEYS_KEPT_DAYS,))

    async def _record(
        self,
        principal: Principal,
        submission: Submission,
        key: str,
        digest: str,
        request: WriteRequest,
        taken: Outcome,
    ) -> None:
        organisation, actor = principal.organisation, principal.actor
        now, resource_id = taken.submitted_at, taken.resource_id
        took = (organisation, actor, submission.route, key, digest, request.id, resource_id, now)
        shown = (request.id, organisation, submission.kind, resource_id, actor, now)
        context = Context(
            organisation=organisation,
            actor=actor,
            correlation_id=request.id,
            traceparent=current_traceparent(),
            # One moment for the key, the read model, its making anew and whoever reads: it is never told otherwise.
            time=now,
        )
        also = [Statement(_TAKE_KEY, took, name="idempotency key"), Statement(_SHOW, shown, name="request")]
        if submission.items:
            rows = [
                item_row(write, event, organisation=organisation, actor=actor, time=now)
                for event in request.pending
                if (write := item_writes().get(type(event))) is not None
            ]
            also.append(Statement(SHOW, (await asyncio.to_thread(_as_json, rows),), name="items"))
        # What was drawn up meanwhile may have used up the request's time: that was nobody's who waits for Postgres.
        with answering() if submission.items else nullcontext():
            async with self._shares.of(organisation):
                await self._store.save(request, context=context, also=also)
        # Not before: who has to send it once more is not made to wait for what was never taken down.
        for spent, caller in ((self._writers, (organisation, actor)), (self._organisations, organisation)):
            spent.spend(caller, len(submission.items) - 1)

    async def _known(self, principal: Principal, submission: Submission, key: str) -> _Known | None:
        """What has this key already."""
        with translated():
            async with self._connections.of(principal.organisation) as connection:
                cursor = await connection.execute(
                    _FIND_KEY, (principal.organisation, principal.actor, submission.route, key)
                )
                return await cursor.fetchone()

    async def _recognise(self, principal: Principal, submission: Submission, known: _Known, digest: str) -> Outcome:
        """The outcome of the request that has this key already."""
        known_digest, request_id, resource_id, submitted_at = known
        if known_digest != digest:
            raise PlatformError(
                errors.IDEMPOTENCY_KEY_REUSED,
                "the key was used with another body",
                field="Idempotency-Key",
                request_id=request_id,
            )
        taken = Outcome(request_id, resource_id, submission.kind, submitted_at)
        with self._waiters.expect(request_id) as waiter:
            outcome = await self._outcome(principal, taken)
            if outcome.is_answered or await waiter.wait(self._wait_seconds) is None:
                return outcome
        return await self._outcome(principal, taken)

    async def _outcome(self, principal: Principal, taken: Outcome) -> Outcome:
        """What became of a write that is in the record; not answered where that cannot be looked up."""
        try:
            with translated():
                async with self._connections.of(principal.organisation) as connection:
                    cursor = await connection.execute(_STATE, (taken.request_id, principal.organisation))
                    row = await cursor.fetchone()
        except PlatformError:
            return taken
        if row is None or row[0] == "pending":
            return taken
        refusal = Refused.read(*row[1:]) if row[0] == "refused" else None
        return msgspec.structs.replace(taken, is_answered=True, refusal=refusal)

    def _drawn_up(
        self, principal: Principal, submission: Submission, request_id: str, resource_id: str
    ) -> tuple[str, Event]:
        """The body's digest and the request event, of a write that is to be recorded: here keys are made, and nowhere
        else.
        """
        self._sealer.make_keys(principal.organisation)
        return self._digest(principal, submission.body), submission.event(request_id, resource_id)

    def _items(self, several: Sequence[Callable[[str, str, str], Event]], bulk_id: str) -> list[Event]:
        return [item(self._ids.new(), self._ids.new(), bulk_id) for item in several]

    def _digest(self, principal: Principal, body: Any) -> str:
        # Keyed, since a body's plain hash would give away short names and paths to whoever reads the table.
        text = msgspec.json.encode(body, order="deterministic").decode()
        return self._sealer.digest(principal.organisation, _DIGEST_PURPOSE, text)


def _as_json(rows: Sequence[Any]) -> str:
    return msgspec.json.encode(rows).decode()


def check_key(key: str | None) -> str:
    """An Idempotency-Key as it is compared. Raises IDEMPOTENCY_KEY_MISSING or INVALID_FIELD."""
    if not key:
        raise PlatformError(errors.IDEMPOTENCY_KEY_MISSING, "a write needs an idempotency key", field="Idempotency-Key")
    if len(key) > KEY_LENGTH_MAX or not (key.isascii() and key.isprintable()):
        raise PlatformError(
            errors.INVALID_FIELD,
            f"an idempotency key has up to {KEY_LENGTH_MAX} printable ASCII characters",
            field="Idempotency-Key",
        )
    # A UUID is the same one in whatever case it is written; anything else is what it is, letter by letter.
    return key.lower() if _UUID.fullmatch(key) else key
