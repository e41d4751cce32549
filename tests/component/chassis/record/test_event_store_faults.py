"""The record when Postgres goes away: nothing is lost, nothing is written twice, nothing hangs."""

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from chassis.clock import SystemClock
from chassis.life.health import DEGRADED, READY, Health
from chassis.postgres.circuit import WAITING_MAX, answering
from chassis.postgres.database import advisory_key, open_pool, translated
from chassis.record.eventstore import AlreadyHandled, EventStore, Handled
from chassis.record.mapper import EVENT_BYTES_MAX
from contracts import errors
from contracts.configuration import Tier
from contracts.envelope import Envelope
from contracts.errors import PlatformError
from contracts.executor_events import TierFailed, TierUploaded
from tests.component.chassis.record_fixtures import open_store, store
from tests.support.clock import ManualClock
from tests.support.commit_proxy import CommitProxy, Lose, commit_proxy
from tests.support.eventually import eventually
from tests.support.postgres_server import PostgresServer, SchemaAccess, running_postgres
from tests.support.sample_runs import CONTEXT, LongRun, SampleRun

__all__ = ["store"]

pytestmark = pytest.mark.stack


@pytest.fixture
async def proxy(postgres: PostgresServer) -> AsyncIterator[CommitProxy]:
    """A proxy before the session's server."""
    async with commit_proxy(postgres.port) as opened:
        yield opened


@pytest.fixture
async def proxied(record_access: SchemaAccess, proxy: CommitProxy) -> AsyncIterator[EventStore]:
    """A store whose connections go through the proxy."""
    access = SchemaAccess(
        dsn=proxy.dsn(record_access.dsn), schema=record_access.schema, role="", admin_dsn=record_access.admin_dsn
    )
    async with open_store(access) as opened:
        yield opened


@pytest.mark.parametrize("what", [Lose.REQUEST, Lose.ANSWER])
async def test_commit_that_is_lost_on_the_way_is_made_exactly_once(
    proxied: EventStore, proxy: CommitProxy, what: Lose
) -> None:
    """Whether the commit or only its answer was lost, save returns and the events are there once."""
    proxy.lose.append(what)
    run = SampleRun("a").fail()
    envelopes = await proxied.save(run, SampleRun("b").fail().fail(), context=CONTEXT, handled=Handled("c", "e"))
    assert proxy.lost == 1
    assert [envelope for _, envelope in await proxied.events()] == envelopes
    assert run.pending == ()
    assert await proxied.was_handled(Handled("c", "e"))


async def test_commit_that_is_lost_again_and_again_is_made_exactly_once(
    proxied: EventStore, proxy: CommitProxy
) -> None:
    """Doubt is resolved also when the first answer to it is wrong."""
    proxy.lose += [Lose.REQUEST, Lose.ANSWER, Lose.REQUEST]
    envelopes = await proxied.save(LongRun("a").fail(4), context=CONTEXT)
    assert [envelope for _, envelope in await proxied.events()] == envelopes
    assert (await proxied.load(LongRun, "a")).failures == 4


async def test_foreign_change_during_the_doubt_is_a_conflict(
    proxied: EventStore, proxy: CommitProxy, store: EventStore
) -> None:
    """Events of somebody else at the same place are not taken for one's own."""
    await store.save(SampleRun("a").fail(), context=CONTEXT)
    late = SampleRun("a").fail()
    proxy.lose.append(Lose.REQUEST)
    with pytest.raises(PlatformError) as refused:
        await proxied.save(late, context=CONTEXT)
    assert refused.value.code is errors.CONCURRENT_CHANGE
    assert proxy.lost == 1


async def test_message_without_events_stays_in_doubt_and_is_recognised_when_it_comes_again(
    proxied: EventStore, proxy: CommitProxy
) -> None:
    """Where no event tells whether it was committed, the redelivery does."""
    proxy.lose.append(Lose.ANSWER)
    with pytest.raises(PlatformError) as refused:
        await proxied.save(context=CONTEXT, handled=Handled("c", "e"))
    assert refused.value.code is errors.UNAVAILABLE
    with pytest.raises(AlreadyHandled):
        await proxied.save(context=CONTEXT, handled=Handled("c", "e"))


