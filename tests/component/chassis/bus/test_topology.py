"""The topology against a real NATS server: applied, compared, repaired."""

import asyncio

import msgspec
import pytest
from nats.js.api import StorageType, StreamConfig
from nats.js.errors import APIError

from chassis.bus import topology
from chassis.bus.topology import Change, TopologyCheck, apply, as_error, compare, replay_consumer, specs_of
from chassis.life.health import Health
from chassis.telemetry.instruments import Telemetry
from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import CONSUMERS, PROGRESS_STREAM, STREAMS, StreamSpec, consumer_named, stream_of
from deploy.nats.permissions import TOPOLOGY
from tests.support.eventually import eventually
from tests.support.messages import backup_requested, envelope_of, publish
from tests.support.nats_server import NatsServer

pytest_plugins = ["tests.support.nats_server"]
pytestmark = pytest.mark.stack

ACCEPT = consumer_named("executor--accept-backup")

GATEWAY_STREAM = stream_of("gateway")
DURABLE = ACCEPT.durable_name


async def test_apply_creates_all_that_is_declared_and_then_finds_nothing_to_do(own_nats: NatsServer) -> None:
    """After `apply` the server is as declared, and a second `apply` changes nothing."""
    changes = await own_nats.apply()
    assert {change.action for change in changes} == {"created"}
    assert len(changes) == len(STREAMS) + 2 * len(CONSUMERS)
    assert await own_nats.apply() == []
    async with own_nats.connected(TOPOLOGY) as client:
        assert await compare(client.jetstream()) == []


@pytest.mark.parametrize("how", ["stopped", "killed", "wiped"])
async def test_apply_repairs_after_the_server_was_started_anew(own_nats: NatsServer, how: str) -> None:
    """A restart loses nothing of the topology; a lost store is declared anew by one `apply`."""
    await own_nats.apply()
    if how == "stopped":
        own_nats.stop()
    else:
        own_nats.kill()
    if how == "wiped":
        own_nats.wipe()
    own_nats.start()
    changes = await own_nats.apply()
    assert len(changes) == (len(STREAMS) + 2 * len(CONSUMERS) if how == "wiped" else 0)
    async with own_nats.connected(TOPOLOGY) as client:
        assert await compare(client.jetstream()) == []


async def test_every_changed_setting_is_named_and_made_good(own_nats: NatsServer) -> None:
    """What somebody changed by hand is found setting by setting, and `apply` takes it back, positions kept."""
    await own_nats.apply()
    async with own_nats.connected() as client:
        js = client.jetstream()
        await publish(js, envelope_of(backup_requested()))
        (message,) = await (await js.pull_subscribe_bind(DURABLE, GATEWAY_STREAM)).fetch(1)
        await message.ack_sync()
        stream = (await js.stream_info(GATEWAY_STREAM)).config
        await js.update_stream(stream.evolve(max_age=3600.0, duplicate_window=60.0))
        consumer = (await js.consumer_info(GATEWAY_STREAM, DURABLE)).config
        consumer.ack_wait, consumer.max_deliver, consumer.name = 5.0, 3, DURABLE
        await js.add_consumer(GATEWAY_STREAM, consumer)
        found = await compare(js)
        assert [(each.subject, each.setting, each.declared, each.actual) for each in found] == [
            (f"stream {GATEWAY_STREAM}", "max_age", None, 3600.0),
            (f"stream {GATEWAY_STREAM}", "duplicate_window", 120.0, 60.0),
            (f"consumer {DURABLE}", "ack_wait", 30.0, 5.0),
            (f"consumer {DURABLE}", "max_deliver", -1.0, 3.0),
        ]
        error = as_error(found)
        assert error is not None
        assert error.code is errors.TOPOLOGY_DRIFT
        assert f"consumer {DURABLE}: ack_wait" in error.message
        assert await own_nats.apply() == [
            Change(f"stream {GATEWAY_STREAM}", "updated"),
            Change(f"consumer {DURABLE}", "updated"),
        ]
        assert await compare(js) == []
        info = await js.consumer_info(GATEWAY_STREAM, DURABLE)
        assert (info.num_pending, info.ack_floor.stream_seq) == (0, 1)


async def test_missing_stream_and_consumer_are_named(own_nats: NatsServer) -> None:
    """What is not there is called missing, which asks for another repair than a changed setting."""
    await own_nats.apply()
    async with own_nats.connected() as client:
        js = client.jetstream()
        await js.delete_stream(stream_of("config"))
        await js.delete_consumer(GATEWAY_STREAM, DURABLE)
        missing = [each.subject for each in await compare(js) if each.is_missing]
        assert f"stream {stream_of('config')}" in missing
        assert f"consumer {DURABLE}" in missing
        error = as_error(await compare(js))
        assert error is not None
        assert error.code is errors.STREAM_MISSING


async def test_change_that_the_server_refuses_is_an_error_with_its_reason(own_nats: NatsServer) -> None:
    """A stream of another storage cannot be changed into what is declared: `apply` says so and deletes nothing."""
    async with own_nats.connected() as client:
        spec = STREAMS[0]
        config = StreamConfig(name=spec.name, subjects=list(spec.subjects), storage=StorageType.MEMORY)
        await client.jetstream().add_stream(config)
    with pytest.raises(PlatformError) as caught:
        await own_nats.apply()
    assert caught.value.code is errors.TOPOLOGY_DRIFT
    assert spec.name in caught.value.message
    assert "storage" in caught.value.message


