"""How the demo follows a run."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cli.demo_api import ApiClient, Document
from cli.demo_watch import SOURCE, Watch, label
from contracts.errors import CONFIGURATION_NAME_TAKEN, INTERNAL, UNAVAILABLE, PlatformError
from deploy.stack.ports import choose_ports

RUN = "0199a0f2-0000-7000-8000-000000000001"


def _fact(event: str, **fields: object) -> Document:
    return {"type": "fact", "event": f"executor.{event}.v1", "executionId": RUN, "fields": fields}


def test_progress_moves_the_bars() -> None:
    """Source and tiers are shown as far as they are; what waits for a tier is part of its whole."""
    watch = Watch(RUN)
    assert set(watch.gauges) == {SOURCE, "local", "cloud primary", "cloud secondary", "offsite"}
    tiers = [{"tier": "cloudPrimary", "state": "uploading", "uploadedBytes": 3, "queuedBytes": 4}]
    progress = {"executionId": RUN, "filesDone": 1, "filesTotal": 9, "bytesDone": 5, "bytesTotal": 50, "tiers": tiers}
    watch.take({"type": "progress", "progress": progress})
    source, cloud = watch.gauges[SOURCE], watch.gauges["cloud primary"]
    assert (source.done, source.total, source.words) == (5, 50, "1 of 9 files")
    assert (cloud.done, cloud.total, cloud.words) == (3, 7, "uploading")
    assert watch.progress_messages == 1


def test_facts_end_the_watch() -> None:
    """A tier's fact completes its bar, the run's last fact ends the watch; both are remembered."""
    watch = Watch(RUN)
    watch.take(_fact("tier-uploaded", tier="offsite", uploadedBytes=10))
    watch.take(_fact("tier-failed", tier="local", code="tier-full"))
    watch.take(_fact("backup-verifying"))
    assert (watch.gauges["offsite"].done, watch.gauges["offsite"].total) == (10, 10)
    assert watch.gauges["local"].words == "failed: tier-full"
    assert watch.gauges[SOURCE].words == "verifying"
    assert not watch.ended.is_set()
    watch.take(_fact("backup-completed"))
    assert watch.ended.is_set()
    assert len(watch.facts) == 4


def test_bars_of_a_run_that_was_completed_are_full() -> None:
    """What was last told of a run is seldom its very end; the run itself says what it has done."""
    watch = Watch(RUN)
    progress = {"executionId": RUN, "filesDone": 1, "filesTotal": 9, "bytesDone": 54, "bytesTotal": 100, "tiers": []}
    watch.take({"type": "progress", "progress": progress})
    tiers = [
        {"tier": "cloudPrimary", "state": "uploaded", "uploadedBytes": 7},
        {"tier": "local", "state": "failed", "uploadedBytes": None},
    ]
    watch.finish({"state": "completed", "sourceBytes": 100, "files": 9, "tiers": tiers})
    source, cloud = watch.gauges[SOURCE], watch.gauges["cloud primary"]
    assert (source.done, source.total, source.words) == (100, 100, "9 files")
    assert (cloud.done, cloud.total, cloud.words) == (7, 7, "uploaded")
    assert watch.gauges["local"].words == "waiting"


def test_other_runs_are_not_shown() -> None:
    """What is told of another run moves nothing."""
    watch = Watch(RUN)
    other = {**_fact("backup-completed"), "executionId": "another"}
    watch.take(other)
    watch.take({"type": "progress", "progress": {"executionId": "another"}})
    assert not watch.ended.is_set()
    assert watch.gauges[SOURCE].done == 0


def test_snapshot_of_a_run_that_has_ended_ends_the_watch() -> None:
    """A run that was over before the socket was open is not waited for."""
    watch = Watch(RUN)
    watch.take({"type": "snapshot", "progress": [], "executions": [{"id": RUN, "state": "backing_up"}]})
    assert not watch.ended.is_set()
    watch.take({"type": "snapshot", "progress": [], "executions": [{"id": RUN, "state": "failed"}]})
    assert watch.ended.is_set()


def test_labels_are_words() -> None:
    """Tiers are called as a person would."""
    assert [label(tier) for tier in ("local", "cloudPrimary", "offsite")] == ["local", "cloud primary", "offsite"]


@asynccontextmanager
async def _api(
    *answers: tuple[int, dict[str, str], Document | str] | None,
) -> AsyncIterator[tuple[ApiClient, list[str]]]:
    """A client of a server that gives these answers, one after another (None: it hangs up); the requests' heads."""
    left, heads = list(answers), []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        heads.append(head)
        length = next((line.split(":")[1] for line in head.lower().splitlines() if "content-length" in line), "0")
        await reader.readexactly(int(length))
        if (answer := left.pop(0)) is None:
            writer.close()
            return
        status, headers, document = answer
        body = (document if isinstance(document, str) else json.dumps(document)).encode()
        lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}", "connection: close"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = ApiClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", lambda: "TOKEN", new_key=lambda: "KEY")
    async with server:
        yield client, heads
        await client.close()


