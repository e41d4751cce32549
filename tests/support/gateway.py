"""A whole gateway in the test's own event loop, on real Postgres and NATS, and what other services would tell it.

`RunningGateway` is the process as `gateway.bootstrap` puts it together, reached over HTTP like any other. The owners
of configurations and runs are stood in for by `Facts`, which publishes what they would on their streams, with the
headers of their relays; `Owners` answers requests as they would.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import nats.js
from cryptography.hazmat.primitives.asymmetric import ec
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError

from chassis.ids import new_id
from chassis.outbox.chained import LOG_HEADER, POSITION_HEADER
from chassis.postgres.database import install_schema
from chassis.reading.stored import LAST_ID_HEADER, LAST_SEQUENCE_HEADER
from chassis.sealing import Sealer, prepare_keys_folder
from contracts import errors
from contracts.config_events import ConfigurationCreated, ConfigurationRefused
from contracts.configuration import Tier
from contracts.envelope import Envelope, decode, decode_data, encode, encode_data, headers_of
from contracts.event import Event
from contracts.executor_events import (
    BackupAccepted,
    BackupCompleted,
    BackupPreparing,
    BackupUploading,
    BackupVerifying,
    ExecutionType,
    RunTotals,
    TierUploaded,
)
from contracts.gateway_events import (
    ConfigurationChangeSubmitted,
    ConfigurationItemSubmitted,
    ConfigurationsSubmitted,
    DrPlanChangeSubmitted,
    NotificationChannelChangeSubmitted,
    RetentionPolicyChangeSubmitted,
)
from contracts.recovery_events import RecoveryAccepted
from contracts.refusal import Objection, WrongField
from contracts.samples import sample_event
from contracts.streams import stream_of
from contracts.subjects import event_subject, events_named, events_of
from deploy.stack.identity_provider import IdentityProvider
from gateway.bootstrap import Process, assemble
from gateway.projections.record import announce_record
from gateway.schema import STATEMENTS
from gateway.settings import GatewaySettings
from gateway.writes.declaration import declared
from services.compliance.adapters import schema as compliance
from tests.support.eventually import eventually
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer, SchemaAccess

ISSUER = "https://identity.test"
ORGANISATION = "acme-weddings"
ALL_TIERS = tuple(Tier)
WRONG_LAST_ID = 10070
LOCATIONS = {
    "locations": [
        {"name": "photos", "kind": "directory", "roles": ["source"], "organisations": ["*"], "url": "file:///photos"},
        {"name": "local", "kind": "directory", "roles": ["tier"], "organisations": ["*"], "url": "file:///tier"},
        {"name": "restored", "kind": "directory", "roles": ["target"], "organisations": ["*"], "url": "file:///back"},
        {
            "name": "offsite",
            "kind": "s3",
            "roles": ["tier"],
            "organisations": [ORGANISATION],
            "url": "s3://offsite",
            "region": "eu-north-1",
            "credentials": "offsite",
            "lock": True,
        },
    ]
}
NEW_CONFIGURATION = {
    "name": "Photos of the Meyer wedding",
    "sourceType": "directory",
    "sourceLocation": "photos",
    "sourceIdentifier": "2027/meyer",
    "storageDestinations": {
        "local": {"location": "local", "required": True},
        "offsite": {"location": "offsite", "lockDays": 30},
    },
    "isWeddingCritical": True,
    "weddingDate": "2027-06-12",
    "tags": ["photos"],
}


_ABOUT = ("execution_id", "operation_id", "configuration_id")
"""What an event is about, by the first of these fields that it has."""


class Facts:
    """Publishes facts on the owners' streams, numbered and headed as their relays do."""

    def __init__(self, js: nats.js.JetStreamContext, log: str = "log-1") -> None:
        self._js = js
        self.log = log
        self.positions: dict[str, int] = {}
        self._publishing = asyncio.Lock()
        self._sequences: dict[str, int] = {}
        self.published: list[tuple[int, Envelope]] = []

    def envelope(
        self,
        event: Event,
        *,
        organisation: str = ORGANISATION,
        actor: str = "user:someone",
        time: datetime | None = None,
        correlation_id: str | None = None,
        about: str | None = None,
    ) -> Envelope:
        """An event as it is stored and published. `about`: its subject, where that matters."""
        owner = event.NAME.partition(".")[0]
        known = next((found for name in _ABOUT if (found := getattr(event, name, None))), None)
        subject = about or known or new_id()
        self._sequences[subject] = self._sequences.get(subject, 0) + 1
        return Envelope(
            specversion="1.0",
            id=new_id(),
            source=f"/wedsync-backup/{owner}",
            type=event.NAME,
            subject=about or f"test/{subject}",
            time=time or datetime.now(UTC),  # noqa: TID251  # a fact's own time
            datacontenttype="application/json",
            organisation=organisation,
            actor=actor,
            sequence=self._sequences[subject],
            correlationid=correlation_id or new_id(),
            data=encode_data(event),
        )

    async def publish(self, event: Event, **circumstances: Any) -> Envelope:
        """Make something true."""
        envelope = self.envelope(event, **circumstances)
        position = self.positions[envelope.owner] = self.positions.get(envelope.owner, 0) + 1
        self.published.append((position, envelope))
        await self.send(position, envelope)
        return envelope

    async def send(self, position: int, envelope: Envelope) -> None:
        """Put an event on its stream under its position."""
        headers = headers_of(envelope)
        await self._put(envelope.owner, position, event_subject(envelope), encode(envelope), headers)

    async def send_raw(self, owner: str, subject: str, body: bytes) -> None:
        """Put something on a stream that is no event of ours, under the next position."""
        position = self.positions[owner] = self.positions.get(owner, 0) + 1
        await self._put(owner, position, subject, body, {})

    async def _put(self, owner: str, position: int, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Publish as a relay does: chained to the position before, or, where that is not the end, to what is there."""
        headers = {**headers, **self.headers(position)}
        async with self._publishing:
            if position > 1:
                try:
                    await self._js.publish(
                        subject, body, headers={**headers, LAST_ID_HEADER: f"{self.log}:{position - 1}"}
                    )
                    return
                except APIError as error:
                    if error.err_code != WRONG_LAST_ID:
                        raise
            last = (await self._js.stream_info(stream_of(owner))).state.last_seq
            await self._js.publish(subject, body, headers={**headers, LAST_SEQUENCE_HEADER: str(last)})

    def headers(self, position: int) -> dict[str, str]:
        """What a relay says of a message's place."""
        return {LOG_HEADER: self.log, POSITION_HEADER: str(position), "Nats-Msg-Id": f"{self.log}:{position}"}

    async def publish_again(self) -> None:
        """Fill new streams with everything that was ever published, as a refill does."""
        for position, envelope in self.published:
            await self.send(position, envelope)

    async def accepted(
        self,
        *,
        configuration_id: str | None = None,
        version: int = 1,
        is_urgent: bool = False,
        due_at: datetime | None = None,
        **circumstances: Any,
    ) -> str:
        """A run begins; its id."""
        execution_id = new_id()
        event = BackupAccepted(
            request_id=new_id(),
            execution_id=execution_id,
            configuration_id=configuration_id or new_id(),
            configuration_version=version,
            execution_type=ExecutionType.MANUAL,
            tiers=ALL_TIERS,
            is_urgent=is_urgent,
            due_at=due_at,
        )
        await self.publish(event, **circumstances)
        return execution_id

    async def recovering(self, **of: Any) -> str:
        """A recovery begins; its id. `of`: fields of the fact in place of the example's."""
        accepted = msgspec.structs.replace(sample_event(RecoveryAccepted), operation_id=new_id(), **of)
        await self.publish(accepted)
        return accepted.operation_id

    async def complete(self, execution_id: str, configuration_id: str, **circumstances: Any) -> None:
        """A run goes through all its phases and ends well."""
        for event in whole_run(execution_id, configuration_id):
            await self.publish(event, **circumstances)


def whole_run(execution_id: str, configuration_id: str, tiers: Sequence[Tier] = ALL_TIERS) -> list[Event]:
    """What follows the acceptance of a run that ends well."""
    snapshot_id = execution_id.replace("-", "")
    return [
        BackupPreparing(execution_id=execution_id, fence=1, worker="worker-1"),
        BackupUploading(execution_id=execution_id, fence=1),
        *(
            TierUploaded(
                execution_id=execution_id,
                tier=tier,
                snapshot_id=snapshot_id,
                log_entry=1,
                uploaded_bytes=900,
                objects=3,
                seconds=0.5,
            )
            for tier in tiers
        ),
        BackupVerifying(execution_id=execution_id, fence=1),
        BackupCompleted(
            execution_id=execution_id,
            configuration_id=configuration_id,
            snapshot_id=snapshot_id,
            degraded=False,
            totals=RunTotals(files=12, source_bytes=2000, new_bytes=1000, stored_bytes=900),
            verified=tuple(tiers),
            seconds=2.0,
        ),
    ]


_CHANGES = (
    ConfigurationChangeSubmitted
    | RetentionPolicyChangeSubmitted
    | NotificationChannelChangeSubmitted
    | DrPlanChangeSubmitted
)


@dataclass
class Owners:
    """Answers requests as config and executor would. `refuse`: a code to refuse everything with."""

    facts: Facts
    refuse: str | None = None
    is_silent: bool = False
    asked: list[Envelope] = field(default_factory=list)
    items: list[ConfigurationItemSubmitted] = field(default_factory=list)

    async def hear(self, message: Msg) -> None:
        """A request has been published."""
        await self.take(message.data)

    async def catch_up(self, js: nats.js.JetStreamContext, request: type[Event]) -> None:
        """Take the latest request of a kind, where it was published while nobody could hear it."""
        found = await js.get_last_msg(stream_of("gateway"), events_named(request.NAME))
        if found.data is not None:
            await self.take(found.data)

    async def take(self, body: bytes) -> None:
        """Note a request and answer it, the first time that it is seen."""
        envelope = decode(body)
        event = decode_data(envelope)
        if isinstance(event, ConfigurationItemSubmitted):
            self.items.append(event)
        if type(event) not in {write.REQUEST for write in declared().values()}:
            return
        if any(envelope.id == each.id for each in self.asked):
            return
        self.asked.append(envelope)
        if not self.is_silent:
            await self.answer(envelope, event)

    async def answer(self, envelope: Envelope, event: Event) -> None:
        """Accept or refuse."""
        circumstances = {
            "organisation": envelope.organisation,
            "actor": "service:owner",
            "correlation_id": envelope.correlationid,
        }
        write = next(write for write in declared().values() if type(event) is write.REQUEST)
        ids = {name: getattr(event, name) for name in ("request_id", write.OF.about)}
        if self.refuse:
            refusal = sample_event(write.REFUSED)
            wrong = (WrongField(field="name", code=self.refuse), WrongField(field="tags[0]", code="invalid-field"))
            answer = msgspec.structs.replace(refusal, **ids, code=self.refuse, field="name", hint="", wrong=wrong)
            if isinstance(event, ConfigurationsSubmitted) and self.refuse == errors.BULK_REFUSED.code:
                answer = msgspec.structs.replace(answer, field=None, wrong=())
                for item in self.items:
                    taken = Objection(errors.CONFIGURATION_NAME_TAKEN, "name")
                    await self.facts.publish(ConfigurationRefused.of(item, taken), **circumstances)
                self.items.clear()
        else:
            fact = sample_event(write.ACCEPTED)
            same = ("configuration_id", "configuration_version", "body", "recovery_point_id", "target_path", "scope")
            known = {name: getattr(event, name) for name in same if hasattr(event, name) and hasattr(fact, name)}
            if isinstance(event, _CHANGES):
                known["version"] = event.expected_version + 1
            answer = msgspec.structs.replace(fact, **known, **{k: v for k, v in ids.items() if k not in known})
            for item in self.items if isinstance(event, ConfigurationsSubmitted) else ():
                ids = {"request_id": item.request_id, "configuration_id": item.configuration_id}
                await self.facts.publish(ConfigurationCreated(**ids, version=1, body=item.body), **circumstances)
            self.items.clear()
        await self.facts.publish(answer, **circumstances)


@dataclass
class RunningGateway:
    """A gateway that serves."""

    process: Process
    provider: IdentityProvider
    settings: GatewaySettings
    nats: NatsServer
    postgres: PostgresServer
    access: SchemaAccess
    client: Client
    facts: Facts
    owners: Owners

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.process.http.port}"

    @property
    def socket_url(self) -> str:
        """Where its WebSocket is."""
        return f"ws://127.0.0.1:{self.process.http.port}/api/backup/monitoring"

    def token(self, *roles: str, organisation: str = ORGANISATION, **other: Any) -> str:
        """A token of the test's identity provider."""
        return self.provider.token(
            organisation=organisation, roles=roles or ("owner",), issuer=ISSUER, **{"subject": "someone", **other}
        )

    def http(self, *roles: str, **other: Any) -> httpx.AsyncClient:
        """A client of somebody with these roles."""
        headers = {"Authorization": f"Bearer {self.token(*roles, **other)}"}
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=30.0)

    def stranger(self) -> httpx.AsyncClient:
        """A client of nobody."""
        return httpx.AsyncClient(base_url=self.url, timeout=30.0)

    async def create_configuration(self, http: httpx.AsyncClient, **changes: Any) -> dict[str, Any]:
        """Create a configuration and return it."""
        answer = await http.post(
            "/api/backup/configurations", json={**NEW_CONFIGURATION, **changes}, headers={"Idempotency-Key": new_id()}
        )
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def make_keys(self, *organisations: str) -> None:
        """Make keys, as each organisation's first request does: without them no list gives a cursor."""
        for organisation in organisations or (ORGANISATION,):
            Sealer(self.settings.keys_dir).make_keys(organisation)

    def with_audit_log(self) -> None:
        """Make an audit log with nothing in it, that this gateway may read."""
        install_schema(
            self.access.admin_dsn,
            service=self.settings.compliance_schema,
            role="wedsync_compliance",
            password=None,
            statements=compliance.STATEMENTS,
            readers={self.access.role: compliance.READ_BY["gateway"]},
        )

    async def figures(self) -> dict[str, float]:
        """What a scrape has, by series as it is written."""
        async with httpx.AsyncClient() as http:
            answer = await http.get(f"http://127.0.0.1:{self.process.health_server.port}/metrics")
        lines = (line.rpartition(" ") for line in answer.text.splitlines() if not line.startswith("#"))
        return {series: float(value) for series, _, value in lines}

    async def say_record(self, owner: str, log: str, position: int = 0) -> None:
        """What the operator's `refill` tells the gateway."""
        await announce_record(self.access.admin_dsn, self.access.schema, owner, log=log, position=position)

    async def renew(self, log: str) -> None:
        """Everything is published again under a new log, as `refill --new-incarnation` does."""
        self.facts.log = log
        for owner, position in self.facts.positions.items():
            await self.say_record(owner, log, position)
        await self.facts.publish_again()

    async def shows(self, path: str, check: Callable[[dict[str, Any]], Any], **who: Any) -> dict[str, Any]:
        """What a path answers, once it is as wanted."""
        async with self.http("owner", **who) as http:

            async def look() -> dict[str, Any] | None:
                answer = await http.get(path)
                body: dict[str, Any] = answer.json()
                return body if answer.status_code == 200 and check(body) else None

            found = await eventually(look)
        assert found is not None
        return found


