"""A Postgres under load is killed and its standby takes over: seconds until writes are accepted, and what is lost.

Exit code 0: within its bounds; 1: not. With a synchronous standby no acknowledged transaction is missing; with one that
had fallen behind the loss is stated before it is promoted, and is counted afterwards against what the old primary has.
"""

import argparse
import itertools
import json
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Literal

from sources.postgres.standby.endpoint import NAME, switch
from sources.postgres.standby.loss import loss_in
from sources.postgres.standby.promotion import promote
from sources.postgres.standby.server import settled
from tests.support.standbys import SETTINGS, Pair, ask, server_of, standing_pair

SECONDS_MAX = 5.0
WRITERS = 10
_ROWS_PER_MEGABYTE = 1000
"""Rows of a kilobyte each."""


class Load:
    """Applications that find the primary by its endpoint and write so many rows a second, whatever happens to it."""

    def __init__(self, folder: Path, password: str, rate: int) -> None:
        self._folder, self._password, self._pause = folder, password, WRITERS / rate
        self._is_over = threading.Event()
        self.acknowledged: list[tuple[float, int]] = []
        self._writers = [threading.Thread(target=self._write, args=(number,)) for number in range(WRITERS)]

    def __enter__(self) -> "Load":
        for each in self._writers:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for each in self._writers:
            each.join()

    def _write(self, writer: int) -> None:
        ids = itertools.count(1_000_000_000 * (writer + 1))
        due = time.monotonic()
        while not self._is_over.is_set():
            try:
                place = " ".join((self._folder / NAME).read_text().splitlines()[2:])
                login = f"{place} user=postgres password={self._password} connect_timeout=2"
                with psycopg.connect(login, autocommit=True) as session:
                    while not self._is_over.wait(max(due - time.monotonic(), 0)):
                        due = max(due + self._pause, time.monotonic() - 1)
                        number = next(ids)
                        session.execute("INSERT INTO sold VALUES (%s)", (number,))
                        self.acknowledged.append((time.monotonic(), number))
            except psycopg.Error:
                self._is_over.wait(0.05)


def main() -> int:
    """Both, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    good = True
    for measure in (_synchronous, _behind):
        with standing_pair(SETTINGS) as pair, tempfile.TemporaryDirectory() as folder:
            _fill(pair, given.megabytes)
            row, is_within = measure(pair, Path(folder), given.rate, given.seconds)
            print(json.dumps({"megabytes": given.megabytes, "rate": given.rate, **row}))
            good = good and is_within
    return 0 if good else 1


def _fill(pair: Pair, megabytes: int) -> None:
    """The database has so much, and the standby has it, too."""
    rows = SQL("CREATE TABLE filled AS SELECT n, repeat(md5(n::text), 31) FROM generate_series(1, {}) n").format(
        Literal(megabytes * _ROWS_PER_MEGABYTE)
    )
    with psycopg.connect(pair.primary.admin_dsn, dbname="shop", autocommit=True) as session:
        session.execute(rows)
    _await_standby(pair)


def _await_standby(pair: Pair) -> None:
    old, new = server_of(pair.primary), server_of(pair.standby)
    while new.look().replayed < old.look().written:
        time.sleep(0.2)


def _synchronous(pair: Pair, folder: Path, rate: int, seconds: float) -> tuple[dict[str, object], bool]:
    ask(pair.primary, "ALTER SYSTEM SET synchronous_standby_names = 'second'")
    ask(pair.primary, "SELECT pg_reload_conf()")
    old, new = server_of(pair.primary), server_of(pair.standby)
    switch(folder, old)
    with Load(folder, pair.primary.password, rate) as load:
        time.sleep(seconds)
        before, killed = len(load.acknowledged), time.monotonic()
        pair.primary.stop(signal.SIGKILL)
        promote(old, new, "probe", is_primary_off=True)
        switch(folder, new)
        switched = time.monotonic()
        time.sleep(seconds)
    accepted = min(at for at, _ in load.acknowledged if at > switched)
    lost = len({number for _, number in load.acknowledged} - _sold(pair.standby.admin_dsn))
    row = {
        "standby": "synchronous",
        "per_second_before": round(before / seconds),
        "switched_seconds": round(switched - killed, 2),
        "accepted_again_seconds": round(accepted - killed, 2),
        "acknowledged": len(load.acknowledged),
        "lost": lost,
    }
    return row, lost == 0 and accepted - killed <= SECONDS_MAX


def _behind(pair: Pair, folder: Path, rate: int, seconds: float) -> tuple[dict[str, object], bool]:
    old, new = server_of(pair.primary), server_of(pair.standby)
    switch(folder, old)
    with Load(folder, pair.primary.password, rate):
        time.sleep(seconds / 2)
        pair.standby.stop(signal.SIGQUIT)
        time.sleep(seconds / 2)
        pair.primary.stop(signal.SIGQUIT)
    pair.standby.start()
    started = time.monotonic()
    stated = loss_in(pair.primary.folder / "cluster", settled(new))
    took = time.monotonic() - started
    promote(old, new, "probe", is_primary_off=True)
    pair.primary.start()
    lost = len(_sold(pair.primary.admin_dsn) - _sold(pair.standby.admin_dsn))
    row = {
        "standby": "behind",
        "stated_transactions": stated.transactions,
        "stated_bytes": stated.bytes,
        "stating_seconds": round(took, 2),
        "lost": lost,
    }
    return row, stated.transactions == lost


def _sold(dsn: str) -> set[int]:
    with psycopg.connect(dsn, dbname="shop") as session:
        return {row[0] for row in session.execute("SELECT id FROM sold")}


if __name__ == "__main__":
    sys.exit(main())
