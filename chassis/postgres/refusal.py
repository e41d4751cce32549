"""Why a database server lets nobody in, by its SQLSTATE: its words are in the language that it was set up with.

libpq keeps the code of a refused connection to itself; it is read from libpq's own trace of the protocol, which has it
as the server has sent it.
"""

import os
import re
import select
import time
from enum import Enum

from psycopg import pq
from psycopg.pq.abc import PGconn

_ERROR = re.compile(rb'\tErrorResponse\t[^\n]*? C "([0-9A-Z]{5})"')
_ACCESS = re.compile("28...|3D000|42501")
"""Invalid authorization (the password, pg_hba.conf), no such database, no right to connect to it."""
_TOO_MANY = "53300"


class Refusal(Enum):
    """What keeps us out."""

    ACCESS = "these credentials or this database"
    FULL = "every connection is taken"


def refusal_of(dsn: str, *, seconds: float) -> Refusal | None:
    """What a server that does not let us in refuses; None also where it lets us in now, or cannot be reached.

    The connection is tried once more.
    """
    connection = pq.PGconn.connect_start(dsn.encode())
    trace = os.memfd_create("trace", os.MFD_CLOEXEC)
    try:
        # A descriptor of its own: libpq closes what it writes to in its own time.
        connection.trace(os.dup(trace))
        _wait(connection, time.monotonic() + seconds)
        connection.untrace()
        os.lseek(trace, 0, os.SEEK_SET)
        states = _ERROR.findall(os.read(trace, os.fstat(trace).st_size))
        state = states[-1].decode() if states else ""
        if connection.needs_password or _ACCESS.fullmatch(state):
            return Refusal.ACCESS
        return Refusal.FULL if state == _TOO_MANY else None
    finally:
        connection.finish()
        os.close(trace)


def _wait(connection: PGconn, deadline: float) -> None:
    """Until it is connected, or refused, or the time is over."""
    while connection.status != pq.ConnStatus.BAD:
        polled = connection.connect_poll()
        if polled not in (pq.PollingStatus.READING, pq.PollingStatus.WRITING):
            return
        reads, writes = ([connection.socket], []) if polled == pq.PollingStatus.READING else ([], [connection.socket])
        left = deadline - time.monotonic()
        if left <= 0 or not any(select.select(reads, writes, [], left)):
            return
