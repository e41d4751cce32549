"""The record over a real Postgres: what is saved, loaded and read in order."""

import asyncio
import threading
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from chassis.context import Context
from chassis.domain import Aggregate
from chassis.ids import is_id
from chassis.record.eventstore import AlreadyHandled, EventStore, Handled, Statement, StatementRefused
from contracts import errors
from contracts.configuration import Tier
from contracts.envelope import Envelope, decode_data, encode
from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event
from tests.component.chassis.record_fixtures import open_store, store
from tests.support.eventually import eventually
from tests.support.postgres_server import PostgresServer, SchemaAccess
from tests.support.sample_runs import CONTEXT, LongRun, OtherRun, SampleRun, tier_failed

__all__ = ["store"]

pytestmark = pytest.mark.stack


async def _code(save: "asyncio.Future[list[Envelope]]") -> ErrorCode:
    with pytest.raises(PlatformError) as refused:
        await save
    return refused.value.code


async def test_saved_aggregate_is_loaded_as_it_was(store: EventStore) -> None:
    """The history gives the same state, version and owner."""
    run = SampleRun("a").fail(Tier.LOCAL).fail(Tier.OFFSITE)
    await store.save(run, context=CONTEXT)
    loaded = await store.load(SampleRun, "a")
    assert loaded == run
    assert (loaded.version, loaded.failed, loaded.organisation) == (
        2,
        [Tier.LOCAL, Tier.OFFSITE],
        CONTEXT.organisation,
    )


async def test_envelope_says_who_what_when_and_why(store: EventStore) -> None:
    """Every circumstance of an event is in its envelope."""
    context = Context(CONTEXT.organisation, "service:executor", "request-1", "event-1", "00-aa-bb-01")
    (envelope,) = await store.save(SampleRun("a").fail(), context=context)
    assert is_id(envelope.id)
    assert envelope.source == "/wedsync-backup/executor"
    assert envelope.owner == "executor"
    assert envelope.type == "executor.tier-failed.v1"
    assert envelope.subject == "sample-run/a"
    assert (envelope.organisation, envelope.actor, envelope.sequence) == (context.organisation, context.actor, 1)
    assert (envelope.correlationid, envelope.causationid, envelope.traceparent) == (
        "request-1",
        "event-1",
        "00-aa-bb-01",
    )
    assert datetime.now(UTC) - envelope.time < timedelta(minutes=1)  # noqa: TID251  # the machine's own clock is meant
    assert decode_data(envelope) == tier_failed("a")


async def test_stored_bytes_are_the_envelope_and_nothing_else(store: EventStore, record_access: SchemaAccess) -> None:
    """The column holds exactly what is published."""
    envelopes = await store.save(SampleRun("a").fail().fail(Tier.OFFSITE), context=CONTEXT)
    with psycopg.connect(record_access.admin_dsn) as connection:
        rows = connection.execute(
            f"SELECT originator_id, originator_version, topic, state FROM {record_access.schema}.stored_events"
            " ORDER BY notification_id"
        ).fetchall()
    assert rows == [("a", envelope.sequence, envelope.type, encode(envelope)) for envelope in envelopes]
    assert [envelope for _, envelope in await store.events()] == envelopes
    assert await store.history("a", after=1) == envelopes[1:]


async def test_several_aggregates_are_saved_together_in_their_order(store: EventStore) -> None:
    """A batch is one transaction, and its events follow each other."""
    envelopes = await store.save(SampleRun("b").fail().fail(), SampleRun("a").fail(), context=CONTEXT)
    assert [(envelope.subject, envelope.sequence) for envelope in envelopes] == [
        ("sample-run/b", 1),
        ("sample-run/b", 2),
        ("sample-run/a", 1),
    ]
    log = await store.events()
    assert [envelope for _, envelope in log] == envelopes
    assert [notification_id for notification_id, _ in log] == sorted(notification_id for notification_id, _ in log)


async def test_log_is_read_in_pages(store: EventStore) -> None:
    """Reading goes on behind the last id."""
    for number in range(5):
        await store.save(SampleRun(str(number)).fail(), context=CONTEXT)
    first = await store.events(limit=3)
    rest = await store.events(after=first[-1][0], limit=3)
    assert [envelope.subject for _, envelope in first + rest] == [f"sample-run/{number}" for number in range(5)]
    assert await store.events(after=rest[-1][0]) == []


