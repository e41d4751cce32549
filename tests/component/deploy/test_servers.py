"""Postgres, NATS and the S3 servers under the supervisor, without our own processes."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from contracts.streams import STREAMS
from deploy.postgres.schemas import SCHEMAS
from deploy.stack import postgres, s3
from deploy.stack.account import database_account
from deploy.stack.layout import Layout
from deploy.stack.locations import region_url
from deploy.stack.nats import nats_part, topology_connection
from deploy.stack.part import Part, Step
from deploy.stack.platform import prepare
from deploy.stack.programs import PostgresPrograms
from deploy.stack.secrets import Secrets
from tests.component.deploy.conftest import Workbench
from tests.support.eventually import eventually
from tests.support.stack import closed_folder

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


@pytest.fixture
def home() -> Any:
    """A prepared home in a closed folder with a difficult name."""
    folder = closed_folder()
    yield Layout.create(folder / "a home")
    shutil.rmtree(folder)


@pytest.fixture
def programs(home: Layout) -> Iterator[PostgresPrograms]:
    """Postgres's programs of that home."""
    with PostgresPrograms(database_account(os.environ), owner=home.remembered.instance) as programs:
        yield programs


@asynccontextmanager
async def running(layout: Layout, units: list[Part | Step]) -> AsyncIterator[Workbench]:
    """The units, ready."""
    bench = Workbench(layout.home)
    ready = asyncio.Event()
    task = asyncio.create_task(bench.run(units, lambda _seconds: ready.set()))
    waiting = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.is_set():
            await task
        yield bench
    finally:
        waiting.cancel()
        bench.stop.set()
        await asyncio.gather(task, return_exceptions=True)


def _client(layout: Layout, secrets: Secrets, region: s3.Region, identity: str) -> "S3Client":
    credentials = secrets.s3[identity]
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint(layout, region),
        region_name=region.region,
        aws_access_key_id=credentials.access_key_id,
        aws_secret_access_key=credentials.secret_access_key,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


@contextlib.contextmanager
def refused(*codes: str) -> Any:
    """The server refuses with one of these codes."""
    with pytest.raises(ClientError) as refusal:
        yield
    assert refusal.value.response["Error"]["Code"] in codes


async def test_postgres_starts_below_a_closed_folder_and_keeps_its_record(
    home: Layout, programs: PostgresPrograms
) -> None:
    """The cluster is made once, also in a folder that the database's account cannot enter, and survives a restart."""
    secrets = prepare(home)
    account = database_account(os.environ)
    units = postgres.postgres_units(home, secrets, account, programs)
    dsn = postgres.admin_dsn(home, secrets, database="postgres")
    async with running(home, list(units)), await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("CREATE TABLE kept (value text)")
        await connection.execute("INSERT INTO kept VALUES ('Süß')")
        for name, expected in (("fsync", "on"), ("data_checksums", "on"), ("unix_socket_directories", "")):
            row = await (await connection.execute("SELECT current_setting(%s)", (name,))).fetchone()
            assert row == (expected,)
    async with running(home, list(units)), await psycopg.AsyncConnection.connect(dsn) as connection:
        assert await (await connection.execute("SELECT value FROM kept")).fetchone() == ("Süß",)
    if account is not None:
        assert home.postgres_data.stat().st_uid == account.uid


async def test_postgres_lets_nobody_in_without_the_password(home: Layout, programs: PostgresPrograms) -> None:
    """There is no trusted connection, also not from this machine."""
    secrets = prepare(home)
    async with running(home, list(postgres.postgres_units(home, secrets, database_account(os.environ), programs))):
        for password in ("", "wrong"):
            dsn = postgres.dsn(home, role="wedsync_admin", password=password, database="postgres")
            with pytest.raises(psycopg.OperationalError, match=r"password|authentication"):
                await psycopg.AsyncConnection.connect(dsn)


async def test_cluster_that_a_crash_left_half_made_is_made_anew(home: Layout, programs: PostgresPrograms) -> None:
    """A first start that was cut off does not keep the second from working."""
    secrets = prepare(home)
    draft = home.postgres_data.with_name("postgres.new")
    draft.mkdir()
    (draft / "PG_VERSION").write_text("17\n")
    async with running(home, list(postgres.postgres_units(home, secrets, database_account(os.environ), programs))):
        assert (home.postgres_data / "global" / "pg_control").exists()
        assert not draft.exists()


