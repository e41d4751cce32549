"""A platform under load whose processes are killed, stopped and paused one after the other, by a seed.

Promise of what is looked at: whoever asked for a run and was answered finds it ended, once, as completed, whatever was
killed meanwhile; no run is there that nobody asked for.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random  # noqa: TID251  # seeded
from typing import Any

import psycopg

from chassis.ids import new_id
from cli.api import ApiClient
from contracts import errors
from contracts.envelope import decode
from contracts.errors import PlatformError
from contracts.executor_events import ENDED
from deploy.stack import locations, postgres
from deploy.stack.identity_provider import IdentityProvider
from deploy.stack.secrets import read_secrets
from tests.support.eventually import eventually
from tests.support.more_workers import MoreWorker
from tests.support.stack import Platform

OURS = ("gateway", "config", "executor", "executor-worker", "recovery", "recovery-worker", "compliance")
SERVERS = ("postgres", "nats", "s3-cloud-primary", "s3-cloud-secondary")
STOPS = {"postgres": signal.SIGINT}
"""How a server is told to stop where that is not SIGTERM, by which Postgres waits until everybody has gone."""
TIERS = {
    "local": {"location": "local", "required": True},
    "cloudPrimary": {"location": "cloud-primary"},
    "cloudSecondary": {"location": "cloud-secondary"},
}
ORGANISATIONS = ("soak-a", "soak-b", "soak-c")
FILE_BYTES = 200_000
PAUSE_SECONDS_MAX = 4.0
"""For how long a worker is stopped and goes on: less than a silence, so that its runs stay its own."""
SETTLE_SECONDS = 240.0
ENDINGS = ("backup-completed", "backup-failed", "backup-cancelled")


@dataclass
class Soak:
    """What is asked for, and what was done to the platform meanwhile. `did`: one line for each, for who looks later."""

    platform: Platform
    seed: int
    workers: list[MoreWorker]
    configurations: int = 4
    asked: set[str] = field(default_factory=set)
    did: list[str] = field(default_factory=list)
    _begun: float = 0.0
    _apis: dict[str, ApiClient] = field(default_factory=dict)
    _folders: dict[tuple[str, str], Path] = field(default_factory=dict)

    async def run(self, seconds: float) -> None:
        """Ask and kill for so long, then wait until all is up and over."""
        self._begun = time.monotonic()
        for organisation in ORGANISATIONS:
            await self._configure(organisation)
        for worker in self.workers:
            worker.start()
        until = time.monotonic() + seconds
        random = Random(self.seed)
        await asyncio.gather(
            self._kill(Random(random.random()), until),
            *(self._ask(key, Random(random.random()), until) for key in self._folders),
        )
        await eventually(self._are_all_up, every=0.2)
        await eventually(self._is_all_over, within=SETTLE_SECONDS, every=0.5)
        for api in self._apis.values():
            await api.close()

    def histories(self) -> dict[str, Counter[str]]:
        """How often each event is in the record of each run that was accepted, by the run."""
        found: dict[str, Counter[str]] = {}
        with self._admin() as connection:
            rows = connection.execute("SELECT originator_id::text, state FROM executor.stored_events").fetchall()
        for run, state in rows:
            found.setdefault(run, Counter())[decode(bytes(state)).type.split(".")[1]] += 1
        return {run: names for run, names in found.items() if "backup-accepted" in names}

    def claimed_by(self, worker: str) -> list[str]:
        """The runs that are being performed by workers whose name begins so."""
        query = "SELECT run_id FROM executor.run_claims WHERE state = 'running' AND starts_with(worker, %s)"
        with self._admin() as connection:
            return [run for (run,) in connection.execute(query, (worker,)).fetchall()]

    def silenced(self, runs: Sequence[str]) -> int:
        """How many workers have fallen silent over these runs."""
        query = "SELECT sum(fence - 1 - given_back) FROM executor.run_claims WHERE run_id = ANY(%s)"
        with self._admin() as connection:
            ((count,),) = connection.execute(query, (list(runs),)).fetchall()
        return int(count)

    async def shown(self) -> dict[str, str]:
        """The state of each run as the API shows it."""
        with self._admin() as connection:
            rows = connection.execute("SELECT execution_id, state FROM gateway.executions").fetchall()
        return {str(run): str(state) for run, state in rows}

    async def _configure(self, organisation: str) -> None:
        tokens, person = IdentityProvider.of(self.platform.layout), new_id()
        api = self._apis[organisation] = ApiClient(
            self.platform.layout.gateway_url,
            # One person: who sends a key once more is somebody else's otherwise, and asks for a run of its own.
            lambda: tokens.token(organisation=organisation, roles=["owner"], subject=person),
            new_key=new_id,
            patience_seconds=60.0,
        )
        for number in range(self.configurations):
            name = f"{organisation}-{number}"
            folder = self.platform.home.parent / name
            folder.mkdir()
            (folder / "first.jpg").write_bytes(Random(name).randbytes(FILE_BYTES))
            locations.register(self.platform.layout, locations.source_location(name, folder, organisation=organisation))
            body = {
                "name": name,
                "sourceType": "directory",
                "sourceLocation": name,
                "storageDestinations": TIERS,
            }
            made = await api.write("POST", "/api/backup/configurations", body)
            self._folders[organisation, str(made["id"])] = folder

    async def _ask(self, key: tuple[str, str], random: Random, until: float) -> None:
        """Again and again something new in the folder, a run of it, and its end."""
        organisation, configuration = key
        api, folder = self._apis[organisation], self._folders[key]
        while time.monotonic() < until:
            (folder / f"{random.randrange(4)}.jpg").write_bytes(random.randbytes(FILE_BYTES))
            once = new_id()
            while (document := await self._asked(api, configuration, once)) is None:
                await asyncio.sleep(0.2)
            run = str((document.get("execution") or document)["id"])
            self.asked.add(run)
            while time.monotonic() < until and not await self._has_ended(api, run):
                await asyncio.sleep(0.2)

    async def _asked(self, api: ApiClient, configuration: str, once: str) -> dict[str, Any] | None:
        """The answer; None where it has to be asked for again, by the same key."""
        try:
            return await api.write("POST", "/api/backup/execute", {"configurationId": configuration}, key=once)
        except PlatformError as error:
            if error.code in (errors.UNAVAILABLE, errors.TOO_MANY_REQUESTS):
                return None
            raise

    async def _has_ended(self, api: ApiClient, run: str) -> bool:
        try:
            return (await api.execution(run))["state"] in ENDED
        except PlatformError as error:
            if error.code in (errors.UNAVAILABLE, errors.NOT_FOUND):
                return False
            raise

    async def _kill(self, random: Random, until: float) -> None:
        while time.monotonic() < until:
            await asyncio.sleep(random.uniform(0.3, 2.0))
            chance = random.random()
            if chance < 0.45:
                await self._end_part(random.choice(OURS), random.choice((signal.SIGKILL, signal.SIGTERM)))
            elif chance < 0.65:
                name = random.choice(SERVERS)
                await self._end_part(name, random.choice((signal.SIGKILL, STOPS.get(name, signal.SIGTERM))))
            elif chance < 0.75 or not self.workers:
                await self._pause("executor-worker", random.uniform(0.5, PAUSE_SECONDS_MAX))
            else:
                self._end_worker(random.choice(self.workers), random.choice((signal.SIGKILL, signal.SIGTERM)))

    async def _end_part(self, name: str, number: signal.Signals) -> None:
        part = self.platform.part(name)
        if not part.condition.is_up or part.process is None or not part.process.send(number):
            return
        self._note(f"{number.name} to {name}")
        await self.platform.restarted(name, part.process.pid)

    async def _pause(self, name: str, seconds: float) -> None:
        process = self.platform.part(name).process
        if process is not None and process.send(signal.SIGSTOP):
            self._note(f"{name} stood still for {seconds:.1f} s")
            await asyncio.sleep(seconds)
            process.send(signal.SIGCONT)

    def _end_worker(self, worker: MoreWorker, number: signal.Signals) -> None:
        if worker.process is not None and worker.process.poll() is None:
            worker.send(number)
            self._note(f"{number.name} to another worker")
            if number is signal.SIGTERM:
                return  # Begun anew when it is chosen next, so that there are fewer for a while.
            worker.wait()
        worker.start()

    def _note(self, line: str) -> None:
        self.did.append(f"{time.monotonic() - self._begun:6.1f} s  {line}")

    def not_up(self) -> dict[str, tuple[str, str]]:
        """The parts that do not run as they should: how they stand, and the last lines of their logs."""
        found = {}
        for name in (*OURS, *SERVERS):
            part = self.platform.part(name)
            if not part.condition.is_up:
                log = self.platform.layout.log(name)
                found[name] = (f"{part.condition}", log.read_text()[-2000:] if log.exists() else "")
        return found

    def _are_all_up(self) -> bool:
        return not self.not_up()

    async def _is_all_over(self) -> bool:
        states = await self.shown()
        return self.asked <= states.keys() and all(state in ENDED for state in states.values())

    def _admin(self) -> "psycopg.Connection[tuple[Any, ...]]":
        layout = self.platform.layout
        return psycopg.connect(postgres.admin_dsn(layout, read_secrets(layout)), autocommit=True, connect_timeout=2)
