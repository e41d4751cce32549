"""The WebSocket: a snapshot, then every fact once and in order, progress on the way, and who may listen."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from chassis.ids import new_id
from contracts import errors
from contracts.executor_events import BackupPreparing
from contracts.progress import Progress
from contracts.subjects import progress_subject
from gateway.auth.jwks import KeySet
from gateway.projections.rebuild import rebuild
from tests.support.eventually import eventually
from tests.support.gateway import ORGANISATION, RunningGateway, running_gateway
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = pytest.mark.stack

ORIGIN = "https://app.test"


@asynccontextmanager
async def _socket(gateway: RunningGateway, *roles: str, **who: Any) -> AsyncIterator[ClientConnection]:
    headers = {"Authorization": f"Bearer {gateway.token(*(roles or ('viewer',)), **who)}"}
    async with connect(gateway.socket_url, additional_headers=headers) as socket:
        yield socket


async def _say(socket: ClientConnection, **message: Any) -> None:
    await socket.send(json.dumps({"type": "subscribe", **message}))


async def _hear(socket: ClientConnection) -> dict[str, Any]:
    heard: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 15))
    return heard


async def _hear_facts(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    heard: list[dict[str, Any]] = []
    while len(heard) < count:
        frame = await _hear(socket)
        assert frame["type"] in {"fact", "progress"}, frame
        if frame["type"] == "fact":
            heard.append(frame)
    return heard


async def _report(gateway: RunningGateway, run: str, done: int) -> None:
    progress = Progress(
        execution_id=run,
        organisation=ORGANISATION,
        time=datetime.now(UTC),  # noqa: TID251  # a report's own time
        phase="backing_up",
        bytes_done=done,
    )
    await gateway.client.publish(progress_subject("executor", ORGANISATION, run), msgspec.json.encode(progress))


async def test_snapshot_comes_first_and_facts_follow_in_order(gateway: RunningGateway) -> None:
    """Who subscribes sees how things stand at one instant, then everything after it."""
    configuration_id = new_id()
    run = await gateway.facts.accepted(configuration_id=configuration_id)
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    async with _socket(gateway) as socket:
        await _say(socket, all=True)
        snapshot = await _hear(socket)
        assert snapshot["type"] == "snapshot"
        assert [shown["id"] for shown in snapshot["executions"]] == [run]
        await gateway.facts.complete(run, configuration_id)
        heard = await _hear_facts(socket, 8)
    assert [frame["event"].split(".")[1] for frame in heard] == [
        "backup-preparing",
        "backup-uploading",
        *(["tier-uploaded"] * 4),
        "backup-verifying",
        "backup-completed",
    ]
    assert {frame["executionId"] for frame in heard} == {run}
    assert {frame["configurationId"] for frame in heard} == {configuration_id}
    # Which machine works is the operators' business: it may be an address in their network.
    assert heard[0]["fields"] == {"executionId": run, "fence": 1}
    epoch, first = snapshot["resume"].rsplit(":", 1)
    assert [frame["resume"] for frame in heard] == [f"{epoch}:{int(first) + n}" for n in range(1, 9)]


async def test_progress_is_told_while_a_run_goes_on(gateway: RunningGateway) -> None:
    """The snapshot has the latest progress, and each later report is told."""
    run = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    await _report(gateway, run, 10)
    await gateway.shows(f"/api/backup/progress/{run}", lambda body: body["progress"])
    async with _socket(gateway) as socket:
        await _say(socket, executions=[run])
        snapshot = await _hear(socket)
        assert snapshot["progress"][0]["bytesDone"] == 10
        await _report(gateway, run, 20)
        frame = await _hear(socket)
        assert (frame["type"], frame["progress"]["bytesDone"]) == ("progress", 20)


async def test_subscription_tells_what_was_asked_for_alone(gateway: RunningGateway) -> None:
    """By execution, by configuration, and never another organisation's."""
    async with gateway.http("owner") as http:
        wanted, other = (await gateway.create_configuration(http))["id"], new_id()
    async with _socket(gateway) as of_configuration, _socket(gateway, organisation="other") as elsewhere:
        await _say(of_configuration, configurations=[wanted])
        await _say(elsewhere, all=True)
        await _hear(of_configuration)
        await _hear(elsewhere)
        first = await gateway.facts.accepted(configuration_id=other)
        second = await gateway.facts.accepted(configuration_id=wanted)
        (frame,) = await _hear_facts(of_configuration, 1)
        assert frame["executionId"] == second
        async with _socket(gateway) as of_execution:
            await _say(of_execution, executions=[first])
            assert [run["id"] for run in (await _hear(of_execution))["executions"]] == [first]
            await _report(gateway, first, 1)
            await _report(gateway, second, 1)
            await gateway.facts.publish(BackupPreparing(execution_id=first, fence=1, worker="w"))
            (frame,) = await _hear_facts(of_execution, 1)
            assert frame["executionId"] == first
        progress = await _hear(of_configuration)
        assert progress["progress"]["executionId"] == second
        elsewhere_run = await gateway.facts.accepted(organisation="other")
        assert (await _hear(elsewhere))["executionId"] == elsewhere_run


