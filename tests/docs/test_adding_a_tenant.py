"""Section 9 of the guide for operators is followed on a running platform: tenants, sources, tiers, credentials."""

import json
import shlex
from pathlib import Path
from typing import Any

import boto3
import httpx
import psycopg
import pytest
from botocore.config import Config

from chassis.ids import new_id
from deploy.stack.s3 import endpoint
from deploy.stack.s3_regions import REGIONS
from tests.support.eventually import eventually
from tests.support.guide import Shell
from tests.support.stack import Platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

TENANT = "acme-weddings"


@pytest.fixture
def shell(tmp_path: Path, shared_platform: Platform) -> Shell:
    """An operator with the guide."""
    return Shell("docs/operations.md", tmp_path / "bin", tmp_path, {"WEDSYNC_HOME": str(shared_platform.home)})


async def _create(client: httpx.AsyncClient, source: str, tier: str, kind: str = "directory") -> httpx.Response:
    body: dict[str, Any] = {
        "name": f"Photos {new_id()}",
        "sourceType": kind,
        "sourceLocation": source,
        "sourceIdentifier": "",
        "backupType": "full",
        "storageDestinations": {"local": {"location": "local"}, "cloudPrimary": {"location": tier, "required": True}},
    }
    headers = {"Idempotency-Key": new_id()}
    return await client.post("/api/backup/configurations", json=body, headers=headers)


async def _run(client: httpx.AsyncClient, configuration: str) -> dict[str, Any]:
    """A run of a configuration, to its end."""

    async def asked() -> bool:
        headers = {"Idempotency-Key": new_id()}
        body = {"configurationId": configuration}
        return (await client.post("/api/backup/execute", json=body, headers=headers)).status_code == 202

    async def ended() -> dict[str, Any] | None:
        items: list[dict[str, Any]] = (await client.get("/api/backup/executions")).json()["items"]
        own = (each for each in items if each["configurationId"] == configuration)
        return next((each for each in own if each["state"] in ("completed", "failed")), None)

    assert await eventually(asked, within=60)
    found = await eventually(ended, within=90)
    assert found is not None
    return found


async def test_tenant_is_added_backs_up_and_loses_a_location(
    shell: Shell, shared_platform: Platform, tmp_path: Path
) -> None:
    """Each block is typed as it stands, says what is expected, and the services work with what it did at once."""
    layout, region = shared_platform.layout, REGIONS[0]
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "IMG_1.JPG").write_bytes(b"first")
    pair = json.loads((layout.credentials / f"{region.name}.json").read_bytes())

    done = shell.follow("add-tenant")
    assert done.returncode == 0, done.stderr
    shell.expect("add-tenant", done.stdout)
    token = done.stdout.splitlines()[-1]

    done = shell.follow("secret")
    assert done.returncode == 0, done.stderr
    shell.expect("secret", done.stdout)

    done = shell.follow("add-source", instead={"file:///srv/acme/photos": f"file://{photos}"})
    assert done.returncode == 0, done.stderr
    shell.expect("add-source", done.stdout)

    address = {"BUCKET": region.bucket, "ENDPOINT": endpoint(layout, region), "REGION": region.region}
    values = {"KEY-ID": pair["accessKeyId"], "SECRET": pair["secretAccessKey"], **address}
    wrong = shell.follow("add-tier", instead={**values, "SECRET": "another"})
    assert (wrong.returncode, "[location-access-denied]" in wrong.stderr) == (9, True), wrong
    done = shell.follow("add-tier", instead=values)
    # Here it shares its server with another tier.
    assert (done.returncode, "same server as cloud-primary" in done.stdout) == (4, True), done
    shell.expect("add-tier", done.stdout)
    assert pair["secretAccessKey"] not in done.stdout + done.stderr + layout.locations_file.read_text()

    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=layout.gateway_url, headers=headers, timeout=30.0, trust_env=False) as client:
        made = await _create(client, "acme-photos", "acme-cloud")
        assert made.status_code in (201, 202), made.text
        configuration = (made.json().get("resource") or made.json()["id"]).split("/")[-1]
        async with shared_platform.client(organisation="somebody-else") as other:
            refused = await _create(other, "acme-photos", "acme-cloud")
            assert (refused.status_code, refused.json()["code"]) == (422, "unknown-location")

        # The new credentials are those that the run uses.
        renewed = tmp_path / "acme-cloud-new.json"
        renewed.write_text(json.dumps({**pair, "secretAccessKey": "not-made-at-the-provider"}))
        renewed.chmod(0o600)
        kept = (layout.credentials / TENANT / "acme-cloud.json").read_bytes()
        wrong = shell.follow("rotate")
        assert (wrong.returncode, "[location-access-denied]" in wrong.stderr) == (9, True), wrong
        assert (layout.credentials / TENANT / "acme-cloud.json").read_bytes() == kept
        renewed.write_text(json.dumps(pair))
        done = shell.follow("rotate")
        assert done.returncode == 4, done.stderr
        shell.expect("rotate", done.stdout)

        ended = await _run(client, configuration)
        assert (ended["state"], ended["degraded"]) == ("completed", False), ended

        # A bucket as a source: it comes back byte for byte.
        boto3.client(
            "s3",
            endpoint_url=address["ENDPOINT"],
            region_name=region.region,
            aws_access_key_id=pair["accessKeyId"],
            aws_secret_access_key=pair["secretAccessKey"],
            config=Config(s3={"addressing_style": "path"}),
        ).put_object(Bucket=region.bucket, Key="album/2027/IMG_7.JPG", Body=b"seventh" * 100)
        done = shell.follow("add-bucket", instead=values)
        assert done.returncode == 0, done.stderr
        shell.expect("add-bucket", done.stdout)
        made = await _create(client, "acme-album", "acme-cloud", "s3")
        assert made.status_code in (201, 202), made.text
        ended = await _run(client, (made.json().get("resource") or made.json()["id"]).split("/")[-1])
        assert (ended["state"], ended["degraded"]) == ("completed", False), ended
        key, back = layout.credentials.parent / "repositories" / f"{TENANT}.key", tmp_path / "back"
        places = ["--key-file", str(key), "--tier", (layout.home / "data/tiers/local" / TENANT).as_uri()]
        done = shell.type(shlex.join(["wedsync-backup", "repo", "restore", *places, "latest", "--target", str(back)]))
        assert done.returncode == 0, done.stderr
        assert (back / "2027/IMG_7.JPG").read_bytes() == b"seventh" * 100
        assert shell.type("wedsync-backup location remove acme-album --anyway").returncode == 4

    used = shell.follow("remove")
    assert (used.returncode, "[location-in-use]" in used.stderr, configuration in used.stderr) == (9, True, True), used
    done = shell.type("wedsync-backup location remove acme-cloud --anyway")
    assert (done.returncode, "1 organisations have a repository there" in done.stdout) == (4, True), done
    done = shell.type("wedsync-backup location remove acme-photos --anyway --json")
    assert done.returncode == 4
    assert configuration in json.loads(done.stdout)["doubts"][0]
    words = f"wedsync-backup location add acme-photos --role source --url 'file://{photos}' --organisation {TENANT}"
    again = shell.type(words)
    assert (again.returncode, configuration in again.stdout) == (0, True), again
    assert shell.type("wedsync-backup location remove acme-photos --anyway").returncode == 4
    assert (photos / "IMG_1.JPG").read_bytes() == b"first"
    assert not (layout.credentials / TENANT / "acme-cloud.json").exists()


