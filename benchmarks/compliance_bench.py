"""The figures of the audit log and of audits: appending, proofs, accesses, an audit, and verification by an outsider.

On a Postgres of its own that syncs what it commits, with events as the platform's services publish them: of a hundred
sixty tell of runs, ten are requests of people. One organisation has all of them.
"""

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from psycopg.conninfo import make_conninfo

from benchmarks.postgres import Postgres
from chassis.postgres.database import install_schema, open_pool
from chassis.postgres.pool import Pool, PoolPart
from chassis.reading.stored import START, StoredMessage
from chassis.sealing import Sealer, prepare_keys_folder
from contracts.controls import Framework
from contracts.envelope import Envelope, encode, encode_data
from contracts.executor_events import BackupAccepted, BackupCompleted, BackupPreparing, BackupUploading, TierUploaded
from contracts.gateway_events import BackupRequested
from contracts.samples import sample_envelopes, sample_event
from gateway.groups.security.queries import AccessFilter, SecurityQueries
from services.compliance.adapters.audits import AuditLogLookups
from services.compliance.adapters.log import AuditLogTable
from services.compliance.adapters.schema import STATEMENTS
from services.compliance.adapters.signing import SigningKey
from services.compliance.controls.audit import audited, checks_log, read_by

SCHEMA, ORGANISATION = "compliance", "bench"
BATCH, PAGE, ASKED = 500, 1000, 200
STRIDE = 7_919_027
"""A prime: places that are asked for lie all over the log, the same on every machine."""
NOW = datetime(2026, 11, 1, tzinfo=UTC)
SCRIPT = Path(__file__).parents[1] / "docs/examples/verify_audit_log.py"
_MIX = (
    *((BackupRequested,) * 10),
    *((BackupAccepted,) * 10),
    *((BackupPreparing,) * 10),
    *((BackupUploading,) * 10),
    *((TierUploaded,) * 50),
    *((BackupCompleted,) * 10),
)


def events(count: int) -> Iterator[Envelope]:
    """So many, of things that each have one event of a kind, a minute apart."""
    of_kind = {name: envelope for name, envelope in sample_envelopes().items() if name in {k.NAME for k in _MIX}}
    asked = sample_event(BackupRequested)
    nobody = msgspec.structs.replace(asked.evidence, address=None, agent=None)
    said = encode_data(msgspec.structs.replace(asked, evidence=nobody))
    for number in range(count):
        kind = _MIX[number % len(_MIX)]
        yield msgspec.structs.replace(
            of_kind[kind.NAME],
            id=f"0199a0f2-0000-7000-8000-{number:012d}",
            subject=f"thing/{number}",
            sequence=1,
            time=NOW - timedelta(minutes=count - number),
            organisation=ORGANISATION,
            actor=f"user:{number % 97}",
            **({"data": said} if kind is BackupRequested else {}),
        )


class Bench:
    """The parts that are measured."""

    def __init__(self, pool: Pool, keys: Path) -> None:
        self.pool = pool
        self.log = AuditLogTable(pool, SigningKey(keys))
        self.lookups = AuditLogLookups(pool)
        self.queries = SecurityQueries(self.reading, Sealer(keys), SCHEMA)

    @asynccontextmanager
    async def reading(self, organisation: str) -> AsyncIterator[Any]:  # noqa: ARG002  # as the gateway's
        """A connection, as the gateway reads by one."""
        async with self.pool.connection() as connection:
            yield connection

    async def append(self, count: int) -> float:
        """Events a second, from the messages of a stream to what is committed and signed."""
        place, taken, left = START, 0.0, events(count)
        while batch := [
            StoredMessage(place.position + nth, encode(each), "a" * 32, place.position + nth)
            for nth, each in enumerate(islice(left, BATCH), start=1)
        ]:
            begun = time.perf_counter()
            if not await self.log.append("executor", place, batch, batch[-1].place):
                raise AssertionError("nobody else appends")
            taken += time.perf_counter() - begun
            place = batch[-1].place
        return count / taken

    async def audit(self, framework: Framework) -> tuple[float, int]:
        """Seconds of an audit, and how many events it read."""
        begun = time.perf_counter()
        facts = await self.lookups.facts(ORGANISATION, NOW, read_by([framework]), checks_log=checks_log([framework]))
        audited([framework], facts)
        return time.perf_counter() - begun, len(facts.seen)

    async def accesses(self, wanted: Callable[[int], AccessFilter], at: int) -> object:
        """The first page of a list of accesses."""
        return await self.queries.accesses(ORGANISATION, wanted(at), limit=50, cursor=None)

    async def export(self, target: Path) -> str:
        """Write what an auditor fetches, a page a line; the verifier key."""
        start: int | None = 0
        with target.open("wb") as file:
            while start is not None:
                page = await self.queries.entries(ORGANISATION, start, PAGE)
                file.write(msgspec.json.encode(page) + b"\n")
                start = page.next
        return str((await self.queries.log(ORGANISATION)).verifier_key)