async def test_recorder_answers_the_library_in_its_own_terms(store: EventStore) -> None:
    """Ranges, topics and the last id are what `eventsourcing` means by them."""
    recorder = store._recorder
    assert recorder.max_notification_id() is None
    await store.save(LongRun("a").fail(3), context=CONTEXT)
    assert recorder.max_notification_id() == 3
    assert [found.id for found in recorder.select_notifications(2, 10)] == [2, 3]
    assert [found.id for found in recorder.select_notifications(1, 10, stop=2)] == [1, 2]
    assert [found.id for found in recorder.select_notifications(None, 1)] == [1]
    assert recorder.select_notifications(1, 10, topics=["executor.backup-failed.v1"]) == []
    assert len(recorder.select_notifications(1, 10, topics=["executor.tier-failed.v1"])) == 3


async def test_aggregate_without_history_is_not_found(store: EventStore) -> None:
    """Nothing is loaded from nothing."""
    assert await store.find(SampleRun, "a") is None
    with pytest.raises(PlatformError) as refused:
        await store.load(SampleRun, "a")
    assert refused.value.code is errors.AGGREGATE_NOT_FOUND


async def test_aggregate_of_another_kind_is_not_found(store: EventStore) -> None:
    """An id says which thing is meant, not what it is: another kind is never read as this one."""
    await store.save(SampleRun("a").fail(), context=CONTEXT)
    assert await store.find(OtherRun, "a") is None


async def test_organisation_cannot_add_to_what_is_anothers(store: EventStore) -> None:
    """An aggregate belongs to the organisation that began it."""
    await store.save(SampleRun("a").fail(), context=CONTEXT)
    run = (await store.load(SampleRun, "a")).fail()
    other = Context("another", "user:x", "request")
    assert await _code(asyncio.ensure_future(store.save(run, context=other))) is errors.AGGREGATE_NOT_FOUND
    assert len(await store.events()) == 1


async def test_change_that_is_based_on_old_state_is_refused(store: EventStore) -> None:
    """Of two that change the same version one wins; the other keeps what it wanted, and nothing of it is stored."""
    await store.save(SampleRun("a").fail(), context=CONTEXT)
    first, second = await store.load(SampleRun, "a"), await store.load(SampleRun, "a")
    await store.save(first.fail(), context=CONTEXT)
    second.fail(Tier.OFFSITE)
    other = SampleRun("b").fail()
    save = asyncio.ensure_future(store.save(other, second, context=CONTEXT, handled=Handled("c", "e")))
    assert await _code(save) is errors.CONCURRENT_CHANGE
    assert second.pending == (tier_failed("a", Tier.OFFSITE),)
    assert other.pending
    assert await store.find(SampleRun, "b") is None
    assert not await store.was_handled(Handled("c", "e"))
    await store.save(other, context=CONTEXT)


async def test_eight_at_once_leave_one_gapless_history_each(store: EventStore, record_access: SchemaAccess) -> None:
    """Concurrent appends from two stores keep every event once, and a follower of the log misses none."""
    seen: list[str] = []
    done = asyncio.Event()

    async def append(number: int, to: EventStore) -> None:
        for _ in range(25):
            run = await to.find(SampleRun, str(number)) or SampleRun(str(number))
            await to.save(run.fail(), context=CONTEXT)

    async def follow() -> None:
        position = 0
        while True:
            finished = done.is_set()
            page = await store.events(after=position, limit=7)
            seen.extend(envelope.id for _, envelope in page)
            position = page[-1][0] if page else position
            if finished and len(seen) >= 200:
                return

    async with open_store(record_access) as second:
        follower = asyncio.create_task(follow())
        await asyncio.gather(*(append(number, store if number % 2 else second) for number in range(8)))
        done.set()
        async with asyncio.timeout(60):
            await follower
    log = await store.events()
    assert seen == [envelope.id for _, envelope in log]
    assert {str(n): [e.sequence for _, e in log if e.subject == f"sample-run/{n}"] for n in range(8)} == {
        str(number): list(range(1, 26)) for number in range(8)
    }