async def test_regions_keep_their_buckets_apart_and_their_locks_fast(home: Layout) -> None:
    """The platform's identity writes and locks in its bucket; it shortens, bypasses and administers nothing."""
    secrets = prepare(home)
    offsite, primary = s3.REGIONS[2], s3.REGIONS[0]
    units = [unit for region in (offsite, primary) for unit in s3.s3_units(home, secrets, region)]
    async with running(home, units):
        client = _client(home, secrets, offsite, offsite.name)
        until = datetime.now(UTC) + timedelta(days=2)  # noqa: TID251  # the server's clock decides
        locked: Any = {"Bucket": offsite.bucket, "ObjectLockRetainUntilDate": until}
        version = client.put_object(**locked, Key="a", Body=b"kept", ObjectLockMode="COMPLIANCE")["VersionId"]
        weak = client.put_object(**locked, Key="b", Body=b"kept", ObjectLockMode="GOVERNANCE")["VersionId"]
        later: Any = {"Mode": "COMPLIANCE", "RetainUntilDate": until + timedelta(days=1)}
        client.put_object_retention(Bucket=offsite.bucket, Key="a", VersionId=version, Retention=later)
        with refused("AccessDenied"):
            client.delete_object(Bucket=offsite.bucket, Key="a", VersionId=version)
        with refused("AccessDenied"):
            client.delete_object(Bucket=offsite.bucket, Key="b", VersionId=weak, BypassGovernanceRetention=True)
        shorter: Any = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
        with refused("AccessDenied"):
            client.put_object_retention(Bucket=offsite.bucket, Key="a", VersionId=version, Retention=shorter)
        with refused("AccessDenied"):
            client.delete_bucket(Bucket=offsite.bucket)
        with refused("AccessDenied"):
            client.create_bucket(Bucket="another-bucket")
        with refused("InvalidAccessKeyId"):
            _client(home, secrets, primary, offsite.name).list_objects_v2(Bucket=primary.bucket)
        other = _client(home, secrets, primary, primary.name)
        other.put_object(Bucket=primary.bucket, Key="free", Body=b"x")
        other.delete_object(Bucket=primary.bucket, Key="free")
        assert region_url(home, offsite).startswith(f"s3://{offsite.bucket}/tier?endpoint=http%3A%2F%2F127.0.0.1")


async def test_topology_is_applied_by_its_own_identity_alone(home: Layout) -> None:
    """The streams are there after the start; a runtime identity cannot make one."""
    import nats
    from nats.errors import Error

    from deploy.stack import install
    from deploy.stack.nats import seed_file, url

    secrets = prepare(home)
    steps = [step for step in install.install_steps(home, secrets) if step.name == install.TOPOLOGY_STEP]
    async with running(home, [nats_part(home), *steps]):
        async with topology_connection(home) as client:
            found = {info.config.name for info in await client.jetstream().streams_info()}
        assert found == {stream.name for stream in STREAMS}
        refusals: list[Exception] = []

        async def note(error: Exception) -> None:
            refusals.append(error)

        runtime = await nats.connect(
            url(home), nkeys_seed=str(seed_file(home, "executor")), inbox_prefix=b"_INBOX_executor", error_cb=note
        )
        with pytest.raises(Error):
            await runtime.jetstream(timeout=0.5).add_stream(name="MINE", subjects=["mine.>"])
        await eventually(lambda: any("permissions violation" in str(error).lower() for error in refusals))
        await runtime.close()


async def test_install_gives_each_service_its_own_schema_and_no_other(home: Layout, programs: PostgresPrograms) -> None:
    """After the steps each role works in its schema; those of others and the server's own database are closed to it."""
    from deploy.stack import install

    secrets = prepare(home)
    steps = [step for step in install.install_steps(home, secrets) if step.name != install.TOPOLOGY_STEP]
    units: list[Part | Step] = [*postgres.postgres_units(home, secrets, database_account(os.environ), programs), *steps]
    for _ in range(2):  # a second start installs nothing twice
        async with running(home, units):
            for schema in SCHEMAS:
                access: Any = {"role": schema.role, "password": secrets.postgres_roles[schema.role]}
                dsn = postgres.dsn(home, **access)
                async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                    await connection.execute(f"SELECT count(*) FROM {schema.service}.stored_events")
                    for other in SCHEMAS:
                        if other is not schema:
                            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                                await connection.execute(f"SELECT 1 FROM {other.service}.stored_events")
                with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                    await psycopg.AsyncConnection.connect(postgres.dsn(home, database="postgres", **access))