async def test_connections_that_were_cut_are_replaced_within_the_call(
    store: EventStore, record_access: SchemaAccess
) -> None:
    """A caller does not notice that its connections were terminated while they were idle."""
    await store.save(SampleRun("a").fail(), context=CONTEXT)
    for number in range(3):
        with psycopg.connect(record_access.admin_dsn, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (record_access.role,)
            )
        await store.save(SampleRun(f"b{number}").fail(), context=CONTEXT)
        assert (await store.load(SampleRun, "a")).version == 1
    assert len(await store.events()) == 4


async def test_store_survives_restarts_of_postgres_without_losing_what_it_confirmed() -> None:
    """Whatever save returned is there after a stop and after a crash; what failed is there once or not at all."""
    with running_postgres(settings=()) as server:
        access = server.fresh()
        async with open_store(access) as store:
            confirmed: list[str] = []
            tried: list[str] = []
            stop = asyncio.Event()

            async def append() -> None:
                while not stop.is_set():
                    run = SampleRun(str(len(tried))).fail()
                    tried.append(run.id)
                    try:
                        await store.save(run, context=CONTEXT)
                    except PlatformError as error:
                        assert error.code is errors.UNAVAILABLE  # noqa: PT017  # anything else fails the test
                    else:
                        confirmed.append(run.id)

            appending = asyncio.create_task(append())
            for how in (signal.SIGINT, signal.SIGQUIT, signal.SIGINT):
                before = len(confirmed)
                await eventually(lambda seen=before: len(confirmed) > seen + 20)
                await server.restart(how)
            before = len(confirmed)
            await eventually(lambda: len(confirmed) > before + 20)
            stop.set()
            await appending
            log = await store.events(limit=100_000)
            stored = [envelope.subject.removeprefix("sample-run/") for _, envelope in log]
            assert len(stored) == len(set(stored))
            assert set(confirmed) <= set(stored) <= set(tried)


async def test_store_without_postgres_fails_in_bounded_time_and_comes_back() -> None:
    """A server that is away is UNAVAILABLE within seconds, also for the readiness check."""
    with running_postgres() as server:
        access = server.fresh()
        async with open_store(access) as store:
            run = SampleRun("a").fail()
            await asyncio.to_thread(server.stop)
            begin = time.monotonic()
            with pytest.raises(PlatformError) as refused:
                await store.save(run, context=CONTEXT)
            assert refused.value.code is errors.UNAVAILABLE
            assert "password" not in str(refused.value)
            refusal = await store.check()
            assert isinstance(refusal, PlatformError)
            assert refusal.code is errors.UNAVAILABLE
            assert time.monotonic() - begin < 30
            await asyncio.to_thread(server.start)
            assert await store.check() is None
            await store.save(run, context=CONTEXT)
            assert (await store.load(SampleRun, "a")).version == 1


async def _in_doubt(store: EventStore, proxy: CommitProxy, run: SampleRun, what: Lose) -> None:
    """Save a run so that its commit or only its answer is lost, and Postgres is away for several attempts."""
    proxy.lose.append(what)
    proxy.then_away = True
    for _ in range(3):
        with pytest.raises(PlatformError) as refused:
            await store.save(run, context=CONTEXT)
        assert refused.value.code is errors.UNAVAILABLE
    proxy.come_back()


async def _saved(store: EventStore, run: SampleRun) -> list[Envelope]:
    """Save as a patient caller does: again, as long as Postgres is away."""

    async def save() -> list[Envelope] | None:
        try:
            return await store.save(run, context=CONTEXT)
        except PlatformError as error:
            if error.code is not errors.UNAVAILABLE:
                pytest.fail(f"{error.code.code}: {error.message}")
            return None

    return await eventually(save) or []


