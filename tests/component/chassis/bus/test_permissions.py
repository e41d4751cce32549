"""What each NATS identity may do, tried on a real server with the permissions of production."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

import nats
import nats.errors
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.errors import APIError

from chassis.bus.topology import dismissal_subject, replay_consumer, replay_subject
from chassis.life.health import Health
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import (
    ANSWERS,
    CONSUMERS,
    DEAD_LETTER_STREAM,
    PROGRESS_STREAM,
    STREAMS,
    WORKERS_HEAR,
    consumer_named,
    stream_of,
)
from contracts.subjects import JETSTREAM_API, SERVICES, dead_letter_subject, once_stored
from deploy.nats.permissions import TOPOLOGY, Identity, generate_keys, identities, subscriber
from tests.support.eventually import eventually
from tests.support.messages import backup_requested, envelope_of, publish
from tests.support.nats_server import NatsServer

pytest_plugins = ["tests.support.nats_server"]
pytestmark = pytest.mark.stack

ACCEPT = consumer_named("executor--accept-backup")

EVERY_WORKER_HEARS = [subject for heard in WORKERS_HEAR.values() for subject in heard]
WORKERS = [f"{service}-worker" for service in WORKERS_HEAR]
RUNTIME = [*SERVICES, *WORKERS]
ALL_FACTS = {once_stored(f"backup.{owner}.>") for owner in SERVICES}
ALL = [*RUNTIME, TOPOLOGY]
QUICK = 0.25


@pytest.fixture(scope="module")
def server(nats_server: NatsServer) -> NatsServer:
    """The session's server with the topology applied."""
    asyncio.run(nats_server.apply())
    return nats_server


class Tried:
    """A client that remembers what the server refused it."""

    def __init__(self, client: Client, refusals: list[str]) -> None:
        self.client = client
        self.refusals = refusals

    async def is_refused(self, subject: str) -> bool:
        """Whether publishing to a subject is refused."""
        before = len(self.refusals)
        await self.client.publish(subject, b"{}")
        await self.answered()
        return len(self.refusals) > before

    async def answered(self) -> None:
        """Wait until the server has answered what was sent. The client's ping overtakes what it has buffered, once."""
        await self.client.flush()
        await self.client.flush()


async def _try(server: NatsServer, identity: str) -> Tried:
    refusals: list[str] = []

    async def note(error: Exception) -> None:
        refusals.append(str(error))

    client = await nats.connect(
        server.url, nkeys_seed=str(server.seed_file(identity)), inbox_prefix=f"_INBOX_{identity}", error_cb=note
    )
    return Tried(client, refusals)


OWN = {
    "gateway": "backup.gateway.studio-a.backup-requested.v1",
    "config": "backup.config.studio-a.configuration-created.v1",
    "executor": "backup.executor.studio-a.backup-accepted.v1",
    **{f"{service}-worker": f"progress.{service}.studio-a.run-1" for service in WORKERS_HEAR},
}


@pytest.mark.parametrize("identity", ALL)
async def test_identity_publishes_its_own_subjects_and_no_others(server: NatsServer, identity: str) -> None:
    """A process cannot speak in another's name: what it may publish is its own and nothing else."""
    tried = await _try(server, identity)
    try:
        for owner, subject in OWN.items():
            assert await tried.is_refused(subject) is (owner != identity), subject
        for subject in ("backup.somebody.a.b.v1", "somewhere.else", "$SYS.REQ.SERVER.PING", "_INBOX_config.abc"):
            assert await tried.is_refused(subject), subject
        for spec in CONSUMERS:
            buried = dead_letter_subject(spec.service, spec.handler)
            assert await tried.is_refused(buried) is (spec.service != identity)
            # What it has given up it does not settle, nor put before itself again: an operator does.
            for settling in (replay_subject, dismissal_subject):
                subject = settling(spec.service, spec.handler, 1)
                assert await tried.is_refused(subject) is (identity != TOPOLOGY), subject
            assert await tried.is_refused(f"{buried}.anything")
    finally:
        await tried.client.close()


DESTROYING = (
    "$JS.API.STREAM.DELETE.{stream}",
    "$JS.API.STREAM.PURGE.{stream}",
    "$JS.API.STREAM.MSG.DELETE.{stream}",
    "$JS.API.STREAM.RESTORE.{stream}",
)
CHANGING = (
    "$JS.API.STREAM.CREATE.{stream}",
    "$JS.API.STREAM.UPDATE.{stream}",
    "$JS.API.STREAM.SNAPSHOT.{stream}",
    "$JS.API.CONSUMER.CREATE.{stream}.mine",
    "$JS.API.CONSUMER.CREATE.{stream}",
    "$JS.API.CONSUMER.DURABLE.CREATE.{stream}.mine",
    "$JS.API.CONSUMER.DELETE.{stream}.executor--accept-backup",
    "$JS.API.CONSUMER.CREATE.{stream}.executor--accept-backup",
    "$JS.API.CONSUMER.PAUSE.{stream}.executor--accept-backup",
    "$JS.API.STREAM.LIST",
    "$JS.API.ACCOUNT.PURGE.x",
)


