"""Postgres, NATS and the S3 servers under the supervisor, without our own processes."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import psycopg
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from nats.errors import Error

from chassis.bus.topology import apply, replay_subject
from contracts.errors import NO_SPACE, PlatformError
from contracts.streams import CONSUMERS, STREAMS
from deploy.postgres.schemas import SCHEMAS
from deploy.stack import postgres, s3, space, supervisor, watch
from deploy.stack.account import database_account
from deploy.stack.layout import Layout
from deploy.stack.locations import region_url
from deploy.stack.nats import nats_part, topology_connection
from deploy.stack.part import Part, Step
from deploy.stack.platform import prepare
from deploy.stack.programs import PostgresPrograms
from deploy.stack.s3_regions import REGIONS, Region
from deploy.stack.secrets import Secrets
from deploy.stack.state import Condition
from deploy.stack.stores import StoreGone
from tests.component.deploy.conftest import Workbench
from tests.support.eventually import eventually
from tests.support.mounted import mounted
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


def _client(layout: Layout, secrets: Secrets, region: Region, identity: str) -> "S3Client":
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
    offsite, primary = REGIONS[2], REGIONS[0]
    units: list[Part | Step] = [s3.s3_part(home, secrets, region) for region in (offsite, primary)]
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


def _servers(home: Layout, secrets: Secrets, programs: PostgresPrograms) -> list[Part | Step]:
    """Postgres, NATS and one S3 server."""
    cluster, server = postgres.postgres_units(home, secrets, database_account(os.environ), programs)
    return [cluster, server, nats_part(home), s3.s3_part(home, secrets, REGIONS[0])]


async def _is(bench: Workbench, name: str, condition: Condition) -> None:
    await eventually(lambda: bench.part_state(name).condition is condition)


async def _restarted(bench: Workbench, name: str) -> None:
    await eventually(lambda: bench.part_state(name).restarts == 1)
    await _is(bench, name, Condition.READY)


async def test_servers_that_hang_are_ended_and_started_anew(
    home: Layout, programs: PostgresPrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process accepts connections and never answers: that is noticed, and mended, for each server."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(watch, "HANG_GRACE_SECONDS", 0.5)
    secrets = prepare(home)
    units = [
        replace(unit, answer_seconds=3.0, hang_seconds=1.0) if isinstance(unit, Part) else unit
        for unit in _servers(home, secrets, programs)
    ]
    async with running(home, units) as bench:
        names = [unit.name for unit in units if isinstance(unit, Part)]
        before = {name: bench.pid(name) for name in names}
        for pid in before.values():
            os.kill(pid, signal.SIGSTOP)
        for name in names:
            await _restarted(bench, name)
            assert bench.pid(name) != before[name]
            assert any(line.startswith(name) and "has not answered for 1 s" in line for line in bench.said)


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_store_that_is_lost_while_its_server_runs_is_noticed_and_not_made_anew(
    home: Layout, programs: PostgresPrograms, monkeypatch: pytest.MonkeyPatch, is_replaced: bool
) -> None:
    """The server is ended, since it would go on acknowledging; it comes back with the store, and with that alone."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_SECONDS", 0.3)
    secrets = prepare(home)
    async with running(home, _servers(home, secrets, programs)) as bench:
        stores = {"postgres": home.postgres_data, "s3-cloud-primary": home.s3_data("cloud-primary")}
        for name, folder in stores.items():
            process = bench.part_state(name).process
            assert process is not None
            folder.rename(folder.with_name(f"{folder.name}-lost"))
            if is_replaced:
                folder.mkdir()
                (folder / "strange").touch()
            await _is(bench, name, Condition.FAILED)
            assert not process.is_alive()
            what_to_do = f"wedsync-backup up --begin-anew {folder.relative_to(home.home)}"
            assert what_to_do in (bench.part_state(name).reason or "")
            assert any(line.startswith(name) and "its data is gone" in line for line in bench.said)
            assert [entry.name for entry in folder.iterdir()] == ["strange"] if is_replaced else not folder.exists()
            if is_replaced:
                shutil.rmtree(folder)
            folder.with_name(f"{folder.name}-lost").rename(folder)
            await _is(bench, name, Condition.READY)