async def test_reader_resumes_after_a_drop(gateway: RunningGateway) -> None:
    """What happened while nobody listened follows, once and in order, without a snapshot."""
    async with _socket(gateway) as socket:
        await _say(socket, all=True)
        resume = (await _hear(socket))["resume"]
        seen = await gateway.facts.accepted()
        (frame,) = await _hear_facts(socket, 1)
        resume = frame["resume"]
    missed = [await gateway.facts.accepted() for _ in range(4)]
    await gateway.shows(f"/api/backup/executions/{missed[-1]}", lambda body: True)
    async with _socket(gateway) as socket:
        await _say(socket, all=True, resume=resume)
        assert (await _hear(socket)) == {"type": "resumed", "resume": resume}
        assert [frame["executionId"] for frame in await _hear_facts(socket, 4)] == missed
    assert seen not in missed


async def test_facts_older_than_memory_are_read_from_the_store(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that is further behind than the process remembers misses nothing."""
    monkeypatch.setattr("gateway.monitoring.feed.REMEMBERED", 3)
    monkeypatch.setattr("gateway.monitoring.monitor.READ_AT_ONCE", 4)
    async with _socket(gateway) as socket:
        await _say(socket, all=True)
        resume = (await _hear(socket))["resume"]
    runs = [await gateway.facts.accepted() for _ in range(15)]
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    async with _socket(gateway) as socket:
        await _say(socket, all=True, resume=resume)
        assert (await _hear(socket))["type"] == "resumed"
        assert [frame["executionId"] for frame in await _hear_facts(socket, 15)] == runs
        last = await gateway.facts.accepted()
        assert (await _hear_facts(socket, 1))[0]["executionId"] == last


async def test_reader_gets_a_snapshot_after_a_rebuild(gateway: RunningGateway) -> None:
    """An open socket, and a resume id of the epoch before, get a new snapshot, with what has ended meanwhile."""
    configuration_id = new_id()
    ended, run = [await gateway.facts.accepted(configuration_id=configuration_id) for _ in range(2)]
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    async with _socket(gateway) as socket, _socket(gateway) as dropped:
        await _say(dropped, all=True)
        old = (await _hear(dropped))["resume"]
        await dropped.close()
        await _say(socket, all=True)
        await _hear(socket)
        await gateway.facts.complete(ended, configuration_id)
        await _hear_facts(socket, 8)
        await rebuild(gateway.settings)
        anew = await _hear(socket)
        assert (anew["type"], anew["isComplete"]) == ("snapshot", True)
        assert {each["id"]: each["state"] for each in anew["executions"]} == {run: "initializing", ended: "completed"}
        assert anew["resume"].rsplit(":", 1)[0] != old.rsplit(":", 1)[0]
        await gateway.facts.publish(BackupPreparing(execution_id=run, fence=1, worker="w"))
        (following,) = await _hear_facts(socket, 1)
        assert following["executionId"] == run
    async with _socket(gateway) as socket:
        for resume in (old, "an-epoch-of-long-ago:7"):
            await _say(socket, all=True, resume=resume)
            again = await _hear(socket)
            assert again["type"] == "snapshot"
            assert {each["id"] for each in again["executions"]} == {run, ended}
            assert again["endedSince"] < again["executions"][-1]["finishedAt"]
        ahead = f"{anew['resume'].rsplit(':', 1)[0]}:999999"
        await _say(socket, all=True, resume=ahead)
        assert (await _hear(socket))["type"] == "snapshot"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_reader_resumes_after_a_restart_of_postgres(gateway: RunningGateway, how: signal.Signals) -> None:
    """A resume id survives a stop and a crash of the database: what ended meanwhile is told, once, in order."""
    configuration_id = new_id()
    run = await gateway.facts.accepted(configuration_id=configuration_id)
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    async with _socket(gateway) as socket:
        await _say(socket, all=True)
        resume = (await _hear(socket))["resume"]
    # What is committed by now is on the disk: the numbers up to here are not lost.
    async with gateway.http("viewer") as http:
        await gateway.postgres.restart(signal.SIGINT)
        await eventually(lambda: _is_answered(http, run))
    await gateway.facts.complete(run, configuration_id)
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: body["state"] == "completed")
    await gateway.postgres.restart(how)
    late = await gateway.facts.accepted()
    async with gateway.http("viewer") as http:
        await eventually(lambda: _is_answered(http, late))
    async with _socket(gateway) as socket:
        await _say(socket, all=True, resume=resume)
        assert await _hear(socket) == {"type": "resumed", "resume": resume}
        heard = await _hear_facts(socket, 9)
    assert [frame["executionId"] for frame in heard] == [run] * 8 + [late]
    numbers = [int(frame["resume"].rsplit(":", 1)[1]) for frame in heard]
    assert numbers == sorted(set(numbers))


async def _is_answered(http: httpx.AsyncClient, run: str) -> bool:
    return (await http.get(f"/api/backup/executions/{run}")).status_code == 200


async def test_number_that_a_crash_has_taken_is_given_to_nothing_else(gateway: RunningGateway) -> None:
    """Whoever was told a fact that the database has lost again gets a snapshot, and no fact under an old number."""
    runs = [await gateway.facts.accepted() for _ in range(3)]
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    async with _socket(gateway) as socket:
        await _say(socket, all=True)
        epoch, number = (await _hear(socket))["resume"].rsplit(":", 1)
    lost = f"{epoch}:{int(number) + 1}"  # told a moment before the crash, and not on the disk
    await gateway.postgres.restart(signal.SIGQUIT)
    again = await gateway.facts.accepted()
    async with gateway.http("viewer") as http:
        await eventually(lambda: _is_answered(http, again))
    async with _socket(gateway) as socket:
        await _say(socket, all=True, resume=lost)
        frame = await _hear(socket)
        assert frame["type"] == "snapshot"
        assert again in {each["id"] for each in frame["executions"]}


async def test_snapshot_says_where_it_was_cut(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more runs than are shown nobody takes the snapshot for all there is."""
    monkeypatch.setattr("gateway.monitoring.monitor.SHOWN_MAX", 2)
    runs = [await gateway.facts.accepted() for _ in range(3)]
    await gateway.shows(f"/api/backup/executions/{runs[-1]}", lambda body: True)
    async with _socket(gateway) as socket:
        await _say(socket, all=True)
        snapshot = await _hear(socket)
        assert (len(snapshot["executions"]), snapshot["isComplete"]) == (2, False)


async def test_what_is_not_understood_is_answered_and_changes_nothing(gateway: RunningGateway) -> None:
    """A message that is no subscription gets an error with its code; the subscription stands."""
    async with gateway.http("owner", organisation="other") as http:
        local = {"local": {"location": "local"}}
        elsewhere = (await gateway.create_configuration(http, storageDestinations=local))["id"]
    async with _socket(gateway) as socket:
        await _say(socket, all=True)
        await _hear(socket)
        for message, code in (
            ("{", "malformed-body"),
            ('{"type": "dance"}', "invalid-field"),
            ('{"type": "subscribe"}', "invalid-field"),
            ('{"type": "subscribe", "all": "yes"}', "invalid-field"),
            ('{"type": "subscribe", "everything": true}', "unknown-field"),
            ('{"type": "subscribe", "all": true, "resume": "nowhere"}', "invalid-field"),
            ('{"type": "subscribe", "executions": ["x"]}', "invalid-field"),
        ):
            await socket.send(message)
            frame = await _hear(socket)
            assert (frame["type"], frame["problem"]["code"]) == ("error", code), message
        mine, foreign = await gateway.facts.accepted(), await gateway.facts.accepted(organisation="other")
        assert (await _hear(socket))["executionId"] == mine
        for named, field in (
            ({"executions": [mine, foreign]}, "executions[1]"),
            ({"executions": [new_id()]}, "executions[0]"),
            ({"executions": [mine], "configurations": [elsewhere]}, "configurations[0]"),
            ({"configurations": [new_id()], "resume": "x:1"}, "configurations[0]"),
        ):
            await _say(socket, **named)
            frame = await _hear(socket)
            assert (frame["type"], frame["problem"]["code"]) == ("error", errors.NOT_FOUND.code), named
            assert frame["problem"]["field"] == field
        run = await gateway.facts.accepted()
        assert (await _hear(socket))["executionId"] == run


async def test_subscriptions_are_within_the_callers_rate(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """A socket is no way around the rate: each subscription costs what a request costs."""
    async with (
        running_gateway(tmp_path, postgres, own_nats, rate_per_second=0.1, rate_burst=3.0) as gateway,
        _socket(gateway) as socket,
    ):
        for _ in range(4):
            await _say(socket, all=True)
        refused: list[str] = []
        while len(refused) < 2:
            frame = await _hear(socket)
            refused += [frame["problem"]["code"]] if frame["type"] == "error" else []
    assert refused == ["too-many-requests"] * 2


async def test_slow_reader_loses_progress_and_no_facts(gateway: RunningGateway) -> None:
    """While a reader does not read, progress is replaced by later progress; every fact waits for it."""
    run = await gateway.facts.accepted()
    await gateway.shows(f"/api/backup/executions/{run}", lambda body: True)
    headers = {"Authorization": f"Bearer {gateway.token('viewer')}"}
    # The client takes one frame at a time, so that the server's buffers are all that stands between them.
    async with connect(gateway.socket_url, additional_headers=headers, max_queue=1) as socket:
        await _say(socket, all=True)
        await _hear(socket)
        others = []
        for number in range(600):
            await _report(gateway, run, number)
            if number % 20 == 0:
                others.append(await gateway.facts.accepted())
        await gateway.shows(f"/api/backup/executions/{others[-1]}", lambda body: True)
        facts, reports = [], []
        while len(facts) < len(others) or not reports or reports[-1] != 599:
            frame = await _hear(socket)
            if frame["type"] == "fact":
                facts.append(frame["executionId"])
            else:
                reports.append(frame["progress"]["bytesDone"])
    assert facts == others
    assert reports == sorted(reports)


async def test_socket_is_closed_when_the_token_ends(gateway: RunningGateway) -> None:
    """Nobody listens longer than their token allows."""
    async with _socket(gateway, lifetime_seconds=2) as socket:
        await _say(socket, all=True)
        await _hear(socket)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 15)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401


async def test_socket_is_closed_when_the_key_of_its_token_is_withdrawn(gateway: RunningGateway) -> None:
    """Whoever a withdrawn key let in is let out: open sockets and tickets are judged again."""
    async with gateway.http("viewer") as http:
        ticket = (await http.post("/api/backup/monitoring/ticket")).json()["ticket"]
    keys = next(part for part in gateway.process.parts if part.name == "signing-keys")
    assert isinstance(keys, KeySet)
    async with _socket(gateway) as socket:
        await _say(socket, all=True)
        await _hear(socket)
        assert gateway.settings.jwks_file is not None
        gateway.settings.jwks_file.write_text('{"keys": []}')
        await keys.refresh()
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 15)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4401
    with pytest.raises(InvalidStatus) as refused:
        async with connect(f"{gateway.socket_url}?ticket={ticket}"):
            pass
    assert refused.value.response.status_code == 401


