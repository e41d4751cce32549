"""Streams that have lost events, and messages on them that no relay has published."""

from typing import Any

import pytest

from chassis.bus import topology
from chassis.life.health import Finding
from chassis.outbox.chained import LOG_HEADER, POSITION_HEADER
from contracts.errors import PlatformError
from contracts.executor_events import BackupPreparing
from contracts.streams import stream_of
from contracts.subjects import events_of
from gateway.projections.rebuild import rebuild
from tests.support.eventually import eventually
from tests.support.gateway import Facts, RunningGateway

pytestmark = pytest.mark.stack

EXECUTOR = stream_of("executor")


@pytest.fixture
def losing_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams from which a message can be taken, as a server's fault does."""
    declared = topology.stream_config

    def deletable(spec: Any) -> dict[str, Any]:
        return {**declared(spec), "deny_delete": False, "deny_purge": False, "duplicate_window": 1.0}

    monkeypatch.setattr(topology, "stream_config", deletable)


async def _finding(gateway: RunningGateway, name: str) -> Finding | None:
    checks = (await gateway.process.health.report()).checks
    return next((check for check in checks if check.name == name and check.status != "ready"), None)


async def _statuses(gateway: RunningGateway, *runs: str) -> list[int]:
    async with gateway.http("viewer") as http:
        return [(await http.get(f"/api/backup/executions/{run}")).status_code for run in runs]


async def test_lost_event_is_not_waited_for_in_silence(losing_streams: None, gateway: RunningGateway) -> None:
    """A hole is no message on its way: not ready, with what is missing; reads go on, and the hint's command helps."""
    js = gateway.client.jetstream()
    known = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{known}", lambda body: True)
    projector = next(part for part in gateway.process.parts if part.name == "projector")
    await projector.stop()
    runs = [await gateway.facts.accepted() for _ in range(5)]
    last = (await js.stream_info(EXECUTOR)).state.last_seq
    await js.delete_msg(EXECUTOR, last - 3)
    await projector.start()

    async def is_not_ready() -> Finding | None:
        found = await _finding(gateway, "read-models")
        return found if found is not None and found.status == "not-ready" else None

    found = await eventually(is_not_ready)
    assert found is not None
    assert f"{EXECUTOR} has lost events: position 3 " in (found.reason or "")
    assert "wedsync-backup refill executor --new-incarnation" in (found.hint or "")
    assert await _statuses(gateway, known, runs[0], runs[2]) == [200, 200, 404]

    await gateway.renew("log-2")

    async def is_whole() -> bool:
        return await _statuses(gateway, known, *runs) == [200] * 6

    await eventually(is_whole)

    async def is_ready() -> bool:
        return (await gateway.process.health.report()).status == "ready"

    await eventually(is_ready)


async def test_lost_beginning_keeps_a_rebuild_from_what_there_was(
    losing_streams: None, gateway: RunningGateway
) -> None:
    """What is applied already is not given up for a stream that has lost its first event."""
    runs = [await gateway.facts.accepted() for _ in range(3)]
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    await gateway.client.jetstream().delete_msg(EXECUTOR, 1)

    async def is_refused() -> bool:
        try:
            await rebuild(gateway.settings)
        except PlatformError as error:
            return error.code.code == "stream-missing" and "has lost events" in error.message
        return False

    await eventually(is_refused)
    assert await _statuses(gateway, *runs) == [200] * 3


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {LOG_HEADER: "another-log", POSITION_HEADER: "1"},
        {LOG_HEADER: "another-log", POSITION_HEADER: "1", "Nats-Msg-Id": "another-log:1"},
        {LOG_HEADER: "log-1", POSITION_HEADER: "999", "Nats-Msg-Id": "log-1:999"},
        {LOG_HEADER: "log-1", POSITION_HEADER: "many"},
    ],
)
async def test_message_that_is_not_of_the_log_costs_itself_alone(
    gateway: RunningGateway, headers: dict[str, str]
) -> None:
    """A debugging tool under the service's own key takes nobody's view away, and is told of with what to do."""
    async with gateway.http("owner") as http:
        configuration = await gateway.create_configuration(http)
    run = await gateway.facts.accepted(configuration_id=configuration["id"])
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    subject = events_of("executor").replace(">", "acme.debug.v1")
    await gateway.client.jetstream().publish(subject, b"{}", headers=headers)
    more = await gateway.facts.accepted(configuration_id=configuration["id"])
    await gateway.shows(f"/api/backup/executions/{more}", lambda body: True)
    assert await _statuses(gateway, run, more) == [200, 200]

    found = await eventually(lambda: _finding(gateway, "read-models-strays"))
    assert found is not None
    assert (found.status, found.code) == ("degraded", "stream-of-another-log")
    assert (found.reason or "").startswith("1 messages")
    assert "refill executor --new-incarnation" in (found.hint or "")

    await gateway.renew("log-2")
    await eventually(lambda: _is_well(gateway))
    assert await _statuses(gateway, run, more) == [200, 200]


async def _is_well(gateway: RunningGateway) -> bool:
    return (await gateway.process.health.report()).status == "ready"


async def test_strays_at_the_end_are_counted_once_and_hide_nothing(gateway: RunningGateway) -> None:
    """Many strays in a row, more than are read at once, do not keep the projector from what follows them."""
    run = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    subject = events_of("executor").replace(">", "acme.debug.v1")
    for _ in range(600):
        await gateway.client.publish(subject, b"{}")
    await gateway.client.flush()

    async def are_counted() -> bool:
        found = await _finding(gateway, "read-models-strays")
        return found is not None and (found.reason or "").startswith("600 messages")

    await eventually(are_counted)
    await gateway.facts.publish(BackupPreparing(execution_id=run, fence=1, worker="w"))
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: body["state"] == "preparing")
    assert await are_counted()


