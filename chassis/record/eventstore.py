"""The record of one service: append, load and read in order. An async face for `eventsourcing` over Postgres.

Promise: what `save` returned is on disk (`synchronous_commit=on`), whole or not at all, in one transaction
with the inbox row and the extra statements; the bytes stored are the bytes that the relay publishes.
Notification ids rise in the order of commits; a rolled-back transaction leaves a gap, never a late arrival.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from eventsourcing.application import AggregateNotFoundError, Repository
from eventsourcing.domain import OriginatorIDError, OriginatorVersionError
from eventsourcing.persistence import EventStore as LibraryStore
from eventsourcing.persistence import StoredEvent

from chassis.clock import Clock, SystemClock
from chassis.context import Context
from chassis.domain import Aggregate, Snapshotted
from chassis.handling import Handled
from chassis.ids import Ids, TimeOrderedIds
from chassis.life.health import Health
from chassis.postgres.circuit import OVERTIME_SECONDS, WAITING_MAX, patience
from chassis.postgres.database import Unable, blocking_pool, without_rights
from chassis.postgres.trust import check_trust
from chassis.record.grouping import Content, GroupedAppends
from chassis.record.mapper import (
    EnvelopeMapper,
    RecordedEvent,
    Snapshot,
    SnapshotMapper,
    SnapshotStore,
    projector_of,
    subject_of,
)
from chassis.record.recorder import PostgresRecorder, SnapshotRecorder
from chassis.record.statements import AlreadyHandled, CommitInDoubt, Statement, StatementRefused, try_write
from chassis.telemetry.logging import describe
from chassis.upcasting import UPCASTERS, Upcasters
from contracts.envelope import SOURCE_PREFIX, Envelope, MalformedEvent, UnknownEventType, decode, encode_data
from contracts.errors import (
    AGGREGATE_NOT_FOUND,
    CLOCK_DIFFERS,
    EVENT_UNREADABLE,
    INVALID_SETTING,
    UNAVAILABLE,
    PlatformError,
)

__all__ = ["AlreadyHandled", "EventStore", "Handled", "Statement", "StatementRefused"]

WRITES = "record-writes"
CLOCK = "clock"
CLOCK_SECONDS = 10.0
"""Far more than an answer of a busy server takes, and far less than what makes a backup look younger than it is."""

COMPOSED_AT_ONCE = 32
"""Events of a save that hold the loop together: a thousand would hold it for the time of many requests."""

A = TypeVar("A", bound=Aggregate)
T = TypeVar("T")


class EventStore:
    """A part (see `chassis.life.runtime`): one per service and process.

    `dsn` is that of the service's own role, `schema` its own schema, `service` the owner's name in the envelopes.
    At most `pool_size` connections, at least two: one writes, since appends are one after another anyway and are
    faster from one thread than from eight; the others read. What waits for the disk at the same time is committed
    together (`chassis.record.grouping`). `connections`: what the whole process takes at most, without which it does not
    start. `health` is told while Postgres takes no writes (a full disk, a standby): it answers all the same, and only
    the next write that succeeds tells that it takes them again.
    """

    name = "record"

    def __init__(
        self,
        *,
        dsn: str,
        schema: str,
        service: str,
        clock: Clock | None = None,
        ids: Ids | None = None,
        upcasters: Upcasters = UPCASTERS,
        pool_size: int = 3,
        connections: int = 0,
        health: Health | None = None,
    ) -> None:
        if pool_size < 2:
            raise ValueError("the record needs two connections: one to write, one to read")
        self._service = service
        self._dsn = dsn
        self._connections = max(connections, pool_size)
        self._health = health
        self._clock = clock or SystemClock()
        self._ids = ids or TimeOrderedIds(self._clock)
        self._pool = blocking_pool(dsn, schema, name=f"record-{schema}", max_size=pool_size)
        self._recorder = PostgresRecorder(self._pool, schema)
        self._mapper = EnvelopeMapper(upcasters)
        self._events = LibraryStore[str](self._mapper, self._recorder)
        self._appends = GroupedAppends(self._put)
        self._snapshots = SnapshotRecorder(self._recorder)
        self._repositories: dict[type[Aggregate], Repository[str]] = {}
        self._waiting = 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix=f"{schema}-write")
        self._readers = ThreadPoolExecutor(pool_size - 1, thread_name_prefix=f"{schema}-read")

    async def start(self) -> None:
        """Connect. Raises UNAVAILABLE, also where the server has too few connections left, or INVALID_SETTING.

        That is where the schema is not installed or not ours to use, a commit would not be durable, or the server is
        not the one that its certificate should name.
        """
        await check_trust(self._dsn, connections=self._connections)
        self._pool.open()
        if lacking := await self._read(self._recorder.lacking_rights):
            raise PlatformError(
                INVALID_SETTING,
                f"the schema is not installed, or not for this role: {', '.join(lacking)}",
                field="WEDSYNC_POSTGRES_SCHEMA",
                hint="wedsync-backup down, then wedsync-backup up, or python -m deploy.elsewhere where others run "
                "Postgres, installs schemas and roles. Or name the service's own schema.",
            )
        if not await self._read(self._recorder.is_durable):
            # An event could be published, and then be missing from the record after a crash.
            raise PlatformError(
                INVALID_SETTING,
                "synchronous_commit is off: what is confirmed would not be on disk",
                field="WEDSYNC_POSTGRES_DSN",
                hint="Take synchronous_commit out of the connection string, or set it on for the role.",
            )

    async def stop(self) -> None:
        """Finish what is under way, bounded, and close the connections."""
        closing = asyncio.create_task(asyncio.to_thread(self._shut_down))
        while not (await asyncio.wait({closing}, timeout=OVERTIME_SECONDS))[0]:
            self._recorder.cut_overdue()
        await closing

    def _shut_down(self) -> None:
        self._writer.shutdown(wait=True)
        self._readers.shutdown(wait=True)
        self._pool.close()

    async def check(self) -> PlatformError | str | None:
        """UNAVAILABLE while Postgres does not answer, or lets this role not do what it must: that is named."""
        try:
            lacking = await self._read(self._recorder.lacking_rights)
            self._compare_clocks(await self._read(self._recorder.now))
        except PlatformError as error:
            return error
        if self._health is not None and self._health.is_degraded(WRITES):
            await self._try_write(self._health)
        return without_rights(lacking) if lacking else None

    async def _try_write(self, health: Health) -> None:
        """Whether what was told is still so: nobody else may write for hours."""
        with suppress(PlatformError):
            try:
                await self._read(lambda: self._recorder.read(try_write))
            except Unable as error:
                health.degrade(WRITES, error)
                return
            health.restore(WRITES)

    def _compare_clocks(self, theirs: datetime) -> None:
        if self._health is None:
            return
        seconds = (self._clock.now() - theirs).total_seconds()
        if abs(seconds) > CLOCK_SECONDS:
            side = "ahead of" if seconds > 0 else "behind"
            message = f"the clock of this machine is {abs(seconds):.0f} s {side} that of the database"
            self._health.degrade(CLOCK, PlatformError(CLOCK_DIFFERS, message))
        else:
            self._health.restore(CLOCK)

    async def load(self, cls: type[A], id: str) -> A:  # noqa: A002  # as the aggregate names it
        """Read an aggregate from its history. Raises EVENT_UNREADABLE, and AGGREGATE_NOT_FOUND, also
        where the id is another kind's.
        """
        aggregate = await self.find(cls, id)
        if aggregate is None:
            raise PlatformError(AGGREGATE_NOT_FOUND, f"the record has no such {cls.KIND}", aggregate_id=id)
        return aggregate

    async def find(self, cls: type[A], id: str) -> A | None:  # noqa: A002  # as the aggregate names it
        """As `load`, but None where there is no such aggregate."""
        repository = self._repository_of(cls)

        def get() -> A | None:
            try:
                aggregate: A = repository.get(id, projector_func=projector_of(cls))
            except AggregateNotFoundError:
                return None
            except (MalformedEvent, UnknownEventType, OriginatorIDError, OriginatorVersionError) as error:
                message = f"the history of a {cls.KIND} cannot be read by this build: {describe(error)}"
                raise PlatformError(EVENT_UNREADABLE, message, aggregate_id=id) from error
            return aggregate

        return await self._read(get)

    async def unread(self, cls: type[A], id: str) -> A:  # noqa: A002  # as the aggregate names it
        """An aggregate at the end of a history that this build cannot read: facts can be added, and nothing is known.

        Raises AGGREGATE_NOT_FOUND.
        """
        last = await self._read(lambda: self._recorder.select_events(id, desc=True, limit=1))
        if not last:
            raise PlatformError(AGGREGATE_NOT_FOUND, f"the record has no such {cls.KIND}", aggregate_id=id)
        aggregate = cls(id)
        aggregate.version = last[0].originator_version
        aggregate.organisation = decode(last[0].state).organisation
        return aggregate

    def _repository_of(self, cls: type[Aggregate]) -> Repository[str]:
        repository = self._repositories.get(cls)
        if repository is None:
            snapshots = SnapshotStore(SnapshotMapper(cls), self._snapshots) if issubclass(cls, Snapshotted) else None
            repository = self._repositories[cls] = Repository(self._events, snapshot_store=snapshots)
        return repository

    async def save(
        self, *aggregates: Aggregate, context: Context, handled: Handled | None = None, also: Sequence[Statement] = ()
    ) -> list[Envelope]:
        """Make what is pending history, in one transaction with the inbox row and the statements.

        An empty save with `handled` writes the inbox row alone. Returns the envelopes in their order. Raises
        `AlreadyHandled`; CONCURRENT_CHANGE where an aggregate has changed since it was loaded (load it anew);
        `StatementRefused`; UNAVAILABLE. Unless it returns, the aggregates are as they were, still pending.
        A connection that breaks during the commit is looked into: what was committed is not reported as failed. Where
        it stays away, nobody knows yet: UNAVAILABLE, and the same aggregates saved again are recognised in the record.
        EVENT_TOO_LARGE where one is above 256 KiB, INVALID_FIELD where one has a value that no database takes.
        """
        for aggregate in aggregates:
            self._check_owner(aggregate, context)
        until = time.monotonic() + patience()
        known = [event for aggregate in aggregates for event in await self._recognise(aggregate, context, until)]
        composed = []
        for place, aggregate in enumerate(aggregates, start=1):
            composed.append((aggregate, await self._compose(aggregate, context)))
            if place % COMPOSED_AT_ONCE == 0:
                await asyncio.sleep(0)
        events = [event for _, each in composed for event in each]
        if known and not events:
            # The same save again: the inbox row and the statements were in its transaction.
            return [event.envelope for event in known]
        snapshots = [snapshot for aggregate in aggregates for snapshot in self._take(aggregate, context)]
        if events or handled is not None or also:
            try:
                await self._append(Content(events, () if handled is None else (handled,), also, snapshots), until)
            except CommitInDoubt:
                for aggregate, each in composed:
                    aggregate.keep_drafts(tuple(each))
                raise
            except Unable as error:
                if self._health is not None and error.lasts:
                    self._health.degrade(WRITES, error)
                raise
            if self._health is not None:
                self._health.restore(WRITES)
        for aggregate in aggregates:
            aggregate.settle(context.organisation)
        return [event.envelope for event in (*known, *events)]

    def _put(self, content: Content, until: float) -> None:
        self._events.put(
            content.events,
            handled=content.handled,
            statements=content.statements,
            snapshots=content.snapshots,
            until=until,
        )

    async def _append(self, content: Content, until: float) -> None:
        """Write a content, together with those of others that wait at the same time."""
        append = self._appends.add(content, until)
        try:
            await self._run(self._writer, lambda: self._appends.write(append), until)
        except BaseException as error:
            append.is_abandoned = True
            if not isinstance(error, PlatformError) or error.code is not UNAVAILABLE or not append.has_begun:
                raise
            if not append.is_done:
                raise CommitInDoubt from error
            # Written together with another's, while this call still waited for its turn: what became of it counts.
            if append.failure is not None:
                raise append.failure from error

    async def _recognise(self, aggregate: Aggregate, context: Context, until: float) -> Sequence[RecordedEvent]:
        """The events of a save in doubt, where they turn out to be in the record; they are pending no longer then."""
        drafts: tuple[RecordedEvent, ...] = aggregate.drafts
        if not drafts:
            return ()
        stored = [self._mapper.to_stored_event(event) for event in drafts]
        if not await self._run(self._writer, lambda: self._recorder.find_own(stored, until=until), until):
            return ()
        aggregate.settle(context.organisation, len(drafts))
        return drafts

    @staticmethod
    def _check_owner(aggregate: Aggregate, context: Context) -> None:
        if aggregate.organisation not in (None, context.organisation):
            raise PlatformError(
                AGGREGATE_NOT_FOUND, f"the organisation has no such {aggregate.KIND}", aggregate_id=aggregate.id
            )

    async def _compose(self, aggregate: Aggregate, context: Context) -> list[RecordedEvent]:
        """The pending events in their envelopes; those of a save in doubt in the envelopes that they had."""
        drafts: tuple[RecordedEvent, ...] = aggregate.drafts
        begin = aggregate.saved_version + len(drafts) + 1
        composed = list(drafts)
        for sequence, event in enumerate(aggregate.pending[len(drafts) :], start=begin):
            envelope = Envelope(
                specversion="1.0",
                id=self._ids.new(),
                source=SOURCE_PREFIX + self._service,
                type=event.NAME,
                subject=subject_of(aggregate.KIND, aggregate.id),
                time=context.time or self._clock.now(),
                datacontenttype="application/json",
                organisation=context.organisation,
                actor=context.actor,
                sequence=sequence,
                correlationid=context.correlation_id,
                causationid=context.causation_id,
                traceparent=context.traceparent,
                data=encode_data(event),
            )
            composed.append(RecordedEvent(aggregate.id, envelope, event))
            if len(composed) % COMPOSED_AT_ONCE == 0:
                await asyncio.sleep(0)  # The others' turn.
        return composed

    @staticmethod
    def _take(aggregate: Aggregate, context: Context) -> list[StoredEvent]:
        if not isinstance(aggregate, Snapshotted):
            return []
        interval = aggregate.SNAPSHOT_EVERY
        if aggregate.version // interval == aggregate.saved_version // interval:
            return []
        mapper = SnapshotMapper(type(aggregate))
        return [mapper.to_stored_event(Snapshot.take(aggregate, context.organisation))]

    async def was_handled(self, handled: Handled) -> bool:
        """Whether a message's effect is in the record."""
        return await self._read(lambda: self._recorder.was_handled(handled))

    async def history(self, id: str, *, after: int = 0) -> list[Envelope]:  # noqa: A002  # as the aggregate names it
        """The envelopes of one aggregate after a version, as they were stored."""
        stored = await self._read(lambda: self._recorder.select_events(id, gt=after))
        return [decode(event.state) for event in stored]

    async def events(self, after: int = 0, limit: int = 1000) -> list[tuple[int, Envelope]]:
        """The notification log after a notification id: ids with the envelopes as they were stored."""
        log = await self._read(lambda: self._recorder.select_notifications(after, limit, inclusive_of_start=False))
        return [(notification.id, decode(notification.state)) for notification in log]

    async def incarnation(self) -> str:
        """The id of this log: a new one when the record was restored to an earlier point."""
        return await self._read(self._recorder.incarnation)

    async def _read(self, call: Callable[[], T]) -> T:
        return await self._run(self._readers, call, time.monotonic() + patience())

    async def _run(self, threads: ThreadPoolExecutor, call: Callable[[], T], until: float) -> T:
        """Call it in a thread. Raises UNAVAILABLE at once where too many wait, and when the time is over.

        Then a write that has begun is in doubt: the server has it, and does not answer.
        """
        if self._waiting >= WAITING_MAX:
            raise PlatformError(UNAVAILABLE, "too many wait for the record", part="postgres", retry_after_seconds=1)
        self._waiting += 1
        working = threads.submit(call)
        future = asyncio.wrap_future(working)
        try:
            await asyncio.wait({future}, timeout=max(0.0, until - time.monotonic()) + OVERTIME_SECONDS)
            if future.done():
                return future.result()
            if not working.cancel():
                if working.done():
                    return working.result()
                self._recorder.cut_overdue()
                if threads is self._writer:
                    raise CommitInDoubt
            raise PlatformError(UNAVAILABLE, "postgres did not answer in time", part="postgres")
        finally:
            self._waiting -= 1
            future.cancel()
