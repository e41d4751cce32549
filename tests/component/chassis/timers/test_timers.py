"""Timers over a real Postgres: each fires once, whoever dies, however the clock steps."""

import asyncio
import contextlib
import random  # noqa: TID251  # seeded below
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from chassis.life.health import Health
from chassis.postgres.database import open_pool
from chassis.record.eventstore import EventStore
from chassis.record.statements import Statement, StatementRefused
from chassis.timers.loop import AT_ONCE, Handler, TimerLoop
from chassis.timers.table import _TAKE, STATEMENTS, Timer, TimerTable, cancelled, set_at, set_in
from contracts import errors
from contracts.errors import PlatformError
from tests.component.chassis.record_fixtures import open_store
from tests.support.eventually import eventually
from tests.support.postgres_server import PostgresServer, SchemaAccess
from tests.support.sample_runs import CONTEXT
from tests.support.timer_process import KIND, recording

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[4]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def access(postgres: PostgresServer) -> Iterator[SchemaAccess]:
    """A fresh schema with timers."""
    made = postgres.fresh(statements=STATEMENTS)
    yield made
    postgres.drop(made)


@pytest.fixture
async def store(access: SchemaAccess) -> AsyncIterator[EventStore]:
    async with open_store(access) as opened:
        yield opened


@asynccontextmanager
async def _table(access: SchemaAccess, hold_seconds: float = 60.0) -> AsyncIterator[TimerTable]:
    pool = open_pool(access.dsn, access.schema, name="timers", max_size=2)
    await pool.open(wait=True)
    try:
        yield TimerTable(pool, hold_seconds=hold_seconds)
    finally:
        await pool.close()


@asynccontextmanager
async def _firing(
    table: TimerTable, handler: Handler, health: Health | None = None, recalled: Collection[str] = ()
) -> AsyncIterator[TimerLoop]:
    health = health or Health("executor")
    loop = TimerLoop(table, {KIND: handler}, health=health, every_seconds=0.02, recalled=recalled)
    await loop.start()
    try:
        yield loop
    finally:
        await loop.stop()


async def _do(store: EventStore, *statements: Statement) -> None:
    await store.save(context=CONTEXT, also=statements)


async def _fired(store: EventStore) -> Counter[str]:
    """How many events there are for each timer."""
    log = await store.events(limit=100_000)
    return Counter(envelope.subject.partition("/")[2].partition(".")[0] for _, envelope in log)


def _left(access: SchemaAccess) -> int:
    with psycopg.connect(access.admin_dsn) as connection:
        ((count,),) = connection.execute(f"SELECT count(*) FROM {access.schema}.timers").fetchall()
    return int(count)


def _change(access: SchemaAccess, assignment: str) -> None:
    with psycopg.connect(access.admin_dsn) as connection:
        connection.execute(f"UPDATE {access.schema}.timers SET {assignment}")


async def _taken(table: TimerTable) -> Timer:
    timer = await table.take([KIND])
    assert timer is not None
    return timer


async def test_three_replicas_fire_each_timer_once_whatever_their_handlers_do(
    access: SchemaAccess, store: EventStore
) -> None:
    """Handlers fail before and after they have recorded; timers are set anew and cancelled meanwhile."""
    dice = random.Random(7)  # seeded
    record = recording(store)
    names = [f"t{number}" for number in range(120)]

    async def fire(timer: Timer) -> None:
        if dice.random() < 0.2:
            raise PlatformError(errors.UNAVAILABLE, "away for a moment")
        await record(timer)
        if dice.random() < 0.2:
            raise RuntimeError("after it was recorded")

    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(_firing(await stack.enter_async_context(_table(access)), fire))
        for name in names:
            await _do(store, set_in(KIND, name, dice.uniform(-1, 1)))
        await _do(store, *(set_in(KIND, f"never{number}", 3600) for number in range(5)))
        await _do(store, *(cancelled(KIND, f"never{number}") for number in range(5)))
        await eventually(lambda: asyncio.to_thread(lambda: _left(access) == 0))
    assert await _fired(store) == Counter(names)


async def test_replicas_that_are_killed_again_and_again_lose_and_repeat_nothing(
    access: SchemaAccess, store: EventStore
) -> None:
    """Killed at any moment: what was taken and not recorded is another's after the hold."""
    names = [f"t{number}" for number in range(300)]
    with contextlib.ExitStack() as stack:
        await _do(store, *(set_in(KIND, name, 0) for name in names))

        async def fired_so_far(count: int) -> bool:
            return sum((await _fired(store)).values()) >= count

        for enough in (20, 60, 120, 180):
            process = stack.enter_context(_process(access))
            await eventually(lambda enough=enough: fired_so_far(enough))  # type: ignore[misc]
            process.kill()
        stack.enter_context(_process(access))
        stack.enter_context(_process(access))
        await eventually(lambda: asyncio.to_thread(lambda: _left(access) == 0))
    assert await _fired(store) == Counter(names)