async def test_racing_changes_of_one_aggregate_are_all_made_after_reloading(store: EventStore) -> None:
    """Whoever loses loads again; in the end every change is there once."""

    async def change(tier: Tier) -> None:
        while True:
            run = await store.find(SampleRun, "a") or SampleRun("a")
            try:
                await store.save(run.fail(tier), context=CONTEXT)
            except PlatformError as error:
                assert error.code is errors.CONCURRENT_CHANGE  # noqa: PT017  # anything else fails the test
                continue
            return

    await asyncio.gather(*(change(tier) for tier in Tier for _ in range(3)))
    run = await store.load(SampleRun, "a")
    assert sorted(run.failed) == sorted([*Tier] * 3)


async def test_handled_message_is_recognised(store: EventStore) -> None:
    """The inbox row and the events of a message are there together, and only once."""
    handled = Handled("executor--accept-backup", "event-1")
    await store.save(SampleRun("a").fail(), context=CONTEXT, handled=handled)
    assert await store.was_handled(handled)
    again = SampleRun("b").fail()
    with pytest.raises(AlreadyHandled):
        await store.save(again, context=CONTEXT, handled=handled)
    assert await store.find(SampleRun, "b") is None
    assert not await store.was_handled(Handled("executor--another", "event-1"))


async def test_message_without_an_effect_is_recognised_too(store: EventStore) -> None:
    """An empty save writes the inbox row alone."""
    handled = Handled("executor--accept-backup", "event-1")
    assert await store.save(context=CONTEXT, handled=handled) == []
    with pytest.raises(AlreadyHandled):
        await store.save(context=CONTEXT, handled=handled)
    assert await store.events() == []


async def test_message_that_is_delivered_twice_at_once_has_one_effect(store: EventStore) -> None:
    """Two handlers of the same message wait for each other, and one finds it done."""
    handled = Handled("executor--accept-backup", "event-1")
    answers = await asyncio.gather(
        *(store.save(SampleRun(str(n)).fail(), context=CONTEXT, handled=handled) for n in range(6)),
        return_exceptions=True,
    )
    assert sum(isinstance(answer, list) for answer in answers) == 1
    assert sum(isinstance(answer, AlreadyHandled) for answer in answers) == 5
    assert len(await store.events()) == 1


async def test_save_without_anything_does_nothing(store: EventStore) -> None:
    """An aggregate that decided nothing leaves no trace."""
    assert await store.save(SampleRun("a"), context=CONTEXT) == []
    assert await store.events() == []


