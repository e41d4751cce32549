"""Thirty daily versions of a real Postgres database, 2% of its pages changed each day, clustered and scattered apart.

What is backed up is the data folder (without its log) of an idle server after a checkpoint; both programs
see the same bytes on the same day. How many pages really changed is counted on the files, since an
UPDATE may touch more pages than it was meant to.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import psycopg

from benchmarks.bench import Bench, Row, fresh
from benchmarks.contestants import total
from benchmarks.corpora import measure
from benchmarks.harness import Measurement, sync_file_system
from benchmarks.postgres import Postgres
from benchmarks.report import Figure
from benchmarks.seeded import Seeded

_DAYS = 30
_PERCENT = 2.0
_PAGE = 8192
_TABLES = ("bookings", "clients", "invoices")


def daily_versions(bench: Bench) -> Iterator[Figure]:
    """Both patterns, each from the same first day."""
    for pattern in ("clustered", "scattered"):
        yield from _thirty_days(bench, pattern)


def _thirty_days(bench: Bench, pattern: str) -> Iterator[Figure]:
    template = bench.corpus("database")
    size = template.bytes
    days = _DAYS if bench.scale >= 0.2 else 2
    with bench.place("disk", 3 * size) as disk, bench.place("tmpfs", 6 * size) as ram:
        disk.chmod(0o755)
        with Postgres(disk / "postgres", disk / "postgres-tools", template=template.folder) as server:
            contestants = bench.contestants()
            repositories = {each.name: fresh(ram, 1, each) for each in contestants}
            stored: dict[str, list[int]] = {each.name: [] for each in contestants}
            times: dict[str, list[Measurement]] = {each.name: [] for each in contestants}
            pages = _page_digests(server.relation_files())
            changed: list[int] = []
            for day in range(days + 1):
                if day:
                    _change(server, pattern, day, len(pages))
                    after = _page_digests(server.relation_files())
                    changed.append(_difference(pages, after))
                    pages = after
                sync_file_system(disk)
                order = contestants if day % 2 == 0 else contestants[::-1]
                for each in order:
                    times[each.name].append(total(each.backup(repositories[each.name], server.folder, durable=ram)))
                    stored[each.name].append(measure(repositories[each.name][0])[1])
            bench.say(f"  {pattern}: {sum(changed) / days / len(pages):.1%} of {len(pages):,} pages changed a day")
    yield from _figures(pattern, stored, times, changed, len(pages))


def _figures(
    pattern: str,
    stored: dict[str, list[int]],
    times: dict[str, list[Measurement]],
    changed: Sequence[int],
    pages: int,
) -> Iterator[Figure]:
    days = len(changed)
    growth = {name: (sizes[-1] - sizes[0]) / days for name, sizes in stored.items()}
    raw = sum(changed) / days * _PAGE
    seconds = {name: float(np.median([each.wall_seconds for each in daily[1:]])) for name, daily in times.items()}
    work = f"database, {days} days, {100 * sum(changed) / days / pages:.1f}% of pages a day, {pattern}"
    yield Figure(
        *(f"postgres-{pattern}-stored", f"{work}: new bytes a day", growth["restic"] / growth["wedsync"]),
        unit="× less",
        ours=f"{growth['wedsync'] / 1e6:.2f} MB",
        theirs=f"{growth['restic'] / 1e6:.2f} MB",
        note=f"the changed pages are {raw / 1e6:.2f} MB before compression",
    )
    yield Figure(
        *(f"postgres-{pattern}-whole", f"{work}: all versions together", stored["wedsync"][-1] / 1e6, "MB"),
        smaller_is_better=True,
        ours=f"first day {stored['wedsync'][0] / 1e6:.0f} MB",
        theirs=f"{stored['restic'][-1] / 1e6:.0f} MB, first day {stored['restic'][0] / 1e6:.0f} MB",
    )
    yield Figure(
        *(f"postgres-{pattern}-time", f"{work}: time of a daily backup", seconds["restic"] / seconds["wedsync"]),
        ours=f"{seconds['wedsync']:.2f} s",
        theirs=f"{seconds['restic']:.2f} s",
    )


def _change(server: Postgres, pattern: str, day: int, pages: int) -> None:
    """Update one row on each of 2% of the database's pages, spread over its tables by their size."""
    with server.connect("wedding") as connection:
        blocks = {table: _first_row_of_each_page(connection, table) for table in _TABLES}
        heap = sum(len(rows) for rows in blocks.values())
        for table, rows in blocks.items():
            wanted = max(1, round(pages * _PERCENT / 100 * len(rows) / heap))
            seeded = Seeded("day", pattern, day, table)
            if pattern == "clustered":
                start = seeded.integer(0, max(1, len(rows) - wanted))
                chosen = rows[start : start + wanted]
            else:
                order = np.argsort(seeded.uniform(len(rows)))[:wanted]
                chosen = [rows[place] for place in sorted(order.tolist())]
            connection.execute(_UPDATES[table], (chosen,))
        # Remove what the updates left dead now, and write the pages, so that a day is one set of bytes.
        connection.execute("VACUUM (INDEX_CLEANUP OFF, TRUNCATE OFF)")
        connection.execute("CHECKPOINT")


_UPDATES = {
    "bookings": b"UPDATE bookings SET price = price + 1, updated_at = updated_at + interval '1 day'"
    b" WHERE ctid = ANY(%s::tid[])",
    "clients": b"UPDATE clients SET wedding_date = wedding_date + 1 WHERE ctid = ANY(%s::tid[])",
    "invoices": b"UPDATE invoices SET paid = NOT paid, net = net + 1 WHERE ctid = ANY(%s::tid[])",
}
_FIRST_ROWS = {
    table: f"SELECT min(ctid)::text FROM {table} GROUP BY (ctid::text::point)[0] ORDER BY min(ctid)".encode()
    for table in _TABLES
}


def _first_row_of_each_page(connection: psycopg.Connection[tuple[object, ...]], table: str) -> list[str]:
    return [str(row[0]) for row in connection.execute(_FIRST_ROWS[table])]


def _page_digests(files: Sequence[Path]) -> dict[tuple[str, int], bytes]:
    """A digest of every 8 KiB page, by file and number."""
    digests = {}
    for path in files:
        content = memoryview(path.read_bytes())
        for number in range(0, len(content), _PAGE):
            page = content[number : number + _PAGE]
            digests[path.name, number // _PAGE] = hashlib.blake2b(page, digest_size=16).digest()
    return digests


def _difference(before: dict[tuple[str, int], bytes], after: dict[tuple[str, int], bytes]) -> int:
    return sum(before.get(page) != digest for page, digest in after.items())


ROWS = {
    "postgres": Row("thirty daily versions of a Postgres database, clustered and scattered", daily_versions),
}
