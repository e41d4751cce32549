"""Databases that are followed between two dumps, and restored to any time, on a real server of Postgres."""

import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from cli.exit_codes import ExitCode
from repository.backup.source import SourceUnreachable
from repository.errors import NoUsableTier
from repository.streams.stream import Stream
from sources.postgres.database import Database
from sources.postgres.following.follower import guard
from sources.postgres.following.slot import Slot
from tests.docs.test_repository_cli import _table
from tests.support.postgres_server import PostgresServer
from tests.support.repo_command import Done, RepoCommand

SHOP: LiteralString = """
CREATE TABLE suppliers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE, about text,
  twice int GENERATED ALWAYS AS (2 * 21) STORED);
CREATE TABLE orders (supplier bigint REFERENCES suppliers, number int, note text, at timestamptz DEFAULT now(),
  price numeric, PRIMARY KEY (supplier, number));
CREATE TABLE lines (what text, data json, rate float8); ALTER TABLE lines REPLICA IDENTITY FULL;
CREATE TABLE events (at date NOT NULL, what text, PRIMARY KEY (at)) PARTITION BY RANGE (at);
CREATE TABLE events_2026 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE visits (page text);
CREATE UNLOGGED TABLE sessions (id int PRIMARY KEY);
CREATE TABLE "we'ird \\ ""name" ("a:b" int PRIMARY KEY, "c'd\\" text);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := NEW.note || '!'; RETURN NEW; END $$;
CREATE TRIGGER louder BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION refuse();
INSERT INTO suppliers (name, about) SELECT 'name ' || n, repeat(md5(n::text), 300) FROM generate_series(1, 20) n;
INSERT INTO visits VALUES ('first');
"""
FOLLOWED = ("suppliers", "orders", "lines", "events", '"we\'ird \\ ""name"')


class Shop:
    """A database that somebody works with, a repository, and the command that follows."""

    def __init__(self, server: PostgresServer, repo: RepoCommand) -> None:
        self.server = server
        self.repo = repo
        self.made: list[str] = []
        self.name = self.new(SHOP)
        self.slot = f"slot_{secrets.token_hex(4)}"
        self.url = self.url_of(self.name)

    def new(self, script: LiteralString = "SELECT 1") -> str:
        name = f"db_{secrets.token_hex(4)}"
        self.do(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)), "postgres")
        self.made.append(name)
        self.do(sql.SQL(script), name)
        return name

    def url_of(self, name: str) -> str:
        return f"postgres://postgres@127.0.0.1:{self.server.port}/{name}"

    def connect(self, name: str | None = None) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.admin_dsn, dbname=name or self.name, autocommit=True)

    def do(self, statement: sql.SQL | sql.Composed | LiteralString, name: str | None = None) -> list[Any]:
        with self.connect(name) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def rows(self, name: str | None = None, tables: tuple[str, ...] = FOLLOWED) -> dict[str, list[str]]:
        with self.connect(name) as connection:
            return {
                table: [
                    row[0]
                    for row in connection.execute(
                        sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.SQL(table))  # type: ignore[arg-type]
                    )
                ]
                for table in tables
            }

    def now(self) -> str:
        """A time of the server's behind everything that was committed, and before what comes."""
        return str(self.do("SELECT pg_sleep(0.002), to_char(clock_timestamp() AT TIME ZONE 'UTC', "
                           "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"'), pg_sleep(0.002)")[0][1])  # fmt: skip

    def back_up(self) -> Any:
        done = self.repo.run("backup", self.url, "--json")
        assert done.code == ExitCode.OK, done
        return done.document

    def follow(self, *more: str, code: ExitCode = ExitCode.OK) -> Any:
        done = self.repo.run("follow", self.url, "--once", "--slot", self.slot, "--json", *more)
        assert done.code == code, done
        return done.document

    def restore(self, at: str, *more: str, snapshot: str = "latest") -> tuple[str, Done]:
        target = self.new()
        return target, self.repo.run("restore", snapshot, "--target", self.url_of(target), "--at", at, "--json", *more)

    def close(self) -> None:
        for name in self.made:
            self.do(
                sql.SQL("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = {}"
                        ).format(sql.Literal(name)), "postgres")  # fmt: skip
            self.do(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)), "postgres")


