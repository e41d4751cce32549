"""What the installation leaves: a schema and a role per service, with the rights that it needs and no others."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import Connection

from chassis.postgres.database import channel_of, connection_arguments, install_schema, open_pool, translated
from chassis.record.eventstore import EventStore
from contracts import errors
from contracts.errors import PlatformError
from tests.component.chassis.record_fixtures import open_store, store
from tests.support.postgres_server import PostgresServer, SchemaAccess, running_postgres
from tests.support.sample_runs import CONTEXT, SampleRun

__all__ = ["store"]

pytestmark = pytest.mark.stack

TABLES: tuple[LiteralString, ...] = ("CREATE TABLE notes (id bigserial PRIMARY KEY, text text NOT NULL)",)


@pytest.fixture
def access(postgres: PostgresServer) -> Iterator[SchemaAccess]:
    """A schema with a table of its own."""
    fresh = postgres.fresh(statements=TABLES)
    yield fresh
    postgres.drop(fresh)


@pytest.fixture
def connection(access: SchemaAccess) -> Iterator[Connection[Any]]:
    """A connection of the service's role."""
    with psycopg.connect(access.dsn, **connection_arguments(access.dsn, access.schema)) as opened:
        yield opened


def _install(access: SchemaAccess, statements: tuple[LiteralString, ...]) -> None:
    install_schema(access.admin_dsn, service=access.schema, role=access.role, password=None, statements=statements)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stored_events SET state = ''",
        "DELETE FROM stored_events",
        "TRUNCATE stored_events",
        "DROP TABLE stored_events",
        "ALTER TABLE stored_events ADD COLUMN x text",
        "LOCK TABLE stored_events IN ACCESS EXCLUSIVE MODE",
        "UPDATE inbox SET event_id = 'x'",
        "DELETE FROM inbox",
        "INSERT INTO log_incarnations DEFAULT VALUES",
        "INSERT INTO refill_permissions DEFAULT VALUES",
        "DELETE FROM outbox_state",
        "UPDATE schema_steps SET digest = 'x'",
        "CREATE TABLE mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE TABLE public.mine ()",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_role_of_a_service_can_only_add_to_its_record(connection: Connection[Any], statement: LiteralString) -> None:
    """History, once written, is beyond the service itself; so is everything about its tables."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
        connection.execute(statement)


def test_role_of_a_service_takes_no_notification_ids_of_its_own_choice(connection: Connection[Any]) -> None:
    """Places in the log are given by the database alone."""
    with pytest.raises(psycopg.errors.GeneratedAlways):
        connection.execute(
            "INSERT INTO stored_events (notification_id, originator_id, originator_version, topic, state)"
            " VALUES (1, 'a', 1, 't', '')"
        )


def test_role_of_a_service_uses_its_own_tables_without_naming_the_schema(connection: Connection[Any]) -> None:
    """What a service keeps beside its record it may change."""
    connection.execute("INSERT INTO notes (text) VALUES ('x')")
    connection.execute("UPDATE notes SET text = 'y'")
    assert connection.execute("SELECT id, text FROM notes").fetchall() == [(1, "y")]
    connection.execute("DELETE FROM notes")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM {}.stored_events",
        "INSERT INTO {}.stored_events (originator_id, originator_version, topic, state) VALUES ('a', 1, 't', '')",
        "SELECT * FROM {}.inbox",
        "SELECT * FROM {}.notes",
        "SELECT * FROM {}.outbox_state",
        "SELECT nextval('{}.notes_id_seq')",
    ],
)
def test_role_of_another_service_sees_nothing_of_a_schema(
    access: SchemaAccess, record_access: SchemaAccess, statement: str
) -> None:
    """Each service's record is its own, for reading, too."""
    with (
        psycopg.connect(record_access.dsn) as stranger,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        stranger.execute(statement.format(access.schema))  # type: ignore[arg-type]


async def test_store_of_another_service_is_refused_at_its_start(
    access: SchemaAccess, record_access: SchemaAccess
) -> None:
    """A service that was given another one's schema does not start."""
    stranger = EventStore(dsn=record_access.dsn, schema=access.schema, service="executor")
    with pytest.raises(PlatformError) as refused:
        await stranger.start()
    await stranger.stop()
    assert refused.value.code is errors.INVALID_SETTING


async def test_installing_again_changes_nothing_and_keeps_the_record(
    store: EventStore, record_access: SchemaAccess
) -> None:
    """Every start installs; history, incarnation and a store under way are left alone."""
    await store.save(SampleRun("a").fail(), context=CONTEXT)
    incarnation = await store.incarnation()
    await asyncio.to_thread(_install, record_access, ())
    await store.save(SampleRun("b").fail(), context=CONTEXT)
    assert await store.incarnation() == incarnation
    assert len(await store.events()) == 2


def test_new_statement_at_the_end_is_executed_once(access: SchemaAccess, connection: Connection[Any]) -> None:
    """A new build brings its tables along, with the rights on them."""
    grown = (*TABLES, "CREATE TABLE labels (name text)", "INSERT INTO labels VALUES ('once')")
    _install(access, grown)
    _install(access, grown)
    assert connection.execute("SELECT name FROM labels").fetchall() == [("once",)]
    connection.execute("INSERT INTO labels VALUES ('mine')")


@pytest.mark.parametrize(
    ("statements", "told"),
    [
        (("CREATE TABLE notes (id bigserial PRIMARY KEY)",), "another build has made step 1 of its service tables"),
        ((), "a newer build has changed them 1 times, and this one knows 0 of that"),
    ],
    ids=["changed", "removed"],
)
def test_executed_statement_that_was_changed_or_removed_is_refused(
    access: SchemaAccess, statements: tuple[LiteralString, ...], told: str
) -> None:
    """An older or an edited build does not install over a newer schema, and an operator is told what to do."""
    with pytest.raises(PlatformError, match=told) as refused:
        _install(access, statements)
    assert refused.value.code is errors.INVALID_SETTING
    assert "Install the newest build that has ever run here" in (refused.value.hint or "")
    assert "docs/operations.md, section 12" in (refused.value.hint or "")


def test_statement_that_is_only_laid_out_anew_is_the_same(access: SchemaAccess) -> None:
    """White space is not a change."""
    _install(access, ("CREATE TABLE notes\n    (id bigserial PRIMARY KEY,   text text NOT NULL)",))


def test_failed_installation_leaves_nothing(postgres: PostgresServer) -> None:
    """Whole or not at all: a mistake in the last statement undoes the schema and the role."""
    with pytest.raises(psycopg.errors.SyntaxError):
        install_schema(
            postgres.admin_dsn, service="broken", role="broken_role", password="x", statements=("CREATE TABEL x ()",)
        )
    with psycopg.connect(postgres.admin_dsn) as admin:
        assert admin.execute("SELECT 1 FROM pg_roles WHERE rolname = 'broken_role'").fetchall() == []
        assert admin.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'broken'").fetchall() == []


def test_installations_at_once_wait_for_each_other(access: SchemaAccess) -> None:
    """Two supervisors that start together do not trip over each other."""
    failures: list[BaseException] = []

    def install() -> None:
        try:
            _install(access, (*TABLES, "CREATE TABLE labels (name text)"))
        except BaseException as error:  # noqa: BLE001  # a thread's failure is the test's
            failures.append(error)

    threads = [threading.Thread(target=install) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_password_is_asked_for_and_is_in_no_log() -> None:
    """The role's password works, another does not, and the server's log of statements has only a verifier."""
    with running_postgres(settings=("log_statement=all",)) as server:
        install_schema(server.admin_dsn, service="config", role="wedsync_config", password="hunter2-äöü")
        psycopg.connect(server.dsn("wedsync_config", "hunter2-äöü")).close()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn("wedsync_config", "hunter2"))
        install_schema(server.admin_dsn, service="config", role="wedsync_config", password="another")
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.dsn("wedsync_config", "hunter2-äöü"))
        psycopg.connect(server.dsn("wedsync_config", "another")).close()
        log = (server.folder / "server.log").read_text()
    assert "SCRAM-SHA-256" in log
    assert "hunter2" not in log
    assert "another" not in log


