"""Settings of the executor that contradict each other, and what they bind."""

import pytest

from chassis.settings import load
from contracts import errors
from contracts.errors import PlatformError
from repository.backup.reading import BLOCK_LENGTH
from repository.backup.workshop import Workshop
from repository.stored.chunker import ChunkerParameters
from repository.stored.memory_budget import MemoryShare
from services.executor.bootstrap import checked_memory
from services.executor.settings import BASE_MEMORY_MB, SLOT_MEMORY_MB, ExecutorSettings, WorkerSettings

REQUIRED = {
    "WEDSYNC_POSTGRES_DSN": "host=x",
    "WEDSYNC_POSTGRES_SCHEMA": "executor",
    "WEDSYNC_NATS_URL": "nats://x",
    "WEDSYNC_KEYS_DIR": "/keys",
    "WEDSYNC_LOCATIONS_FILE": "/locations",
}


def test_slots_that_the_memory_does_not_hold_are_refused() -> None:
    """At the start, by the variables' names and the figures: every backup would fail otherwise."""
    with pytest.raises(PlatformError) as refused:
        load(WorkerSettings, {**REQUIRED, "WEDSYNC_WORKER_SLOTS": "50"})
    error = refused.value
    assert error.code is errors.INVALID_SETTING
    assert error.field == "WEDSYNC_WORKER_MEMORY_MB"
    assert "WEDSYNC_WORKER_SLOTS is 50" in error.message
    assert "976" in error.hint
    assert load(WorkerSettings, {**REQUIRED, "WEDSYNC_WORKER_SLOTS": "50", "WEDSYNC_WORKER_MEMORY_MB": "976"})


def test_queue_of_one_organisation_that_exceeds_that_of_all_is_refused() -> None:
    """It could never be reached."""
    with pytest.raises(PlatformError) as refused:
        load(ExecutorSettings, {**REQUIRED, "WEDSYNC_QUEUE_IN_ALL": "10"})
    assert refused.value.field == "WEDSYNC_QUEUE_PER_ORGANISATION"
    assert "WEDSYNC_QUEUE_IN_ALL is 10" in refused.value.message
    assert load(ExecutorSettings, {**REQUIRED, "WEDSYNC_QUEUE_IN_ALL": "10", "WEDSYNC_QUEUE_PER_ORGANISATION": "10"})


def test_memory_of_the_slots_is_enough_for_their_backups() -> None:
    """The figures that slots are refused by are the repository's, rounded up."""
    block_length = BLOCK_LENGTH + ChunkerParameters().maximum
    for slots in (1, 64):
        workshop = Workshop((BASE_MEMORY_MB + slots * SLOT_MEMORY_MB) << 20)
        shares = [MemoryShare(workshop.memory, workshop.least_of_backup(block_length)) for _ in range(slots)]
        assert workshop.memory.try_admit([*shares, MemoryShare(workshop.memory, workshop.least_of_group(block_length))])


def test_memory_that_the_machine_does_not_have_is_refused() -> None:
    """A worker that is killed for want of memory would look like a run that kills its workers."""
    settings = load(WorkerSettings, {**REQUIRED, "WEDSYNC_WORKER_MEMORY_MB": "2048"})
    with pytest.raises(PlatformError) as refused:
        checked_memory(settings, machine_bytes=1 << 30)
    assert refused.value.field == "WEDSYNC_WORKER_MEMORY_MB"
    assert "1024" in refused.value.message
    assert checked_memory(settings, machine_bytes=4 << 30) == 2048 << 20