class TestStatements:
    """Extra statements in the transaction of a save."""

    TABLES = (
        "CREATE TABLE names (name text PRIMARY KEY, id text NOT NULL)",
        "CREATE TABLE claims (id text PRIMARY KEY, fence integer NOT NULL)",
        "INSERT INTO claims VALUES ('a', 7)",
    )

    @pytest.fixture
    async def store(self, postgres: PostgresServer) -> "object":
        """A store over a schema with two tables of its own."""
        access = postgres.fresh(statements=self.TABLES)
        async with open_store(access) as opened:
            yield opened
        postgres.drop(access)

    async def test_statement_is_executed_with_the_events(self, store: EventStore) -> None:
        """Both are there, or none."""
        take = Statement("INSERT INTO names VALUES (%(name)s, %(id)s)", {"name": "x", "id": "a"}, name="name")
        await store.save(SampleRun("a").fail(), context=CONTEXT, also=[take])
        with pytest.raises(StatementRefused) as refused:
            await store.save(SampleRun("b").fail(), context=CONTEXT, also=[take])
        assert (refused.value.name, refused.value.code) == ("name", errors.CONCURRENT_CHANGE)
        assert await store.find(SampleRun, "b") is None

    async def test_statement_that_touches_too_few_rows_refuses_the_save(self, store: EventStore) -> None:
        """A fenced update that finds another fence changes nothing."""
        update = "UPDATE claims SET fence = fence + 1 WHERE id = %s AND fence = %s"
        await store.save(context=CONTEXT, also=[Statement(update, ("a", 7), rows=1, name="claim")])
        with pytest.raises(StatementRefused, match="claim"):
            await store.save(
                SampleRun("a").fail(), context=CONTEXT, also=[Statement(update, ("a", 7), rows=1, name="claim")]
            )
        with pytest.raises(StatementRefused, match="without a name"):
            await store.save(context=CONTEXT, also=[Statement(update, ("a", 7), rows=1)])
        assert await store.events() == []
        await store.save(SampleRun("a").fail(), context=CONTEXT, also=[Statement(update, ("a", 8), rows=1)])

    async def test_saves_that_wait_together_share_a_commit_and_a_refused_one_costs_the_others_nothing(
        self, store: EventStore
    ) -> None:
        """Requests that come at one instant wait for one disk once, each with its own statements and its own answer."""

        def saved(number: int, name: str) -> Coroutine[Any, Any, list[Envelope]]:
            take = Statement("INSERT INTO names VALUES (%s, %s)", (name, f"run-{number}"), name="name")
            handled = Handled("consumer", f"event-{number}")
            return store.save(SampleRun(f"run-{number}").fail(), context=CONTEXT, handled=handled, also=[take])

        async def together(*names: str) -> list[list[Envelope] | BaseException]:
            before = threading.Event()
            store._writer.submit(before.wait, 60)  # the only thread that writes hesitates, as for a slow disk
            first = len(await store.events())
            tasks = [asyncio.create_task(saved(first + number, name)) for number, name in enumerate(names)]
            await eventually(lambda: len(store._appends._waiting) == len(names))
            before.set()
            return await asyncio.gather(*tasks, return_exceptions=True)

        outcomes = await together("a", "b", "c")
        assert all(isinstance(outcome, list) for outcome in outcomes)
        transactions = await asyncio.to_thread(
            store._recorder.read,
            lambda connection: connection.execute(
                "SELECT xmin FROM stored_events UNION SELECT xmin FROM names UNION SELECT xmin FROM inbox"
            ).fetchall(),
        )
        assert len(transactions) == 1
        taken, refused, other = await together("d", "b", "e")
        assert isinstance(refused, StatementRefused)
        assert isinstance(taken, list)
        assert isinstance(other, list)
        assert [envelope.subject for _, envelope in await store.events()] == [
            f"sample-run/run-{number}" for number in (0, 1, 2, 3, 5)
        ]

    async def test_mistake_in_a_statement_is_not_taken_for_a_refusal(self, store: EventStore) -> None:
        """What is wrong in the code comes out as it is."""
        with pytest.raises(psycopg.errors.SyntaxError):
            await store.save(SampleRun("a").fail(), context=CONTEXT, also=[Statement("INSERT INTO names VALUE (1)")])
        assert await store.events() == []


async def test_snapshot_shortens_the_replay(store: EventStore) -> None:
    """A long history is read from its last snapshot on, and gives the same state."""
    run = LongRun("a").fail(7)
    await store.save(run, context=CONTEXT)
    loaded = await store.load(LongRun, "a")
    assert (loaded.version, loaded.failures, loaded.applied) == (7, 7, 0)
    await store.save(loaded.fail(1), context=CONTEXT)
    loaded = await store.load(LongRun, "a")
    assert (loaded.version, loaded.failures, loaded.applied, loaded.organisation) == (8, 8, 1, CONTEXT.organisation)
    await store.save(loaded.fail(1), context=CONTEXT)
    assert (await store.load(LongRun, "a")).applied == 0


async def test_snapshot_of_another_version_is_passed_over(store: EventStore) -> None:
    """A build with another state reads the history instead, and writes its own snapshot."""

    class NewerRun(LongRun):
        SNAPSHOT_VERSION = 2

    await store.save(LongRun("a").fail(4), context=CONTEXT)
    newer = await store.load(NewerRun, "a")
    assert (newer.version, newer.failures, newer.applied) == (4, 4, 4)
    await store.save(newer.fail(2), context=CONTEXT)
    assert (await store.load(NewerRun, "a")).applied == 0
    assert (await store.load(LongRun, "a")).applied == 6


async def test_snapshot_that_cannot_be_read_is_passed_over(store: EventStore, record_access: SchemaAccess) -> None:
    """A damaged copy costs time, not the aggregate."""
    await store.save(LongRun("a").fail(3), context=CONTEXT)
    with psycopg.connect(record_access.admin_dsn, autocommit=True) as connection:
        connection.execute(
            f"UPDATE {record_access.schema}.stored_snapshots SET state = %s",
            (b'{"organisation":"x","subject":"y","state":{}}',),
        )
    loaded = await store.load(LongRun, "a")
    assert (loaded.failures, loaded.applied) == (3, 3)


