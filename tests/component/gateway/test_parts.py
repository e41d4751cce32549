"""Parts of the gateway on their own: denials in the record, the HTTP server's life, tickets, housekeeping."""

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from chassis.ids import TimeOrderedIds, new_id
from chassis.life.tasks import end
from chassis.record.eventstore import EventStore
from contracts import errors
from contracts.envelope import decode_data
from contracts.errors import PlatformError
from contracts.gateway_events import AccessDenied
from gateway.auth import denials
from gateway.auth.denials import DenialLog
from gateway.auth.principal import Principal
from gateway.auth.rights import Role
from gateway.monitoring.tickets import LIFETIME, Tickets
from gateway.reading.shares import SharedConnections
from gateway.wire.server import HttpServer
from tests.support.eventually import eventually
from tests.support.gateway import NEW_CONFIGURATION, RunningGateway, environment_of, problem_code
from tests.support.postgres_server import PostgresServer, SchemaAccess

pytestmark = pytest.mark.stack


class _Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _principal(actor: str = "user:someone", lifetime: timedelta = timedelta(hours=1)) -> Principal:
    ends = datetime.now(UTC) + lifetime  # noqa: TID251  # a token's end is the wall clock's
    return Principal(actor=actor, organisation="acme", roles=frozenset({Role.VIEWER}), expires_at=ends.timestamp())


@pytest.fixture
async def store(record_access: SchemaAccess) -> AsyncIterator[EventStore]:
    """A record of the gateway's."""
    store = EventStore(dsn=record_access.dsn, schema=record_access.schema, service="gateway")
    await store.start()
    yield store
    await store.stop()


async def _recorded(store: EventStore) -> list[tuple[str, int]]:
    found = []
    for _, envelope in await store.events():
        event = decode_data(envelope)
        assert isinstance(event, AccessDenied)
        found.append((envelope.actor, event.repeats))
    return found


async def test_repeats_within_a_minute_are_counted(store: EventStore) -> None:
    """The first denial is recorded at once, what follows within the minute as one event with its number."""
    seconds = _Seconds()
    log = DenialLog(store, TimeOrderedIds(), seconds)
    for _ in range(5):
        await log.note(_principal(), "forbidden", "/x", "GET")
    await log.note(_principal("user:other"), "forbidden", "/x", "GET")
    assert await _recorded(store) == [("user:someone", 1), ("user:other", 1)]
    seconds.now = 61
    await log.close_old()
    assert await _recorded(store) == [("user:someone", 1), ("user:other", 1), ("user:someone", 4)]
    await log.note(_principal(), "forbidden", "/x", "GET")
    assert (await _recorded(store))[3:] == [("user:someone", 1)]


async def test_window_that_is_over_is_closed_by_the_next_denial(store: EventStore) -> None:
    """Also where nothing has closed it in time, repeats come before what follows them."""
    seconds = _Seconds()
    log = DenialLog(store, TimeOrderedIds(), seconds)
    for now in (0, 1, 2, 70):
        seconds.now = now
        await log.note(_principal(), "forbidden", "/x", "GET")
    assert [repeats for _, repeats in await _recorded(store)] == [1, 2, 1]