@pytest.fixture
def shop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> Iterator[Shop]:
    """The shop, with a repository on one tier in a folder."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    command = RepoCommand(tmp_path, capsys, tiers=("a",))
    command.json("init")
    made = Shop(postgres, command)
    yield made
    made.close()


WORK: tuple[LiteralString, ...] = (
    "INSERT INTO orders SELECT 1 + n % 20, n, E'it''s \\\\. \\t\\n' || n FROM generate_series(1, 200) n",
    "UPDATE suppliers SET name = name || '?' WHERE id % 3 = 0",  # `about` is stored apart and not told again
    "INSERT INTO lines VALUES ('a', '{\"a\": 1}', 0.1), ('a', '{\"a\": 1}', 0.1), (NULL, NULL, 'NaN')",
    "DELETE FROM lines WHERE ctid = (SELECT min(ctid) FROM lines WHERE what = 'a')",
    "UPDATE lines SET rate = 1e-300 WHERE what IS NULL",
    "UPDATE orders SET number = number + 1000, note = NULL WHERE number % 7 = 0",
    "INSERT INTO events SELECT '2026-01-01'::date + n, 'x' FROM generate_series(1, 50) n",
    "DELETE FROM orders WHERE number < 20; INSERT INTO suppliers (name) VALUES ('new'); DELETE FROM events",
    "BEGIN; INSERT INTO suppliers (name) VALUES ('never'); ROLLBACK",
    "TRUNCATE lines; INSERT INTO lines VALUES ('b', '[1]', '-Infinity')",
    "INSERT INTO \"we'ird \\ \"\"name\" VALUES (1, E'\\\\! touch x'), (2, ':\"HOME\" '':x'' \\g'); "
    'UPDATE "we\'ird \\ ""name" SET "a:b" = 7 WHERE "a:b" = 1',
)


@pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_database_is_restored_to_any_time(shop: Shop, every: int) -> None:
    """As an oracle saw it between two transactions, whichever; before and behind what is known is refused."""
    shop.follow()
    before = shop.now()
    shop.back_up()
    instants = []
    for number, work in enumerate(WORK):
        shop.do(work)
        instants.append((shop.now(), shop.rows()))
        if number % 3 == 0:
            shop.follow()
    told = shop.follow()
    own, _, _ = _table("JSON")["follow"].partition("; meanwhile")
    assert sorted(told) == sorted(re.findall(r"`(\w+)`", re.sub(r"\([^()]*\)", "", own)))
    assert {each["table"] for each in told["tables_left_out"]} == {"public.visits", "public.sessions"}
    after = shop.now()
    for at, rows in instants[::every]:
        target, done = shop.restore(at)
        assert shop.rows(target) == rows, (at, done)
        assert done.code == ExitCode.INCOMPLETE
        assert {each["path"] for each in done.document["troubles"]} == {"public.visits", "public.sessions"}
    shop.do("INSERT INTO suppliers (name) VALUES ('more') RETURNING id", target)  # its sequence is behind the rows
    assert shop.do("SELECT DISTINCT attidentity FROM pg_attribute WHERE attidentity <> ''", target) == [("a",)]
    for at, words in ((before, "younger than the time"), (after, "the time is not reached")):
        _, done = shop.restore(at)
        assert (done.code, words in done.err) == (ExitCode.REFUSED, True), done


def test_receiver_that_dies_leaves_nothing_out(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between what is appended and what the server lets go of: it is told once more, and is played once."""
    shop.follow()
    shop.back_up()
    shop.do(WORK[0])
    with monkeypatch.context() as patched:

        def die(*_: object) -> None:
            raise SourceUnreachable("the receiver dies here")

        patched.setattr(Slot, "advance", die)
        assert shop.repo.run("follow", shop.url, "--once", "--slot", shop.slot).code != ExitCode.OK
    shop.do(WORK[1])
    shop.follow()
    rows = shop.rows()
    target, done = shop.restore("latest")
    assert shop.rows(target) == rows
    assert done.document["reached"]["transactions"] == 2