@pytest.mark.parametrize("name", ["", "Config", "a-b", "1a", "a b", 'a"', "a" * 57, "a;b"])
def test_schema_name_that_would_need_quoting_is_refused(postgres: PostgresServer, name: str) -> None:
    """Names of schemas are safe wherever they are written."""
    with pytest.raises(PlatformError) as refused:
        install_schema(postgres.admin_dsn, service=name, role="x", password=None)
    assert refused.value.field == "WEDSYNC_POSTGRES_SCHEMA"
    with pytest.raises(PlatformError):
        connection_arguments(postgres.admin_dsn, name)
    assert len(channel_of("a" * 56)) <= 63


def test_options_of_a_connection_string_are_kept(access: SchemaAccess) -> None:
    """What an operator sets on a connection is not lost by naming the schema."""
    dsn = psycopg.conninfo.make_conninfo(access.dsn, options="-c statement_timeout=1234")
    with psycopg.connect(dsn, **connection_arguments(dsn, access.schema)) as opened:
        assert opened.execute("SHOW statement_timeout").fetchall() == [("1234ms",)]
        assert opened.execute("SHOW search_path").fetchall() == [(access.schema,)]


async def test_pool_sees_the_schema(access: SchemaAccess) -> None:
    """Connections of a pool are ready to use."""
    async with open_pool(access.dsn, access.schema, name="notes", max_size=2) as pool, pool.connection() as opened:
        await opened.execute("INSERT INTO notes (text) VALUES ('x')")
        cursor = await opened.execute("SELECT count(*) FROM notes")
        assert await cursor.fetchall() == [(1,)]


def test_failures_of_postgres_are_told_without_its_words(tmp_path: Path) -> None:
    """An error names the kind of failure, and neither host, user nor database."""
    with pytest.raises(PlatformError) as refused, translated():
        psycopg.connect(f"host={tmp_path} user=somebody dbname=somewhere")
    assert refused.value.code is errors.UNAVAILABLE
    assert refused.value.message == "postgres did not answer: OperationalError"


async def test_store_is_told_apart_by_schema(access: SchemaAccess, store: EventStore) -> None:
    """Two services in one database keep two histories."""
    async with open_store(access) as other:
        await other.save(SampleRun("a").fail(), context=CONTEXT)
        await store.save(SampleRun("a").fail().fail(), context=CONTEXT)
        assert (await other.load(SampleRun, "a")).version == 1
        assert await other.incarnation() != await store.incarnation()


def test_who_may_not_install_is_told_so(access: SchemaAccess) -> None:
    """Not to install again, as a service is that lacks a right."""
    with pytest.raises(PlatformError) as refused:
        install_schema(access.dsn, service=access.schema, role=access.role, password=None, statements=TABLES)
    assert refused.value.code is errors.INVALID_SETTING
    assert "administrator" in refused.value.hint
