"""Buckets are tried before they are registered, on a real S3 server."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from chassis.locations import Locations
from cli.exit_codes import ExitCode
from cli.main import main
from deploy.stack.layout import Layout
from deploy.stack.ports import LOOPBACK, choose_ports
from repository.errors import PlaceInUse
from repository.tiers.location import open_tier
from repository.tiers.places import refuse_among_others
from tests.support.postgres_server import PostgresServer
from tests.support.s3_server import SECRET_KEY, S3Server

pytestmark = pytest.mark.stack


class Adding:
    """Tiers in buckets of one server, added to a home where nothing runs."""

    def __init__(self, folder: Path, server: S3Server, capsys: pytest.CaptureFixture[str]) -> None:
        self.layout = Layout.create(folder / "a home")
        self.prefix = f"locations-{quote(folder.name, safe='')}"
        self._server, self._capsys = server, capsys

    def __call__(self, *words: str) -> tuple[int, dict[str, Any]]:
        """One command of `location`, with its exit code and its document."""
        self._capsys.readouterr()
        code = main(["location", *words, "--json", "--home", str(self.layout.home)])
        said = self._capsys.readouterr()
        assert SECRET_KEY not in said.out + said.err
        # Before a refusal stands what it waited for, where that took seconds.
        document: dict[str, Any] = json.loads(said.out or said.err[said.err.index("{") :])
        return code, document

    def add(self, bucket: str, prefix: str, *more: str, server: str = "", name: str = "") -> tuple[int, dict[str, Any]]:
        """Add a tier in a bucket, of the prefix's name unless it is given another."""
        url = self._server.url(bucket, f"{self.prefix}/{prefix}")
        if server:
            url = url.replace(quote(self._server.endpoint, safe=""), quote(server, safe=""))
        return self("add", name or prefix, "--role", "tier", "--url", url, "--credentials", "env", *more)