async def test_store_of_the_transport_is_made_anew(home: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """NATS holds no event that the record does not: an empty store is filled by `refill`, which is asked for there."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.1)
    prepare(home)
    async with running(home, [nats_part(home), _topology(home)]) as bench:
        async with topology_connection(home) as client:
            assert await client.jetstream().streams_info()
        shutil.rmtree(home.nats_data / "jetstream")
        await _restarted(bench, "nats")
        async with topology_connection(home) as client:
            assert await client.jetstream().streams_info() == []


@pytest.mark.skipif(os.geteuid() != 0, reason="a full disk needs a file system of its own, which root alone can mount")
async def test_stream_that_a_full_disk_has_stopped_stores_again_once_there_is_room(
    home: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk is full nothing is ended; with room, a server whose stream goes on refusing is begun anew."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.1)
    monkeypatch.setattr(space, "AGAIN_SECONDS", 0.1)
    prepare(home)
    spec = CONSUMERS[0]
    subject = replay_subject(spec.service, spec.handler, 1)
    with mounted(home.nats_data, "size=200m"):
        units = [replace(nats_part(home), hang_seconds=1.0), _topology(home)]
        async with running(home, units) as bench:
            hog = home.nats_data / "hog"
            async with topology_connection(home) as client:
                js = client.jetstream(timeout=1.0)
                with hog.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                    while file.write(bytes(1 << 16)):
                        pass
                with pytest.raises((Error, OSError, TimeoutError)):
                    await js.publish(subject, os.urandom(500_000))
            await _is(bench, "nats", Condition.NOT_READY)
            assert bench.part_state("nats").restarts == 0
            hog.unlink()
            await _restarted(bench, "nats")
            await _is(bench, "nats", Condition.READY)
            async with topology_connection(home) as client:
                await client.jetstream().publish(subject, os.urandom(500_000))


async def test_start_on_a_disk_that_is_too_small_says_that_it_is(home: Layout) -> None:
    """It is the disk that an operator has to look at, not the declaration of the streams."""
    prepare(home)
    with mounted(home.nats_data, "size=8m"), pytest.raises(PlatformError) as refused:
        async with running(home, [nats_part(home), _topology(home)]):
            pass
    assert refused.value.code is NO_SPACE


async def test_region_on_a_small_disk_takes_packs(home: Layout) -> None:
    """The volumes of a region fit on the disk that a small home has."""
    secrets = prepare(home)
    region = REGIONS[0]
    folder = home.s3_data(region.name)
    folder.mkdir()
    with mounted(folder, "size=1300m"):
        async with running(home, [s3.s3_part(home, secrets, region)]) as bench:
            assert bench.part_state(region.part_name).condition is Condition.READY
            client = _client(home, secrets, region, region.name)
            client.put_object(Bucket=region.bucket, Key="pack", Body=bytes(16 << 20))


async def test_region_that_has_no_room_for_its_bucket_is_not_ready(
    home: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small object in another bucket proves nothing: all volumes may be taken by then."""
    monkeypatch.setattr(watch, "OPERATOR_SECONDS", 1.0)
    secrets = prepare(home)
    region = REGIONS[0]
    folder = home.s3_data(region.name)
    folder.mkdir()
    with mounted(folder, "size=40m"):
        async with running(home, [s3.s3_part(home, secrets, region)]) as bench:
            await _is(bench, region.part_name, Condition.NOT_READY)
            reason = bench.part_state(region.part_name).reason or ""
            assert f"no room for an object of the bucket {region.bucket}" in reason


async def test_store_that_is_missing_at_a_start_is_not_made_anew(home: Layout) -> None:
    """A disk that is not mounted: the others start, and nothing is written where the store was."""
    secrets = prepare(home)
    region = REGIONS[0]
    folder = home.s3_data(region.name)
    async with running(home, [s3.s3_part(home, secrets, region)]):
        pass
    folder.rename(folder.with_name("unmounted"))
    async with running(home, [s3.s3_part(home, secrets, region), nats_part(home)]) as bench:
        assert bench.pid("nats")
        assert bench.part_state(region.part_name).condition is Condition.FAILED
        assert not folder.exists()
    home = Layout.create(home.home, begin_anew=[f"data/s3/{region.name}"])
    async with running(home, [s3.s3_part(home, secrets, region)]) as bench:
        assert bench.pid(region.part_name)


async def test_record_that_is_missing_at_a_start_is_not_begun_anew(home: Layout, programs: PostgresPrograms) -> None:
    """Without the record nothing can work: the start is refused, with what to do."""
    secrets = prepare(home)
    units: list[Part | Step] = [*postgres.postgres_units(home, secrets, database_account(os.environ), programs)]
    async with running(home, units):
        pass
    home.postgres_data.rename(home.data / "unmounted")
    with pytest.raises(StoreGone, match="data/postgres is not there") as refusal:
        async with running(home, units):
            pass
    assert "--begin-anew data/postgres" in (refusal.value.hint or "")
    assert not home.postgres_data.exists()


async def test_bucket_that_is_lost_is_told_and_not_made_anew(home: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty bucket in its place would be filled again in silence, and nobody would look for the old one."""
    monkeypatch.setattr(watch, "PROBE_SECONDS", 0.1)
    secrets = prepare(home)
    region = REGIONS[0]
    async with running(home, [s3.s3_part(home, secrets, region)]) as bench:
        client = _client(home, secrets, region, region.admin)
        client.delete_bucket(Bucket=region.bucket)
        await _is(bench, region.part_name, Condition.NOT_READY)
        reason = bench.part_state(region.part_name).reason or ""
        assert f"has lost its bucket {region.bucket}" in reason
        assert f"--begin-anew data/s3/{region.name}" in reason
        assert region.bucket not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}


def _topology(home: Layout) -> Step:
    """The platform's own step without Postgres, which it asks what was lost."""

    async def run() -> None:
        async with topology_connection(home) as client:
            await apply(client.jetstream())

    return Step(name="topology", run=run, needs=("nats",))


async def test_topology_is_applied_by_its_own_identity_alone(home: Layout) -> None:
    """The streams are there after the start; a runtime identity cannot make one."""
    import nats

    from deploy.stack.nats import seed_file, url

    prepare(home)
    async with running(home, [nats_part(home), _topology(home)]):
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


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_s3_server_that_looks_after_its_volumes_stops_in_its_time(home: Layout) -> None:
    """About 70 s after its start it has commands of its own to run, and is asked to stop in the middle of them."""
    secrets = prepare(home)
    part = s3.s3_part(home, secrets, REGIONS[0])
    jobs = home.s3_data(REGIONS[0].name) / "admin/plugin/jobs/tracked_jobs.json"
    async with running(home, [part]) as bench:
        await eventually(jobs.exists, within=110)
        begun = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - begun < part.stop_seconds
    assert bench.state is not None
    assert bench.state.killed == []