async def test_commit_in_doubt_is_recognised_by_a_later_save(proxied: EventStore, proxy: CommitProxy) -> None:
    """Who saves the same again after an outage finds his own events, instead of a conflict with himself."""
    run = SampleRun("r").fail()
    await proxied.save(run, context=CONTEXT)
    await _in_doubt(proxied, proxy, run.fail(), Lose.ANSWER)
    (envelope,) = await _saved(proxied, run)
    assert await proxied.history("r", after=1) == [envelope]
    assert (run.saved_version, run.pending) == (2, ())
    await proxied.save(run.fail(), context=CONTEXT)
    assert (await proxied.load(SampleRun, "r")).version == 3


async def test_what_is_recorded_behind_a_commit_in_doubt_is_added_to_it(
    proxied: EventStore, proxy: CommitProxy
) -> None:
    """An aggregate that has gone on meanwhile keeps the identity of what was in doubt, and adds the rest."""
    run = SampleRun("r").fail()
    await _in_doubt(proxied, proxy, run, Lose.ANSWER)
    run.fail().fail()
    envelopes = await _saved(proxied, run)
    assert [envelope.sequence for envelope in envelopes] == [1, 2, 3]
    assert await proxied.history("r") == envelopes


async def test_commit_in_doubt_that_did_not_arrive_is_made_by_a_later_save(
    proxied: EventStore, proxy: CommitProxy
) -> None:
    """Doubt is no certainty: what is not in the record is written, once."""
    run = SampleRun("r").fail()
    await _in_doubt(proxied, proxy, run, Lose.REQUEST)
    envelopes = await _saved(proxied, run)
    assert await proxied.history("r") == envelopes


async def test_server_that_takes_a_commit_and_never_answers_holds_up_nobody(
    proxied: EventStore, proxy: CommitProxy
) -> None:
    """A hung connection is given up in time, the writes behind it are made, and its own is recognised."""
    run = SampleRun("r").fail()
    proxy.lose.append(Lose.SILENCE)
    with pytest.raises(PlatformError) as refused:
        async with asyncio.timeout(60):
            await proxied.save(run, context=CONTEXT)
    assert refused.value.code is errors.UNAVAILABLE
    other = SampleRun("other").fail()
    await _saved(proxied, other)
    (envelope,) = await _saved(proxied, run)
    assert await proxied.history("r") == [envelope]


async def test_writes_while_postgres_is_away_wait_beside_and_not_behind_each_other(
    store: EventStore, proxied: EventStore, proxy: CommitProxy
) -> None:
    """Twelve at once are told within the time of one, and those that come later at once; then all goes on."""
    proxy.go_away()
    begin = time.monotonic()
    answers = await asyncio.gather(
        *(proxied.save(SampleRun(f"w{number}").fail(), context=CONTEXT) for number in range(12)),
        *(proxied.events() for _ in range(6)),
        return_exceptions=True,
    )
    for _ in range(30):
        with pytest.raises(PlatformError):
            await proxied.save(SampleRun("late").fail(), context=CONTEXT)
    # One after another, three seconds each, this took more than two minutes.
    assert time.monotonic() - begin < 60
    assert {answer.code for answer in answers if isinstance(answer, PlatformError)} == {errors.UNAVAILABLE}
    assert all(isinstance(answer, PlatformError) for answer in answers)
    proxy.come_back()
    await _saved(proxied, SampleRun("after").fail())
    assert len(await store.events()) == 1


async def test_lock_that_another_session_holds_is_not_postgres_away(
    store: EventStore, record_access: SchemaAccess
) -> None:
    """Who waits for it in vain is told so; who needs it not is answered, at once and afterwards."""
    async with await psycopg.AsyncConnection.connect(record_access.admin_dsn) as other:
        await other.execute("SELECT pg_advisory_xact_lock(%s)", (advisory_key(f"append/{record_access.schema}"),))
        with pytest.raises(PlatformError, match="another session of postgres holds a lock") as refused:
            await store.save(SampleRun("r").fail(), context=CONTEXT)
        assert refused.value.code is errors.UNAVAILABLE
        assert "pg_stat_activity" in refused.value.hint
        assert await store.events() == []
    await _saved(store, SampleRun("r").fail())