async def _p95(ask: Callable[[int], Awaitable[object]], among: int) -> float:
    """Milliseconds of the slowest twentieth of many."""
    taken = []
    for nth in range(ASKED):
        number = nth * STRIDE % among
        begun = time.perf_counter()
        await ask(number)
        taken.append((time.perf_counter() - begun) * 1000)
    return statistics.quantiles(taken, n=20)[-1]


def verify(export: Path, key: str) -> float:
    """Seconds in which the stand-alone script verifies an export."""
    begun = time.perf_counter()
    subprocess.run(
        [sys.executable, "-I", str(SCRIPT), "--key", key, str(export)], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begun


async def measured(bench: Bench, count: int, folder: Path) -> AsyncIterator[tuple[str, float | int]]:
    """Each figure as it is there."""
    yield "events", count
    yield "appended a second", round(await bench.append(count))
    for statement in ("VACUUM (ANALYZE)", "CHECKPOINT"):
        async with bench.pool.connection() as connection:
            await connection.set_autocommit(True)
            await connection.execute(statement)
            await connection.set_autocommit(False)
    yield "proof p95, ms", round(await _p95(lambda at: bench.queries.proof(ORGANISATION, at, None), count), 1)
    for name, wanted in {
        "accesses": lambda _: AccessFilter(),
        "accesses of one person": lambda at: AccessFilter(actor=f"user:{at % 97}"),
        "accesses of a day": lambda at: AccessFilter(
            happened_from=NOW - timedelta(minutes=at + 1440), happened_before=NOW - timedelta(minutes=at)
        ),
    }.items():
        taken = await _p95(partial(bench.accesses, wanted), count)
        yield f"{name} p95, ms", round(taken, 1)
    for framework in Framework:
        seconds, read = await bench.audit(framework)
        yield f"audit {framework.value}, s", round(seconds, 2)
        yield f"audit {framework.value}, events read", read
    yield "peak MiB", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    export = folder / "export.jsonl"
    begun = time.perf_counter()
    key = await bench.export(export)
    yield "export, s", round(time.perf_counter() - begun, 1)
    yield "verified offline, s", round(verify(export, key), 1)


async def run(folder: Path, count: int) -> None:
    """Measure, and print JSON, a figure a line."""
    keys = folder / "keys"
    prepare_keys_folder(keys)
    settings = {"fsync": "on", "autovacuum": "on", "max_wal_size": "4GB"}
    with Postgres(folder / "postgres", folder / "tools", settings=settings) as server:
        dsn = make_conninfo(host=str(server.folder.parent), user="postgres", dbname="postgres")
        install_schema(dsn, service=SCHEMA, role="wedsync_compliance", password=None, statements=STATEMENTS)
        pool = open_pool(dsn, SCHEMA, name="bench", max_size=3)
        part = PoolPart(pool)
        await part.start()
        try:
            bench = Bench(pool, keys)
            Sealer(keys).make_keys(ORGANISATION)
            async for name, figure in measured(bench, count, folder):
                print(json.dumps({name: figure}), flush=True)
        finally:
            await part.stop()


def main() -> int:
    """Measure in a folder that is gone afterwards."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compliance_bench", description=__doc__.split("\n")[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wedsync-compliance-bench-") as made:
        Path(made).chmod(0o755)
        asyncio.run(run(Path(made), arguments.events))
    return 0


if __name__ == "__main__":
    sys.exit(main())
