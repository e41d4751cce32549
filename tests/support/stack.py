"""The whole platform for tests: every part, started by `wedsync-backup up` in a home of its own.

A home lies in a path with blanks, quotes, a comma and letters beyond ASCII, below a folder that is closed to
everybody else: what works there works anywhere.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from chassis.ids import new_id
from deploy.stack.child import Launch, spawn
from deploy.stack.identity_provider import IdentityProvider
from deploy.stack.layout import Layout
from deploy.stack.state import PartState, StackState, read_state
from tests.support.collector import Collector
from tests.support.eventually import PATIENCE_SECONDS, eventually

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 150.0
STOP_SECONDS = 90.0

NOTHING_FOLLOWS = {"WEDSYNC_RUN_RETRY_SECONDS": "0"}
"""Runs are begun by the test alone: on a busy machine one that follows another by itself would come between."""


@dataclass
class Platform:
    """One platform. `start` and `stop` may be called again; the home stays."""

    home: Path
    process: "subprocess.Popen[bytes] | None" = None
    environment: dict[str, str] = field(default_factory=lambda: dict(NOTHING_FOLLOWS))
    collector: Collector = field(default_factory=Collector)

    @property
    def layout(self) -> Layout:
        """The home as it is now; its ports are those of the last start."""
        return Layout.find(self.home)

    @property
    def organisation(self) -> str:
        """The organisation of the tokens that name no other."""
        return self.layout.remembered.organisation

    def launch(self) -> None:
        """Begin to start; `ready` waits until it is done."""
        output = self.home.parent / "up.log"
        self.process = spawn(
            Launch(
                argv=(sys.executable, "-m", "cli", "up", "--home", str(self.home)),
                environment={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
                folder=self.home.parent,
                log=output,
                death_signal=signal.SIGTERM,
            )
        )

    async def ready(self) -> StackState:
        """Wait until all parts are ready."""

        def look() -> StackState | None:
            assert self.process is not None
            if self.process.poll() is not None:
                pytest.fail(f"the platform ended with {self.process.returncode}:\n{self.output()}")
            state = self.state()
            is_it = state is not None and state.supervisor.pid == self.process.pid
            return state if is_it and state is not None and state.ready_seconds is not None else None

        state = await eventually(look, within=START_SECONDS, every=0.05)
        assert state is not None
        return state

    async def start(self) -> StackState:
        """Start, and wait until all parts are ready."""
        self.launch()
        return await self.ready()

    def stop(self) -> int:
        """Stop gracefully; the exit code. Fails where that takes too long."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def output(self) -> str:
        """What `up` has printed since the home was made."""
        log = self.home.parent / "up.log"
        return log.read_text() if log.exists() else ""

    def state(self) -> StackState | None:
        """The supervisor's last report."""
        return read_state(self.home / "run" / "stack.json")

    def part(self, name: str) -> PartState:
        """What the last report says of a part."""
        state = self.state()
        assert state is not None
        return state.part(name)

    def pid(self, name: str) -> int:
        """The process of a part."""
        process = self.part(name).process
        assert process is not None
        return process.pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to a part; the process that got it."""
        process = self.part(name).process
        assert process is not None
        assert process.send(number)
        return process.pid

    async def restarted(self, name: str, before: int, within: float = PATIENCE_SECONDS) -> int:
        """Wait until a part is up again as another process than before; that process."""

        def look() -> int | None:
            part = self.part(name)
            is_new = part.condition.is_up and part.process is not None and part.process.pid != before
            return part.process.pid if is_new and part.process is not None else None

        pid = await eventually(look, within=within)
        assert pid is not None
        return pid

    def token(self, *roles: str, organisation: str | None = None, **more: Any) -> str:
        """A bearer token with these roles; an owner's where none is named."""
        return IdentityProvider.of(self.layout).token(
            organisation=organisation or self.organisation, roles=roles or ("owner",), **more
        )

    def client(self, *roles: str, organisation: str | None = None) -> httpx.AsyncClient:
        """An HTTP client with a token, for `async with`."""
        headers = {"Authorization": f"Bearer {self.token(*roles, organisation=organisation)}"}
        return httpx.AsyncClient(base_url=self.layout.gateway_url, headers=headers, timeout=30.0)

    def command(self, *words: str, within: float = 120.0) -> "subprocess.CompletedProcess[str]":
        """Run a command of the CLI on this home to its end; its exit code is the test's to judge."""
        return subprocess.run(
            [sys.executable, "-m", "cli", *words, "--home", str(self.home)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
            cwd=self.home.parent,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def status(self) -> tuple[int, dict[str, Any]]:
        """What `status --json` says, with its exit code."""
        done = self.command("status", "--json")
        document: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, document


def closed_folder() -> Path:
    """A new folder in the system's temporary folder that nobody else may enter, with a difficult name."""
    return Path(tempfile.mkdtemp(prefix='wedsync, "Süß" it\'s 100% $HOME '))


@contextmanager
def platform_home() -> Iterator[Platform]:
    """A platform that is not started yet; whatever runs of it at the end is killed, and its home deleted."""
    folder = closed_folder()
    platform = Platform(folder / "a home")
    try:
        yield platform
    finally:
        _end(platform)
        shutil.rmtree(folder, ignore_errors=True)


def _end(platform: Platform) -> None:
    if platform.process is not None and platform.process.poll() is None:
        try:
            platform.stop()
        except subprocess.TimeoutExpired:
            platform.process.kill()
            platform.process.wait()
    state = platform.state()
    for part in [] if state is None else state.parts:
        with suppress(OSError):
            if part.process is not None:
                part.process.send(signal.SIGKILL)


@pytest.fixture
def unstarted_platform() -> Iterator[Platform]:
    """A platform of the test's own, not started yet."""
    with platform_home() as platform:
        yield platform


@pytest.fixture
async def own_platform(unstarted_platform: Platform) -> Platform:
    """A running platform of the test's own, for tests that break things."""
    await unstarted_platform.start()
    return unstarted_platform


@pytest.fixture(scope="session")
def shared_platform() -> Iterator[Platform]:
    """One running platform for the whole test run, for tests that leave it whole. See `platform`."""
    import asyncio

    with platform_home() as shared, shared.collector.listening():
        shared.environment |= {"WEDSYNC_OTEL_ENDPOINT": shared.collector.url, "WEDSYNC_OTEL_SAMPLE_RATIO": "1"}
        # Receivers of notifications are on this machine.
        shared.environment |= {"WEDSYNC_NOTIFY_PRIVATE": "true", "WEDSYNC_DR_TEST_LOCATIONS": "rehearsals"}
        asyncio.run(shared.start())
        yield shared


@dataclass
class Tenant:
    """A platform as a new organisation sees it: nothing of other tests is in it."""

    platform: Platform
    organisation: str

    def client(self, *roles: str) -> httpx.AsyncClient:
        """An HTTP client of somebody of this organisation; of an owner where no role is named."""
        return self.platform.client(*roles, organisation=self.organisation)


@pytest.fixture
def platform(shared_platform: Platform) -> Tenant:
    """The shared platform, with an organisation of the test's own."""
    return Tenant(shared_platform, new_id())
