"""Runs whose source is a bucket, on a real S3 server."""

import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from contracts.configuration import Destination
from contracts.executor_events import BackupCompleted, BackupFailed
from repository.keys.key_file import KeyFile
from repository.opened.repository import Repository
from repository.tiers.location import open_tier
from tests.component.executor.test_runs import perform_next
from tests.support.executor import ORGANISATION, ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer
from tests.support.s3_server import S3Server

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]

LOCAL = Destination(location="local", required=True)


class Album:
    """A bench with a prefix of a bucket, registered as the source `album`."""

    def __init__(self, bench: ExecutorBench, server: S3Server) -> None:
        self.bench = bench
        self.client = server.client()
        self.bucket = server.shared_bucket()
        self.prefix = f"album-{secrets.token_hex(6)}"
        self._server = server
        (bench.keys / "credentials").mkdir()
        self.credentials = bench.keys / "credentials" / "album.json"
        environment = server.environment
        pair = {"accessKeyId": "AWS_ACCESS_KEY_ID", "secretAccessKey": "AWS_SECRET_ACCESS_KEY"}
        self.credentials.write_text(json.dumps({name: environment[variable] for name, variable in pair.items()}))
        self.register("album", "source", self.prefix)

    def register(self, name: str, role: str, prefix: str) -> None:
        path = self.bench.home / "locations.json"
        registry: dict[str, Any] = json.loads(path.read_bytes())
        entry = {"name": name, "kind": "s3", "roles": [role], "organisations": ["*"], "credentials": "album"}
        registry["locations"].append({**entry, "url": self._server.url(self.bucket, prefix)})
        path.write_text(json.dumps(registry))

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=body)

    async def ended(self, run: str) -> Any:
        await self.bench.request(run)
        await perform_next(self.bench)
        return (await self.bench.told(run))[-1]


@pytest.fixture
async def album(
    tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer, s3_server: S3Server
) -> AsyncIterator[Album]:
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        yield Album(bench, s3_server)


async def test_bucket_is_backed_up_and_only_what_is_new_is_read(album: Album) -> None:
    """The part that the configuration names, and nothing beside it."""
    album.put("meyer 2027/ü/IMG_1.JPG", b"first")
    album.put("meyer 2027/IMG_2.JPG", b"second" * 50_000)
    album.put("another/IMG_3.JPG", b"third")
    await album.bench.configure(bucket="album", path="meyer 2027", local=LOCAL)
    first = await album.ended("run-1")
    assert isinstance(first, BackupCompleted)
    assert (first.totals.files, first.totals.source_bytes, first.degraded) == (2, 300_005, False)
    album.put("meyer 2027/IMG_4.JPG", b"fourth")
    second = await album.ended("run-2")
    assert isinstance(second, BackupCompleted)
    assert (second.totals.files, second.totals.source_bytes) == (3, 300_011)
    assert 6 <= second.totals.new_bytes < 5_000  # with the pages of the tree
    key = KeyFile.load(album.bench.keys / "repositories" / f"{ORGANISATION}.key")
    with Repository.open([open_tier(f"file://{album.bench.tier('local')}")], key) as repository:
        assert len(repository.snapshots()) == 2


async def test_bucket_that_cannot_be_read_fails_the_run_by_code(album: Album) -> None:
    """Nothing below the prefix, no credentials, a tier within it, another kind of location: nothing is written."""
    await album.bench.configure(bucket="album", path="typo", local=LOCAL)
    album.put("IMG_1.JPG", b"first")
    codes = []

    async def fails(run: str) -> None:
        failed = await album.ended(run)
        assert isinstance(failed, BackupFailed)
        codes.append(failed.code)

    await fails("run-1")
    await album.bench.configure(bucket="album", version=2, local=LOCAL)
    album.register("tier-within", "tier", f"{album.prefix}/tier")
    await fails("run-2")
    album.credentials.unlink()
    await fails("run-3")
    await album.bench.configure(bucket="photos", version=3, local=LOCAL)
    await fails("run-4")
    assert codes == ["source-unreachable", "source-excluded", "location-unusable", "location-kind-mismatch"]
    assert not album.bench.tier("local").exists()
