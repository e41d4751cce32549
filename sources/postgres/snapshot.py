"""One moment of a database, held open: what it held then, and the number by which other sessions see the same.

Promise: nothing is locked but while it is read: the transaction that holds the moment reads catalogs and sequences
alone. What changes a table meanwhile is found when the table is read (see `source`).
"""

import re
from types import TracebackType
from typing import Final

import msgspec

from repository.backup.source import SourceUnreachable
from repository.errors import RepositoryError, Retry
from repository.ports import SYSTEM_RANDOMNESS
from sources.postgres.catalog import (
    CATALOG_QUERY,
    ROLES_QUERY,
    SEQUENCES_QUERY,
    SERVER_MIN,
    SESSION,
    SETTINGS_QUERY,
    Catalog,
    confined,
    decoded,
)
from sources.postgres.database import Database, version_of
from sources.postgres.programs import PIECE, Complaint, Running, output_of, psql, tell
from sources.postgres.trouble import TOO_OLD, refuse_what_is_not_readable, unreachable

_NUMBER: Final = re.compile(r"[0-9A-F]+(-[0-9A-F]+)+")
_END: Final = "==end of the answer=="


class Moment:
    """Held until it is closed. Raises `SourceUnreachable` where it cannot be had. `is_probe`: nothing is dumped."""

    def __init__(self, database: Database, *, is_probe: bool = False) -> None:
        self.database = database
        self._session = psql(database)
        try:
            tell(
                self._session,
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\n"
                f"SET LOCAL idle_in_transaction_session_timeout = 0;\nSET LOCAL statement_timeout = 0;\n"
                f"SET LOCAL lock_timeout = {database.lock_milliseconds};\n{SESSION}",
                is_all=False,
            )
            server = int(self._asked("SHOW server_version_num;") or 0)
            if server < SERVER_MIN:
                raise SourceUnreachable(
                    "the server is older than Postgres 12",
                    hint="Back it up by its own pg_dump: pg_dump … | repo backup --stdin.",
                    retry=Retry.NEVER,
                    reason=str(server),
                    answers=True,
                )
            tools = version_of(output_of(Running(database, "pg_dump", "--version", connects=False)).decode())
            if tools and tools < server // 10_000:
                raise SourceUnreachable(
                    "Postgres's programs are older than the server",
                    hint=TOO_OLD,
                    retry=Retry.AFTER_OPERATOR,
                    reason="tools-too-old",
                    answers=True,
                )
            self.number = self._asked("SELECT pg_catalog.pg_export_snapshot();").decode().strip()
            self.catalog = self._catalog()
            refuse_what_is_not_readable(self.catalog)
            if is_probe:
                return
            key = SYSTEM_RANDOMNESS.token_bytes(32).hex()
            self.roles = confined(self._asked(ROLES_QUERY), key)
            self.settings = confined(self._asked(SETTINGS_QUERY), key)
            self.sequences = confined(self._asked(SEQUENCES_QUERY), key)
            self.schema = self._schema()
        except BaseException:
            self.close()
            raise

    def _catalog(self) -> Catalog:
        """What there is. A server that answers otherwise than Postgres is believed nothing."""
        try:
            catalog = decoded(self._asked(CATALOG_QUERY))
            if not _NUMBER.fullmatch(self.number):
                raise ValueError("the snapshot's number is none")
        except (msgspec.MsgspecError, ValueError) as error:
            raise SourceUnreachable(
                "what the server tells of its tables cannot be",
                hint="Is it a Postgres? Look at its names of tables and columns.",
                retry=Retry.AFTER_OPERATOR,
                reason="answer-not-understood",
                answers=True,
            ) from error
        return catalog

    def _asked(self, statements: str) -> bytes:
        """What a session prints for some statements. Raises `SourceUnreachable`."""
        tell(self._session, f"{statements}\n\\echo '{_END}'\n", is_all=False)
        found = bytearray()
        end = f"{_END}\n".encode()
        while not found.endswith(end):
            piece = self._session.output.read(PIECE)
            if not piece:
                raise self._broken_off()
            found += piece
        return bytes(found.removesuffix(end))

    def _broken_off(self) -> RepositoryError:
        try:
            self._session.wait()
        except Complaint as complaint:
            return unreachable(complaint, self.database, doing="cannot be read")
        return SourceUnreachable("the database's session has ended")

    def _schema(self) -> bytes:
        """All definitions, as `pg_restore` takes them. What it locks is let go at its end."""
        running = self.dump("--schema-only", "--format=custom", "--compress=none")
        try:
            return output_of(running)
        except Complaint as complaint:
            raise unreachable(complaint, self.database, doing="cannot be dumped") from complaint

    def dump(self, *words: str) -> Running:
        """A `pg_dump` that sees this moment."""
        wait = f"--lock-wait-timeout={self.database.lock_milliseconds}"
        return Running(
            self.database, "pg_dump", f"--snapshot={self.number}", "--no-subscriptions", "--encoding=UTF8", wait, *words
        )

    def require(self) -> None:
        """Raise `SourceUnreachable` where the moment was not held until now."""
        self._asked("SELECT 1;")

    def close(self) -> None:
        """Let go of it."""
        self._session.close()

    def __enter__(self) -> "Moment":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()
