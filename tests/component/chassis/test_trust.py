"""Servers elsewhere: TLS to NATS and Postgres, what is said where they are not believed, and when certificates end."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chassis.bus.connection import Connection
from chassis.life.health import Health, HealthServer, answer
from chassis.record.eventstore import EventStore
from chassis.telemetry.certificates import add_certificate_figures
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import DEAD_LETTER_STREAM
from deploy.nats.permissions import TOPOLOGY
from repository.backup.source import SourceUnreachable
from sources.postgres.database import Database
from sources.postgres.source import PostgresSource
from tests.support.alerts import firing
from tests.support.certificates import Authority
from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer
from tests.support.operations_guide import assert_shows, block
from tests.support.postgres_server import NOBODY, PostgresServer, running_postgres
from tests.support.promql import Scrapes
from tests.support.stack import ROOT

pytestmark = pytest.mark.stack

DAY = 86400.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the certificates are."""
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def ours(folder: Path) -> Authority:
    """The authority that signs for the servers."""
    return Authority.make(folder, "ours")


@pytest.fixture(scope="module")
def another(folder: Path) -> Authority:
    """One that has nothing to do with them."""
    return Authority.make(folder, "another")


@pytest.fixture(scope="module")
def encrypted_nats(tmp_path_factory: pytest.TempPathFactory, ours: Authority) -> Iterator[NatsServer]:
    """A NATS server that asks for TLS."""
    place = tmp_path_factory.mktemp("nats")
    certificate, key = ours.sign(place)
    server = NatsServer(place, tls=(certificate, key)).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def encrypted_postgres(ours: Authority) -> Iterator[PostgresServer]:
    """A Postgres that offers TLS."""
    with running_postgres() as server:
        server.stop()
        _sign(server, ours)
        server.settings = (*server.settings, "ssl=on")
        server.start()
        yield server


def _sign(server: PostgresServer, authority: Authority, *, days: float = 30) -> None:
    for file in authority.sign(server.folder / "cluster", days=days):
        if os.geteuid() == 0:
            os.chown(file, NOBODY, NOBODY)


def _connection(server: NatsServer, ca_file: Path | None, *, scheme: str = "tls") -> Connection:
    return Connection(
        url=f"{scheme}://127.0.0.1:{server.port}",
        identity="executor",
        telemetry=Telemetry("executor"),
        health=Health("executor"),
        seed_file=server.seed_file("executor"),
        ca_file=ca_file,
    )


async def _refusal_of(connection: Connection) -> PlatformError:
    with pytest.raises(PlatformError) as refused:
        await connection.start()
    await connection.stop()
    assert refused.value.code is errors.INVALID_SETTING
    assert refused.value.hint
    return refused.value


async def test_nats_is_believed_by_its_authority(encrypted_nats: NatsServer, ours: Authority) -> None:
    """With the authority that signed for it; the connection is encrypted, and knows until when."""
    connection = _connection(encrypted_nats, ours.file)
    await connection.start()
    try:
        assert await connection.check() is None
        assert connection.certificate_expires() is not None
    finally:
        await connection.stop()


async def test_nats_of_another_authority_is_not_believed(encrypted_nats: NatsServer, another: Authority) -> None:
    """Neither with the wrong file nor with the system's authorities: a wrong setting, told at once."""
    for ca_file in (another.file, None):
        refused = await _refusal_of(_connection(encrypted_nats, ca_file))
        assert refused.field == "WEDSYNC_NATS_CA_FILE"
        assert "the certificate of nats is not believed" in refused.message


async def test_nats_without_tls_is_not_spoken_to_in_the_clear(nats_server: NatsServer, ours: Authority) -> None:
    """An address of `tls://` is never answered by somebody who asks for no TLS."""
    refused = await _refusal_of(_connection(nats_server, ours.file))
    assert refused.message == "nats offers no tls, and its address asks for it"


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_file_of_authorities_that_cannot_be_used_is_named(
    encrypted_nats: NatsServer, tmp_path: Path, content: str | None
) -> None:
    """Missing, or something else."""
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    assert (await _refusal_of(_connection(encrypted_nats, file))).field == "WEDSYNC_NATS_CA_FILE"


async def test_authority_without_tls_is_a_contradiction(nats_server: NatsServer, ours: Authority) -> None:
    """Somebody meant to encrypt, and wrote nats://."""
    refused = await _refusal_of(_connection(nats_server, ours.file, scheme="nats"))
    assert refused.field == "WEDSYNC_NATS_URL"


def _encrypted(dsn: str, authority: Path, **more: Any) -> str:
    return make_conninfo(dsn, sslmode="verify-full", sslrootcert=str(authority), **more)


