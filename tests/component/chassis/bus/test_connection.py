"""The process's NATS connection against a real server that comes, goes and refuses."""

import asyncio
import socket
from pathlib import Path

import pytest
from nats.errors import Error as NatsError

from chassis.bus.connection import Connection
from chassis.life.health import Health
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from deploy.nats.permissions import generate_keys
from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer

pytest_plugins = ["tests.support.nats_server"]
pytestmark = pytest.mark.stack


def _connection(
    url: str, seed_file: Path | None = None, *, start_seconds: float = 10.0
) -> tuple[Connection, Telemetry]:
    telemetry = Telemetry("executor")
    connection = Connection(
        url=url,
        identity="executor",
        telemetry=telemetry,
        health=Health("executor"),
        seed_file=seed_file,
        start_seconds=start_seconds,
    )
    return connection, telemetry


async def test_connection_receives_answers_in_its_own_inbox(own_nats: NatsServer) -> None:
    """An identity's answers go to a prefix that nobody else may listen to."""
    await own_nats.apply()
    connection, telemetry = _connection(own_nats.url, own_nats.seed_file("executor"))
    await connection.start()
    try:
        assert connection.client.new_inbox().startswith("_INBOX_executor.")
        assert await connection.js.stream_info("BACKUP_EXECUTOR")
        assert await connection.check() is None
        assert telemetry.registry.get_sample_value("wedsync_nats_connected") == 1
    finally:
        await connection.stop()
    assert telemetry.registry.get_sample_value("wedsync_nats_connected") == 0


async def test_connection_comes_back_by_itself(own_nats: NatsServer) -> None:
    """A server that is stopped and started is found again; meanwhile the process is not ready and says why."""
    await own_nats.apply()
    connection, telemetry = _connection(own_nats.url, own_nats.seed_file("executor"))
    await connection.start()
    try:
        own_nats.kill()
        problem = await eventually(connection.check)
        assert isinstance(problem, PlatformError)
        assert problem.code is errors.UNAVAILABLE
        own_nats.start()
        await eventually(lambda: telemetry.registry.get_sample_value("wedsync_nats_reconnects_total") == 1)
        assert await connection.check() is None
        assert await connection.js.stream_info("BACKUP_EXECUTOR")
    finally:
        await connection.stop()


async def test_connection_stops_while_the_server_is_away(own_nats: NatsServer) -> None:
    """A stop does not wait for a server that is not there."""
    connection, _ = _connection(own_nats.url, own_nats.seed_file("executor"))
    await connection.start()
    own_nats.kill()
    await eventually(connection.check)
    async with asyncio.timeout(60):
        await connection.stop()
    assert not connection.client.is_connected


async def test_start_waits_for_a_server_and_gives_up_in_time(own_nats: NatsServer) -> None:
    """A server that comes a little late is waited for; one that never comes is an error with a code."""
    own_nats.stop()
    connection, _ = _connection(own_nats.url, own_nats.seed_file("executor"))
    starting = asyncio.create_task(connection.start())
    await asyncio.sleep(0)
    await asyncio.to_thread(own_nats.start)
    await starting
    await connection.stop()

    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"nats://127.0.0.1:{closed.getsockname()[1]}"
        connection, _ = _connection(url, own_nats.seed_file("executor"), start_seconds=0.4)
        with pytest.raises(PlatformError, match="did not answer within") as caught:
            await connection.start()
    assert caught.value.code is errors.UNAVAILABLE
    await connection.stop()


@pytest.mark.parametrize("content", [None, "", "not a seed", "SUAGARBAGE" * 6, "\xff\xfe"])
async def test_unusable_seed_file_is_an_invalid_setting(
    own_nats: NatsServer, tmp_path: Path, content: str | None
) -> None:
    """What starting anew does not mend is told apart from what it does; the seed is in no message."""
    seed = tmp_path / "the.seed"
    if content is not None:
        seed.write_text(content, encoding="latin-1")
    connection, _ = _connection(own_nats.url, seed)
    with pytest.raises(PlatformError) as caught:
        await connection.start()
    assert caught.value.code is errors.INVALID_SETTING
    assert caught.value.field == "WEDSYNC_NATS_SEED_FILE"
    assert "WEDSYNC_NATS_SEED_FILE" in caught.value.message
    assert "GARBAGE" not in str(caught.value)


async def test_key_that_the_server_does_not_know_is_an_invalid_setting(own_nats: NatsServer, tmp_path: Path) -> None:
    """A wrong key is found at once, not after the time for a server to come."""
    seed = tmp_path / "unknown.seed"
    seed.write_text(generate_keys().seed, encoding="ascii")
    connection, _ = _connection(own_nats.url, seed, start_seconds=30.0)
    async with asyncio.timeout(60):
        with pytest.raises(PlatformError, match="refused the identity's key") as caught:
            await connection.start()
    assert caught.value.code is errors.INVALID_SETTING
    await connection.stop()


@pytest.mark.parametrize("url", ["nats://user:hush@[not-a-host", "nats://user:hush@host:99999", "foo://hush@host", ","])
async def test_malformed_url_is_an_invalid_setting_and_names_no_credentials(url: str) -> None:
    """A URL that cannot be used is told by its variable: waiting does not mend it."""
    connection, _ = _connection(url, start_seconds=1.0)
    with pytest.raises(PlatformError) as caught:
        await connection.start()
    assert caught.value.code is errors.INVALID_SETTING
    assert caught.value.field == "WEDSYNC_NATS_URL"
    assert "hush" not in str(caught.value)
    await connection.stop()


async def test_connection_that_the_server_turns_away_ends_the_process(own_nats: NatsServer) -> None:
    """When the client gives up for good, whoever waits for its end is told; a stop of our own is no such end."""
    connection, _ = _connection(own_nats.url, own_nats.seed_file("executor"))
    assert isinstance(await connection.ended(), PlatformError)
    with pytest.raises(PlatformError):
        _ = connection.js
    await connection.start()
    ended = asyncio.create_task(connection.ended())
    await connection.client._process_err("'Secure Connection - TLS Required'")
    error = await asyncio.wait_for(ended, 60)
    assert isinstance(error, PlatformError)
    assert error.code is errors.UNAVAILABLE
    await connection.stop()

    connection, _ = _connection(own_nats.url, own_nats.seed_file("executor"))
    await connection.start()
    ended = asyncio.create_task(connection.ended())
    await connection.stop()
    done, _ = await asyncio.wait({ended}, timeout=0.2)
    assert not done
    ended.cancel()


async def test_trouble_is_logged_without_its_text(own_nats: NatsServer, caplog: pytest.LogCaptureFixture) -> None:
    """A driver's error is named by its type; its text may hold an address."""
    connection, _ = _connection(own_nats.url, own_nats.seed_file("executor"))
    await connection.start()
    await connection._on_error(NatsError("nats: slow consumer of backup.gateway.studio-a"))
    await connection.stop()
    (record,) = [each for each in caplog.records if each.message == "nats connection trouble"]
    assert "studio-a" not in str(vars(record))