async def test_history_with_a_hole_is_never_taken_for_whole(store: EventStore, record_access: SchemaAccess) -> None:
    """An aggregate is not built from what is left of a damaged history."""
    await store.save(SampleRun("a").fail().fail().fail(), context=CONTEXT)
    with psycopg.connect(record_access.admin_dsn, autocommit=True) as connection:
        connection.execute(f"DELETE FROM {record_access.schema}.stored_events WHERE originator_version = 2")
    with pytest.raises(PlatformError, match="cannot be read by this build") as refused:
        await store.load(SampleRun, "a")
    assert refused.value.code is errors.EVENT_UNREADABLE


async def test_incarnation_is_the_same_for_all_who_ask(store: EventStore, record_access: SchemaAccess) -> None:
    """A log has one identity, from its installation on."""
    async with open_store(record_access) as other:
        assert await store.incarnation() == await other.incarnation() != ""


def test_store_needs_a_connection_to_write_and_one_to_read() -> None:
    """A pool of one would stop readers while somebody writes."""
    with pytest.raises(ValueError, match="two"):
        EventStore(dsn="", schema="x", service="executor", pool_size=1)


async def test_store_without_an_installed_schema_says_so(postgres: PostgresServer) -> None:
    """A service that is started before its schema is installed names the setting, not a missing table."""
    store = EventStore(dsn=postgres.admin_dsn, schema="nobody_made_this", service="executor")
    with pytest.raises(PlatformError) as refused:
        await store.start()
    await store.stop()
    assert (refused.value.code, refused.value.field) == (errors.INVALID_SETTING, "WEDSYNC_POSTGRES_SCHEMA")


async def test_store_whose_commits_are_not_durable_does_not_start(record_access: SchemaAccess) -> None:
    """A connection string that switches durability off is refused before the first event."""
    dsn = psycopg.conninfo.make_conninfo(record_access.dsn, options="-c synchronous_commit=off")
    store = EventStore(dsn=dsn, schema=record_access.schema, service="executor")
    with pytest.raises(PlatformError, match="synchronous_commit") as refused:
        await store.start()
    await store.stop()
    assert refused.value.code is errors.INVALID_SETTING


class Silent(Aggregate):
    """Knows no event."""

    KIND = "executor.silent"

    def apply(self, event: Event) -> None:
        """Ignore it."""


async def test_unknown_event_in_a_history_is_not_skipped(store: EventStore, record_access: SchemaAccess) -> None:
    """A build that does not know an event of its own record refuses to decide on half of it."""
    run = Silent("a")
    run.record(tier_failed("a"))
    await store.save(run, context=CONTEXT)
    with psycopg.connect(record_access.admin_dsn, autocommit=True) as connection:
        connection.execute(
            f"UPDATE {record_access.schema}.stored_events SET state ="
            " convert_to(replace(convert_from(state, 'UTF8'), 'tier-failed.v1', 'tier-failed.v99'), 'UTF8')"
        )
    with pytest.raises(PlatformError, match=r"unknown event type executor\.tier-failed\.v99") as refused:
        await store.load(Silent, "a")
    assert refused.value.code is errors.EVENT_UNREADABLE


async def test_saves_that_wait_together_are_each_whole_and_only_the_conflict_is_refused(store: EventStore) -> None:
    """Appends are joined into one commit where they wait for the same disk; nobody answers for another."""
    await store.save(SampleRun("taken").fail(), context=CONTEXT)
    runs = [SampleRun(f"run-{number}").fail().fail() for number in range(40)]
    outcomes = await asyncio.gather(
        *(store.save(run, context=CONTEXT) for run in runs[:20]),
        store.save(SampleRun("taken").fail(), context=CONTEXT),
        *(store.save(run, context=CONTEXT) for run in runs[20:]),
        return_exceptions=True,
    )
    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert isinstance(refused, PlatformError)
    assert refused.code is errors.CONCURRENT_CHANGE
    log = await store.events()
    assert len(log) == 1 + 2 * len(runs)
    assert [number for number, _ in log] == sorted({number for number, _ in log})
    assert all(run.pending == () for run in runs)
    assert {run.id for run in runs} == {envelope.subject.rpartition("/")[2] for _, envelope in log} - {"taken"}