def test_gap_is_told_and_ends_with_a_dump(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slot that is gone: it is told by every start until a dump ends it; what came before is reached, and no more."""
    shop.follow()
    first = shop.back_up()["snapshot"]["id"]
    shop.do(WORK[0])
    shop.follow()
    known, rows = shop.now(), shop.rows()
    shop.do(WORK[1])
    since, last = shop.follow()["known_until"], shop.rows()
    shop.do(sql.SQL("SELECT pg_drop_replication_slot({})").format(sql.Literal(shop.slot)))
    shop.do(WORK[2])
    inside = shop.now()

    def reaches_what_is_before_the_gap(snapshot: str) -> None:
        target, done = shop.restore("latest", snapshot=snapshot)
        assert done.code == ExitCode.INCOMPLETE, done
        assert shop.rows(target) == last
        reached = done.document["reached"]
        assert (reached["gap_since"], reached["is_reached"], reached["known_until"]) == (since, False, since)
        assert since in {each["path"]: each["detail"] for each in done.document["troubles"]}["database.json"]

    with monkeypatch.context() as patched:  # it is in the stream before anything comes behind it

        def die(*_: object) -> None:
            raise SourceUnreachable("the receiver dies here")

        patched.setattr(Slot, "create", die)
        assert shop.repo.run("follow", shop.url, "--once", "--slot", shop.slot).code != ExitCode.OK
    reaches_what_is_before_the_gap("latest")
    for _ in range(2):
        told = shop.follow(code=ExitCode.DEGRADED)
        assert (told["gaps"], told["known_until"]) == ([{"since": since}], since)
        shop.do(WORK[4])
    done = shop.repo.run("follow", shop.url, "--once", "--slot", shop.slot)
    assert (done.code, f"all is known until {since}; what" in done.out) == (ExitCode.DEGRADED, True), done
    target, done = shop.restore(known)
    assert (shop.rows(target), done.document["reached"]["gap_since"]) == (rows, None)
    for at in (inside, shop.now()):
        _, done = shop.restore(at)
        assert (done.code, f"a gap since {since}" in done.err) == (ExitCode.REFUSED, True), done
    reaches_what_is_before_the_gap("latest")
    shop.back_up()
    shop.do(WORK[5])
    told = shop.follow()
    assert (told["gaps"], told["known_until"] > inside) == ([], True)
    target, done = shop.restore("latest")
    assert (shop.rows(target), done.document["reached"]["is_reached"]) == (shop.rows(), True)
    reaches_what_is_before_the_gap(first)


def test_what_is_followed_behind_the_last_dump_leads_nowhere(shop: Shop) -> None:
    """A stream that began after the only dump has a gap from the start; a dump that is made meanwhile ends it."""
    shop.back_up()
    shop.do(WORK[0])
    assert len(shop.follow(code=ExitCode.DEGRADED)["gaps"]) == 1
    shop.back_up()
    assert shop.follow()["gaps"] == []


def test_tables_that_are_defined_otherwise_are_named(shop: Shop) -> None:
    """Other columns, another file, or made later: named, as they were; the rest is as it should be."""
    shop.follow()
    shop.back_up()
    suppliers = shop.rows(tables=("suppliers",))
    shop.do("ALTER TABLE suppliers ADD more int DEFAULT 5; INSERT INTO suppliers (name) VALUES ('x')")
    shop.do("ALTER TABLE events ALTER what TYPE text USING what || '!'")
    shop.do("VACUUM FULL orders")
    shop.do("CREATE TABLE later (id int PRIMARY KEY)")
    shop.follow()
    shop.do("INSERT INTO later VALUES (1); INSERT INTO lines VALUES ('y')")
    shop.follow()
    target, done = shop.restore("latest")
    told = {each["path"]: each["detail"] for each in done.document["troubles"]}
    assert done.code == ExitCode.INCOMPLETE
    assert "other columns" in told["public.suppliers"]
    assert "rewritten" in told["public.orders"]
    assert "rewritten" in told["public.events_2026"]
    assert "made after the snapshot" in told["public.later"]
    assert shop.rows(target, ("suppliers",)) == suppliers
    assert shop.rows(target, ("lines",)) == shop.rows(tables=("lines",))


def test_what_cannot_be_followed_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the statement that gives the right; a time that is none, or a restore to a folder, before anything."""
    role = f"role_{secrets.token_hex(4)}"
    shop.do(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'pw'").format(sql.Identifier(role)))
    try:
        url = shop.url.replace("postgres@", f"{role}@")
        monkeypatch.setenv("PGPASSWORD", "pw")
        done = shop.repo.run("follow", url, "--once", "--slot", shop.slot)
        assert (done.code, "GRANT CREATE ON DATABASE" in done.err) == (ExitCode.NOT_FOUND, True), done
        shop.do(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(*map(sql.Identifier, (shop.name, role))))
        done = shop.repo.run("follow", url, "--once", "--slot", shop.slot)
        assert "REPLICATION;" in done.err, done
    finally:
        monkeypatch.setenv("PGPASSWORD", shop.server.password)
        shop.do(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))
    shop.do(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(shop.slot)))
    shop.back_up()
    target = shop.repo.folder / "x"
    done = shop.repo.run("restore", "latest", "--target", str(target), "--at", "latest")
    assert (done.code, "is of no cluster" in done.err, target.exists()) == (ExitCode.USAGE, True, False), done