async def test_full_disk_is_not_postgres_away(record_access: SchemaAccess) -> None:
    """What cannot be written is told with what to do; what is there can be read meanwhile, and nothing is in doubt."""
    run, health = SampleRun("r").fail(), Health("executor")
    async with (
        open_store(record_access, health=health) as store,
        await psycopg.AsyncConnection.connect(record_access.admin_dsn, autocommit=True) as admin,
    ):
        schema = record_access.schema
        await admin.execute(
            f"CREATE FUNCTION {schema}.fill() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
        )
        for table in ("stored_events", "stored_snapshots"):
            await admin.execute(
                f"CREATE TRIGGER no_space BEFORE INSERT ON {schema}.{table} EXECUTE FUNCTION {schema}.fill()"
            )
        with pytest.raises(PlatformError, match="no space left") as refused:
            await store.save(run, context=CONTEXT)
        assert refused.value.code is errors.UNAVAILABLE
        assert "Free space" in refused.value.hint
        assert not run.drafts
        assert await store.events() == []
        (found,) = (await health.report()).checks
        assert (found.name, found.status, found.hint) == ("record-writes", DEGRADED, refused.value.hint)
        # To whoever asked, and to whoever looks, it is a full disk; what waits is tried again all the same.
        assert (found.code, refused.value.told_code) == ("no-space", errors.NO_SPACE)
        assert await store.check() is None
        assert (await health.report()).status == DEGRADED, "it is tried, and is so still"
        for table in ("stored_events", "stored_snapshots"):
            await admin.execute(f"DROP TRIGGER no_space ON {schema}.{table}")
        assert await store.check() is None
        assert (await health.report()).status == READY, "though nobody has written"
        await _saved(store, run)
        assert (await health.report()).status == READY


@pytest.mark.parametrize(
    ("taken", "given", "named"),
    [
        ("REVOKE INSERT ON {0}.stored_events FROM {1}", "GRANT INSERT ON {0}.stored_events TO {1}", "stored_events"),
        ("ALTER TABLE {0}.inbox RENAME TO kept", "ALTER TABLE {0}.kept RENAME TO inbox", "inbox"),
    ],
)
async def test_record_that_the_role_may_not_write_is_not_ready(
    store: EventStore, record_access: SchemaAccess, taken: str, given: str, named: str
) -> None:
    """It answers, and takes nothing: the readiness names the table, and a message is held instead of buried."""
    run, names = SampleRun("r").fail(), (record_access.schema, record_access.role)
    assert await store.check() is None
    async with await psycopg.AsyncConnection.connect(record_access.admin_dsn, autocommit=True) as admin:
        await admin.execute(taken.format(*names))  # type: ignore[arg-type]  # names of the test's own
        found = await store.check()
        assert isinstance(found, PlatformError)
        assert (found.code, found.context["part"]) == (errors.UNAVAILABLE, "postgres")
        assert f"{named} (INSERT)" in found.message
        assert "deploy.elsewhere" in found.hint
        with pytest.raises(PlatformError, match=named) as refused:
            await store.save(run, context=CONTEXT, handled=Handled("c", "e"))
        assert (refused.value.code, refused.value.hint) == (errors.UNAVAILABLE, found.hint)
        assert not run.drafts
        await admin.execute(given.format(*names))  # type: ignore[arg-type]  # names of the test's own
    assert await store.check() is None
    await _saved(store, run)


async def test_too_many_writes_at_once_are_told_so(store: EventStore) -> None:
    """The queue before the record is bounded: what would wait beyond it is refused before it is recorded."""
    answers = await asyncio.gather(
        *(store.save(SampleRun(f"w{number}").fail(), context=CONTEXT) for number in range(WAITING_MAX + 50)),
        return_exceptions=True,
    )
    refused = [answer for answer in answers if isinstance(answer, PlatformError)]
    assert refused
    assert {error.code for error in refused} == {errors.UNAVAILABLE}
    assert len(await store.events()) == len(answers) - len(refused)


