"""A cluster that is saved as its server streams it, and restored to a folder of which a server becomes one."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from cli.exit_codes import ExitCode
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
        yield made
    finally:
        made.stop()


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
    """Each command of the section runs as it stands there, but for the places."""
    section = Path("docs/repository-cli.md").read_text(encoding="utf-8").partition("\n### A whole cluster\n")[2]
    with place() as folder:
        for line in section.partition("```sh\n")[2].partition("```")[0].splitlines():
            words = line.partition("#")[0].split()[1:]
            words = [url_of(server) if word.startswith("postgres-cluster://") else word for word in words]
            words = [str(folder / "cluster") if word.startswith("/var/lib/") else word for word in words]
            done = repo.run(*words)
            assert done.code == ExitCode.OK, (line, done)


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
        connection.execute(f"CREATE TABLESPACE elsewhere LOCATION '{folder / 'cluster'}'")  # type: ignore[call-overload]
        try:
            done = repo.run("backup", url_of(server))
        finally:
            connection.execute("DROP TABLESPACE elsewhere")
    assert done.code == ExitCode.NOT_FOUND
    assert "tablespaces" in done.err
