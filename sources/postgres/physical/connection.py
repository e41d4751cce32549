"""One connection to a server of Postgres as libpq has it: statements, and what streams after a command.

Promise: who waits for the server waits without keeping other threads from their work, and may be told to end; what the
server refuses is told with the right or the setting that helps. The password is in no command line and no environment.
"""

import contextlib
import re
import select
import struct
import time
from collections.abc import Callable, Iterator
from typing import Final

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from repository.backup.source import SourceUnreachable
from repository.errors import Retry
from sources.postgres.catalog import quoted
from sources.postgres.database import Database
from sources.postgres.programs import Complaint, worded
from sources.postgres.trouble import unreachable

_STATUS_OK: Final = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH)
_POLL_SECONDS: Final = 0.2
SILENT_SECONDS: Final = 60.0
"""A server that says nothing for so long, though it was asked, is taken for one that hangs."""
NO_ANSWER: Final = f"it has not answered for {SILENT_SECONDS:.0f} s; the connection is open"


class ServerSaid(Exception):
    """What the server says of a statement that failed."""

    def __init__(self, state: str, text: str) -> None:
        self.state = state
        self.said = worded(text)
        super().__init__(self.said)


@contextlib.contextmanager
def _telling() -> Iterator[None]:
    """What psycopg raises of a connection that has ended, as what the server said."""
    try:
        yield
    except psycopg.Error as error:
        raise ServerSaid("", str(error)) from error


class Connection:
    """Open until it is closed. `is_replication`: it takes the commands of replication. Raises `SourceUnreachable`."""

    def __init__(self, database: Database, *, is_replication: bool = False) -> None:
        self._database = database
        more = {"application_name": "wedsync-backup", "client_encoding": "UTF8"}
        password = database.password()
        if password is not None:
            more["password"] = password
        if is_replication:
            more["replication"] = "true"
        self._pq = pq.PGconn.connect(make_conninfo(database.connection, **more).encode())
        if self._pq.status != pq.ConnStatus.OK:
            text = self._pq.get_error_message()
            self.close()
            raise self.trouble(ServerSaid("", text.rpartition("failed: ")[2] or text), "cannot be reached")

    def on_notice(self, hear: Callable[[str], None]) -> None:
        """Have what the server remarks beside its answers told."""
        self._pq.notice_handler = lambda result: hear(
            (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")
        )

    def ask(self, statement: str, within: float = SILENT_SECONDS) -> list[list[str | None]]:
        """The rows of one statement. Raises `ServerSaid`, also where it is not answered `within` so many seconds."""
        until = time.monotonic() + within
        self.begin(statement)
        found: list[list[str | None]] = []
        while (rows := self.answer(until)) is not None:
            found = rows
        return found

    def begin(self, command: str) -> None:
        """Send a command that has several answers. `answer` gives them."""
        with _telling():
            self._pq.send_query(command.encode())

    def answer(self, until: float | None = None) -> list[list[str | None]] | None:
        """The rows of the next answer; none of one that streams, None behind the last. Raises `ServerSaid`. `until`:
        that of the monotonic clock at which no answer counts as none.
        """
        while self._pq.is_busy():
            if until is not None and time.monotonic() > until:
                raise ServerSaid("", NO_ANSWER)
            self.wait(_POLL_SECONDS)
        with _telling():
            result = self._pq.get_result()
        return None if result is None else self._rows(result)

    def stream(self, command: str) -> None:
        """Begin what streams in both directions. Raises `ServerSaid`."""
        result = self._pq.exec_(command.encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            self._rows(result)
            raise ServerSaid("", "it does not stream")

    def next(self) -> bytes | None:
        """The next message of what streams; b"" where there is none yet, None at its end. Raises `ServerSaid`."""
        with _telling():
            count, body = self._pq.get_copy_data(1)
        if count > 0:
            return bytes(body)
        return b"" if count == 0 else None

    def wait(self, seconds: float) -> None:
        """Wait until more has come, so long at most. Raises `ServerSaid` where the connection has ended."""
        select.select([self._pq.socket], [], [], seconds)
        try:
            self._pq.consume_input()
        except Exception as error:
            raise ServerSaid("", str(error)) from error

    def confirm(self, position: int, *, is_asked: bool = False) -> None:
        """Tell the server that all before a position of the log is durable; ask it for a sign of life. Raises
        `ServerSaid`.
        """
        with _telling():
            self._pq.put_copy_data(b"r" + struct.pack(">qqqqb", position, position, position, 0, is_asked))
            self._pq.flush()

    def close(self) -> None:
        """End it. May be called again."""
        self._pq.finish()

    def _rows(self, result: "pq.abc.PGresult") -> list[list[str | None]]:
        if result.status not in _STATUS_OK:
            state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
            text = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message).decode(
                "utf-8", "replace"
            )
            raise ServerSaid(state, text)
        values = ([result.get_value(row, column) for column in range(result.nfields)] for row in range(result.ntuples))
        return [[None if value is None else value.decode("utf-8", "replace") for value in row] for row in values]

    def trouble(self, said: ServerSaid, doing: str) -> SourceUnreachable:
        """What it means for the cluster as a whole."""
        user = quoted(self._database.login)
        for words, reason, hint, retry in _TROUBLES:
            if re.search(words, f"{said.state} {said.said}"):
                return SourceUnreachable(
                    f"the cluster {doing}",
                    hint=f"{hint.format(user=user)} It says: {said.said}",
                    retry=retry,
                    reason=reason,
                    answers=True,
                )
        text = f"ERROR: {said.state}: {said.said}" if re.fullmatch("[0-9A-Z]{5}", said.state) else said.said
        return unreachable(Complaint(2 if not said.state else 1, text), self._database, doing=doing)


_TROUBLES: Final = (
    (r"no pg_hba\.conf entry for replication", "replication-denied",
     "In pg_hba.conf: host replication {user} ADDRESS scram-sha-256; then SELECT pg_reload_conf();",
     Retry.AFTER_OPERATOR),
    (r"must be superuser or replication role|permission denied to (start WAL sender|use replication slots)|42501",
     "replication-denied", "As a superuser: ALTER ROLE {user} REPLICATION;", Retry.AFTER_OPERATOR),
    (r"all replication slots are in use|max_replication_slots", "slots-exhausted",
     "ALTER SYSTEM SET max_replication_slots = 10; then restart it; or drop a slot that nobody uses: "
     "SELECT * FROM pg_replication_slots;", Retry.AFTER_OPERATOR),
    (r"max_wal_senders", "wal-senders",
     "ALTER SYSTEM SET max_wal_senders = 10; then restart it; or end a standby that is not needed.",
     Retry.AFTER_OPERATOR),
    (r"is active for PID|55006", "slot-active",
     "Somebody else receives by this slot: end that, or give another name by --slot.", Retry.LATER),
)  # fmt: skip
"""What the server says, a reason, what to do."""
