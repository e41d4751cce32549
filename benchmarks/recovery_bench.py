"""The platform is brought back from its recovery kit and one tier, with a record of a million events: seconds.

    python -m benchmarks.recovery_bench                    a million events, some minutes
    python -m benchmarks.recovery_bench --events 10000     shows that it runs, not how fast

A home of its own is made and stopped; its record is filled, saved to the local tier, and rebuilt under another name.
What follows a rebuild (the streams that are filled again, the read models) is measured by benchmarks.spine_bench.
Exit code 0: the floor was met; 1: it was not.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from benchmarks.report import Figure, Verdict
from benchmarks.spine_bench import table
from chassis.ids import new_id
from contracts.configuration import Tier
from contracts.envelope import SOURCE_PREFIX, Envelope, encode, encode_data
from contracts.executor_events import TierUploaded
from deploy.stack import postgres
from deploy.stack.layout import Layout
from deploy.stack.own_backup.kit import place_in, read_kit, usual_folder
from deploy.stack.own_backup.rebuilding import rebuild
from deploy.stack.own_backup.record_server import served
from deploy.stack.own_backup.saving import save
from deploy.stack.secrets import read_secrets

FLOOR_SECONDS = 180.0
_ID = "0" * 36
_FILL = """
    INSERT INTO executor.stored_events (originator_id, originator_version, topic, state)
    SELECT id, 1, 'executor.tier-uploaded.v1', convert_to(replace(%s, %s, id), 'UTF8')
    FROM (SELECT gen_random_uuid()::text AS id FROM generate_series(1, %s)) AS made
"""


def _event() -> str:
    data = TierUploaded(
        execution_id=_ID, tier=Tier.LOCAL, snapshot_id=_ID, log_entry=1, uploaded_bytes=1_000_000, objects=3, seconds=1
    )
    envelope = Envelope(
        specversion="1.0",
        id=_ID,
        source=f"{SOURCE_PREFIX}executor",
        type=TierUploaded.NAME,
        subject=_ID,
        time=datetime(2026, 11, 1, tzinfo=UTC),
        datacontenttype="application/json",
        organisation="org-01",
        actor="service:executor",
        sequence=1,
        correlationid=new_id(),
        data=encode_data(data),
    )
    return encode(envelope).decode()


async def _filled_and_saved(layout: Layout, events: int) -> float:
    """Fill the record of a home that is stopped, and save it; the seconds of the save."""
    password = read_secrets(layout).postgres_admin
    folder, log = layout.postgres_data, layout.log("bench")
    async with served(folder, password, owner=new_id(), log=log) as (_, dsn):
        while True:
            try:
                database = await psycopg.AsyncConnection.connect(dsn)
                break
            except psycopg.OperationalError:
                await asyncio.sleep(0.1)
        async with database:
            await database.execute(_FILL, (_event(), _ID, events))
        layout.remembered.ports[postgres.NAME] = int(psycopg.conninfo.conninfo_to_dict(dsn)["port"] or 0)
        began = time.perf_counter()
        await asyncio.to_thread(save, layout)
        return time.perf_counter() - began


def _command(home: Path, *words: str) -> None:
    subprocess.run([sys.executable, "-m", "cli", *words, "--home", str(home)], check=True, stdout=subprocess.DEVNULL)


def measure(work: Path, events: int) -> list[Figure]:
    """One home, saved and rebuilt."""
    home = work / "home"
    _command(home, "up", "--detach")
    _command(home, "down")
    layout = Layout.find(home)
    saved = asyncio.run(_filled_and_saved(layout, events))
    kit = usual_folder(layout)
    place = place_in(read_kit(kit), kit, "local")
    found = rebuild(kit, place, work / "rebuilt", snapshot=None, say=lambda _: None)
    executor = next(each for each in found.positions if each.service == "executor")
    if found.behind or executor.last < events:
        raise RuntimeError(f"not whole: {found.behind}, {executor}")
    size = sum(each.stat().st_size for each in (work / "rebuilt/data/postgres").rglob("*") if each.is_file())
    load = os.getloadavg()[0]
    return [
        Figure(
            "rebuild-of-the-platform",
            f"rebuild of the platform from kit and one tier, {events:,} events",
            found.seconds,
            unit="s",
            floor=FLOOR_SECONDS,
            smaller_is_better=True,
            ours=f"{size / 1e6:,.0f} MB of Postgres, started and read; saved in {saved:.1f} s; load {load:.0f}",
        )
    ]


def main(arguments: list[str]) -> int:
    """Measure, print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recovery_bench", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="how long the record is (default a million)")
    work = Path(tempfile.mkdtemp(prefix="wedsync-recovery-"))
    try:
        figures = measure(work, parser.parse_args(arguments).events)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(table(figures))
    return 0 if all(figure.verdict is not Verdict.BELOW for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