@pytest.mark.parametrize("identity", RUNTIME)
@pytest.mark.parametrize("request_subject", [*DESTROYING, *CHANGING])
async def test_no_process_changes_or_destroys_what_is_declared(
    server: NatsServer, identity: str, request_subject: str
) -> None:
    """A process that was taken over can neither delete, purge, update nor create a stream, its own included."""
    tried = await _try(server, identity)
    try:
        for stream in STREAMS:
            assert await tried.is_refused(request_subject.format(stream=stream.name)), stream.name
    finally:
        await tried.client.close()


@pytest.mark.parametrize("request_subject", DESTROYING)
async def test_not_even_the_operators_key_destroys(server: NatsServer, request_subject: str) -> None:
    """The topology identity creates and changes; history it cannot take away."""
    tried = await _try(server, TOPOLOGY)
    try:
        for stream in STREAMS:
            assert await tried.is_refused(request_subject.format(stream=stream.name)), stream.name
    finally:
        await tried.client.close()


@pytest.mark.parametrize("identity", SERVICES)
async def test_service_uses_its_own_consumers_and_no_others(server: NatsServer, identity: str) -> None:
    """Another's queue can neither be read nor acknowledged nor looked at."""
    tried = await _try(server, identity)
    try:
        for declared in CONSUMERS:
            for spec in (declared, replay_consumer(declared)):
                is_other = spec.service != identity
                for verb in ("INFO", "MSG.NEXT"):
                    subject = f"{JETSTREAM_API}.CONSUMER.{verb}.{spec.stream}.{spec.durable_name}"
                    assert await tried.is_refused(subject) is is_other, subject
                ack = f"$JS.ACK.{spec.stream}.{spec.durable_name}.1.1.1.1.0"
                assert await tried.is_refused(ack) is is_other, ack
    finally:
        await tried.client.close()


@pytest.mark.parametrize("identity", ALL)
async def test_identity_hears_only_its_own_answers_and_what_it_needs(server: NatsServer, identity: str) -> None:
    """Nobody listens to another's answers; who reads every stream hears all facts, a worker its wake-up."""
    tried = await _try(server, identity)
    allowed: set[str] = {
        "gateway": {once_stored("progress.>"), *ALL_FACTS},
        **{f"{service}-worker": {*heard} for service, heard in WORKERS_HEAR.items()},
    }.get(identity, set()) | set(ANSWERS.get(identity, ()))
    try:
        wanted = [
            *(f"_INBOX_{name}.>" for name in ALL),
            *(
                "progress.>",
                "backup.>",
                "deadletter.>",
                "$JS.>",
                ">",
                "stored.>",
                *EVERY_WORKER_HEARS,
                once_stored("progress.>"),
            ),
            *(subject for questions in ANSWERS.values() for subject in questions),
            *(each for owner in SERVICES for each in (f"backup.{owner}.>", once_stored(f"backup.{owner}.>"))),
        ]
        for subject in wanted:
            before = len(tried.refusals)
            await tried.client.subscribe(subject)
            await tried.answered()
            may = subject in allowed or subject == f"_INBOX_{identity}.>"
            if identity == "gateway" and subject in EVERY_WORKER_HEARS:
                may = True  # A part of what it hears anyway.
            assert (len(tried.refusals) == before) is may, subject
    finally:
        await tried.client.close()


@pytest.mark.parametrize(
    ("subject", "asking", "answering"),
    [(subject, asking, answering) for answering, questions in ANSWERS.items() for subject, asking in questions.items()],
)
async def test_question_is_asked_by_one_identity_and_answered_by_one(
    server: NatsServer, subject: str, asking: str, answering: str
) -> None:
    """Nobody else may ask; who answers may say nothing else, and nothing twice; where nobody listens that is told."""
    tried = {identity: await _try(server, identity) for identity in ALL}
    try:
        for identity, each in tried.items():
            assert await each.is_refused(subject) is (identity != asking), identity
        with pytest.raises(nats.errors.NoRespondersError):
            await tried[asking].client.request(subject, b"?", timeout=5)
        replies: list[str] = []

        async def answer(message: Msg) -> None:
            replies.append(message.reply)
            await message.respond(b"answer")

        await tried[answering].client.subscribe(subject, cb=answer)
        await tried[answering].answered()
        assert (await tried[asking].client.request(subject, b"?", timeout=5)).data == b"answer"
        assert await tried[answering].is_refused(replies[0])
        assert await tried[answering].is_refused(f"_INBOX_{asking}.1")
        assert tried[asking].refusals == []
    finally:
        for each in tried.values():
            await each.client.close()


