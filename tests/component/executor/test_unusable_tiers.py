"""Tiers whose location is not set up as it must be: each fails by itself, by name, and the others get the run."""

import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from chassis.locations import Locations
from contracts.configuration import Destination, Tier
from contracts.executor_events import BackupCompleted, BackupFailed, TierFailed
from tests.component.executor.test_runs import perform_next
from tests.support.executor import ExecutorBench, executor_bench
from tests.support.nats_server import NatsServer
from tests.support.postgres_server import PostgresServer

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


@pytest.fixture
async def bench(tmp_path: Path, postgres: PostgresServer, nats_server: NatsServer) -> AsyncIterator[ExecutorBench]:
    async with executor_bench(tmp_path, postgres, nats_server) as bench:
        (bench.source / "contract.txt").write_text("between A and B " * 1000)
        yield bench


def _register(bench: ExecutorBench, **changes: object) -> None:
    path = bench.home / "locations.json"
    registry = json.loads(path.read_bytes())
    entry = {"name": "cloud", "kind": "s3", "roles": ["tier"], "organisations": ["*"], "url": "s3://bucket/tier"}
    registry["locations"].append({**entry, "credentials": "cloud", **changes})
    path.write_text(json.dumps(registry))


def _credentials_gone(bench: ExecutorBench) -> None:
    _register(bench)


def _credentials_a_pipe(bench: ExecutorBench) -> None:
    _register(bench)
    (bench.keys / "credentials").mkdir()
    os.mkfifo(bench.keys / "credentials" / "cloud.json", 0o600)


def _address_wrong(bench: ExecutorBench) -> None:
    _register(bench, url="s3://bucket/a%20tier", credentials=None)


def _entry_faulty(bench: ExecutorBench) -> None:
    _register(bench, comment="")


def _not_open(bench: ExecutorBench) -> None:
    _register(bench, organisations=["another"])


def _not_registered(_bench: ExecutorBench) -> None:
    """The name is in a configuration, and in no registry any more."""


WRONG: dict[Callable[[ExecutorBench], None], str] = {
    _credentials_gone: "location-unusable",
    _credentials_a_pipe: "location-unusable",
    _address_wrong: "location-unusable",
    _entry_faulty: "location-unusable",
    _not_open: "unknown-location",
    _not_registered: "unknown-location",
}


@pytest.mark.parametrize(("spoil", "code"), WRONG.items())
async def test_tier_that_is_not_required_and_set_up_wrongly_fails_alone(
    bench: ExecutorBench, spoil: Callable[[ExecutorBench], None], code: str
) -> None:
    """The required tier gets every run, the first and the next; the other one is told by its name."""
    spoil(bench)
    await bench.configure(
        local=Destination(location="local", required=True), cloud_primary=Destination(location="cloud")
    )
    for run in ("run-1", "run-2"):
        await bench.request(run)
        await perform_next(bench)
        events = await bench.told(run)
        last = events[-1]
        assert isinstance(last, BackupCompleted)
        assert last.verified == (Tier.LOCAL,)
        assert [(owed.tier, owed.code) for owed in last.catch_ups] == [(Tier.CLOUD_PRIMARY, code)]
        failed = [event for event in events if isinstance(event, TierFailed)]
        assert [(event.tier, event.code) for event in failed] == [(Tier.CLOUD_PRIMARY, code)]
        assert "WEDSYNC" not in failed[0].hint


async def test_required_tier_that_is_set_up_wrongly_fails_the_run_by_name(bench: ExecutorBench) -> None:
    """Whoever may see the run learns which tier it is."""
    _register(bench)
    await bench.configure(
        local=Destination(location="local"), cloud_primary=Destination(location="cloud", required=True)
    )
    await bench.request("run-1")
    await perform_next(bench)
    failed = (await bench.told("run-1"))[-1]
    assert isinstance(failed, BackupFailed)
    assert (failed.code, failed.tier) == ("required-tier-failed", Tier.CLOUD_PRIMARY)


INSTEAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "nothing": (lambda _: None, "is not there. Ask"),
    "dangling": (
        lambda folder: folder.symlink_to(folder.with_name("unmounted")),
        "a link lies in its place, which leads",
    ),
    "file": (lambda folder: folder.write_text("not mounted"), "a file lies in its place. Ask"),
    "pipe": (os.mkfifo, "a pipe lies in its place. Ask"),
}