async def _is_told_of_another_log(gateway: RunningGateway) -> Finding | None:
    found = await _finding(gateway, "read-models")
    return found if found is not None and found.status == "not-ready" else None


async def _forge(gateway: RunningGateway) -> None:
    """One message under the executor's key, in all that a relay says: a new log, its first place, a true chain."""
    await Facts(gateway.client.jetstream(), log="forged").accepted()


async def test_log_that_nobody_has_announced_takes_nothing_away(gateway: RunningGateway) -> None:
    """One forged message empties no view, also not by a rebuild: not ready, named, until the operator has decided."""
    runs = [await gateway.facts.accepted() for _ in range(3)]
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    await _forge(gateway)
    found = await eventually(lambda: _is_told_of_another_log(gateway))
    assert found is not None
    assert found.code == "stream-of-another-log"
    assert "behind position 3" in (found.reason or "")
    assert "refill executor --new-incarnation" in (found.hint or "")
    assert await _statuses(gateway, *runs) == [200] * 3
    await rebuild(gateway.settings)
    assert await _statuses(gateway, *runs) == [200] * 3

    # The true restore: less than was shown, confirmed by the operator. Until it is there what was shown stays.
    restored = Facts(gateway.client.jetstream(), log="log-2")
    await gateway.say_record("executor", "log-2", 2)
    kept = [await restored.accepted()]
    assert await _statuses(gateway, *runs) == [200] * 3
    kept.append(await restored.accepted())

    async def is_followed() -> bool:
        return await _statuses(gateway, *kept, *runs) == [200] * 2 + [404] * 3

    await eventually(is_followed)
    await eventually(lambda: _is_well(gateway))


async def test_other_log_in_the_middle_of_a_stream_is_passed_over(gateway: RunningGateway) -> None:
    """What goes on behind a forged message is read, and the message is told of; so it is by a rebuild."""
    runs = [await gateway.facts.accepted() for _ in range(3)]
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    projector = next(part for part in gateway.process.parts if part.name == "projector")
    await projector.stop()
    await _forge(gateway)
    runs += [await gateway.facts.accepted() for _ in range(2)]
    await projector.start()
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    found = await eventually(lambda: _finding(gateway, "read-models-strays"))
    assert found is not None
    assert (found.status, found.code) == ("degraded", "stream-of-another-log")
    await rebuild(gateway.settings)
    assert await _statuses(gateway, *runs) == [200] * 5
    assert await _finding(gateway, "read-models") is None


async def test_log_that_is_there_twice_is_read_once(losing_streams: None, gateway: RunningGateway) -> None:
    """The whole log again behind another one, then new events: nothing stands still, and nothing is lost."""
    runs = [await gateway.facts.accepted() for _ in range(6)]
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    await _forge(gateway)
    await gateway.facts.publish_again()
    runs += [await gateway.facts.accepted() for _ in range(3)]
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    await rebuild(gateway.settings)
    assert await _statuses(gateway, *runs) == [200] * 9


async def test_record_that_is_empty_is_followed(gateway: RunningGateway) -> None:
    """After the record was begun anew nothing of the forgotten one is shown, though nothing was written since."""
    async with gateway.http("owner") as http:
        forgotten = await gateway.create_configuration(http)
        await gateway.shows(f"/api/backup/configurations/{forgotten['id']}", lambda body: True)
        await gateway.say_record("config", "begun-anew")

        async def is_gone() -> bool:
            return (await http.get(f"/api/backup/configurations/{forgotten['id']}")).status_code == 404

        await eventually(is_gone)
    await eventually(lambda: _is_well(gateway))


@pytest.mark.parametrize("is_left", [True, False], ids=["longer", "as-long"])
async def test_other_events_under_the_same_names_are_no_repeat(
    losing_streams: None, gateway: RunningGateway, *, is_left: bool
) -> None:
    """A record that was made anew under the old log's name is not gone on with: not ready, named, with what to do."""
    js = gateway.client.jetstream()
    runs = [await gateway.facts.accepted() for _ in range(3)]
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    other = Facts(js, log=gateway.facts.log)
    assert await js.purge_stream(EXECUTOR)
    for number in range(1, 5 if is_left else 4):
        event = other.envelope(BackupPreparing(execution_id=runs[0], fence=number, worker="another"))

        async def is_stored(number: int = number, event: Any = event) -> bool:
            # The stream still knows the names of what it has lost, for a second.
            await other.send(number, event)
            return (await js.stream_info(EXECUTOR)).state.messages >= number

        await eventually(is_stored)

    async def is_not_ready() -> Finding | None:
        found = await _finding(gateway, "read-models")
        return found if found is not None and found.status == "not-ready" else None

    found = await eventually(is_not_ready)
    assert found.code == "stream-of-another-log"
    assert "another event at position 3" in (found.reason or "")
    assert "refill executor --new-incarnation" in (found.hint or "")
    with pytest.raises(PlatformError, match="another event at position 3"):
        await rebuild(gateway.settings)
    assert await _statuses(gateway, *runs) == [200] * 3
    gateway.facts.published.clear()
    gateway.facts.positions.clear()
    gateway.facts.log = "log-2"
    await gateway.say_record("executor", "log-2", 1)
    anew = await gateway.facts.accepted()

    async def is_followed() -> bool:
        return await _statuses(gateway, anew, runs[0]) == [200, 404]

    await eventually(is_followed)
