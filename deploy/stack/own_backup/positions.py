"""Up to where each service's record goes, as a running Postgres has it."""

import psycopg
from psycopg.sql import SQL, Identifier

from chassis.postgres.database import translated
from contracts.envelope import MalformedEvent, decode
from contracts.subjects import SERVICES
from deploy.stack.own_backup.memory import Position

CONNECT_SECONDS = 10


def positions_of(dsn: str) -> list[Position]:
    """Of every service, from one moment. `dsn` is the administrator's. Raises UNAVAILABLE."""
    with translated(), psycopg.connect(dsn, connect_timeout=CONNECT_SECONDS) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return [_position(connection, service) for service in SERVICES]


def _position(connection: "psycopg.Connection[tuple[object, ...]]", service: str) -> Position:
    logs, events = Identifier(service, "log_incarnations"), Identifier(service, "stored_events")
    log = connection.execute(SQL("SELECT incarnation FROM {} ORDER BY number DESC LIMIT 1").format(logs)).fetchone()
    last = connection.execute(
        SQL("SELECT notification_id, state FROM {} ORDER BY notification_id DESC LIMIT 1").format(events)
    ).fetchone()
    name = str(log[0]) if log is not None else ""
    if last is None:
        return Position(service=service, log=name, last=0)
    number = int(str(last[0]))
    try:
        envelope = decode(bytes(last[1]))  # type: ignore[call-overload]  # the column is bytea
    except MalformedEvent:
        return Position(service=service, log=name, last=number, event="unreadable by this build")
    return Position(service=service, log=name, last=number, event=envelope.id, recorded=envelope.time)


def behind(found: list[Position], expected: list[Position]) -> list[str]:
    """In words, by service: what a record lacks of what it should have at least."""
    by_service = {each.service: each for each in found}
    lacking = []
    for want in expected:
        have = by_service.get(want.service)
        if have is None or have.log != want.log or have.last < want.last:
            has = "nothing" if have is None or have.last == 0 else f"event {have.last} of the log {have.log}"
            lacking.append(f"{want.service}: {has}, where event {want.last} of the log {want.log} was saved")
    return lacking
