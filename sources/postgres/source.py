"""A database as a source, behind the port of the repository: one moment of it, read by several connections.

| in the snapshot | what it is |
|---|---|
| `database.json` | what there is: tables with their columns, the server's version, the moment |
| `roles.sql`, `settings.sql` | the roles that it speaks of, without passwords; what the database itself is set to |
| `schema.dump` | every definition, for `pg_restore` |
| `tables/SCHEMA/TABLE` | the rows of a table, as COPY writes them |
| `large-objects.sql`, `sequences.sql` | large objects, where there are any; where each sequence was |
| `load.sql`, `finish.sql` | for `psql`: load all that into a database with the definitions, and what is last |

Promise: all is of one moment; nothing is written anywhere but into the repository. A table is locked only while it is
read, against nothing but a change of its definition. One that was dropped, rewritten or emptied since the moment is
told as one that could not be read (Postgres would show it empty), and the rest goes on.
"""

import os
import stat as stat_bits
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from repository.backup.source import FileProblem, Listing, ProblemSink, ReadAhead, Reason, SmallFile
from repository.format import ContentClass
from repository.stored.chunker import SMALL_FILE_MAX
from repository.stored.tree import Extra, Row
from sources.attributes import kernel_now_ns
from sources.postgres import catalog as names
from sources.postgres.catalog import SESSION, Table, file_name
from sources.postgres.database import Database
from sources.postgres.programs import Complaint, Running, psql, tell
from sources.postgres.snapshot import Moment
from sources.postgres.trouble import of_table, unreachable

KIND: Final = {"source": "postgres"}
"""What the root of a database's snapshot says of itself."""
_FOLDER: Final = stat_bits.S_IFDIR | 0o700
_FILE: Final = stat_bits.S_IFREG | 0o600


class PostgresSource:
    """One database. The moment is the one when `root` is called. Close it at the end."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.now_ns = kernel_now_ns()
        self.slots = threading.BoundedSemaphore(database.connections)
        self._moment: Moment | None = None
        self._fixed: dict[bytes, bytes] = {}
        self._tables: dict[bytes, dict[bytes, Table]] = {}

    def root(self) -> tuple[Row, "_Folder"]:
        """See `Source.root`. Raises `SourceUnreachable`."""
        self.close()
        self._moment = moment = Moment(self.database)
        catalog = moment.catalog
        self._tables = {}
        for table in catalog.tables:
            self._tables.setdefault(file_name(table.schema), {})[file_name(table.name)] = table
        self._fixed = {
            names.DESCRIPTION: msgspec.json.format(msgspec.json.encode(catalog), indent=1) + b"\n",
            names.ROLES: moment.roles,
            names.SETTINGS: moment.settings,
            names.SEQUENCES: moment.sequences,
            names.SCHEMA: moment.schema,
            names.LOAD: _load_script(catalog),
            names.FINISH: _finish_script(catalog),
        }
        files: dict[bytes, Callable[[], _File]] = {
            name: partial(_Whole, self, body) for name, body in self._fixed.items()
        }
        if catalog.large_objects:
            files[names.LARGE_OBJECTS] = lambda: _Streamed(self, self._large_objects, is_table=False)
        folders: dict[bytes, _Folder] = {
            schema: _Folder(self, {name: self._reader(table) for name, table in tables.items()}, {})
            for schema, tables in self._tables.items()
        }
        below = _Folder(self, {}, folders)
        return self.row(_FOLDER, 0), _Folder(self, files, {names.TABLES: below}, extra=Extra(attributes=dict(KIND)))

    def require(self) -> None:
        """See `Source.require`. The moment is held still; before there is one: it could be had, with all rights."""
        if self._moment is None:
            with Moment(self.database, is_probe=True):
                return
        self._moment.require()

    @property
    def moment(self) -> Moment:
        """The one that is read. It is there after `root`."""
        assert self._moment is not None  # noqa: S101 - files come from the root alone
        return self._moment

    def fixed(self, name: bytes) -> bytes | None:
        """What is known already of a file at the root."""
        return self._fixed.get(name)

    def row(self, mode: int, size: int) -> Row:
        """Of a folder or file: the time is the moment's, and no other run has the same."""
        return mode, os.geteuid(), os.getegid(), size, self.now_ns, 0, 0, 1, 0

    def _reader(self, table: Table) -> "Callable[[], _File]":
        return lambda: _Streamed(self, lambda: self._rows_of(table), is_table=True)

    def _rows_of(self, table: Table) -> Running:
        """A session that prints the rows of a table, unless it is not what it was at the moment."""
        database = self.database
        running = psql(database)
        tell(
            running,
            f"{SESSION}SET statement_timeout = {database.statement_milliseconds};\n"
            f"SET lock_timeout = {database.lock_milliseconds};\n"
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
            f"SET TRANSACTION SNAPSHOT '{self.moment.number}';\n"
            f"LOCK TABLE ONLY {table.sql} IN ACCESS SHARE MODE;\n"
            # Rows of a file that is younger than the moment are not seen at all: it would come out empty.
            f"SELECT 1 / (pg_catalog.pg_relation_filenode({table.oid}) IS NOT DISTINCT FROM {table.node})::int AS same"
            " \\gset\n"
            f"COPY {table.rows} TO STDOUT;\nCOMMIT;\n",
        )
        return running

    def _large_objects(self) -> Running:
        return self.moment.dump("--section=data", "--exclude-table-data=*.*", "--large-objects")

    def close(self) -> None:
        """Let go of the moment, and of the connection that holds it."""
        if self._moment is not None:
            self._moment.close()
            self._moment = None


