"""Settings of the executor that contradict each other, and what they bind."""

import json
from pathlib import Path

import pytest

from chassis.own_folders import require_places
from chassis.settings import load
from contracts import errors
from contracts.errors import PlatformError
from repository.backup.reading import BLOCK_LENGTH
from repository.backup.workshop import Workshop
from repository.stored.chunker import ChunkerParameters
from repository.stored.memory_budget import MemoryShare
from services.executor.bootstrap import checked_cache, registered_folders
from services.executor.settings import BASE_MEMORY_MB, SLOT_MEMORY_MB, ExecutorSettings, WorkerSettings

REQUIRED = {
    "WEDSYNC_POSTGRES_DSN": "host=x",
    "WEDSYNC_POSTGRES_SCHEMA": "executor",
    "WEDSYNC_NATS_URL": "nats://x",
    "WEDSYNC_KEYS_DIR": "/keys",
    "WEDSYNC_LOCATIONS_FILE": "/locations",
}


MACHINE = 24 << 30


def fitted(machine_bytes: int = MACHINE, **given: int) -> tuple[int, int]:
    """Slots, and MiB, of a worker with these settings."""
    settings = load(WorkerSettings, REQUIRED | {f"WEDSYNC_WORKER_{name}": str(value) for name, value in given.items()})
    slots, memory = settings.fitted(machine_bytes)
    return slots, memory >> 20


def test_slots_that_the_memory_does_not_hold_are_refused() -> None:
    """At the start, by the variables' names and the figures: every backup would fail otherwise."""
    with pytest.raises(PlatformError) as refused:
        fitted(SLOTS=50, MEMORY_MB=512)
    error = refused.value
    assert error.code is errors.INVALID_SETTING
    assert error.field == "WEDSYNC_WORKER_MEMORY_MB"
    assert "WEDSYNC_WORKER_SLOTS is 50" in error.message
    assert "976" in error.hint
    assert "WEDSYNC_WORKER_SLOTS to 21" in error.hint
    assert fitted(SLOTS=50, MEMORY_MB=976) == (50, 976)


@pytest.mark.parametrize(
    ("machine_mb", "given", "expected"),
    [
        (24_000, {}, (50, 976)),
        (24_000, {"SLOTS": 2}, (2, 512)),
        (24_000, {"SLOTS": 64}, (64, 1200)),
        (24_000, {"MEMORY_MB": 512}, (21, 512)),
        (24_000, {"MEMORY_MB": 8000}, (50, 8000)),
        (1000, {}, (20, 500)),
        (400, {}, (1, 200)),
    ],
)
def test_worker_that_is_told_nothing_has_what_the_machine_holds(
    machine_mb: int, given: dict[str, int], expected: tuple[int, int]
) -> None:
    """Fifty runs at once where there is the memory; on a small machine fewer, and never more than half of it."""
    assert fitted(machine_mb << 20, **given) == expected


@pytest.mark.parametrize(("machine_mb", "given"), [(300, {}), (1000, {"SLOTS": 40})])
def test_machine_that_holds_no_slot_is_told_with_the_figures(machine_mb: int, given: dict[str, int]) -> None:
    """Not a number that nobody has written down."""
    with pytest.raises(PlatformError) as refused:
        fitted(machine_mb << 20, **given)
    assert f"half of the machine's {machine_mb} MiB is {machine_mb // 2}" in refused.value.message


def test_queue_of_one_organisation_that_exceeds_that_of_all_is_refused() -> None:
    """It could never be reached."""
    own, all_of_them = "WEDSYNC_QUEUE_PER_ORGANISATION", "WEDSYNC_QUEUE_IN_ALL"
    with pytest.raises(PlatformError) as refused:
        load(ExecutorSettings, {**REQUIRED, all_of_them: "10", own: "11"})
    assert refused.value.field == own
    assert f"{all_of_them} is 10" in refused.value.message
    assert load(ExecutorSettings, {**REQUIRED, all_of_them: "10", own: "10"})


def test_limit_that_nobody_has_set_is_within_the_wider_one_that_somebody_has() -> None:
    """Whoever lowers what all may have has not asked for a contradiction; a wider one changes nothing."""
    lowered = load(ExecutorSettings, {**REQUIRED, "WEDSYNC_QUEUE_IN_ALL": "10"})
    assert (lowered.queue_in_all, lowered.queue_per_organisation) == (10, 10)
    raised = load(ExecutorSettings, {**REQUIRED, "WEDSYNC_QUEUE_IN_ALL": "20000"})
    assert raised.queue_per_organisation == load(ExecutorSettings, REQUIRED).queue_per_organisation


def test_memory_of_the_slots_is_enough_for_their_backups() -> None:
    """The figures that slots are refused by are the repository's, rounded up."""
    block_length = BLOCK_LENGTH + ChunkerParameters().maximum
    for slots in (1, 64):
        workshop = Workshop((BASE_MEMORY_MB + slots * SLOT_MEMORY_MB) << 20)
        shares = [MemoryShare(workshop.memory, workshop.least_of_backup(block_length)) for _ in range(slots)]
        assert workshop.memory.try_admit([*shares, MemoryShare(workshop.memory, workshop.least_of_group(block_length))])


