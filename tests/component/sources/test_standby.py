"""A standby takes over from its primary: what would be lost is counted, and there are never two that take writes."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psycopg
import pytest

from sources.postgres.standby.endpoint import NAME, switch
from sources.postgres.standby.fencing import fence
from sources.postgres.standby.loss import loss_in, loss_of
from sources.postgres.standby.promotion import await_all, look_at, promote, refuse_unless_ready, reopen
from sources.postgres.standby.server import StandbyRefused, settled
from tests.support.standbys import Pair, ask, server_of, standing_pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    with standing_pair() as made:
        yield made


def _sell(pair: Pair, first: int, count: int) -> None:
    """So many transactions, and as many that are rolled back."""
    with psycopg.connect(pair.primary.admin_dsn, dbname="shop", autocommit=True) as connection:
        for number in range(first, first + count):
            connection.execute("INSERT INTO sold VALUES (%s)", (number,))
            with connection.transaction(force_rollback=True):
                connection.execute("INSERT INTO sold VALUES (%s)", (-number,))


def _refused(reason: str, *calls: Callable[[], object]) -> None:
    for call in calls:
        with pytest.raises(StandbyRefused) as caught:
            call()
        assert caught.value.reason == reason


def test_primary_that_is_lost_without_a_word(pair: Pair) -> None:
    """What the standby lacks is counted exactly, from the primary and from its folder; none is promoted beside one of
    which nobody knows; and what comes back finds no way to take writes beside the new one.
    """
    old, new = server_of(pair.primary), server_of(pair.standby)
    _sell(pair, 1, 20)
    assert await_all(old, new, seconds=30) == 0
    behind = new.look()
    assert loss_of(old, behind).transactions == 0
    pair.standby.stop(signal.SIGQUIT)
    _sell(pair, 100, 37)
    with pytest.raises(ValueError, match="not known yet"):
        loss_of(old, msgspec.structs.replace(behind, is_settled=False))
    assert loss_of(old, behind).transactions == 37
    pair.primary.stop(signal.SIGQUIT)
    pair.standby.start()
    assert loss_in(pair.primary.folder / "cluster", settled(new)).transactions == 37
    _refused("primary-unknown", lambda: promote(old, new, "one"))
    promoted = promote(old, new, "one", is_primary_off=True)
    assert promoted.writes
    assert promote(old, new, "one", is_primary_off=True).timeline == promoted.timeline
    assert ask(pair.standby, "INSERT INTO sold VALUES (0) RETURNING id", "shop") == [(0,)]
    assert ask(pair.standby, "SELECT count(*) FROM sold", "shop") == [(21,)]
    # The old one is back, as a service manager brings it back: it is open until it is fenced, and stays fenced.
    pair.primary.start()
    _refused("not-fenced", lambda: promote(old, new, "one"))
    _refused("promoted-already", lambda: refuse_unless_ready(look_at(old, new)))
    fence(old, "one")
    with pytest.raises(psycopg.OperationalError, match="not currently accepting"):
        ask(pair.primary, "SELECT 1", "shop")
    _refused("not-fenced", lambda: reopen(old, new, "one"))
    pair.primary.stop(signal.SIGKILL)
    pair.primary.start()
    assert old.look().fence == "one"


def test_planned_change_is_rolled_back_and_done_again(pair: Pair, tmp_path: Path) -> None:
    """Nothing is lost either way, and in between nobody writes; a fence is its holder's alone; applications find the
    primary by the file of the endpoint, which is nobody else's.
    """
    old, new = server_of(pair.primary), server_of(pair.standby)
    _sell(pair, 1, 10)
    _refused("maintenance-database", lambda: server_of(pair.primary, "postgres"))
    _refused("is-standby", lambda: fence(new, "one"))
    switch(tmp_path, old)
    with psycopg.connect(pair.primary.admin_dsn, dbname="shop", autocommit=True) as session:
        session.execute("SELECT 1")
        assert fence(old, "one").open_databases == 0
        with pytest.raises(psycopg.OperationalError):
            session.execute("INSERT INTO sold VALUES (99)")
    assert fence(old, "one").fence == "one"
    _refused("fence-held", lambda: fence(old, "two"), lambda: reopen(old, new, "two"))
    _refused("not-fenced", lambda: promote(old, new, "two"))
    assert await_all(old, new, seconds=30) == 0
    assert reopen(old, new, "one").writes
    _sell(pair, 11, 10)
    fence(old, "one")
    assert await_all(old, new, seconds=30) == 0
    assert promote(old, new, "one").writes
    assert promote(old, new, "one").writes
    switch(tmp_path, new)
    with psycopg.connect(_by_endpoint(tmp_path, pair)) as session:
        assert session.execute("SELECT count(*), inet_server_port() FROM sold").fetchone() == (20, pair.standby.port)
    # Back: the new one is shut before the old one opens.
    _refused("not-fenced", lambda: reopen(old, new, "one"))
    fence(new, "one")
    assert reopen(old, new, "one").writes
    assert ask(pair.primary, "SELECT datconnlimit FROM pg_database WHERE datname = 'postgres'") == [(-1,)]
    (tmp_path / NAME).write_text("[primary]\nhost=elsewhere\n")
    _refused("endpoint-foreign", lambda: switch(tmp_path, old))


def _by_endpoint(folder: Path, pair: Pair) -> str:
    lines = (folder / NAME).read_text().splitlines()[2:]
    return " ".join([*lines, "user=postgres", f"password={pair.primary.password}", "connect_timeout=2"])


def test_acknowledged_by_a_synchronous_standby_is_not_lost_where_the_primary_is_killed_under_load(
    pair: Pair, tmp_path: Path
) -> None:
    """Each transaction that was acknowledged is there, and writes are accepted again."""
    ask(pair.primary, "ALTER SYSTEM SET synchronous_standby_names = 'second'")
    ask(pair.primary, "SELECT pg_reload_conf()")
    old, new = server_of(pair.primary), server_of(pair.standby)
    switch(tmp_path, old)
    acknowledged: list[tuple[float, int]] = []
    is_over = threading.Event()
    writers = [
        threading.Thread(target=_write, args=(tmp_path, pair, number, acknowledged, is_over)) for number in range(4)
    ]
    for each in writers:
        each.start()
    try:
        _until(lambda: len(acknowledged) > 200)
        assert old.look().followers[0].is_waited_for
        killed = time.monotonic()
        pair.primary.stop(signal.SIGKILL)
        promote(old, new, "one", is_primary_off=True)
        switch(tmp_path, new)
        _until(lambda: sum(at > killed + 0.5 for at, _ in list(acknowledged)) > 50)
    finally:
        is_over.set()
        for each in writers:
            each.join(30)
    there = {row[0] for row in ask(pair.standby, "SELECT id FROM sold", "shop")}
    assert not {number for _, number in acknowledged} - there
    with psycopg.connect(_by_endpoint(tmp_path, pair)) as session:
        assert session.info.port == pair.standby.port


def _write(
    folder: Path, pair: Pair, writer: int, acknowledged: list[tuple[float, int]], is_over: threading.Event
) -> None:
    """One application: it connects by the endpoint, again and again, and writes."""
    number = 10_000_000 * (writer + 1)
    while not is_over.is_set():
        try:
            with psycopg.connect(_by_endpoint(folder, pair), autocommit=True) as session:
                while not is_over.is_set():
                    number += 1
                    session.execute("INSERT INTO sold VALUES (%s)", (number,))
                    acknowledged.append((time.monotonic(), number))
        except psycopg.Error:
            is_over.wait(0.05)


def _until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.02)