async def test_postgres_is_believed_by_its_authority(encrypted_postgres: PostgresServer, ours: Authority) -> None:
    """The record opens over an encrypted connection."""
    access = encrypted_postgres.fresh()
    store = EventStore(dsn=_encrypted(access.dsn, ours.file), schema=access.schema, service="executor")
    await store.start()
    try:
        assert await store.check() is None
    finally:
        await store.stop()


async def _refused_record(dsn: str) -> PlatformError:
    store = EventStore(dsn=dsn, schema="executor", service="executor")
    with pytest.raises(PlatformError) as refused:
        await store.start()
    await store.stop()
    assert refused.value.code is errors.INVALID_SETTING
    assert refused.value.field == "WEDSYNC_POSTGRES_DSN"
    return refused.value


async def test_postgres_that_is_not_believed_is_a_wrong_setting(
    encrypted_postgres: PostgresServer, postgres: PostgresServer, ours: Authority, another: Authority, tmp_path: Path
) -> None:
    """Another authority, a file that is missing, another name, no TLS: each told as what it is, without its address."""
    dsn = encrypted_postgres.admin_dsn
    assert "no authority" in (await _refused_record(_encrypted(dsn, another.file))).message
    assert "is not there" in (await _refused_record(_encrypted(dsn, tmp_path / "none.pem"))).message
    named = _encrypted(dsn, ours.file, host="elsewhere", hostaddr="127.0.0.1")
    refused = await _refused_record(named)
    assert "another host" in refused.message
    assert "elsewhere" not in str(refused)
    assert "offers no tls" in (await _refused_record(_encrypted(postgres.admin_dsn, ours.file))).message


