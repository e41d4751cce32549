"""The runbook's recoveries, by the commands that docs/operations.md names."""

import shutil

import httpx
import pytest

from chassis.ids import new_id
from cli.exit_codes import ExitCode
from contracts.streams import STREAMS
from deploy.stack.locations import register, source_location
from deploy.stack.nats import topology_connection
from tests.support.alerts import Watch
from tests.support.eventually import eventually
from tests.support.stack import Platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(280)]


def _configuration(name: str) -> dict[str, object]:
    return {
        "name": name,
        "sourceType": "directory",
        "sourceLocation": "photos",
        "storageDestinations": {"local": {"location": "local"}},
    }


async def _submit(client: httpx.AsyncClient, name: str) -> httpx.Response:
    return await client.post(
        "/api/backup/configurations", json=_configuration(name), headers={"Idempotency-Key": new_id()}
    )


def _register_source(platform: Platform) -> None:
    folder = platform.home.parent / "photos"
    folder.mkdir(exist_ok=True)
    register(platform.layout, source_location("photos", folder, organisation=platform.organisation))


async def _answers(platform: Platform) -> int:
    """How many answers of the config service are on its stream; each took the whole way there and back."""
    async with topology_connection(platform.layout) as client:
        return (await client.jetstream().stream_info("BACKUP_CONFIG")).state.messages


async def test_lost_nats_store_is_filled_again_by_the_refill_command(own_platform: Platform) -> None:
    """NATS's store is deleted: the services say so and publish nothing by themselves, until `refill` is run."""
    _register_source(own_platform)
    async with own_platform.client() as client:
        first = await _submit(client, "before")
        assert first.status_code == 201, first.text
        assert await _answers(own_platform) == 1

        before = own_platform.kill("nats")
        shutil.rmtree(own_platform.layout.nats_data / "jetstream")
        await own_platform.restarted("nats", before)

        def is_told() -> bool:
            part = own_platform.part("gateway")
            return part.condition == "not-ready" and "wedsync-backup refill gateway" in (part.reason or "")

        await eventually(is_told)
        watch = Watch(own_platform)

        async def is_paged() -> bool:
            return "gateway" in {each["instance"] for each in await watch.now("WedsyncRelayBehind")}

        await eventually(is_paged, every=1)
        code, status = own_platform.status()
        assert (code, status["condition"]) == (ExitCode.DEGRADED, "degraded")
        compared = own_platform.command("topology", "compare")
        assert compared.returncode == ExitCode.DIFFERENT
        assert "BACKUP_GATEWAY" in compared.stdout

        # The gateway waits for what it reads, too, and that is not its own: no time helps, and the command says so.
        alone = own_platform.command("refill", "gateway", "--timeout", "3600")
        assert alone.returncode == ExitCode.DEGRADED, alone.stdout + alone.stderr
        assert "that is not of what was asked for: wedsync-backup refill config" in alone.stdout
        assert "dead letters of before are gone" in alone.stdout

        refilled = own_platform.command("refill", "all", "--timeout", "90")
        assert refilled.returncode == 0, refilled.stdout + refilled.stderr
        assert "gateway: permitted to publish its record again" in refilled.stdout
        assert "read models: caught up" in refilled.stdout
        assert await _answers(own_platform) == 1
        await eventually(lambda: "dead-letters-lost" in (own_platform.part("executor").reason or ""))
        assert own_platform.command("deadletters", "list").returncode == ExitCode.DEGRADED
        accepted = own_platform.command("deadletters", "accept-loss", "--reason", "they were of a test")
        assert accepted.returncode == 0, accepted.stderr
        await eventually(lambda: own_platform.status()[0] == 0, every=0.5)
        second = await _submit(client, "after")
        assert second.status_code == 201, second.text
        assert await _answers(own_platform) == 2
    assert own_platform.command("topology", "compare").stdout == "The server has everything as declared.\n"


async def test_topology_that_somebody_changed_is_shown_and_mended(own_platform: Platform) -> None:
    """A consumer changed by hand makes its service not ready; `topology apply` mends it."""
    async with topology_connection(own_platform.layout) as client:
        js = client.jetstream()
        info = await js.consumer_info("BACKUP_GATEWAY", "config--create-configuration")
        info.config.max_deliver = 1
        await js.add_consumer("BACKUP_GATEWAY", config=info.config)
    compared = own_platform.command("topology", "compare")
    assert compared.returncode == ExitCode.DIFFERENT
    assert "max_deliver" in compared.stdout
    await eventually(lambda: own_platform.part("config").condition == "not-ready")
    assert "topology-drift" in str(own_platform.status()[1])
    applied = own_platform.command("topology", "apply")
    assert applied.returncode == 0
    assert "updated" in applied.stdout
    assert own_platform.command("topology", "apply").stdout == "Nothing was to be changed.\n"
    await eventually(lambda: own_platform.part("config").condition == "ready")


def test_topology_is_shown_without_a_platform(unstarted_platform: Platform) -> None:
    """What is declared can be read before anything runs; what needs a platform says that none runs."""
    shown = unstarted_platform.command("topology", "show").stdout
    assert all(stream.name in shown for stream in STREAMS)
    for words in (("topology", "apply"), ("refill", "all"), ("token", "--role", "viewer"), ("logs",)):
        refused = unstarted_platform.command(*words)
        assert refused.returncode != 0
        assert "wedsync-backup up" in refused.stderr


async def test_lost_record_begins_anew_behind_the_old_one_s_events(own_platform: Platform) -> None:
    """Postgres's data is lost: the platform starts with an empty record when that is said, and works after a refill."""
    _register_source(own_platform)
    async with own_platform.client() as client:
        await _submit(client, "before")
    assert own_platform.command("down").returncode == 0
    layout = own_platform.layout
    layout.postgres_data.rename(layout.data / "postgres-lost")
    refused = own_platform.command("up", "--detach")
    assert refused.returncode == ExitCode.FAILED
    assert "--begin-anew data/postgres" in refused.stderr
    assert not layout.postgres_data.exists()
    up = own_platform.command("up", "--detach", "--begin-anew", "data/postgres")
    try:
        assert up.returncode == ExitCode.DEGRADED, up.stderr
        assert "not all of it is ready" in up.stdout
        assert "stream-of-another-log" in up.stdout
        assert own_platform.status()[0] == ExitCode.DEGRADED
        refilled = own_platform.command("refill", "all", "--new-incarnation", "--timeout", "90")
        assert refilled.returncode == 0, refilled.stdout + refilled.stderr
        assert "read models: caught up" in refilled.stdout
        async with own_platform.client() as client:
            # What the lost record held is not shown any more, though nothing was written since.
            shown = await client.get("/api/backup/configurations")
            assert (shown.status_code, shown.json()["items"]) == (200, [])
            answer = await _submit(client, "after")
        assert answer.status_code == 201, answer.text
        assert await _answers(own_platform) == 2
    finally:
        assert own_platform.command("down").returncode == 0