async def test_relay_finds_its_position_in_its_own_stream(server: NatsServer) -> None:
    """What the outbox needs is permitted: publish with an answer, the last message, the stream's state."""
    async with server.connected("executor") as client:
        js = client.jetstream(timeout=2, prefix=JETSTREAM_API)
        answer = await js.publish(OWN["executor"], b"{}")
        last = await js.get_last_msg(stream_of("executor"), "backup.executor.>", direct=True)
        assert last.seq == answer.seq
        assert (await js.get_last_msg(stream_of("executor"), "backup.executor.>")).seq == answer.seq
        assert (await js.stream_info(stream_of("executor"))).state.last_seq == answer.seq


async def test_projector_reads_every_stream_from_any_position_without_a_consumer(server: NatsServer) -> None:
    """The gateway's position lives in its database: it reads messages directly, and leaves nothing on the server."""
    async with server.connected("config") as client:
        await client.jetstream(prefix=JETSTREAM_API).publish(OWN["config"], b"{}")
    async with server.connected("gateway") as client:
        js = client.jetstream(timeout=2, prefix=JETSTREAM_API)
        for service in SERVICES:
            assert await js.stream_info(stream_of(service))
        assert (await js.get_msg(stream_of("config"), seq=1, direct=True)).data == b"{}"
        assert (await js.get_last_msg(stream_of("config"), "backup.config.>", direct=True)).data == b"{}"
        assert await js.stream_info(PROGRESS_STREAM)


async def test_operator_looks_at_dead_letters_and_replays_them(server: NatsServer) -> None:
    """The operator's key may put a dead letter before its handler, and may publish nothing else."""
    tried = await _try(server, TOPOLOGY)
    try:
        assert not await tried.is_refused("deadletter.executor.accept-backup.replay.1")
        assert not await tried.is_refused("deadletter.executor.accept-backup.dismissal.1")
        assert await tried.is_refused("deadletter.executor.accept-backup")
        assert await tried.client.jetstream().stream_info(DEAD_LETTER_STREAM)
    finally:
        await tried.client.close()


async def test_subscriber_of_another_service_only_reads_what_is_declared_for_it(own_nats: NatsServer) -> None:
    """A subscriber uses its durable consumers; it publishes nothing and sees no other consumer."""
    own_nats.stop()
    own_nats.also = (subscriber("crm", (ACCEPT,)),)
    own_nats.start()
    await own_nats.apply()
    async with own_nats.connected() as client:
        await publish(client.jetstream(), envelope_of(backup_requested()))
    tried = await _try(own_nats, "crm")
    try:
        js = tried.client.jetstream(timeout=2, prefix=JETSTREAM_API)
        spec = ACCEPT
        (message,) = await (await js.pull_subscribe_bind(spec.durable_name, spec.stream)).fetch(1, timeout=2)
        await message.ack_sync()
        assert await tried.is_refused(OWN["gateway"])
        other = consumer_named("config--create-configuration")
        for api in ("$JS.API", JETSTREAM_API):
            assert await tried.is_refused(f"{api}.STREAM.INFO.{spec.stream}")
            assert await tried.is_refused(f"{api}.CONSUMER.INFO.{other.stream}.{other.durable_name}")
    finally:
        await tried.client.close()


CRM = subscriber("crm", (ACCEPT,))
ELSEWHERE = (
    f"$JS.API.STREAM.DELETE.{PROGRESS_STREAM}",
    f"{JETSTREAM_API}.STREAM.DELETE.{PROGRESS_STREAM}",
    f"$JS.API.CONSUMER.DELETE.{consumer_named('executor--accept-backup').stream}.{consumer_named('executor--accept-backup').durable_name}",
    *(f"backup.{service}.studio-a.configuration-created.v1" for service in SERVICES),
    once_stored("backup.executor.studio-a.backup-accepted.v1"),
    "progress.executor.studio-a.run",
    "deadletter.executor.accept-backup.replay.1",
    *(f"_INBOX_{name}.1" for name in ALL),
)


def _questions(identity: Identity) -> list[tuple[str, bytes]]:
    """One question of each kind that an identity may ask, with a body that gets messages where it can be."""
    bodies = {"MSG.NEXT": b'{"batch": 1, "no_wait": true}', "MSG.GET": b'{"seq": 1}', "$JS.ACK": b"+NXT"}
    subjects = [subject.replace(">", "1.1.1.1.0") for subject in identity.publish]
    return [(subject, next((body for kind, body in bodies.items() if kind in subject), b"")) for subject in subjects]