def test_location_that_nobody_uses_is_removed_as_the_guide_says(shell: Shell, tmp_path: Path) -> None:
    """Known from the record, not guessed; a configuration of somebody who may not use it is no use of it."""
    folder = tmp_path / "photos"
    folder.mkdir()
    added = shell.type(f"wedsync-backup location add acme-photos --role source --url 'file://{folder}'")
    assert added.returncode == 0, added.stderr
    done = shell.follow("remove")
    assert done.returncode == 0, done.stderr
    shell.expect("remove", done.stdout)


async def test_database_is_added_backed_up_and_restored(
    shell: Shell, shared_platform: Platform, tmp_path: Path
) -> None:
    """It answers the trial, with its password from a file of its owner; what the run has saved comes back by `repo`."""
    secret = json.loads((shared_platform.layout.keys / "secrets.json").read_bytes())["postgresAdmin"]
    login = tmp_path / "login.json"
    login.write_text(json.dumps({"password": secret}))
    login.chmod(0o600)
    port = shared_platform.layout.port("postgres")
    server = f"postgres://wedsync_admin@127.0.0.1:{port}"
    rows = "SELECT n, md5(n::text) AS digest FROM generate_series(1, 1000) n"
    with psycopg.connect(f"{server}/postgres?password={secret}", autocommit=True) as admin:
        admin.execute("CREATE DATABASE album_again")
        admin.execute("CREATE DATABASE album")
    with psycopg.connect(f"{server}/album?password={secret}", autocommit=True) as admin:
        admin.execute(f"CREATE TABLE photos AS {rows}".encode())
    url = f"{server}/album?sslmode=disable"
    words = f"wedsync-backup location add album-db --role source --url '{url}' --organisation db-tenant"
    done = shell.type(f"{words} --credentials file:login.json --json")
    assert done.returncode == 0, done.stderr
    assert secret not in done.stdout
    found = {each["check"]: each["outcome"] for each in json.loads(done.stdout)["findings"]}
    assert found == {"reachable": "ok", "readable": "ok", "separate": "ok"}
    login.write_text(json.dumps({"password": "not-the-one"}))
    other = words.replace("album-db", "other-db").replace("/album?", "/template1?")
    wrong = shell.type(f"{other} --credentials file:login.json")
    assert (wrong.returncode, "[location-access-denied]" in wrong.stderr) == (9, True), wrong
    assert "not-the-one" not in wrong.stderr
    async with shared_platform.client(organisation="db-tenant") as client:
        made = await _create(client, "album-db", "cloud-primary", "postgres")
        assert made.status_code in (201, 202), made.text
        ended = await _run(client, (made.json().get("resource") or made.json()["id"]).split("/")[-1])
        assert (ended["state"], ended["degraded"]) == ("completed", False), ended
    layout = shared_platform.layout
    key = layout.keys / "platform/repositories/db-tenant.key"
    places = ["--key-file", str(key), "--tier", (layout.home / "data/tiers/local/db-tenant").as_uri()]
    login.write_text(json.dumps({"password": secret}))
    target = ["--target", f"{server}/album_again", "--target-credentials", "file:login.json"]
    done = shell.type(shlex.join(["wedsync-backup", "repo", "restore", *places, "latest", *target, "--verify"]))
    assert done.returncode == 0, done.stderr
    with psycopg.connect(f"{server}/album_again?password={secret}") as back:
        assert back.execute("SELECT * FROM photos").fetchall() == back.execute(rows.encode()).fetchall()
    assert shell.type("wedsync-backup location remove album-db --anyway").returncode == 4
    with psycopg.connect(f"{server}/postgres?password={secret}", autocommit=True) as admin:
        admin.execute("DROP DATABASE album WITH (FORCE)")
        admin.execute("DROP DATABASE album_again WITH (FORCE)")