async def test_durable_stream_denies_deletion_and_purge_of_messages_to_everybody(own_nats: NatsServer) -> None:
    """Even an identity without any limits cannot take a message out of a durable stream."""
    await own_nats.apply()
    async with own_nats.connected() as client:
        js = client.jetstream()
        sequence = await publish(js, envelope_of(backup_requested()))
        with pytest.raises(APIError, match="delete"):
            await js.delete_msg(GATEWAY_STREAM, sequence)
        with pytest.raises(APIError, match="purge"):
            await js.purge_stream(GATEWAY_STREAM)
        with pytest.raises(APIError, match="roll"):
            await js.publish("backup.gateway.a.b.v1", b"", headers={"Nats-Rollup": "all"})
        assert (await js.stream_info(GATEWAY_STREAM)).state.messages == 1


async def test_full_stream_refuses_what_is_new_and_keeps_what_is_old(own_nats: NatsServer) -> None:
    """History is never dropped for want of space."""
    spec = StreamSpec(name="SMALL", subjects=("small.>",), durable=True, max_bytes=2000)
    async with own_nats.connected() as client:
        js = client.jetstream()
        await apply(js, (spec,), ())
        await js.publish("small.a", b"x" * 1000)
        with pytest.raises(APIError, match="maximum bytes exceeded"):
            await js.publish("small.b", b"x" * 1000)
        assert (await js.get_msg("SMALL", seq=1)).data == b"x" * 1000


async def test_progress_keeps_the_last_value_of_each_run(own_nats: NatsServer) -> None:
    """Whoever comes late sees where every run stands, and no history of it."""
    await own_nats.apply()
    async with own_nats.connected() as client:
        js = client.jetstream()
        for percent in range(5):
            for run in ("run-1", "run-2"):
                await js.publish(f"progress.executor.studio-a.{run}", b"%d" % percent)
        assert (await js.stream_info(PROGRESS_STREAM)).state.messages == 2
        assert (await js.get_last_msg(PROGRESS_STREAM, "progress.executor.studio-a.run-1", direct=True)).data == b"4"


async def test_server_that_is_away_is_unavailable_and_not_drift(own_nats: NatsServer) -> None:
    """No answer is no finding."""
    async with own_nats.connected() as client:
        js = client.jetstream(timeout=0.3)
        own_nats.kill()
        for request in (compare(js), apply(js)):
            with pytest.raises(PlatformError) as caught:
                await request
            assert caught.value.code is errors.UNAVAILABLE
        own_nats.start()


async def test_readiness_shows_drift_and_its_repair(own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service whose consumer was changed is not ready, names it, and is ready soon after the repair."""
    await own_nats.apply()
    health, telemetry = Health("executor"), Telemetry("executor")
    connection = own_nats.connection("executor", telemetry, health)
    check = TopologyCheck(connection, "executor", every_seconds=0.05)
    health.add(check.name, check.check)
    await connection.start()
    await check.start()
    try:
        assert (await health.report()).status == "ready"
        async with own_nats.connected() as client:
            js = client.jetstream()
            consumer = (await js.consumer_info(GATEWAY_STREAM, DURABLE)).config
            consumer.ack_wait, consumer.name = 5.0, DURABLE
            await js.add_consumer(GATEWAY_STREAM, consumer)

            async def status() -> str | None:
                return (await health.report()).checks[0].code

            await eventually(lambda: _equals(status(), "topology-drift"))
            assert "ack_wait" in str((await health.report()).checks[0].reason)
            await own_nats.apply()
            await eventually(lambda: _equals(status(), None))
        calls = 0

        async def counted(*_: object) -> list[topology.Difference]:
            nonlocal calls
            calls += 1
            return []

        monkeypatch.setattr(topology, "compare", counted)
        lazy = TopologyCheck(connection, "executor", every_seconds=60.0)
        for _ in range(3):
            assert await lazy.check() is None
        assert calls == 1

        async def silent(*_: object) -> list[topology.Difference]:
            await asyncio.Event().wait()
            return []

        monkeypatch.setattr(topology, "compare", silent)
        monkeypatch.setattr(topology, "ANSWER_SECONDS", 0.1)
        with pytest.raises(PlatformError, match="nats does not answer"):
            await TopologyCheck(connection, "executor").check()
        # What a service's own identity may not look at would be refused, and be noticed here.
        assert telemetry.registry.get_sample_value("wedsync_nats_refusals_total", {"kind": "publish"}) is None
    finally:
        await check.stop()
        await connection.stop()


async def _equals(value: object, expected: object) -> bool:
    return (await value) == expected  # type: ignore[misc]


def test_difference_list_in_an_error_is_bounded() -> None:
    """An empty server gives one sentence, not a page."""
    found = [topology.Difference(f"stream S{number}", "existence", "declared", None) for number in range(20)]
    error = as_error(found)
    assert error is not None
    assert error.message.endswith("and 12 more")
    assert as_error([]) is None


def test_replay_consumer_stands_beside_the_declared_one() -> None:
    """A replay reaches one handler alone, under limits like the first delivery's."""
    spec = replay_consumer(ACCEPT)
    assert spec.durable_name == "executor--accept-backup--replay"
    assert spec.subjects == ("deadletter.executor.accept-backup.replay.*",)
    changed = msgspec.structs.replace(spec, handler="", stream="", subjects=())
    assert changed == msgspec.structs.replace(ACCEPT, handler="", stream="", subjects=())


def test_specs_of_a_service_are_its_own() -> None:
    """A service is not unready for what it does not use; the worker needs no stream at all to start."""
    streams, consumers = specs_of("config")
    assert {spec.name for spec in streams} == {
        "BACKUP_CONFIG",
        "BACKUP_EXECUTOR",
        "BACKUP_GATEWAY",
        "BACKUP_DR",
        "BACKUP_DEADLETTERS",
    }
    assert {spec.service for spec in consumers} == {"config"}
    assert {spec.name for spec in specs_of("gateway")[0]} == {spec.name for spec in STREAMS}
    assert specs_of("executor-worker") == ((), ())