def test_server_keeps_what_no_tier_has_and_not_more_than_it_may(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing is durable nothing is let go of; beyond the bound the slot is dropped, and that is told."""

    def position() -> Any:
        statement = sql.SQL("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = {}")
        return shop.do(statement.format(sql.Literal(shop.slot)))

    shop.follow()
    before = position()
    shop.do(WORK[0])

    def refuse(*_: object, **__: object) -> None:
        raise NoUsableTier("no tier takes it")

    monkeypatch.setattr(Stream, "append", refuse)
    assert shop.repo.run("follow", shop.url, "--once", "--slot", shop.slot).code == ExitCode.UNAVAILABLE
    assert position() == before
    with closing(Slot(Database(shop.url, lambda: shop.server.password), shop.slot)) as slot:
        guard(slot, 1 << 40)
        assert position() == before
        with pytest.raises(SourceUnreachable, match="was dropped"):
            guard(slot, 1)
    assert position() == []


@pytest.mark.slow
def test_receiver_is_killed_at_random(shop: Shop) -> None:
    """Nothing is lost and nothing comes twice, whenever it is; each commit counts once."""
    shop.do("CREATE TABLE counted (n int PRIMARY KEY)")
    shop.follow()
    shop.back_up()
    tier = ("--key-file", str(shop.repo.key_file), "--tier", shop.repo.tiers[0])
    command = [sys.executable, "-m", "cli", "repo", "follow", shop.url, "--slot", shop.slot, *tier]
    number = 0
    for turn in range(6):
        receiver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 1.5 + 0.37 * turn
        with shop.connect() as connection:
            while time.monotonic() < until:
                number += 1
                connection.execute("INSERT INTO counted VALUES (%s)", (number,))
        receiver.send_signal(signal.SIGKILL)
        receiver.wait()
    shop.follow()
    target, done = shop.restore("latest")
    assert shop.do("SELECT count(*), max(n) FROM counted", target) == [(number, number)]
    assert done.document["reached"]["transactions"] == number
