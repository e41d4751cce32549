"""The processes beside servers that others keep, from nothing, by the commands of the guide's section 11."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy.nats.permissions import TOPOLOGY
from deploy.nats.server_config import quoted
from deploy.production import systemd
from deploy.production.processes import PROCESSES
from deploy.stack.identity_provider import IdentityProvider
from deploy.stack.services import SERVICES
from tests.support.nats_server import NatsServer
from tests.support.operations_guide import GUIDE, assert_shows, block
from tests.support.postgres_server import PostgresServer, free_port, running_postgres
from tests.support.stack import ROOT
from tests.unit.deploy.test_production import environment

pytestmark = pytest.mark.stack

PROCESS = re.compile(
    r"^\| (?P<name>[\w-]+)[^|]* \| `python3 -m (?P<module>[\w.]+)` \| `(?P<role>\w+)` \| `(?P<schema>\w+)`"
    r" \| `(?P<seed>[\w.-]+)` \|$",
    re.MULTILINE,
)
READY_SECONDS = 120


class Elsewhere:
    """A folder for seeds and keys, a Postgres and a NATS that know nothing of the platform yet."""

    def __init__(self, folder: Path, postgres: PostgresServer) -> None:
        self.folder = folder
        self.postgres = postgres
        self.seeds, self.keys, self.passwords = folder / "seeds", folder / "keys", folder / "passwords"
        (folder / "cache").mkdir()
        self.nats = NatsServer(folder / "nats")

    def types(self, command: str) -> "subprocess.CompletedProcess[str]":
        """A command of the guide, with these places in it."""
        changes = (
            ("/etc/wedsync/seeds", str(self.seeds)),
            ("/etc/wedsync/passwords", str(self.passwords)),
            ("/var/lib/wedsync/keys", str(self.keys)),
            ("python3", sys.executable),
        )
        for before, after in changes:
            command = command.replace(before, after)
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.environment() | {"WEDSYNC_POSTGRES_ADMIN_DSN": self.postgres.admin_dsn},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        """Without settings of whoever runs the tests."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("WEDSYNC_")}
        return {**kept, "PYTHONPATH": str(ROOT)}

    def settings(self, name: str, health: int) -> dict[str, str]:
        """What the unit of a process gives it, with the operator's settings, and these places in it."""
        jwks, locations = self.folder / "jwks.json", self.folder / "locations.json"
        jwks.write_bytes(IdentityProvider(ec.generate_private_key(ec.SECP256R1())).jwks())
        locations.write_text(json.dumps({"locations": []}))
        (process,) = [each for each in PROCESSES if each.name == name]
        unit = systemd.units()[systemd.unit_of(process)]
        given = {key: text for key, text in environment(unit).items() if key.startswith("WEDSYNC_")}
        own = {
            "WEDSYNC_POSTGRES_PASSWORD_FILE": str(self.passwords / given["WEDSYNC_POSTGRES_ROLE"]),
            "WEDSYNC_NATS_SEED_FILE": str(self.seeds / f"{name}.seed"),
            "WEDSYNC_KEYS_DIR": str(self.keys),
            "WEDSYNC_LOCATIONS_FILE": str(locations),
            "WEDSYNC_HEALTH_PORT": str(health),
            "WEDSYNC_HTTP_PORT": str(free_port()),
            "WEDSYNC_CACHE": str(self.folder / "cache"),
        }
        whole = conninfo_to_dict(self.postgres.admin_dsn)
        server = {name: whole[name] for name in ("host", "port", "dbname")}
        shared = {
            "WEDSYNC_POSTGRES_DSN": make_conninfo(
                "", host=server["host"], port=server["port"], dbname=server["dbname"]
            ),
            "WEDSYNC_NATS_URL": self.nats.url,
            "WEDSYNC_JWKS_FILE": str(jwks),
            "WEDSYNC_JWT_ISSUER": "https://login.example",
        }
        return {**shared, **given, **{key: text for key, text in own.items() if key in given}}

    @contextmanager
    def running(self, rows: list[dict[str, str]]) -> Iterator[dict[str, int]]:
        """The processes of the guide's table; the port of each one's health by its name."""
        ports = {row["name"]: free_port() for row in rows}
        started = []
        try:
            for row in rows:
                settings = self.settings(row["name"], ports[row["name"]])
                with (self.folder / f"{row['name']}.log").open("wb") as log:
                    argv = [sys.executable, "-m", row["module"]]
                    environment = self.environment() | settings | {"NOTIFY_SOCKET": str(self.folder / "notify")}
                    started.append(
                        subprocess.Popen(argv, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
                    )
            yield ports
        finally:
            for process in started:
                process.terminate()
            for process in started:
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def until_ready(self, ports: dict[str, int]) -> None:
        """Wait until the processes are ready, else fail with the logs of those that are not."""
        waiting, until = dict(ports), time.monotonic() + READY_SECONDS
        while waiting and time.monotonic() < until:
            waiting = {name: port for name, port in waiting.items() if not _is_ready(port)}
            time.sleep(0.2)
        assert not waiting, {name: (self.folder / f"{name}.log").read_text()[-2000:] for name in waiting}


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    """Servers with nothing in them."""
    with running_postgres() as postgres:
        made = Elsewhere(tmp_path, postgres)
        yield made
        made.nats.kill()


def test_processes_become_ready_beside_servers_of_others(elsewhere: Elsewhere) -> None:
    """Accounts, servers, keys, processes, in the guide's order; each process's readiness says that it is ready."""
    for _ in range(2):
        done = elsewhere.types(block("run", "nats-accounts"))
        assert done.returncode == 0, done.stderr
        assert_shows(block("expect", "nats-accounts", ("/etc/wedsync/seeds", str(elsewhere.seeds))), done.stdout)
    accounts, seed = elsewhere.folder / "accounts.conf", elsewhere.seeds / "config.seed"
    whole = accounts.read_text(), seed.read_text()
    seed.write_text("")
    refused = elsewhere.types(block("run", "nats-accounts"))
    assert (refused.returncode != 0, str(seed) in refused.stderr) == (True, True), refused.stderr
    assert accounts.read_text() == whole[0], "a server that includes an empty file lets everybody in"
    seed.write_text(whole[1])
    elsewhere.seeds.rename(elsewhere.folder / "away")
    refused = elsewhere.types(block("run", "nats-accounts"))
    assert (refused.returncode != 0, "none of their seeds" in refused.stderr) == (True, True), refused.stderr
    (elsewhere.folder / "away").rename(elsewhere.seeds)
    assert {path.stat().st_mode & 0o777 for path in elsewhere.seeds.iterdir()} == {0o600}
    own = f"jetstream {{ store_dir: {quoted(str(elsewhere.nats.store))} }}\nlisten: {quoted('127.0.0.1:-1')}\n"
    elsewhere.nats.own = own + accounts.read_text()
    elsewhere.nats.start()
    settings = (
        f"export WEDSYNC_NATS_URL={elsewhere.nats.url} WEDSYNC_NATS_SEED_FILE=/etc/wedsync/seeds/{TOPOLOGY}.seed\n"
    )
    done = elsewhere.types(f"{settings}python3 -m deploy.elsewhere")
    assert done.returncode == 0, done.stderr
    for place, fault in ((accounts, "is no folder"), (elsewhere.seeds, "other files"), (seed / "keys", "is not there")):
        refused = elsewhere.types(f"python3 -m deploy.elsewhere keys {place}")
        assert (refused.returncode != 0, fault in refused.stderr) == (True, True), refused.stderr
    done = elsewhere.types(block("run", "keys-folder"))
    assert done.returncode == 0, done.stderr
    assert_shows(block("expect", "keys-folder", ("/var/lib/wedsync/keys", str(elsewhere.keys))), done.stdout)

    rows = [each.groupdict() for each in PROCESS.finditer(GUIDE)]
    assert {(row["name"], row["module"], row["schema"]) for row in rows} == {
        (each.identity, each.module, each.service) for each in SERVICES
    }
    for _ in range(2):
        done = elsewhere.types(block("run", "passwords"))
        assert done.returncode == 0, done.stderr
        assert "the roles have the passwords" in done.stdout
    assert {path.stat().st_mode & 0o777 for path in elsewhere.passwords.iterdir()} == {0o600}
    with (
        psycopg.connect(elsewhere.postgres.admin_dsn, autocommit=True) as connection,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as init_system,
    ):
        init_system.bind(str(elsewhere.folder / "notify"))
        with elsewhere.running(rows) as ports:
            elsewhere.until_ready(ports)
            assert [init_system.recv(100) for _ in rows] == [b"READY=1"] * len(rows)
            # A store that is lost has an operator there say that the record is published again.
            elsewhere.nats.kill()
            shutil.rmtree(elsewhere.nats.store)
            elsewhere.nats.own = elsewhere.nats.own.replace("127.0.0.1:-1", elsewhere.nats.url.rpartition("//")[2])
            elsewhere.nats.start()
            settings = f"{settings}export WEDSYNC_KEYS_DIR=/var/lib/wedsync/keys\n"
            done = elsewhere.types(f"{settings}python3 -m deploy.elsewhere\n{block('run', 'refill-elsewhere')}")
            assert done.returncode == 0, done.stdout + done.stderr
            assert done.stdout.count("its stream holds the record") == len({each.service for each in SERVICES})
            elsewhere.until_ready(ports)

        # The record knows of what was sealed, and the folder is another, empty one: nothing is made in it.
        connection.execute("UPDATE gateway.outbox_state SET high_water = 7")
    elsewhere.keys.rename(elsewhere.folder / "away")
    refused = elsewhere.types(block("run", "keys-folder"))
    assert refused.returncode != 0
    assert "keys-unusable" in refused.stderr
    assert not elsewhere.keys.exists()


def _is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False
