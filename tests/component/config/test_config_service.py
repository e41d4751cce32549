"""The config service as it runs: a submission on the stream in, one answer on its own stream out."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from chassis.ids import new_id
from chassis.life.runtime import EXIT_CONFIGURATION
from chassis.record.eventstore import EventStore
from chassis.sealing import prepare_keys_folder
from contracts import errors
from contracts.config_events import ConfigurationCreated, ConfigurationRefused
from contracts.configuration import ConfigurationBody, Destination, StorageDestinations
from contracts.envelope import Envelope, decode, decode_data
from contracts.gateway_events import ConfigurationSubmitted, Evidence
from contracts.streams import stream_of
from services.config.adapters.schema import STATEMENTS
from services.config.bootstrap import run
from services.config.domain import Configuration
from services.config.settings import ConfigSettings
from tests.support.configurations import body, destinations
from tests.support.eventually import eventually
from tests.support.messages import envelope_of, publish
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer, SchemaAccess, free_port
from tests.support.published import assert_as_promised

pytestmark = pytest.mark.stack

ROOT = Path(__file__).resolve().parents[3]
STUDIO, OTHER_STUDIO = "studio-a", "studio-b"
LOCATIONS = [
    {"name": "photos", "kind": "directory", "roles": ["source"], "organisations": ["*"], "url": "file:///photos"},
    {"name": "mine", "kind": "directory", "roles": ["source"], "organisations": [OTHER_STUDIO], "url": "file:///mine"},
    {"name": "local", "kind": "directory", "roles": ["tier"], "organisations": ["*"], "url": "file:///local"},
    {"name": "cloud", "kind": "directory", "roles": ["tier"], "organisations": ["*"], "url": "file:///cloud"},
    {
        "name": "offsite",
        "kind": "s3",
        "roles": ["tier"],
        "organisations": ["*"],
        "url": "s3://offsite?endpoint=http://127.0.0.1:1",
        "lock": True,
    },
]


class Bench:
    """A service over real servers, and the gateway's side of it."""

    def __init__(self, nats: NatsServer, access: SchemaAccess, home: Path) -> None:
        self.nats = nats
        self.access = access
        self.locations = home / "locations.json"
        self.register(LOCATIONS)
        prepare_keys_folder(home / "keys")
        self.settings = ConfigSettings(
            postgres_dsn=access.dsn,
            postgres_schema=access.schema,
            nats_url=nats.url,
            nats_seed_file=nats.seed_file("config"),
            keys_dir=home / "keys",
            locations_file=self.locations,
        )
        self._service: asyncio.Task[int] | None = None

    def register(self, locations: list[dict[str, Any]]) -> None:
        """Write the registry."""
        self.locations.write_text(json.dumps({"locations": locations}))

    def start(self) -> None:
        """Run the service as its process would."""
        self._service = asyncio.create_task(run(self.settings))

    async def stop(self) -> int:
        """Tell the service to stop, as the supervisor does; its exit code."""
        assert self._service is not None
        os.kill(os.getpid(), signal.SIGTERM)
        return await self._service

    async def submit(
        self,
        submitted: ConfigurationBody,
        *,
        organisation: str = STUDIO,
        configuration_id: str | None = None,
        times: int = 1,
    ) -> Envelope:
        """Publish a submission, perhaps several times under different message ids."""
        request_id = new_id()
        event = ConfigurationSubmitted(
            request_id=request_id,
            configuration_id=configuration_id or new_id(),
            body=submitted,
            evidence=Evidence(assurance="aal1"),
        )
        envelope = envelope_of(event, organisation=organisation, id=new_id(), correlationid=request_id)
        async with self.nats.connected("gateway") as client:
            for _ in range(times):
                await publish(client.jetstream(), envelope, message_id=new_id())
        return envelope

    async def answers(self) -> list[Envelope]:
        """What the service has announced, in order."""
        async with self.nats.connected() as client:
            js = client.jetstream()
            state = (await js.stream_info(stream_of("config"))).state
            return [
                decode((await js.get_msg(stream_of("config"), seq=sequence)).data or b"")
                for sequence in range(1, state.messages + 1)
            ]

    async def answer_to(self, submission: Envelope) -> ConfigurationCreated | ConfigurationRefused:
        """The one answer to a submission."""

        async def answered() -> list[Envelope]:
            return [answer for answer in await self.answers() if answer.causationid == submission.id]

        (envelope,) = await eventually(answered)
        assert_as_promised(envelope)
        assert envelope.correlationid == submission.correlationid
        assert (envelope.organisation, envelope.actor) == (submission.organisation, "service:config")
        event = decode_data(envelope)
        assert isinstance(event, ConfigurationCreated | ConfigurationRefused)
        return event