async def test_write_that_is_answered_later_is_followed() -> None:
    """A 202 that points to a request is asked again until the owner has answered, then the resource is read."""
    request = "/api/backup/requests/1"
    async with _api(
        (202, {"Location": request}, {"state": "pending"}),
        (200, {}, {"state": "pending"}),
        (200, {}, {"state": "accepted", "resource": "/api/backup/configurations/2"}),
        (200, {}, {"id": "2"}),
    ) as (client, heads):
        assert await client.create_configuration("name", "place", lock_days=1) == {"id": "2"}
    assert [head.split()[1] for head in heads] == [
        "/api/backup/configurations",
        request,
        request,
        "/api/backup/configurations/2",
    ]
    assert all("bearer token" in head.lower() for head in heads)
    assert "idempotency-key: key" in heads[0].lower()


async def test_refusal_keeps_its_code_and_hint() -> None:
    """A problem of the API, at once or in a request's answer, is told with its own code and hint."""
    problem = {"code": "configuration-name-taken", "detail": "the name is taken", "hint": "choose another"}
    async with _api(
        (409, {}, problem),
        (202, {"Location": "/api/backup/requests/1"}, {}),
        (200, {}, {"state": "refused", "problem": problem}),
    ) as (client, _):
        for _attempt in range(2):
            with pytest.raises(PlatformError, match="the name is taken") as refusal:
                await client.create_configuration("name", "place", lock_days=1)
            assert refusal.value.code is CONFIGURATION_NAME_TAKEN
            assert refusal.value.hint == "choose another"


async def test_write_whose_connection_drops_is_made_again_with_its_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A platform that is up is asked again: what it may have done already it does once, by the key."""
    away = {"code": "unavailable", "detail": "postgres does not answer"}
    async with _api(None, (503, {}, away), (202, {}, {"id": "2"})) as (client, heads):
        assert await client.execute("1") == {"id": "2"}
    assert len(heads) == 3
    assert all("idempotency-key: key" in head.lower() for head in heads)
    assert "it is asked again" in "".join(capsys.readouterr())


async def test_answers_that_make_no_sense_are_errors() -> None:
    """An answer that is no JSON, an unknown code and a silent server each are a PlatformError."""
    async with _api((200, {}, "<html>"), (500, {}, {"code": "of a newer build"})) as (client, _):
        for _attempt in range(2):
            with pytest.raises(PlatformError) as refusal:
                await client.status()
            assert refusal.value.code is INTERNAL
    port = choose_ports(["nobody"], {})["nobody"]
    client = ApiClient(f"http://127.0.0.1:{port}", lambda: "TOKEN", new_key=lambda: "KEY", patience_seconds=1)
    with pytest.raises(PlatformError) as refusal:
        await client.execution("1")
    assert refusal.value.code is UNAVAILABLE
    await client.close()