def test_memory_that_the_machine_does_not_have_is_refused() -> None:
    """A worker that is killed for want of memory would look like a run that kills its workers."""
    with pytest.raises(PlatformError) as refused:
        fitted(1 << 30, MEMORY_MB=2048)
    assert refused.value.field == "WEDSYNC_WORKER_MEMORY_MB"
    assert "1024" in refused.value.message
    assert fitted(4 << 30, MEMORY_MB=2048) == (50, 2048)


async def test_cache_lies_in_a_source_that_holds_the_home(tmp_path: Path) -> None:
    """Whoever backs up his home folder has the platform's home in it, whose own folders no run reads."""
    around = {"kind": "directory", "organisations": ["*"], "url": f"file://{tmp_path}"}
    (tmp_path / "home/data").mkdir(parents=True)
    given = {
        "KEYS_DIR": tmp_path / "home/keys",
        "CACHE": tmp_path / "home/data/cache",
        "EXCLUDED_FOLDERS": tmp_path / "home/data",
        "LOCATIONS_FILE": tmp_path / "locations.json",
    }
    settings = load(WorkerSettings, REQUIRED | {f"WEDSYNC_{name}": str(value) for name, value in given.items()})

    async def cache_beside(role: str) -> object:
        entries = [{"name": "all", "roles": [role], **around}]
        (tmp_path / "locations.json").write_text(json.dumps({"locations": entries}))
        return checked_cache(settings, await registered_folders(settings))

    assert await cache_beside("source")
    assert await cache_beside("target")
    with pytest.raises(PlatformError, match="lies in the folder of a registered location"):
        await cache_beside("tier")


@pytest.mark.parametrize(
    "place",
    [
        "relative/cache",
        "{0}/keys/cache",
        "{0}/data/tiers/cache",
        "{0}/file",
        "{0}/disk/cache",
        "{0}/photos",
        "{0}/link/x",
        "/sys/cache",
    ],
)
async def test_cache_that_cannot_be_one_is_refused(tmp_path: Path, place: str) -> None:
    """A relative path, the keys', a location's, the kernel's, or no folder: at the start, and nothing is made there."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "data/tiers").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("/proc/self")
    (tmp_path / "photos").mkdir()
    entries = [
        {"name": name, "kind": "directory", "roles": [role], "organisations": ["*"], "url": f"file://{tmp_path}/{name}"}
        for name, role in (("disk", "tier"), ("photos", "source"))
    ]
    (tmp_path / "locations.json").write_text(json.dumps({"locations": entries}))
    given = {
        "KEYS_DIR": tmp_path / "keys",
        "CACHE": place.format(tmp_path),
        "TIER_FOLDERS": tmp_path / "data/tiers",
        "LOCATIONS_FILE": tmp_path / "locations.json",
    }
    settings = load(WorkerSettings, REQUIRED | {f"WEDSYNC_{name}": str(value) for name, value in given.items()})
    with pytest.raises(PlatformError) as refused:
        checked_cache(settings, await registered_folders(settings))
    assert (refused.value.code, refused.value.field) == (errors.INVALID_SETTING, "WEDSYNC_CACHE")
    assert not any((tmp_path / "keys").iterdir())


@pytest.mark.parametrize(
    ("given", "variable"),
    [
        ({"EXCLUDED_FOLDERS": "/"}, "EXCLUDED_FOLDERS"),
        ({"EXCLUDED_FOLDERS": "/srv,relative"}, "EXCLUDED_FOLDERS"),
        ({"EXCLUDED_FOLDERS": "/srv", "TIER_FOLDERS": "/nope"}, "TIER_FOLDERS"),
    ],
)
def test_excluded_folders_that_bind_nothing_or_everything_are_refused(given: dict[str, str], variable: str) -> None:
    """Every run would fail, or the tier that was meant would stay excluded."""
    settings = load(WorkerSettings, REQUIRED | {f"WEDSYNC_{name}": value for name, value in given.items()})
    with pytest.raises(PlatformError) as refused:
        require_places(settings)
    assert (refused.value.code, refused.value.field) == (errors.INVALID_SETTING, f"WEDSYNC_{variable}")


def test_whole_number_is_written_as_one() -> None:
    """`2.0` slots were taken for two."""
    with pytest.raises(PlatformError) as refused:
        load(WorkerSettings, REQUIRED | {"WEDSYNC_WORKER_SLOTS": "2.0"})
    assert refused.value.field == "WEDSYNC_WORKER_SLOTS"


def test_bound_of_databases_above_that_of_sources_is_refused_and_follows_it_where_it_is_not_set() -> None:
    """A bound that can never be reached is none that somebody meant."""
    both = {"WEDSYNC_RUNS_PER_SOURCE": "3", "WEDSYNC_RUNS_PER_DATABASE": "4"}
    with pytest.raises(PlatformError) as refused:
        load(WorkerSettings, REQUIRED | both)
    assert refused.value.code is errors.INVALID_SETTING
    assert refused.value.field == "WEDSYNC_RUNS_PER_DATABASE"
    bounds = load(WorkerSettings, REQUIRED | {"WEDSYNC_RUNS_PER_SOURCE": "1", "WEDSYNC_RUNS_PER_TIER": "7"}).bounds()
    assert (bounds.per_place, bounds.per_kind) == (1, {"source": 1, "tier": 7})
    assert load(WorkerSettings, REQUIRED).bounds().per_place == 2