@contextlib.contextmanager
def _process(access: SchemaAccess) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "tests.support.timer_process", access.dsn, access.schema]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_slow_replica_that_seemed_dead_records_nothing(access: SchemaAccess, store: EventStore) -> None:
    """Its fence is an older one by then."""
    await _do(store, set_at(KIND, "t", LONG_AGO))
    async with _table(access) as table:
        slow = await _taken(table)
        assert await table.take([KIND]) is None  # it is held
        _change(access, "held_until = now() - interval '1 second'")
        quick = await _taken(table)
        with pytest.raises(StatementRefused):
            await recording(store)(slow)
        await recording(store)(quick)
    assert await _fired(store) == Counter(["t"])


@pytest.mark.parametrize("meanwhile", [cancelled(KIND, "t"), set_in(KIND, "t", 3600)], ids=["cancelled", "set anew"])
async def test_timer_that_was_changed_while_it_was_handled_causes_nothing(
    access: SchemaAccess, store: EventStore, meanwhile: Statement
) -> None:
    """Whoever cancels is not told of an effect afterwards."""
    await _do(store, set_at(KIND, "t", LONG_AGO))
    async with _table(access) as table:
        timer = await _taken(table)
        await _do(store, meanwhile)
        with pytest.raises(StatementRefused):
            await recording(store)(timer)
        assert not await table.put_back(timer, 1)
        # Also where one of the same name was made anew.
        await _do(store, cancelled(KIND, "t"), set_at(KIND, "t", LONG_AGO))
        with pytest.raises(StatementRefused):
            await recording(store)(timer)
    assert not await _fired(store)


async def test_clock_that_was_put_back_leaves_no_timer_held(access: SchemaAccess, store: EventStore) -> None:
    """A hold from before lies hours ahead, further than any hold is made for.

    What was set then is due at once where its handler plans anew, and of no other kind.
    """
    await _do(store, set_at(KIND, "t", LONG_AGO))
    async with _table(access) as table:
        await _taken(table)
        await _do(store, set_in(KIND, "planned", 3600), set_in("other", "o", 3600))
        _change(access, "held_until = now() + interval '3 hours', set_at = now() + interval '3 hours'")
        async with _firing(table, recording(store), recalled=[KIND]):
            await eventually(lambda: asyncio.to_thread(lambda: _left(access) == 1))
    assert await _fired(store) == Counter(["t", "planned"])


async def test_timer_of_a_schedule_falls_due_again(access: SchemaAccess, store: EventStore) -> None:
    """Moved in the transaction of its effect; the earlier fence is worth nothing any more."""
    await _do(store, set_at(KIND, "t", LONG_AGO, b"daily"))
    async with _table(access) as table:
        first = await _taken(table)
        await _do(store, first.moved(first.due_at + timedelta(days=1)))
        second = await _taken(table)
        assert (second.due_at, second.body, second.tries) == (LONG_AGO + timedelta(days=1), b"daily", 1)
        with pytest.raises(StatementRefused):
            await _do(store, first.done())


async def test_handler_that_fails_holds_up_nobody_and_is_told(access: SchemaAccess, store: EventStore) -> None:
    """One whose handler forgets to end it is such a failure. Health names it until it succeeds."""
    health, is_mended = Health("executor"), asyncio.Event()
    record = recording(store)

    async def fire(timer: Timer) -> None:
        if timer.name == "t1" and not is_mended.is_set():
            if timer.tries > 1:
                raise PlatformError(errors.SOURCE_UNREACHABLE, "no such disk")
            return  # forgotten
        await record(timer)

    async def reason() -> str | None:
        found = [check.reason for check in (await health.report()).checks if check.name == f"timer {KIND}"]
        return found[0] if found else None

    await _do(store, *(set_at(KIND, f"t{number}", LONG_AGO) for number in range(4)))
    async with _table(access) as table, _firing(table, fire, health):

        async def is_told() -> bool:
            told = await reason() or ""
            return "1 of these timers fail, such as t1" in told and "no such disk" in told

        await eventually(is_told)
        assert await _fired(store) == Counter(["t0", "t2", "t3"])
        is_mended.set()

        async def is_over() -> bool:
            return await reason() is None

        await eventually(is_over)
    assert await _fired(store) == Counter(["t0", "t1", "t2", "t3"])