@pytest.fixture
async def bench(tmp_path: Path, own_nats: NatsServer, postgres: PostgresServer) -> AsyncIterator[Bench]:
    """A running service."""
    await own_nats.apply()
    access = postgres.fresh(statements=STATEMENTS)
    bench = Bench(own_nats, access, tmp_path)
    bench.start()
    yield bench
    assert await bench.stop() == 0
    postgres.drop(access)


async def test_submitted_configuration_is_created_and_announced(bench: Bench) -> None:
    """A submission that fits becomes version 1, with the body as it was submitted."""
    submission = await bench.submit(body(), configuration_id="configuration-1")
    created = await bench.answer_to(submission)
    assert created == ConfigurationCreated(
        request_id=submission.correlationid, configuration_id="configuration-1", version=1, body=body()
    )


@pytest.mark.parametrize(
    ("submitted", "code", "field"),
    [
        (body(storage_destinations=StorageDestinations()), errors.NO_DESTINATION, "storageDestinations"),
        (body(source_location="mine"), errors.UNKNOWN_LOCATION, "sourceLocation"),
        (body(source_location="local"), errors.LOCATION_KIND_MISMATCH, "sourceLocation"),
        (
            body(storage_destinations=destinations(local=Destination(location="local", lock_days=1))),
            errors.LOCK_NOT_SUPPORTED,
            "storageDestinations.local.lockDays",
        ),
    ],
)
async def test_submission_that_breaks_a_rule_is_refused_in_the_record(
    bench: Bench, submitted: ConfigurationBody, code: errors.ErrorCode, field: str
) -> None:
    """The refusal is an event with code, field and hint; another organisation's location is as good as none."""
    refused = await bench.answer_to(await bench.submit(submitted))
    assert isinstance(refused, ConfigurationRefused)
    assert (refused.code, refused.field) == (code.code, field)
    assert refused.hint


async def test_name_is_an_organisations_only_one(bench: Bench) -> None:
    """A second configuration of the same name is refused; a refused one and another organisation take no name."""
    refused = await bench.answer_to(await bench.submit(body("jones", source_location="nowhere")))
    assert isinstance(refused, ConfigurationRefused)
    assert isinstance(await bench.answer_to(await bench.submit(body("jones"))), ConfigurationCreated)
    second = await bench.answer_to(await bench.submit(body("jones")))
    assert isinstance(second, ConfigurationRefused)
    assert (second.code, second.field) == ("configuration-name-taken", "name")
    other = await bench.answer_to(await bench.submit(body("jones"), organisation=OTHER_STUDIO))
    assert isinstance(other, ConfigurationCreated)


async def test_names_that_are_submitted_at_once_have_one_winner(bench: Bench) -> None:
    """Of many submissions of one name, handled side by side, one is created and all others are refused."""
    submissions = [await bench.submit(body("rush")) for _ in range(12)]
    answers = [await bench.answer_to(submission) for submission in submissions]
    created = [answer for answer in answers if isinstance(answer, ConfigurationCreated)]
    assert len(created) == 1
    assert {answer.code for answer in answers if isinstance(answer, ConfigurationRefused)} == {
        "configuration-name-taken"
    }


async def test_submission_that_is_delivered_again_is_answered_once(bench: Bench) -> None:
    """A message that comes twice, also under another message id, has one answer."""
    submission = await bench.submit(body("twice"), times=4)
    later = await bench.submit(body("later"))
    await bench.answer_to(later)
    assert isinstance(await bench.answer_to(submission), ConfigurationCreated)