@pytest.fixture
def adding(
    tmp_path: Path, s3_server: S3Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Adding:
    """The environment has credentials that may do everything."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    return Adding(tmp_path, s3_server, capsys)


def _refused(adding: Adding, answer: tuple[int, dict[str, Any]]) -> tuple[int, str, str]:
    code, document = answer
    assert not adding.layout.locations_file.exists()
    assert not list(adding.layout.credentials.rglob("*.json"))
    return code, document["error"]["code"], document["error"]["field"]


def test_bucket_is_tried_and_left_as_it_was(adding: Adding, s3_server: S3Server) -> None:
    """It is listed, written to, read back; afterwards nothing lies below the prefix."""
    bucket = s3_server.shared_bucket()
    code, document = adding.add(bucket, "cloud")
    assert code == ExitCode.OK
    found = {each["check"]: each["outcome"] for each in document["findings"]}
    expected = {"credentials": "ok", "reachable": "ok", "writable": "ok", "separate": "ok", "alone": "ok"}
    assert found == {**expected, "space": "unknown"}
    assert s3_server.client().list_objects_v2(Bucket=bucket, Prefix=adding.prefix)["KeyCount"] == 0
    assert Locations(adding.layout.locations_file).find("cloud", adding.layout.remembered.organisation) is not None


def test_tier_is_not_added_among_other_objects_unasked(adding: Adding, s3_server: S3Server) -> None:
    """Those of organisations are its own. In a repository none is added, whatever is said."""
    bucket, client = s3_server.shared_bucket(), s3_server.client()
    client.put_object(Bucket=bucket, Key=f"{adding.prefix}/cloud/acme/log/0", Body=b"x")
    client.put_object(Bucket=bucket, Key=f"{adding.prefix}/cloud/IMG_1.JPG", Body=b"x")
    assert _refused(adding, adding.add(bucket, "cloud")) == (ExitCode.REFUSED, "place-in-use", "url")
    client.delete_object(Bucket=bucket, Key=f"{adding.prefix}/cloud/IMG_1.JPG")
    # What no object of a tier could be called is there all the same.
    client.put_object(Bucket=bucket, Key=f"{adding.prefix}/cloud/our photos/1 (copy).jpg", Body=b"x")
    assert _refused(adding, adding.add(bucket, "cloud")) == (ExitCode.REFUSED, "place-in-use", "url")
    client.delete_object(Bucket=bucket, Key=f"{adding.prefix}/cloud/our photos/1 (copy).jpg")
    client.put_object(Bucket=bucket, Key=f"{adding.prefix}/cloud/acme/config", Body=b"{}")
    inside = adding.add(bucket, "cloud/acme/packs", "--beside-other-files", name="packs")
    assert _refused(adding, inside) == (ExitCode.REFUSED, "place-in-use", "url")
    assert adding.add(bucket, "cloud")[0] == ExitCode.OK


def test_repository_is_begun_beside_nothing_that_a_tier_could_not_have(adding: Adding, s3_server: S3Server) -> None:
    """Names of people are seen, too; a folder of theirs that was emptied is none."""
    bucket, client = s3_server.shared_bucket(), s3_server.client()
    address = s3_server.url(bucket, f"{adding.prefix}/alone")
    store, key = open_tier(address), f"{adding.prefix}/alone/our photos/1 (copy).jpg"
    refuse_among_others(store, address)
    client.put_object(Bucket=bucket, Key=key, Body=b"x")
    with pytest.raises(PlaceInUse):
        refuse_among_others(store, address)
    client.delete_object(Bucket=bucket, Key=key)
    refuse_among_others(store, address)
    store.close()


def test_bucket_as_a_source_is_read_with_the_right_to_read_alone(
    adding: Adding, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object and its tags; where there is none, that it could not be tried."""
    for name, value in s3_server.reader_environment.items():
        monkeypatch.setenv(name, value)
    bucket = s3_server.shared_bucket()
    words = ("--role", "source", "--url", s3_server.url(bucket, f"{adding.prefix}/album"), "--credentials", "env")
    assert adding("add", "album", *words)[0] == ExitCode.OK
    code, document = adding("test", "album")
    assert (code, document["findings"][2]["outcome"]) == (ExitCode.DEGRADED, "warning")
    s3_server.client().put_object(Bucket=bucket, Key=f"{adding.prefix}/album/IMG_1.JPG", Body=b"x")
    code, document = adding("test", "album")
    found = {each["check"]: each["outcome"] for each in document["findings"]}
    assert (code, found) == (
        ExitCode.OK,
        {"credentials": "ok", "reachable": "ok", "readable": "ok", "separate": "ok"},
    )


def test_bucket_that_cannot_serve_is_refused(
    adding: Adding, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is not there, one without locks that is to lock, a server that is not there, rights to read alone."""
    bucket = s3_server.shared_bucket()
    assert _refused(adding, adding.add("no-such-bucket", "x")) == (ExitCode.FAILED, "location-unusable", "url")
    assert _refused(adding, adding.add(bucket, "x", "--lock")) == (ExitCode.FAILED, "lock-not-supported", "lock")
    nobody = f"http://{LOOPBACK}:{choose_ports(['nobody'], {})['nobody']}"
    away = adding.add(bucket, "x", server=nobody)
    assert _refused(adding, away) == (ExitCode.UNAVAILABLE, "tier-unreachable", "url")
    for name, value in s3_server.reader_environment.items():
        monkeypatch.setenv(name, value)
    denied = adding.add(bucket, "x")
    assert _refused(adding, denied) == (ExitCode.REFUSED, "location-access-denied", "url")


def test_bucket_with_locks_is_one_that_may_lock(adding: Adding, s3_server: S3Server) -> None:
    """The trial itself is not locked, so that it can be removed."""
    code, document = adding.add(s3_server.shared_bucket(locks=True), "vault", "--lock")
    assert code == ExitCode.OK
    assert {each["check"]: each["outcome"] for each in document["findings"]}["lockable"] == "ok"
    assert document["location"]["lock"] is True


def test_prefix_is_one_place_however_it_is_written(adding: Adding, s3_server: S3Server) -> None:
    """The same prefix by another name of the server, one within it, one around it are refused; a sibling is not."""
    bucket = s3_server.shared_bucket()
    assert adding.add(bucket, "cloud")[0] == ExitCode.OK
    url = s3_server.url(bucket, f"{adding.prefix}/cloud")
    for other, code in (
        (url.replace(LOOPBACK, "localhost"), "location-taken"),
        (url.replace("/cloud?", "/cloud/inner?"), "location-excluded"),
        (url.replace("/cloud?", "?"), "location-excluded"),
    ):
        told, document = adding("add", "other", "--role", "tier", "--url", other, "--credentials", "env")
        assert (told, document["error"]["code"]) == (ExitCode.REFUSED, code), other
    assert adding.add(bucket, "cloud-2")[0] == ExitCode.OK
    assert adding("test", "cloud-2")[0] == ExitCode.DEGRADED


def test_credentials_that_the_provider_refuses_replace_nothing(
    adding: Adding, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are tried first; a place whose secret somebody may read is told by `test`."""
    assert adding.add(s3_server.shared_bucket(), "cloud", "--organisation", "org-a")[0] == ExitCode.OK
    path = adding.layout.credentials / "org-a" / "cloud.json"
    before = path.read_bytes()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    code, document = adding("rotate", "cloud", "--credentials", "env")
    assert (code, document["error"]["code"]) == (ExitCode.REFUSED, "location-access-denied")
    assert path.read_bytes() == before
    path.chmod(0o644)
    code, document = adding("test", "cloud")
    assert (code, document["findings"][0]["code"]) == (ExitCode.REFUSED, "credentials-unusable")


def test_database_is_read_as_a_run_reads_it(
    adding: Adding, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is missing is named with the statement that grants it, and its password is in no word of that."""
    access = postgres.fresh(statements=["CREATE TABLE orders (id int)"])
    reader = f"{access.role}_reads"
    with psycopg.connect(postgres.admin_dsn, autocommit=True) as admin:
        admin.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(reader), Literal(SECRET_KEY)))
        monkeypatch.setenv("PGPASSWORD", SECRET_KEY)
        url = f"postgres://{reader}@127.0.0.1:{postgres.port}/postgres"
        code, document = adding("add", "db", "--role", "source", "--url", url, "--credentials", "env")
        assert (code, document["error"]["code"]) == (ExitCode.REFUSED, "location-access-denied")
        assert f'GRANT pg_read_all_data TO "{reader}"' in document["error"]["hint"]
        admin.execute(SQL("GRANT pg_read_all_data TO {}").format(Identifier(reader)))
        code, document = adding("add", "db", "--role", "source", "--url", url, "--credentials", "env")
        found = {each["check"]: each["outcome"] for each in document["findings"]}
        assert (code, found) == (ExitCode.OK, {"reachable": "ok", "readable": "ok", "separate": "ok"})
        admin.execute(SQL("DROP ROLE {}").format(Identifier(reader)))
    postgres.drop(access)