def _load_script(catalog: names.Catalog) -> bytes:
    """For people who have restored a snapshot to a folder and have nothing but Postgres's programs."""
    lines = [
        "-- In this folder, with DB the address of an empty database:",
        "--   psql -d DB -f roles.sql",
        "--   pg_restore -d DB --section=pre-data schema.dump",
        "--   psql -d DB -v ON_ERROR_STOP=1 -f load.sql",
        "--   pg_restore -d DB --section=post-data schema.dump",
        "--   psql -d DB -f finish.sql",
        SESSION.strip(),
        "\\encoding UTF8",
        "\\o /dev/null",
    ]
    for table in catalog.tables:
        if "\n" in table.path.decode() + table.sql + table.column_list or "\r" in table.sql + table.column_list:
            # \\copy ends with its line: what is behind it would be a command.
            lines.append("\\warn 'a table has a line of its own in its name: repo restore restores it, this does not'")
            continue
        path = table.path.decode().replace("\\", "\\\\").replace("'", "''")
        lines.append(f"\\copy {table.sql}{table.column_list} from '{path}'")
    if catalog.large_objects:
        lines.append(f"\\i {names.LARGE_OBJECTS.decode()}")
    lines.append(f"\\i {names.SEQUENCES.decode()}")
    return "\n".join([*lines, ""]).encode()


def _finish_script(catalog: names.Catalog) -> bytes:
    views = [
        f"REFRESH MATERIALIZED VIEW {names.quoted(schema)}.{names.quoted(name)};" for schema, name in catalog.views
    ]
    return "\n".join(
        ["-- Behind load.sql: views that are filled, and settings.", *views, "\\i settings.sql", ""]
    ).encode()


class _File:
    """See `SourceFile`."""

    head_class: ContentClass | None = ContentClass.TEXT

    def __init__(self, source: PostgresSource) -> None:
        self._source = source
        self._size = 0

    def read_into(self, view: memoryview) -> int:
        """See `SourceFile.read_into`."""
        raise NotImplementedError

    def finish(self) -> tuple[Row, Extra | None]:
        """See `SourceFile.finish`."""
        self.close()
        return self._source.row(_FILE, self._size), None

    def close(self) -> None:
        """See `SourceFile.close`."""


class _Whole(_File):
    """What is in memory."""

    def __init__(self, source: PostgresSource, body: bytes) -> None:
        super().__init__(source)
        self._body = body

    def read_into(self, view: memoryview) -> int:
        """See `SourceFile.read_into`."""
        piece = self._body[self._size : self._size + len(view)]
        view[: len(piece)] = piece
        self._size += len(piece)
        return len(piece)


class _Streamed(_File):
    """What a program prints: the end is one only where it ended well."""

    def __init__(self, source: PostgresSource, begin: Callable[[], Running], *, is_table: bool) -> None:
        super().__init__(source)
        self._is_table = is_table
        self._holds_slot = source.slots.acquire()
        try:
            self._running = begin()
        except BaseException:
            self._release()
            raise

    def read_into(self, view: memoryview) -> int:
        """See `SourceFile.read_into`."""
        count = os.readv(self._running.output.fileno(), [view])
        if not count:
            self._end()
        self._size += count
        return count

    def _end(self) -> None:
        if not self._holds_slot:
            return
        database = self._source.database
        try:
            self._running.wait()
        except Complaint as complaint:
            if self._is_table:
                raise of_table(complaint, database) from complaint
            raise unreachable(complaint, database, doing="broke off") from complaint
        finally:
            self.close()

    def close(self) -> None:
        """See `SourceFile.close`."""
        self._running.close()
        self._release()

    def _release(self) -> None:
        if self._holds_slot:
            self._holds_slot = False
            self._source.slots.release()


class _Folder:
    """See `SourceDirectory`."""

    ahead: ReadAhead | None = None
    block_length = 0

    def __init__(
        self,
        source: PostgresSource,
        files: dict[bytes, Callable[[], _File]],
        folders: "dict[bytes, _Folder]",
        *,
        extra: Extra | None = None,
    ) -> None:
        self._source = source
        self._files = files
        self._folders = folders
        self._extra = extra
        self._is_root = extra is not None

    def names(self) -> list[bytes]:
        """See `SourceDirectory.names`."""
        return sorted([*self._files, *self._folders])

    def rows(self, names: Sequence[bytes], _on_problem: ProblemSink) -> Listing:
        """See `SourceDirectory.rows`. How long a table is nobody knows."""
        return Listing([self._row(name) for name in names])

    def _row(self, name: bytes) -> Row:
        if name in self._folders:
            return self._source.row(_FOLDER, 0)
        body = self._source.fixed(name) if self._is_root else None
        return self._source.row(_FILE, -1 if body is None else len(body))

    def enter(self, name: bytes) -> "_Folder":
        """See `SourceDirectory.enter`."""
        return self._folders[name]

    def extra(self) -> Extra | None:
        """See `SourceDirectory.extra`. The root says what it is a snapshot of."""
        return self._extra

    def describe(self, _name: bytes, _row: Row) -> Extra | None:
        """See `SourceDirectory.describe`. There is nothing else."""
        return None

    def read_small(self, name: bytes, row: Row) -> SmallFile:
        """See `SourceDirectory.read_small`. What is as long as nobody knows is not small."""
        body = self._source.fixed(name)
        if body is None or len(body) > SMALL_FILE_MAX:
            raise FileProblem(Reason.CHANGED)
        return SmallFile(body, row, None)

    def open(self, name: bytes, _row: Row) -> _File:
        """See `SourceDirectory.open`."""
        return self._files[name]()

    def close(self) -> None:
        """See `SourceDirectory.close`."""
