"""A database that is restored into, by Postgres's programs: what it is asked, and what it is given.

Promise: a table has all of its rows or none; what the server refuses is told, each by itself. What belongs to the
provider of a managed server (schemas of roles that whoever restores may not act as: `auth` and `storage` of Supabase)
keeps its definitions; of its tables those are filled that are there and empty, and none of their triggers runs.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from repository.errors import RepositoryError, RestoreCancelled, TargetFailed
from repository.ports import SYSTEM_RANDOMNESS
from repository.restore.options import Trouble, trouble_of
from sources.postgres import catalog as names
from sources.postgres.catalog import SESSION, Table, literal, quoted
from sources.postgres.contents import refusals
from sources.postgres.database import Database
from sources.postgres.programs import PIECE, Complaint, Running, give, output_of, path_of, psql, tell, worded
from sources.postgres.trouble import unreachable

COUNT_OWN: Final = f"""
SELECT pg_catalog.count(*) FROM {names.OWN_TABLES} AND e.objid IS NULL AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  AND (n.nspname = 'public' OR pg_catalog.pg_has_role(n.nspowner, 'USAGE'));
SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata;
"""  # noqa: S608 - of constants alone
_MANAGED: Final = """
SELECT nspname FROM pg_catalog.pg_namespace
WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema')
  AND NOT pg_catalog.pg_has_role(nspowner, 'USAGE');
"""
_PRESENT: Final = """
SELECT 'SCHEMA - ' || nspname FROM pg_catalog.pg_namespace WHERE nspname <> 'public'
UNION ALL SELECT 'PUBLICATION - ' || pubname FROM pg_catalog.pg_publication
UNION ALL SELECT 'EVENT TRIGGER - ' || evtname FROM pg_catalog.pg_event_trigger
UNION ALL SELECT 'COMMENT - EXTENSION ' || extname FROM pg_catalog.pg_extension;
"""
"""What is there, as a line of `pg_restore`'s list begins."""
_UNLESS_FILLED: Final = (
    "SET LOCAL session_replication_role = replica;\nSELECT 1 / (NOT EXISTS (SELECT FROM {}))::int AS empty \\gset\n"
)
"""Ends a transaction where a table has rows, and keeps its triggers from running."""

_IDENTITIES: Final = """
SELECT COALESCE(pg_catalog.json_agg(pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET GENERATED ',
  attrelid::pg_catalog.regclass, attname)), '[]') FROM pg_catalog.pg_attribute
WHERE attrelid IN ({}) AND attidentity = 'a' AND NOT attisdropped;
"""
_BEGINNINGS: Final = msgspec.json.Decoder(list[str])
_AHEAD: Final = """
SELECT pg_catalog.format('SELECT pg_catalog.setval(%L, m) FROM (SELECT %s(%I)::int8 AS m FROM %s) t, %s s WHERE m %s '
  's.last_value OR m = s.last_value AND NOT s.is_called', s.oid::pg_catalog.regclass,
  CASE WHEN q.seqincrement > 0 THEN 'pg_catalog.max' ELSE 'pg_catalog.min' END, a.attname, c.oid::pg_catalog.regclass,
  s.oid::pg_catalog.regclass, CASE WHEN q.seqincrement > 0 THEN '>' ELSE '<' END)
FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid JOIN pg_catalog.pg_class c ON c.oid = d.refobjid
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = d.classid AND d.deptype IN ('a', 'i')
  AND a.atttypid IN (20, 21, 23) AND c.oid IN ({}) \\gexec
"""
"""Sets each sequence of a column behind its values: what a sequence gave is not told with the rows."""

UPDATE: Final = "Install the newest of their major version, and name their folder by WEDSYNC_POSTGRES_TOOLS."
_RESTRICT_SINCE: Final = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}
"""The first minor version of each major one whose `psql` knows `\\restrict`; later ones do."""

Tell = Callable[[bytes, Trouble, str], None]


def knows_restrict(version: str) -> bool:
    """Whether a `psql` runs no command of this machine where it is told not to: what a server says may be hostile."""
    found = re.search(r"\) (\d+)\.(\d+)", version)
    if found is None:
        return False
    major, minor = int(found[1]), int(found[2])
    return major > max(_RESTRICT_SINCE) or minor >= _RESTRICT_SINCE.get(major, minor + 1)


def _oids(tables: Iterable[Table]) -> str:
    return ", ".join(["0", *(f"{literal(table.sql)}::pg_catalog.regclass" for table in tables)])