@pytest.mark.parametrize(
    "identity", [each for each in (*identities(), CRM) if each.is_apart], ids=lambda each: each.name
)
async def test_answers_to_one_identity_reach_nobody_else(own_nats: NatsServer, identity: Identity) -> None:
    """The server answers in its own name wherever it is told to: for each identity that is its own account alone."""
    own_nats.stop()
    own_nats.also = (CRM,)
    own_nats.start()
    await own_nats.apply()
    heard: list[str] = []
    may_write = {stream_of(identity.name), DEAD_LETTER_STREAM} if identity.name in SERVICES else set()
    others = [stream.name for stream in STREAMS if stream.name not in may_write | {PROGRESS_STREAM}]

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    async with own_nats.connected() as anyone, own_nats.connected(identity.name) as client:
        js = anyone.jetstream()
        for subject in OWN.values():
            await js.publish(subject, b"{}")
        await publish(js, envelope_of(backup_requested()))
        held = [(await js.stream_info(name)).state.messages for name in others]
        for subject in ELSEWHERE:
            if not may_write or not subject.startswith((f"backup.{identity.name}.", f"deadletter.{identity.name}.")):
                await anyone.subscribe(subject, cb=hear)
        await anyone.flush()
        for elsewhere in ELSEWHERE:
            for _ in range(2):  # The first gets what is there, the second that there is nothing: no body at all.
                for question, body in _questions(identity):
                    await client.publish(question, body, reply=elsewhere)
        await client.flush()
        await client.flush()
        # Whatever was on its way has arrived once each stream has answered.
        assert [(await js.stream_info(name)).state.messages for name in others] == held
        assert await js.stream_info(PROGRESS_STREAM)
        assert await js.consumer_info(ACCEPT.stream, ACCEPT.durable_name)
        assert heard == []


def test_only_the_operators_key_is_in_the_account_that_has_the_streams() -> None:
    """What holds for an identity that is apart holds for all that run."""
    assert [each.name for each in identities() if not each.is_apart] == [TOPOLOGY]


@pytest.mark.parametrize("seed", [None, "another"])
async def test_nobody_connects_without_a_known_key(server: NatsServer, seed: str | None) -> None:
    """There is no anonymous access, and a key that the server does not know opens nothing."""
    given = {} if seed is None else {"nkeys_seed_str": generate_keys().seed}
    refusals: list[str] = []

    async def note(error: Exception) -> None:
        refusals.append(str(error))

    with pytest.raises(nats.errors.Error):
        await nats.connect(server.url, allow_reconnect=False, error_cb=note, **given)


REFUSED: list[tuple[str, Callable[[Client], Awaitable[object]]]] = [
    ("publish", lambda client: client.jetstream(timeout=QUICK).publish(OWN["gateway"], b"{}")),
    ("publish", lambda client: client.jetstream(timeout=QUICK).delete_stream(stream_of("executor"))),
    ("subscription", lambda client: client.subscribe("_INBOX_config.>")),
]


@pytest.mark.parametrize(("kind", "attempt"), REFUSED)
async def test_refusal_is_noticed(
    server: NatsServer,
    caplog: pytest.LogCaptureFixture,
    kind: str,
    attempt: Callable[[Client], Awaitable[object]],
) -> None:
    """To the caller a refusal looks like a timeout; it is counted, logged and shown by the health report."""
    telemetry, health = Telemetry("executor"), Health("executor")
    connection = server.connection("executor", telemetry, health)
    await connection.start()
    try:
        with contextlib.suppress(nats.errors.Error, APIError, TimeoutError):
            await attempt(connection.client)
        await eventually(
            lambda: telemetry.registry.get_sample_value("wedsync_nats_refusals_total", {"kind": kind}) == 1
        )
        report = await health.report()
        assert (report.status, report.checks[0].code) == ("degraded", errors.PUBLISH_REFUSED.code)
        assert "executor" in str(report.checks[0].reason)
        (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
        assert record.message == "nats refused for want of permission"
        assert isinstance(record.exc_info[1], PlatformError) if record.exc_info else False
        assert "studio-a" not in str(vars(record))
    finally:
        await connection.stop()


def test_every_identity_denies_destruction_in_so_many_words() -> None:
    """Should an allowed subject be widened by mistake, the denial still stands."""
    assert {identity.name for identity in identities()} == set(ALL)
    for identity in identities():
        for template in DESTROYING:
            assert f"{template.format(stream='>')}" in identity.deny_publish, identity.name
    for identity in identities():
        if identity.name != TOPOLOGY:
            assert "$JS.API.STREAM.UPDATE.>" in identity.deny_publish
            assert not any(subject.startswith(("$JS.API.STREAM.>", "$JS.>", ">")) for subject in identity.publish)
