"""A cluster that is saved as its server streams it, and restored to a folder of which a server becomes one."""

import contextlib
import io
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from cli.exit_codes import ExitCode
from repository.backup.source import SourceUnreachable
from sources.postgres.physical.cluster import Cluster
from sources.postgres.physical.receiver import Slot
from sources.postgres.physical.record import position_of
from tests.support.postgres_server import NOBODY, PostgresServer, running_postgres
from tests.support.repo_command import RepoCommand

SETTINGS = ("wal_level=replica", "fsync=off", "autovacuum=off", "max_wal_senders=4")
ROWS: LiteralString = "SELECT coalesce(md5(string_agg(t::text, ',' ORDER BY id)), ''), count(*) FROM shop t"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A cluster whose pages have checksums."""
    with running_postgres(settings=SETTINGS, made_with=("--data-checksums",)) as made:
        do(made, "CREATE TABLE shop (id int PRIMARY KEY, what text);"
                 "INSERT INTO shop SELECT n, md5(n::text) FROM generate_series(1, 2000) n;"
                 "CREATE ROLE plain LOGIN PASSWORD 'plain'")  # fmt: skip
        yield made


@pytest.fixture
def repo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server: PostgresServer
) -> RepoCommand:
    """A repository on one tier in a folder."""
    monkeypatch.setenv("PGPASSWORD", server.password)
    command = RepoCommand(tmp_path, capsys, tiers=("a",))
    command.json("init")
    return command


def do(server: PostgresServer, statement: LiteralString) -> list[Any]:
    """What a statement gives."""
    with psycopg.connect(server.admin_dsn, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def url_of(server: PostgresServer, user: str = "postgres") -> str:
    """Its address."""
    return f"postgres-cluster://{user}@127.0.0.1:{server.port}"


def now_of(server: PostgresServer) -> str:
    """A moment behind all that was committed, and before what comes."""
    ((_, now, _),) = do(server, "SELECT pg_sleep(0.002), to_char(clock_timestamp() AT TIME ZONE 'UTC', "
                        "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), pg_sleep(0.002)")  # fmt: skip
    return str(now)


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A folder that a server may be started in, whoever runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="wedsync-pg-"))
    folder.chmod(0o755)
    (folder / "cluster").mkdir()
    if os.geteuid() == 0:
        for each in (folder, folder / "cluster"):
            os.chown(each, NOBODY, NOBODY)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def started(server: PostgresServer, folder: Path) -> Iterator[PostgresServer]:
    """A server on what was restored to `cluster` below the folder."""
    made = PostgresServer(folder, ("fsync=off",), password=server.password)
    made.start()
    try:
        # It answers before it has played all of its log.
        until(lambda: do(made, "SELECT pg_is_in_recovery()") == [(False,)])
        yield made
    finally:
        made.stop(signal.SIGQUIT)


def test_a_cluster_is_saved_page_by_page_and_started_again(server: PostgresServer, repo: RepoCommand) -> None:
    """A server on the restored folder has the rows of the moment, in a history of its own; a second backup stores what
    has changed; `tar` reads what is stored; and a folder that holds anything is not touched.
    """
    first = repo.json("backup", url_of(server))
    assert first["remarks"] == []
    do(server, "UPDATE shop SET what = 'changed' WHERE id = 7")
    rows = do(server, ROWS)
    second = repo.json("backup", url_of(server))
    assert second["snapshot"]["totals"]["new_bytes"] < first["snapshot"]["totals"]["new_bytes"] / 3
    do(
        server,
        "DELETE FROM shop WHERE id > 1000; INSERT INTO shop SELECT n, 'later' FROM generate_series(1001, 2000) n",
    )
    with place() as folder:
        done = repo.json("restore", "latest", "--target", folder / "cluster")
        assert done["reached"]["server_version"] == server_version(server)
        refused = repo.run("restore", "latest", "--target", folder / "cluster")
        assert refused.code == ExitCode.REFUSED
        assert "own" in refused.err
        with started(server, folder) as again:
            assert do(again, ROWS) == rows
            assert do(again, "SELECT pg_is_in_recovery(), timeline_id FROM pg_control_checkpoint()") == [(False, 2)]
            assert do(again, "SHOW archive_mode") == [("off",)]
    command = ("repo", "cat", "--key-file", str(repo.key_file), "--tier", repo.tiers[0], "latest", "base.tar")
    stored = subprocess.run([sys.executable, "-m", "cli", *command], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(stored)) as archive:
        assert {"PG_VERSION", "backup_label", "global/pg_control"} <= set(archive.getnames())


def server_version(server: PostgresServer) -> int:
    """Its major version."""
    return int(do(server, "SHOW server_version_num")[0][0]) // 10_000


def test_the_manual_says_it_as_it_is_done(server: PostgresServer, repo: RepoCommand) -> None:
    """Each command of the section runs as it stands there, but for the places, and the end of what has none."""
    section = Path("docs/repository-cli.md").read_text(encoding="utf-8").partition("\n### A whole cluster\n")[2]
    lines = section.partition("```sh\n")[2].partition("```")[0].splitlines()
    with place() as folder:
        for line in lines:
            words = line.partition("#")[0].split()[1:]
            words = [url_of(server) if word.startswith("postgres-cluster://") else word for word in words]
            words = [str(folder / word.rpartition("/")[2]) if word.startswith("/var/lib/") else word for word in words]
            words = [now_of(server) if word.startswith("2026-") else word for word in words]
            if "restore" in words:
                repo.json("follow", url_of(server), "--once")
            done = repo.run(*words, *(["--once"] if words[0] == "follow" else []))
            assert done.code == ExitCode.OK, (line, done)
    do(server, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")


def test_a_damaged_page_is_told_and_the_rest_is_saved(server: PostgresServer, repo: RepoCommand) -> None:
    """File and block are named, the exit code says so, and so does a restore."""
    do(
        server,
        "CREATE TABLE old AS SELECT n AS id, repeat('x', 200) AS what FROM generate_series(1, 500) n; CHECKPOINT",
    )
    ((path,),) = do(server, "SELECT pg_relation_filepath('old')")
    file = server.folder / "cluster" / path
    body = bytearray(file.read_bytes())
    body[3 * 8192 + 4000] ^= 0xFF
    file.write_bytes(body)
    done = repo.run("backup", url_of(server), "--json")
    assert done.code == ExitCode.INCOMPLETE
    assert [(each["path"], each["is_loss"]) for each in done.document["file_errors"]] == [(f"{path} block 3", True)]
    with place() as folder:
        again = repo.run("restore", "latest", "--target", folder / "cluster")
        assert again.code == ExitCode.INCOMPLETE
        assert "the snapshot is incomplete" in again.err
        assert (folder / "cluster" / path).read_bytes()[:8192] == body[:8192]
    do(server, "DROP TABLE old")


def test_who_may_not_read_the_stream_is_told_the_grant(
    server: PostgresServer, repo: RepoCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read, with the statement that helps; and what is of a whole cluster is not filtered."""
    monkeypatch.setenv("PGPASSWORD", "plain")
    done = repo.run("backup", url_of(server, "plain"))
    assert done.code == ExitCode.NOT_FOUND
    assert 'ALTER ROLE "plain" REPLICATION;' in done.err
    assert "source-unreachable" in done.err
    assert repo.run("backup", url_of(server), "--exclude", "x").code == ExitCode.USAGE
    assert repo.run("backup", url_of(server), "--dry-run").code == ExitCode.USAGE
    assert repo.run("snapshots", "--json").document["snapshots"] == []