def _installed(
    postgres: PostgresServer, nats: NatsServer, authority: Path, seed: str = TOPOLOGY, **instead: str
) -> "subprocess.CompletedProcess[str]":
    """The guide's command, with these servers in it. `seed`: of which identity; `instead`: other options of the DSN."""
    script = block(
        "run",
        "elsewhere",
        ("host=db.example user=… password=… dbname=wedsync", make_conninfo(postgres.admin_dsn, **instead)),
        ("/etc/wedsync/postgres-ca.pem", str(authority)),
        ("tls://nats.example:4222", f"tls://127.0.0.1:{nats.port}"),
        ("/etc/wedsync/nats-ca.pem", str(authority)),
        ("/etc/wedsync/seeds/topology.seed", str(nats.seed_file(seed))),
        ("python3", sys.executable),
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


async def test_servers_elsewhere_are_made_ready_as_the_guide_says(
    encrypted_nats: NatsServer, encrypted_postgres: PostgresServer, ours: Authority, another: Authority
) -> None:
    """Schemas, roles, streams and consumers, over TLS; once more changes nothing; another authority is told."""
    refused = _installed(encrypted_postgres, encrypted_nats, another.file)
    assert refused.returncode == 78, refused.stderr
    assert "the certificate of postgres is not believed" in refused.stderr
    assert "WEDSYNC_POSTGRES_ADMIN_DSN" in refused.stderr
    first = _installed(encrypted_postgres, encrypted_nats, ours.file)
    assert first.returncode == 0, first.stderr
    assert_shows(block("expect", "elsewhere"), first.stdout)
    refused = _installed(encrypted_postgres, encrypted_nats, ours.file, user="nobody-there")
    assert refused.returncode == 78, refused.stderr
    assert "postgres answers, and refuses the role, the password or the database" in refused.stderr
    assert "Correct user, password and dbname in WEDSYNC_POSTGRES_ADMIN_DSN" in refused.stderr
    refused = _installed(encrypted_postgres, encrypted_nats, ours.file, seed="config")
    assert refused.returncode == 78, refused.stderr
    assert "nats does not let the identity of WEDSYNC_NATS_SEED_FILE make streams" in refused.stderr
    again = _installed(encrypted_postgres, encrypted_nats, ours.file)
    assert again.stdout.endswith("nats: streams and consumers as declared, 0 changed\n")

    # A newer build was here, and has changed a table: an older one does not install beneath it, and says so.
    with psycopg.connect(encrypted_postgres.admin_dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO config.schema_steps (part, number, digest) VALUES ('service', 1000, 'newer')")
        older = _installed(encrypted_postgres, encrypted_nats, ours.file)
        connection.execute("DELETE FROM config.schema_steps WHERE number = 1000")
    assert older.returncode == 78
    assert "the tables of the schema config are not those of this build: a newer build has changed them" in older.stderr
    assert "Install the newest build that has ever run here" in older.stderr


async def test_dead_letters_that_were_lost_elsewhere_are_told_until_that_is_accepted(
    encrypted_postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """The record knows that something was published, and so that the stream was there: exit code 4 until then."""
    environment = {
        **os.environ,
        "WEDSYNC_POSTGRES_ADMIN_DSN": encrypted_postgres.admin_dsn,
        "WEDSYNC_NATS_URL": f"nats://127.0.0.1:{own_nats.port}",
        "WEDSYNC_NATS_SEED_FILE": str(own_nats.seed_file(TOPOLOGY)),
    }

    def install(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "deploy.elsewhere", *words]
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    assert install()[0] == 0, "nothing was published yet: nothing can be lost"
    with psycopg.connect(encrypted_postgres.admin_dsn, autocommit=True) as connection:
        connection.execute("UPDATE config.outbox_state SET high_water = 7")
    async with own_nats.connected() as client:
        await client.jetstream().delete_stream(DEAD_LETTER_STREAM)
    for _ in range(2):
        code, said = install()
        assert (code, "[dead-letters-lost]" in said) == (4, True), said
    assert install("--accept-loss", "it was a test")[0] == 0
    assert install()[0] == 0
    with psycopg.connect(encrypted_postgres.admin_dsn, autocommit=True) as connection:
        connection.execute("UPDATE config.outbox_state SET high_water = 0")


async def test_certificate_that_ends_soon_pages(
    encrypted_nats: NatsServer, encrypted_postgres: PostgresServer, ours: Authority, tmp_path: Path
) -> None:
    """Two weeks before: the servers' own, and those of the files that settings name."""
    file = tmp_path / "authorities.pem"
    shutil.copy(ours.file, file)
    connection = _connection(encrypted_nats, ours.file)
    telemetry, health = Telemetry("executor"), Health("executor")
    HealthServer(health, telemetry)
    add_certificate_figures(
        telemetry,
        dsn=_encrypted(encrypted_postgres.admin_dsn, ours.file),
        nats_ca_file=file,
        nats_expires=connection.certificate_expires,
    )
    await connection.start()
    try:
        _, _, body = await answer(health, telemetry, "/metrics")
    finally:
        await connection.stop()
    scrapes = Scrapes()
    now = connection_time(ours)
    scrapes.add(now, {"executor": body.decode()})

    def ending(in_days: float) -> set[str]:
        found = firing(scrapes, "WedsyncCertificateExpires", in_seconds=in_days * DAY)
        return {each["certificate"] for each in found}

    assert ending(10) == set()
    assert ending(20) == {"nats", "postgres"}
    assert ending(3640) == {"nats", "postgres", "nats-ca", "postgres-ca"}


async def test_each_server_of_a_connection_string_has_its_certificate_told(
    encrypted_postgres: PostgresServer, ours: Authority
) -> None:
    """Of two the one that does not answer is told as unreadable, and the other's certificate all the same."""
    telemetry = Telemetry("executor")
    port = conninfo_to_dict(encrypted_postgres.admin_dsn)["port"]
    dsn = _encrypted(encrypted_postgres.admin_dsn, ours.file, host="127.0.0.1,127.0.0.1", port=f"{port},1")
    add_certificate_figures(telemetry, dsn=dsn, nats_ca_file=None, nats_expires=lambda: None)
    _, _, body = await answer(Health("executor"), telemetry, "/metrics")
    shown = body.decode()
    assert f'wedsync_certificate_expires_timestamp_seconds{{certificate="postgres 127.0.0.1:{port}"}}' in shown
    assert f'wedsync_certificate_unreadable{{certificate="postgres 127.0.0.1:{port}"}} 0.0' in shown
    assert 'wedsync_certificate_expires_timestamp_seconds{certificate="postgres 127.0.0.1:1"}' not in shown
    assert 'wedsync_certificate_unreadable{certificate="postgres 127.0.0.1:1"} 1.0' in shown


def connection_time(authority: Authority) -> float:
    """Now, by the certificates: they begin a day before they are made."""
    return authority.certificate.not_valid_before_utc.timestamp() + DAY


async def test_database_that_is_backed_up_is_believed_by_its_authority(
    encrypted_postgres: PostgresServer, ours: Authority, another: Authority
) -> None:
    """And no longer than its certificate says."""
    server = encrypted_postgres

    def refusal(ca_file: Path) -> str | None:
        address = f"postgres://postgres@127.0.0.1:{server.port}/postgres?sslmode=verify-full&sslrootcert={ca_file}"
        try:
            with closing(PostgresSource(Database(address, lambda: server.password))) as source:
                source.require()
        except SourceUnreachable as error:
            return str(error.context["reason"])
        return None

    async def is_told(reason: str | None) -> bool:
        return await asyncio.to_thread(refusal, ours.file) == reason

    assert await is_told(None)
    assert await asyncio.to_thread(refusal, another.file) == "certificate-refused"
    try:
        _sign(server, ours, days=-0.5)
        with psycopg.connect(server.admin_dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
            assert await eventually(lambda: is_told("certificate-refused"), within=60)
    finally:
        _sign(server, ours)
        with psycopg.connect(server.admin_dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_reload_conf()")
        assert await eventually(lambda: is_told(None), within=60)