async def test_counted_denials_are_recorded_when_the_process_ends(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that was counted is lost by stopping, and the windows are bounded."""
    monkeypatch.setattr(denials, "WINDOWS_MAX", 2)
    log = DenialLog(store, TimeOrderedIds())
    await log.start()
    for _ in range(3):
        for number in range(2):
            await log.note(_principal(f"user:{number}"), "forbidden", "/x", "GET")
    await log.note(_principal("user:2"), "forbidden", "/x", "GET")
    await log.stop()
    assert await _recorded(store) == [("user:0", 1), ("user:1", 1), ("user:0", 2), ("user:2", 1), ("user:1", 2)]


async def test_burst_at_the_end_of_a_window_loses_no_denial(store: EventStore) -> None:
    """While the old window is written down others make the next one; all of them are counted in it."""
    seconds = _Seconds()
    log = DenialLog(store, TimeOrderedIds(), seconds)
    for now in (0, 1, 2):
        seconds.now = now
        await log.note(_principal(), "forbidden", "/x", "GET")
    seconds.now = 70
    await asyncio.gather(*(log.note(_principal(), "forbidden", "/x", "GET") for _ in range(20)))
    await log.stop()
    assert sum(repeats for _, repeats in await _recorded(store)) == 23


async def test_stop_in_the_middle_of_closing_loses_no_denial(store: EventStore) -> None:
    """A loop that is cancelled again and again while windows are written down takes none of them with it."""
    seconds = _Seconds()
    log = DenialLog(store, TimeOrderedIds(), seconds)
    for number in range(100):
        for _ in range(2):
            await log.note(_principal(f"user:{number}"), "forbidden", "/x", "GET")
    seconds.now = 70
    closing = asyncio.create_task(log.close_old())
    await asyncio.sleep(0)
    await end(closing, again_seconds=0.0)
    await log.stop()
    assert sum(repeats for _, repeats in await _recorded(store)) == 200


async def test_denial_stays_a_denial_when_the_record_is_away(
    postgres: PostgresServer, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be recorded is logged; it neither lets anybody in nor fails the answer."""
    monkeypatch.setattr("chassis.postgres.circuit.PATIENCE_SECONDS", 0.1)
    log = DenialLog(store, TimeOrderedIds())
    await asyncio.to_thread(postgres.stop)
    try:
        await log.note(_principal(), "forbidden", "/x", "GET")
    finally:
        await asyncio.to_thread(postgres.start)

    async def nothing_is_recorded() -> bool:
        return await _recorded(store) == []

    await eventually(nothing_is_recorded)


async def _hello(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_port_that_is_taken_is_an_error_of_the_settings() -> None:
    """The start says which setting to change, and takes no other process down."""
    first = HttpServer(_hello, host="127.0.0.1", port=0)
    assert await first.check() is not None
    assert isinstance(await first.ended(), PlatformError)
    await first.start()
    try:
        assert await first.check() is None
        with pytest.raises(PlatformError) as taken:
            await HttpServer(_hello, host="127.0.0.1", port=first.port).start()
        assert taken.value.code is errors.INVALID_SETTING
        assert taken.value.field == "WEDSYNC_HTTP_PORT"
    finally:
        await first.stop()


async def test_server_that_ends_is_noticed() -> None:
    """The process ends with a server that has ended by itself."""
    server = HttpServer(_hello, host="127.0.0.1", port=0)
    await server.start()
    server._server.should_exit = True
    failure = await asyncio.wait_for(server.ended(), 15)
    assert isinstance(failure, PlatformError)
    assert await server.check() is not None
    await server.stop()


async def test_ticket_is_taken_once_and_not_too_late(gateway: RunningGateway) -> None:
    """A ticket speaks for its person once; one that was not used in time is forgotten."""

    class _Clock:
        time = datetime.now(UTC)  # noqa: TID251  # moved by the test

        def now(self) -> datetime:
            return self.time

    clock = _Clock()
    pool = gateway.process.gateway.pool
    tickets = Tickets(pool, SharedConnections(pool), clock)
    principal = _principal()
    ticket = (await tickets.give(principal)).ticket
    assert await tickets.take(ticket) == principal
    with pytest.raises(PlatformError):
        await tickets.take(ticket)
    late = await tickets.give(principal)
    assert late.expires_at <= clock.now() + LIFETIME
    short = await tickets.give(_principal(lifetime=timedelta(seconds=5)))
    assert short.expires_at < late.expires_at
    # No date is as late as this token ends.
    endless = await tickets.give(msgspec.structs.replace(_principal(), expires_at=1e12))
    assert endless.expires_at == clock.now() + LIFETIME
    clock.time += LIFETIME
    with pytest.raises(PlatformError):
        await tickets.take(late.ticket)
    await tickets.forget_old()
    with pytest.raises(PlatformError):
        await tickets.take(short.ticket)


async def test_old_idempotency_keys_are_let_go(gateway: RunningGateway) -> None:
    """A key is kept for a week; after that the same key is a new request."""
    headers = {"Idempotency-Key": new_id()}
    parts = gateway.process.gateway
    async with gateway.http("owner") as http:
        first = await http.post("/api/backup/configurations", json=NEW_CONFIGURATION, headers=headers)
        await parts.book.forget_old()
        same = await http.post("/api/backup/configurations", json=NEW_CONFIGURATION, headers=headers)
        async with parts.pool.connection() as database:
            await database.execute("UPDATE idempotency_keys SET created_at = created_at - interval '8 days'")
        await parts.book.forget_old()
        again = await http.post("/api/backup/configurations", json=NEW_CONFIGURATION, headers=headers)
    assert first.json()["id"] == same.json()["id"] != again.json()["id"]


async def test_asyncapi_is_served_or_missed_with_a_problem(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Subscribers find the events' description without a token."""
    from gateway.groups.service import open_routes

    async with gateway.stranger() as http:
        document = await http.get("/asyncapi")
        assert document.status_code == 200
        assert document.headers["content-type"].startswith("application/yaml")
        assert "\nasyncapi: " in document.text
        open_routes._asyncapi.cache_clear()
        monkeypatch.setattr(open_routes, "ASYNCAPI_FILE", tmp_path / "nothing.yaml")
        missing = await http.get("/asyncapi")
        assert problem_code(missing) == "not-found"
    open_routes._asyncapi.cache_clear()


async def test_process_starts_stops_and_rebuilds(gateway: RunningGateway) -> None:
    """`python -m gateway` runs until it is told to stop; `rebuild` makes the read models anew; the rest is usage."""
    command, environment = [sys.executable, "-m", "gateway"], environment_of(gateway)
    rebuilt = await asyncio.to_thread(
        subprocess.run, [*command, "rebuild"], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "read models rebuilt here" in rebuilt.stdout
    usage = await asyncio.to_thread(
        subprocess.run, [*command, "dance"], env=environment, capture_output=True, check=False
    )
    assert usage.returncode == 2
    broken = {**environment, "WEDSYNC_JWKS_FILE": "/nowhere/jwks.json"}
    refused = await asyncio.to_thread(
        subprocess.run, command, env=broken, capture_output=True, text=True, timeout=60, check=False
    )
    assert refused.returncode == 78, refused.stderr
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        lines: list[str] = []
        while not any('"started"' in line for line in lines):
            line = await asyncio.wait_for(asyncio.to_thread(process.stderr.readline), 60)
            assert line, lines
            lines.append(line)
        process.terminate()
        assert await asyncio.to_thread(process.wait, 30) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.stderr.close()