class Target:
    """One database. `trouble` is told what is refused; `check` raises `RestoreCancelled`."""

    def __init__(self, database: Database, *, trouble: Tell, check: Callable[[], None]) -> None:
        self.database = database
        self._trouble = trouble
        self._check = check
        self.managed: set[str] = set()
        self._identities: list[str] = []

    def version(self) -> str:
        """What `psql` tells of itself."""
        return output_of(Running(self.database, "psql", "--version", connects=False)).decode()

    def look(self) -> set[str]:
        """Which schemas are the provider's; gives what is there, as the list of a dump names it."""
        self.managed = set(self.asked(_MANAGED).decode().splitlines())
        return set(self.asked(_PRESENT).decode().splitlines())

    def asked(self, statements: str) -> bytes:
        """What the target answers. Raises `TargetFailed`."""
        running = psql(self.database)
        tell(running, statements)
        try:
            return output_of(running)
        except Complaint as complaint:
            raise self._failed(complaint, "does not answer") from complaint

    def _failed(self, complaint: Complaint, doing: str) -> RepositoryError:
        found = unreachable(complaint, self.database, doing=doing)
        return TargetFailed(found.message, hint=found.hint, retry=found.retry, **found.context)

    def listed(self, schema: int) -> str:
        """The list of a dump's definitions."""
        running = Running(self.database, "pg_restore", "--list", path_of(schema), connects=False, inherited=(schema,))
        try:
            return output_of(running).decode("utf-8", "replace")
        except Complaint as complaint:
            raise self._failed(complaint, "cannot be defined") from complaint

    def define(self, section: str, schema: int, wanted: int | None) -> None:
        """Restore the definitions of a section. What the server refuses of them is told."""
        self._check()
        chosen = () if wanted is None else (f"--use-list={path_of(wanted)}",)
        inherited = (schema,) if wanted is None else (schema, wanted)
        jobs = self.database.connections if section == "post-data" else 1
        running = Running(
            self.database,
            "pg_restore",
            f"--section={section}",
            f"--jobs={jobs}",
            *chosen,
            path_of(schema),
            inherited=inherited,
        )
        try:
            output_of(running)
        except Complaint as complaint:
            if not any("errors ignored on restore" in line for line in complaint.lines):
                raise self._failed(complaint, "cannot be defined") from complaint
            for said in refusals(complaint.lines):
                self._trouble(names.SCHEMA, Trouble.NOT_CREATED, said)

    def load(self, table: Table, pieces: Iterable[bytes], *, verify: bool) -> bool:
        """All rows of one table, or none; whether they are there."""
        sent = hashlib.sha256()
        running = psql(self.database)
        try:
            give(running, f"{SESSION}SET statement_timeout = 0;\nBEGIN;\n".encode())
            if table.schema in self.managed:
                give(running, _UNLESS_FILLED.format(table.sql).encode())
            give(running, f"COPY {table.sql}{table.column_list} FROM stdin;\n".encode())
            for piece in pieces:
                sent.update(piece)
                give(running, piece)
            # Without this end nothing is committed, whatever was sent before.
            tell(running, "\\.\nCOMMIT;\n")
            running.wait()
        except BrokenPipeError:
            self._not_loaded(table, running)
            return False
        except Complaint as complaint:
            self._told(table, complaint)
            return False
        except (RestoreCancelled, TargetFailed):
            raise
        except RepositoryError as error:
            self._trouble(table.path, trouble_of(error), str(error))
            return False
        finally:
            running.close()
        if verify and self._hash_of(table) != sent.digest():
            self._trouble(table.path, Trouble.DAMAGED, "the database gives back other rows than it was sent")
        return True

    def free_identities(self, tables: Iterable[Table]) -> None:
        """Columns that make their own values take those that are given. Raises `TargetFailed`."""
        self._identities = _BEGINNINGS.decode(self.asked(_IDENTITIES.format(_oids(tables))))
        self._set_identities("BY DEFAULT")

    def bind_identities(self, tables: Iterable[Table]) -> None:
        """They do so no more; and sequences of columns are behind every value of them. Raises `TargetFailed`."""
        self._set_identities("ALWAYS")
        self.asked(_AHEAD.format(_oids(tables)))

    def _set_identities(self, how: str) -> None:
        key = SYSTEM_RANDOMNESS.token_bytes(32).hex()
        statements = "".join(f"{each}{how};\n" for each in self._identities)
        self.asked(names.confined(statements.encode(), key).decode())

    def _not_loaded(self, table: Table, running: Running) -> None:
        try:
            running.wait()
        except Complaint as complaint:
            self._told(table, complaint)
        else:
            self._trouble(table.path, Trouble.NOT_CREATED, "the rows were not taken")

    def _told(self, table: Table, complaint: Complaint) -> None:
        if complaint.is_cut_off:
            raise self._failed(complaint, "broke off") from complaint
        if table.schema in self.managed and complaint.state == "22012":
            self._trouble(table.path, Trouble.SKIPPED, "it is the provider's, and has rows")
            return
        self._trouble(table.path, Trouble.NOT_CREATED, complaint.said)

    def _hash_of(self, table: Table) -> bytes:
        """Of the rows as the target has them now."""
        running = psql(self.database)
        tell(running, f"{SESSION}COPY {table.rows} TO STDOUT;\n")
        found = hashlib.sha256()
        try:
            while piece := running.output.read(PIECE):
                found.update(piece)
            running.wait()
        except Complaint as complaint:
            self._told(table, complaint)
        finally:
            running.close()
        return found.digest()

    def fill_views(self, views: Iterable[tuple[str, str]]) -> None:
        """Views that stand on views which are not filled yet come later: as long as one is filled, others may be."""
        left = [f"{quoted(schema)}.{quoted(name)}" for schema, name in views]
        refused: dict[str, str] = {}
        count = len(left) + 1
        while left and len(left) < count:
            count = len(left)
            refused.clear()
            for view in left:
                self._check()
                running = psql(self.database)
                tell(running, f"REFRESH MATERIALIZED VIEW {view};\n")
                try:
                    output_of(running)
                except Complaint as complaint:
                    if complaint.is_cut_off:
                        raise self._failed(complaint, "broke off") from complaint
                    refused[view] = complaint.said
            left = list(refused)
        for view, said in refused.items():
            self._trouble(names.FINISH, Trouble.NOT_CREATED, f"{view}: {said}")

    def run(self, name: bytes, script: Iterable[bytes]) -> None:
        """Statements, each by itself. What is refused is told of the file that they are of."""
        running = psql(self.database, is_script=True)
        try:
            for piece in script:
                give(running, piece)
            tell(running, "\n")
            told = running.wait()
        except BrokenPipeError:
            raise TargetFailed("the database broke off") from None
        except Complaint as complaint:
            raise self._failed(complaint, "broke off") from complaint
        finally:
            running.close()
        for line in told:
            if "ERROR: " in line:
                self._trouble(name, Trouble.NOT_CREATED, worded(line.partition("ERROR: ")[2]))