def test_tablespaces_are_refused(server: PostgresServer, repo: RepoCommand) -> None:
    """A cluster that has some is not saved by half."""
    with place() as folder, psycopg.connect(server.admin_dsn, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE elsewhere LOCATION '{folder / 'cluster'}'")
        try:
            done = repo.run("backup", url_of(server))
        finally:
            connection.execute("DROP TABLESPACE elsewhere")
    assert done.code == ExitCode.NOT_FOUND
    assert "tablespaces" in done.err


def until(is_so: Callable[[], Any]) -> None:
    """Wait for it, for half a minute at most."""
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


class Log:
    """A cluster that is followed, and what its rows were at some moments: by whoever committed them."""

    def __init__(self, server: PostgresServer, repo: RepoCommand, slot: str) -> None:
        self.server = server
        self.repo = repo
        self.slot = slot
        self.moments: list[tuple[str, Any]] = []

    def follow(self, *more: str, code: ExitCode = ExitCode.OK) -> Any:
        """All that was committed until now."""
        done = self.repo.run("follow", url_of(self.server), "--once", "--slot", self.slot, "--json", *more)
        assert done.code == code, done
        return done.document

    def remember(self) -> str:
        """A moment, and the rows that there are then."""
        now = now_of(self.server)
        self.moments.append((now, do(self.server, ROWS)))
        return now

    def restored(self, folder: Path, *place_of: str, code: ExitCode = ExitCode.OK) -> Any:
        """What a restore says that it reached."""
        done = self.repo.run("restore", "latest", "--target", str(folder / "cluster"), "--json", *place_of)
        assert done.code == code, done
        return done.document["reached"]

    def rows_at(self, *place_of: str, code: ExitCode = ExitCode.OK) -> tuple[Any, Any]:
        """What a server on the restored folder has, and what the restore says that it reached."""
        with place() as folder:
            reached = self.restored(folder, *place_of, code=code)
            with started(self.server, folder) as again:
                return do(again, ROWS), reached


@pytest.fixture
def log(server: PostgresServer, repo: RepoCommand) -> Iterator[Log]:
    """One, with a slot that is gone afterwards."""
    made = Log(server, repo, f"slot_{secrets.token_hex(4)}")
    yield made
    do(server, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")


def commit(server: PostgresServer, number: int) -> None:
    """A transaction, one that is rolled back, and one that is open meanwhile."""
    with psycopg.connect(server.admin_dsn) as connection, psycopg.connect(server.admin_dsn) as other:
        other.execute("INSERT INTO shop VALUES (%s, 'never')", (-number,))
        connection.execute("INSERT INTO shop VALUES (%s, %s)", (100_000 + number, "x" * 3000))
        connection.execute("UPDATE shop SET what = what || '!' WHERE id %% 50 = %s", (number % 50,))
        connection.commit()
        other.rollback()


def test_a_cluster_is_restored_to_any_moment_of_its_log(log: Log) -> None:
    """To times, a transaction, a named point, a position and the end, each with exactly the rows that were there; the
    receiver was killed in between, and what it reached is told to the transaction.
    """
    server = log.server
    log.follow()
    log.repo.json("backup", url_of(server))
    for number in range(4):
        commit(server, number)
        log.remember()
    command = ("follow", "--key-file", str(log.repo.key_file), "--tier", log.repo.tiers[0], url_of(server))
    killed = subprocess.Popen([sys.executable, "-m", "cli", "repo", *command, "--slot", log.slot])
    try:
        until(lambda: do(server, "SELECT 1 FROM pg_replication_slots WHERE active"))
        commit(server, 4)
        log.remember()
    finally:
        killed.kill()
        killed.wait()
    until(lambda: not do(server, "SELECT 1 FROM pg_replication_slots WHERE active"))
    do(server, "SELECT pg_switch_wal()")
    commit(server, 5)
    ((xid,),) = do(server, "INSERT INTO shop VALUES (-1, 'named') RETURNING pg_current_xact_id()::text")
    at_xid = do(server, ROWS)
    ((position,),) = do(
        server, "SELECT pg_current_wal_insert_lsn()::text FROM pg_create_restore_point('before the worst')"
    )
    do(server, "DELETE FROM shop WHERE id % 2 = 0")
    at_end = do(server, ROWS)
    told = log.follow()
    assert told["gaps"] == []
    (second, rows), (fifth, later) = log.moments[1], log.moments[4]
    found, reached = log.rows_at("--at", second)
    assert found == rows
    assert reached["transactions"] == 2
    assert log.rows_at("--to-time", fifth)[0] == later
    found, reached = log.rows_at("--to-xid", xid)
    assert found == at_xid
    assert (reached["transactions"], reached["last_commit_xid"]) == (7, int(xid))
    for place_of in (("--to-name", "before the worst"), ("--to-lsn", position)):
        with place() as folder:
            named = log.restored(folder, *place_of)
            assert {**named, "lsn": 0, "owner": 0} == {**reached, "lsn": 0, "owner": 0}
            assert position_of(named["lsn"]) >= position_of(reached["lsn"])
    found, reached = log.rows_at("--at", "latest")
    assert found == at_end
    assert (reached["transactions"], reached["is_reached"]) == (8, True)


@pytest.mark.slow
def test_twenty_moments_of_a_busy_cluster(log: Log) -> None:
    """Eight sessions commit without a pause while the receiver is killed again and again; of twenty moments the rows of
    everyone's commits are exactly those that had been acknowledged, or were being committed at the moment.
    """
    server = log.server
    do(server, "CREATE TABLE acts (session int, number int, PRIMARY KEY (session, number))")
    log.follow()
    log.repo.json("backup", url_of(server))
    acknowledged = [0] * 8
    is_over = threading.Event()

    def work(session: int) -> None:
        with psycopg.connect(server.admin_dsn, autocommit=True) as connection:
            while not is_over.is_set():
                number = acknowledged[session] + 1
                connection.execute("INSERT INTO acts VALUES (%s, %s)", (session, number))
                acknowledged[session] = number
                time.sleep(0.001 * (session + 1))

    workers = [threading.Thread(target=work, args=(session,)) for session in range(8)]
    for worker in workers:
        worker.start()
    command = ("follow", "--key-file", str(log.repo.key_file), "--tier", log.repo.tiers[0], url_of(server))
    moments: list[tuple[str, list[int], list[int]]] = []
    try:
        for _ in range(20):
            with subprocess.Popen([sys.executable, "-m", "cli", "repo", *command, "--slot", log.slot]) as killed:
                time.sleep(1.5)
                before = list(acknowledged)
                ((now,),) = do(server, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', "
                               "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")  # fmt: skip
                moments.append((now, before, [each + 1 for each in acknowledged]))
                killed.kill()
            until(lambda: not do(server, "SELECT 1 FROM pg_replication_slots WHERE active"))
    finally:
        is_over.set()
        for worker in workers:
            worker.join()
    log.follow()
    for now, least, most in moments:
        with place() as folder:
            reached = log.restored(folder, "--at", now)
            with started(server, folder) as again:
                rows = do(again, "SELECT session, max(number), count(*) FROM acts GROUP BY session ORDER BY session")
        assert [count for _, _, count in rows] == [last for _, last, _ in rows], "each session's are without a hole"
        found = [last for _, last, _ in rows]
        assert all(low <= each <= high for low, each, high in zip(least, found, most, strict=True)), (
            least,
            found,
            most,
        )
        assert reached["transactions"] == sum(found)
    do(server, "DROP TABLE acts")


def test_what_cannot_be_reached_is_refused_before_anything_is_touched(log: Log) -> None:
    """Before the snapshot, behind what was received, unknown points, a base without its log; with what can be."""
    server = log.server
    early = log.remember()
    log.repo.json("backup", url_of(server))
    target = log.repo.folder / "target"
    done = log.repo.run("restore", "latest", "--at", "latest", "--target", target)
    assert done.code == ExitCode.REFUSED
    assert "was not received" in done.err
    do(server, "SELECT pg_switch_wal(); CHECKPOINT")
    log.follow(code=ExitCode.DEGRADED)
    log.repo.json("backup", url_of(server))
    log.follow()
    for place_of in (
        ("--at", early), ("--at", "2999-01-01T00:00:00Z"), ("--to-xid", "7"), ("--to-name", "nobody made it"),
        ("--to-lsn", "FFFF/0"), ("--to-lsn", "0/100"),
    ):  # fmt: skip
        done = log.repo.run("restore", "latest", *place_of, "--target", target)
        assert (done.code, target.exists()) == (ExitCode.REFUSED, False), done
    assert "can be reached" in log.repo.run("restore", "latest", "--to-xid", "7", "--target", target).err
    assert log.repo.run("restore", "latest", "--to-xid", "7", "--at", early, "--target", target).code == ExitCode.USAGE


def test_a_slot_that_is_gone_is_a_gap_until_the_next_base_backup(log: Log) -> None:
    """It is told by each `follow`, and by a restore to the end; a base backup ends it, and nothing is bridged."""
    server = log.server
    log.follow()
    log.repo.json("backup", url_of(server))
    commit(server, 20)
    before = log.remember()
    log.follow()
    do(server, "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots")
    commit(server, 21)
    do(server, "SELECT pg_switch_wal(); CHECKPOINT")
    told = log.follow(code=ExitCode.DEGRADED)
    assert told["gaps"] == [{"since": told["known_until"]}]
    found, reached = log.rows_at("--at", "latest", code=ExitCode.INCOMPLETE)
    assert found == log.moments[0][1]
    assert reached["gap_since"] == told["known_until"]
    assert log.rows_at("--at", before)[0] == log.moments[0][1]
    log.repo.json("backup", url_of(server))
    commit(server, 22)
    assert log.follow()["gaps"] == []
    assert log.rows_at("--at", "latest")[0] == do(server, ROWS)


def test_the_server_keeps_what_no_tier_has(log: Log) -> None:
    """The slot is let go of only when a tier has the log, and is dropped where it would fill the server's disk."""
    server = log.server
    log.follow()
    slot = Slot(Cluster(url_of(server), lambda: server.password).database, log.slot)
    kept = slot.kept()
    assert kept is not None
    commit(server, 30)
    tier = log.repo.tier("a")
    tier.rename(tier.with_name("away"))
    assert log.repo.run("follow", url_of(server), "--once", "--slot", log.slot).code == ExitCode.UNAVAILABLE
    assert slot.kept() == kept
    tier.with_name("away").rename(tier)
    log.follow()
    until(lambda: (slot.kept() or 0) > kept)
    slot.guard(1 << 30)
    with pytest.raises(SourceUnreachable) as caught:
        slot.guard(-1)
    assert caught.value.context["reason"] == "slot-dropped"
    assert slot.kept() is None
    slot.close()