async def test_location_that_is_registered_meanwhile_is_known(bench: Bench) -> None:
    """The registry is read again when it has changed; no restart is needed."""
    assert isinstance(
        await bench.answer_to(await bench.submit(body("new", source_location="new"))), ConfigurationRefused
    )
    new = {"name": "new", "kind": "directory", "roles": ["source"], "organisations": ["*"], "url": "file:///new"}
    bench.register([*LOCATIONS, new])
    assert isinstance(
        await bench.answer_to(await bench.submit(body("new", source_location="new"))), ConfigurationCreated
    )


async def test_submission_waits_while_the_registry_cannot_be_read(bench: Bench) -> None:
    """An unreadable registry refuses nobody: the submission comes again and is answered when it is readable."""
    bench.locations.write_text("{")
    submission = await bench.submit(body("patient"))

    async def tried_in_vain() -> bool:
        async with bench.nats.connected() as client:
            info = await client.jetstream().consumer_info(stream_of("gateway"), "config--create-configuration")
            return bool(info.num_redelivered)

    await eventually(tried_in_vain)
    assert await bench.answers() == []
    bench.register(LOCATIONS)
    assert isinstance(await bench.answer_to(submission), ConfigurationCreated)


async def test_submissions_survive_a_stop_of_the_service(bench: Bench) -> None:
    """What was submitted while the service was away is answered when it is back, and nothing twice."""
    before = await bench.submit(body("before"))
    await bench.answer_to(before)
    assert await bench.stop() == 0
    meanwhile = await bench.submit(body("meanwhile"))
    bench.start()
    assert isinstance(await bench.answer_to(meanwhile), ConfigurationCreated)
    assert len(await bench.answers()) == 2


async def test_record_holds_what_was_announced_and_no_name_in_the_clear(bench: Bench) -> None:
    """The history of a configuration is what is on the stream; the name is there as a box and a digest alone."""
    submission = await bench.submit(body("clear-name"), configuration_id="configuration-7")
    await bench.answer_to(submission)
    store = EventStore(dsn=bench.access.dsn, schema=bench.access.schema, service="config")
    await store.start()
    configuration = await store.load(Configuration, "configuration-7")
    history = await store.history("configuration-7")
    await store.stop()
    assert configuration.body == body("clear-name")
    assert history == await bench.answers()
    with psycopg.connect(bench.access.admin_dsn) as connection:
        names = connection.execute(
            f"SELECT organisation, digest, configuration_id FROM {bench.access.schema}.configuration_names"
        ).fetchall()
    assert names == [(STUDIO, "digest of clear-name", "configuration-7")]


async def test_process_starts_becomes_ready_and_stops_when_told(bench: Bench, tmp_path: Path) -> None:
    """`python -m services.config` with its settings in the environment runs until SIGTERM, and ends with 0."""
    assert await bench.stop() == 0
    port = free_port()
    environment = {
        **os.environ,
        "WEDSYNC_POSTGRES_DSN": bench.access.dsn,
        "WEDSYNC_POSTGRES_SCHEMA": bench.access.schema,
        "WEDSYNC_NATS_URL": bench.nats.url,
        "WEDSYNC_NATS_SEED_FILE": str(bench.nats.seed_file("config")),
        "WEDSYNC_HEALTH_PORT": str(port),
        "WEDSYNC_KEYS_DIR": str(tmp_path / "keys"),
        "WEDSYNC_LOCATIONS_FILE": str(bench.locations),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.config", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    async with httpx.AsyncClient() as client:

        async def is_ready() -> bool:
            return (await client.get(f"http://127.0.0.1:{port}/health/ready")).status_code == 200

        await eventually(is_ready)
    created = await bench.answer_to(await bench.submit(body("by a process")))
    assert isinstance(created, ConfigurationCreated)
    process.terminate()
    _, log = await process.communicate()
    assert process.returncode == 0, log.decode()[-2000:]
    assert b"Traceback" not in log
    bench.start()


async def test_process_without_settings_names_all_and_gives_up() -> None:
    """Missing variables are named on stderr, and the exit code tells the supervisor not to try again."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WEDSYNC_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.config", cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, log = await process.communicate()
    assert process.returncode == EXIT_CONFIGURATION
    assert b"invalid-setting: WEDSYNC_POSTGRES_DSN, WEDSYNC_POSTGRES_SCHEMA, " in log