@pytest.mark.parametrize("is_alone", [False, True])
@pytest.mark.parametrize("instead", INSTEAD)
async def test_folder_of_a_tier_that_is_away_is_told_by_its_location(
    bench: ExecutorBench, instead: str, is_alone: bool
) -> None:
    """A folder has no endpoint; whoever may see the run reads what it is, where, and what to do, and no path."""
    others = {} if is_alone else {"cloud_primary": Destination(location="second")}
    await bench.configure(local=Destination(location="local", required=True), **others)
    await bench.request("run-1")
    await perform_next(bench)
    put, words = INSTEAD[instead]
    folder = bench.home / "tiers" / "local"
    folder.rename(bench.home / "unmounted")
    put(folder)
    await bench.request("run-2")
    await perform_next(bench)
    failed = (await bench.told("run-2"))[-1]
    assert isinstance(failed, BackupFailed)
    assert failed.code == ("tier-unreachable" if is_alone else "required-tier-failed")
    assert "The folder of the location local cannot be used: " in failed.hint
    assert words in failed.hint
    assert "endpoint" not in failed.hint
    assert "/" not in failed.hint


@pytest.mark.parametrize(
    ("needed", "destinations"),
    [
        ("gone", {"local": Destination(location="gone")}),
        ("gone", {"local": Destination(location="local"), "offsite": Destination(location="gone", required=True)}),
        ("photos", {"local": Destination(location="local")}),
        (None, {"local": Destination(location="local"), "offsite": Destination(location="gone")}),
    ],
)
async def test_run_that_needs_a_location_which_is_gone_is_refused_before_it_is_taken_on(
    bench: ExecutorBench, needed: str | None, destinations: dict[str, Destination]
) -> None:
    """It would fail a second later. A tier that is not required costs its copy alone; what cannot be known, nothing."""
    await bench.configure(**destinations)
    registry = bench.home / "locations.json"
    written = registry.read_text()
    if needed == "photos":
        registry.write_text(written.replace('"photos"', '"others"'))
    await bench.request("run-1")
    if needed is None:
        assert await bench.names("run-1") == ["backup-accepted"]
        return
    refused = await bench.refusal("run-1")
    assert (refused.code, f"the location {needed}, which" in refused.hint) == ("unknown-location", True)
    registry.write_text("{")
    bench.locations = Locations(registry)
    await bench.request("run-2")
    assert await bench.names("run-2") == ["backup-accepted"]


@pytest.mark.parametrize("spoil", [_credentials_gone, _address_wrong])
async def test_only_tier_that_is_set_up_wrongly_fails_the_run_with_its_code(
    bench: ExecutorBench, spoil: Callable[[ExecutorBench], None]
) -> None:
    """What is wrong is said as such, and not as a tier that does not answer."""
    spoil(bench)
    await bench.configure(cloud_primary=Destination(location="cloud"))
    await bench.request("run-1")
    await perform_next(bench)
    failed = (await bench.told("run-1"))[-1]
    assert isinstance(failed, BackupFailed)
    assert (failed.code, failed.tier) == (WRONG[spoil], Tier.CLOUD_PRIMARY)


@pytest.mark.parametrize("required", [False, True])
async def test_tier_that_does_not_lock_what_it_was_asked_to_has_its_own_code(
    bench: ExecutorBench, required: bool
) -> None:
    """A folder locks nothing: it gets no copy without the lock; where it is required, the run fails with that code."""
    _register(bench, name="vault", kind="directory", url=f"file://{bench.home}/tiers/vault", credentials=None)
    (bench.home / "tiers" / "vault").mkdir(parents=True)
    await bench.configure(
        local=Destination(location="local", required=True),
        offsite=Destination(location="vault", lock_days=30, required=required),
    )
    await bench.request("run-1")
    await perform_next(bench)
    last = (await bench.told("run-1"))[-1]
    if required:
        assert isinstance(last, BackupFailed)
        assert (last.code, last.tier) == ("lock-not-proven", Tier.OFFSITE)
    else:
        assert isinstance(last, BackupCompleted)
        assert [(owed.tier, owed.code) for owed in last.catch_ups] == [(Tier.OFFSITE, "lock-not-proven")]
    assert not list(bench.tier("vault").rglob("packs/*/*"))