async def test_event_that_is_too_large_is_refused_before_anything_is_recorded(store: EventStore) -> None:
    """Nothing of the transaction is left, and the refusal names type, size and limit."""
    large = SampleRun("large")
    large.record(TierFailed(execution_id="x" * EVENT_BYTES_MAX, tier=Tier.LOCAL, code="tier-full"))
    with pytest.raises(PlatformError) as refused:
        await store.save(SampleRun("small").fail(), large, context=CONTEXT, handled=Handled("c", "e"))
    assert refused.value.code is errors.EVENT_TOO_LARGE
    assert refused.value.context["size_bytes"] > refused.value.context["limit_bytes"] == EVENT_BYTES_MAX
    assert await store.events() == []
    assert not await store.was_handled(Handled("c", "e"))


@pytest.mark.parametrize(
    ("text", "bytes_", "field"),
    [("a\0b", 1, "data.code"), ("tier-full", 2**63, "data.uploadedBytes"), ("not \\u0000 " + "7" * 30, 1, None)],
)
async def test_value_that_no_database_takes_is_refused_before_it_is_recorded(
    store: EventStore, text: str, bytes_: int, field: str | None
) -> None:
    """Once published, it could be applied by nobody; what only looks like one is recorded as it is."""
    run = SampleRun("unfit")
    run.record(TierFailed(execution_id="e", tier=Tier.LOCAL, code=text))
    run.record(
        TierUploaded(
            execution_id="e",
            tier=Tier.LOCAL,
            snapshot_id="s",
            log_entry=1,
            uploaded_bytes=bytes_,
            objects=1,
            seconds=1.0,
        )
    )
    if field is None:
        await store.save(run, context=CONTEXT)
        assert len(await store.events()) == 2
        return
    with pytest.raises(PlatformError) as refused:
        await store.save(run, context=CONTEXT)
    assert (refused.value.code, refused.value.field) == (errors.INVALID_FIELD, field)
    assert await store.events() == []


async def test_request_whose_query_is_never_answered_ends(record_access: SchemaAccess, proxy: CommitProxy) -> None:
    """A server that hangs is told to who asked, as one that is away; what is kept on purpose is not cut."""
    async with open_pool(proxy.dsn(record_access.dsn), record_access.schema, name="asking", max_size=2) as pool:
        async with pool.connection() as kept:
            await kept.execute("SELECT 1")
            proxy.is_silent = True
            with pytest.raises(PlatformError) as refused, answering(), translated():
                async with asyncio.timeout(60), pool.connection() as asking:
                    await asking.execute("SELECT 1")
            assert refused.value.code is errors.UNAVAILABLE
            proxy.is_silent = False
            await kept.execute("SELECT 1")

        async def is_answered() -> bool:
            with answering(), translated():
                async with pool.connection() as asking:
                    await asking.execute("SELECT 1")
            return True

        await eventually(is_answered)


async def test_append_that_was_written_with_anothers_is_done_though_its_own_turn_never_came(store: EventStore) -> None:
    """What was committed is not reported as failed, whatever still keeps the thread that writes."""
    before, between = threading.Event(), threading.Event()
    try:
        store._writer.submit(before.wait, 60)  # the only thread that writes hesitates, as for a slow disk
        first = asyncio.create_task(store.save(SampleRun("a").fail(), context=CONTEXT))
        await eventually(lambda: len(store._appends._waiting) == 1)
        store._writer.submit(between.wait, 60)
        with answering(0.5):
            second = asyncio.create_task(store.save(SampleRun("b").fail(), context=CONTEXT))
        await eventually(lambda: len(store._appends._waiting) == 2)
        before.set()
        await first
        (envelope,) = await second
    finally:
        before.set()
        between.set()
    assert envelope in [stored for _, stored in await store.events()]


async def test_clock_that_differs_from_the_databases_is_told(record_access: SchemaAccess) -> None:
    """What is recorded carries a wrong time: somebody is told for as long as it is so."""
    health, clock = Health("sample"), ManualClock(SystemClock().now() + timedelta(days=400))
    async with open_store(record_access, health=health, clock=clock) as store:
        assert await store.check() is None
        (finding,) = (await health.report()).checks
        assert (finding.status, finding.code) == (DEGRADED, "clock-differs")
        assert "ahead of" in (finding.reason or "")
        clock.advance(days=-400)
        assert await store.check() is None
        assert not (await health.report()).checks