def environment_of(gateway: RunningGateway) -> dict[str, str]:
    """The environment of a process that is this gateway once more."""
    settings = gateway.settings
    return {
        **os.environ,
        "WEDSYNC_POSTGRES_DSN": settings.postgres_dsn,
        "WEDSYNC_POSTGRES_SCHEMA": settings.postgres_schema,
        "WEDSYNC_NATS_URL": settings.nats_url,
        "WEDSYNC_NATS_SEED_FILE": str(settings.nats_seed_file),
        "WEDSYNC_KEYS_DIR": str(settings.keys_dir),
        "WEDSYNC_LOCATIONS_FILE": str(settings.locations_file),
        "WEDSYNC_JWKS_FILE": str(settings.jwks_file),
        "WEDSYNC_JWT_ISSUER": settings.jwt_issuer,
        "WEDSYNC_HTTP_PORT": "0",
    }


@asynccontextmanager
async def running_gateway(
    folder: Path, postgres: PostgresServer, nats_server: NatsServer, **settings: Any
) -> AsyncIterator[RunningGateway]:
    """A gateway with streams and a schema of its own, stopped and dropped at the end."""
    await nats_server.apply()
    access = postgres.fresh(statements=STATEMENTS, prefix="gateway")
    provider = IdentityProvider(ec.generate_private_key(ec.SECP256R1()))
    jwks, locations, keys = folder / "jwks.json", folder / "locations.json", folder / "keys"
    jwks.write_bytes(provider.jwks())
    locations.write_text(json.dumps(LOCATIONS))
    prepare_keys_folder(keys)
    configured = GatewaySettings(
        postgres_dsn=access.dsn,
        postgres_schema=access.schema,
        nats_url=nats_server.url,
        nats_seed_file=nats_server.seed_file("gateway"),
        keys_dir=keys,
        locations_file=locations,
        http_port=0,
        jwks_file=jwks,
        jwt_issuer=ISSUER,
        **settings,
    )
    client = await nats_server.client()
    facts = Facts(client.jetstream())
    owners = Owners(facts)
    await client.subscribe(events_of("gateway"), cb=owners.hear)
    try:
        async with started(assemble(configured)) as process:
            await eventually(lambda: _is_answering(process))
            yield RunningGateway(process, provider, configured, nats_server, postgres, access, client, facts, owners)
    finally:
        await client.close()
        postgres.drop(access)


async def _is_answering(process: Process) -> bool:
    await process.gateway.monitor.feed.until_answering()
    return True


@asynccontextmanager
async def started(process: Process) -> AsyncIterator[Process]:
    """Start the parts of a process in order, stop them in reverse."""
    begun = []
    try:
        for part in process.parts:
            begun.append(part)
            await part.start()
        yield process
    finally:
        for part in reversed(begun):
            await asyncio.wait_for(part.stop(), 20)


def problem_code(answer: httpx.Response) -> str:
    """The code of a problem; checks what every problem has."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = msgspec.json.decode(answer.content)
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:wedsync-backup:problem:{problem['code']}"
    assert problem["title"]
    assert problem["hint"]
    assert problem["detail"]
    return str(problem["code"])