async def test_socket_without_subscription_is_closed(gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who opens a socket and asks for nothing does not keep it; who has asked does."""
    monkeypatch.setattr("gateway.monitoring.monitor.UNUSED_SECONDS_MAX", 0.5)
    async with _socket(gateway) as socket, _socket(gateway) as used:
        await _say(used, all=True)
        await _hear(used)
        with pytest.raises(ConnectionClosed) as closed:
            await asyncio.wait_for(socket.recv(), 15)
        await gateway.facts.accepted()
        assert (await _hear(used))["type"] == "fact"
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4409


async def test_one_person_does_not_take_all_sockets(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """A person has a quarter of the organisation's sockets at most; a colleague still gets one."""
    async with (
        running_gateway(tmp_path, postgres, own_nats, sockets_per_organisation=4) as gateway,
        _socket(gateway) as socket,
    ):
        await _say(socket, all=True)
        await _hear(socket)
        with pytest.raises(InvalidStatus) as full:
            async with _socket(gateway):
                pass
        assert full.value.response.status_code == 429
        async with _socket(gateway, subject="colleague") as other:
            await _say(other, all=True)
            assert (await _hear(other))["type"] == "snapshot"


async def test_failed_sign_ins_lock_out_no_valid_ticket_or_token(gateway: RunningGateway) -> None:
    """Each ticket and each token is judged by itself, whatever was sent from the same address before."""
    async with gateway.http("viewer") as http, gateway.stranger() as stranger:
        ticket = (await http.post("/api/backup/monitoring/ticket")).json()["ticket"]
        for _ in range(60):
            answer = await stranger.get("/api/backup/status", headers={"Authorization": "Bearer x"})
    assert answer.status_code == 429
    for guessed in ("x" * 43, "guessed"):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{gateway.socket_url}?ticket={guessed}"):
                pass
        assert refused.value.response.status_code == 429
    async with connect(f"{gateway.socket_url}?ticket={ticket}") as by_ticket, _socket(gateway) as by_token:
        for socket in (by_ticket, by_token):
            await _say(socket, all=True)
            assert (await _hear(socket))["type"] == "snapshot"


async def test_strangers_are_refused_before_the_socket_opens(gateway: RunningGateway) -> None:
    """Without a token, with a bad one, without a role, or from a page that is not allowed, nothing is opened."""
    good = f"Bearer {gateway.token('viewer')}"
    for headers, query, status, code in (
        ({}, "", 401, "unauthenticated"),
        ({"Authorization": "Bearer x"}, "", 401, "unauthenticated"),
        ({}, "?ticket=guessed", 401, "unauthenticated"),
        ({"Authorization": f"Bearer {gateway.token('guest')}"}, "", 403, "forbidden"),
        ({"Authorization": good, "Origin": "https://evil.test"}, "", 403, "forbidden"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(gateway.socket_url + query, additional_headers=headers):
                pass
        assert refused.value.response.status_code == status
        assert json.loads(refused.value.response.body or b"")["code"] == code


async def test_ticket_opens_one_socket_from_an_allowed_page(
    tmp_path: Path, postgres: PostgresServer, own_nats: NatsServer
) -> None:
    """A browser gets a ticket by CORS and opens one socket with it, from an allowed origin alone."""
    async with running_gateway(
        tmp_path, postgres, own_nats, allowed_origins=(ORIGIN,), sockets_per_organisation=1
    ) as gateway:
        async with gateway.http("viewer") as http:
            preflight = await http.options(
                "/api/backup/monitoring/ticket",
                headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"},
            )
            assert preflight.headers["access-control-allow-origin"] == ORIGIN
            given = await http.post("/api/backup/monitoring/ticket", headers={"Origin": ORIGIN})
            assert given.status_code == 201
            assert given.headers["access-control-allow-origin"] == ORIGIN
            ticket = given.json()["ticket"]
            spare = (await http.post("/api/backup/monitoring/ticket")).json()["ticket"]
        with pytest.raises(InvalidStatus):
            async with connect(f"{gateway.socket_url}?ticket={spare}", origin="https://evil.test"):  # type: ignore[arg-type]
                pass
        # The console is a page of the gateway's own address, which nobody has to allow.
        async with gateway.http("viewer") as http:
            own = (await http.post("/api/backup/monitoring/ticket")).json()["ticket"]
        async with connect(f"{gateway.socket_url}?ticket={own}", origin=gateway.url) as socket:  # type: ignore[arg-type]
            await _say(socket, all=True)
            assert (await _hear(socket))["type"] == "snapshot"
        async with connect(f"{gateway.socket_url}?ticket={ticket}", origin=ORIGIN) as socket:  # type: ignore[arg-type]
            await _say(socket, all=True)
            assert (await _hear(socket))["type"] == "snapshot"
            with pytest.raises(InvalidStatus) as full:
                async with connect(f"{gateway.socket_url}?ticket={spare}", origin=ORIGIN):  # type: ignore[arg-type]
                    pass
            assert full.value.response.status_code == 429
        with pytest.raises(InvalidStatus) as used:
            async with connect(f"{gateway.socket_url}?ticket={ticket}", origin=ORIGIN):  # type: ignore[arg-type]
                pass
        assert used.value.response.status_code == 401