async def test_handlers_that_hang_are_told_while_others_are_fired_and_starve_nobody(
    access: SchemaAccess, store: EventStore
) -> None:
    """There is always a timer to fire: what fails is told all the same, and each has its turn before any has two."""
    health, tries, told = Health("executor"), Counter[str](), asyncio.get_running_loop().create_future()
    record = recording(store)

    async def hang(timer: Timer) -> None:
        tries[timer.name] = timer.tries
        if timer.tries == 3 and not told.done():
            told.set_result([check.name for check in (await health.report()).checks])
        await asyncio.Event().wait()

    async def well(timer: Timer) -> None:
        assert max(tries.values()) == 1
        await record(timer)

    await _do(store, *(set_at("hangs", f"h{number}", LONG_AGO) for number in range(12)))
    await _do(store, set_at(KIND, "t", LONG_AGO + timedelta(seconds=1)))
    async with _table(access) as table:
        loop = TimerLoop(table, {"hangs": hang, KIND: well}, health=health, every_seconds=0.02, handler_seconds=0.3)
        await loop.start()
        try:
            assert await asyncio.wait_for(told, 120) == ["timer hangs"]
        finally:
            await loop.stop()
    assert await _fired(store) == Counter(["t"])


async def test_handlers_that_hang_hold_up_no_other_kind(access: SchemaAccess, store: EventStore) -> None:
    """They have a number of their own, however many of them are due, and however late the other falls due."""
    record, hanging = recording(store), set[str]()

    async def hang(timer: Timer) -> None:
        hanging.add(timer.name)
        await asyncio.Event().wait()

    async def fired() -> bool:
        return await _fired(store) == Counter(["t"])

    await _do(store, *(set_at("hangs", f"h{number}", LONG_AGO) for number in range(2 * AT_ONCE)))
    async with _table(access) as table:
        loop = TimerLoop(table, {"hangs": hang, KIND: record}, health=Health("executor"), every_seconds=0.02)
        loop._handler_seconds = 600.0
        await loop.start()
        try:
            await eventually(lambda: len(hanging) == AT_ONCE)
            await _do(store, set_in(KIND, "t", 0))
            await eventually(fired)
            assert len(hanging) == AT_ONCE
        finally:
            loop._handler_seconds = 0.1
            await loop.stop()


def test_timer_is_taken_by_an_index(access: SchemaAccess) -> None:
    """Neither the many that are not due yet nor those that are held are looked at."""
    with psycopg.connect(access.admin_dsn) as connection:
        connection.execute(f"SET search_path = {access.schema}")
        connection.execute(
            "INSERT INTO timers (kind, name, due_at, body, fence)"
            " SELECT 'k', n::text, now() + make_interval(hours => 1 + n), '', 0 FROM generate_series(1, 20000) n"
        )
        connection.execute("ANALYZE timers")
        parameters = {"kinds": ["k", "another"], "hold": 60.0}
        rows = psycopg.ClientCursor(connection).execute(f"EXPLAIN {_TAKE}", parameters).fetchall()
    plan = " ".join(line for (line,) in rows)
    assert "Index Scan using timers_turn" in plan
    assert "Index Cond: ((GREATEST(due_at, held_until) <= statement_timestamp())" in plan


async def test_handler_whose_place_is_away_does_not_end_the_turn_of_others(
    access: SchemaAccess, store: EventStore
) -> None:
    """What one kind speaks to is away: the loop goes on, and says no word of its own."""
    record, found = recording(store), []

    async def away(_timer: Timer) -> None:
        raise PlatformError(errors.UNAVAILABLE, "the mail server is away")

    async def well(timer: Timer) -> None:
        found.append(loop._loop.trouble)
        await record(timer)

    await _do(store, set_at("mail", "m", LONG_AGO), set_at(KIND, "t", LONG_AGO + timedelta(seconds=1)))
    async with _table(access) as table:
        loop = TimerLoop(table, {"mail": away, KIND: well}, health=Health("executor"), every_seconds=0.02)
        await loop.start()
        try:
            await eventually(lambda: found)
        finally:
            await loop.stop()
    assert found == [None]


async def test_due_timer_of_a_kind_that_nobody_handles_is_told(access: SchemaAccess, store: EventStore) -> None:
    """Set by another version: it stands still, and who looks is told so until it is gone."""
    health = Health("executor")

    async def reasons() -> list[str]:
        return [check.reason or "" for check in (await health.report()).checks if check.name == "timer newer"]

    async def is_over() -> bool:
        return not await reasons()

    await _do(store, set_at("newer", "n1", LONG_AGO), set_at("newer", "n2", LONG_AGO), set_in("later", "l", 3600))
    async with _table(access) as table, _firing(table, recording(store), health):
        (reason,) = await eventually(reasons)
        assert "2 due timers of the kind newer, such as n1, have no handler here" in reason
        assert "later" not in str(await health.report())
        await _do(store, cancelled("newer", "n1"), cancelled("newer", "n2"))
        await eventually(is_over)
