"""Settings of the executor's two processes, beside those that every service has."""

from typing import Annotated

from msgspec import Meta

from chassis.settings import ServiceSettings, variable_of
from contracts.errors import INVALID_SETTING, PlatformError

SLOT_MEMORY_MB = 192
"""What a run needs for its packs at least; with less no backup begins."""


class ExecutorSettings(ServiceSettings, frozen=True, kw_only=True):
    """The deciding process."""

    queue_per_organisation: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Runs of one organisation that may wait for a worker, `WEDSYNC_QUEUE_IN_ALL` at most; one more "
            "is refused.",
        ),
    ] = 1000
    queue_in_all: Annotated[
        int,
        Meta(
            ge=1, le=1_000_000, description="Runs of all organisations that may wait for a worker; one more is refused."
        ),
    ] = 10_000

    def __post_init__(self) -> None:
        """Refuse what contradicts itself. Raises INVALID_SETTING with both variables."""
        self.require_at_most("queue_per_organisation", "queue_in_all")


class WorkerSettings(ServiceSettings, frozen=True, kw_only=True):
    """A worker process."""

    worker_name: Annotated[
        str | None, Meta(description="Name of the worker in the record; host and process id where it is not given.")
    ] = None
    worker_slots: Annotated[
        int,
        Meta(ge=1, le=64, description="Runs that a worker performs at the same time, each in a thread of its own."),
    ] = 2
    worker_memory_mb: Annotated[
        int,
        Meta(ge=192, le=65536, description="Memory for packs, in MiB, shared by a worker's runs: 192 a slot at least."),
    ] = 512
    tier_reserve_mb: Annotated[
        int,
        Meta(ge=0, le=1 << 20, description="Free MiB below which a directory tier takes no new run (`tier-full`)."),
    ] = 256
    run_standstill_seconds: Annotated[
        float,
        Meta(
            ge=300.0,
            le=86_400.0,
            description="A run whose source or tiers give no byte and no answer for so many seconds fails, and frees "
            "its slot. Readiness tells it after 120.",
        ),
    ] = 3600.0

    def __post_init__(self) -> None:
        """Refuse what contradicts itself. Raises INVALID_SETTING with both variables and the figures."""
        needed = self.worker_slots * SLOT_MEMORY_MB
        if self.worker_memory_mb < needed:
            slots, memory = variable_of("worker_slots"), variable_of("worker_memory_mb")
            raise PlatformError(
                INVALID_SETTING,
                f"{memory} is {self.worker_memory_mb}, and {slots} is {self.worker_slots}: {SLOT_MEMORY_MB} MiB a slot"
                f" make {needed}",
                field=memory,
                hint=f"Set {memory} to {needed} or more, or {slots} to {self.worker_memory_mb // SLOT_MEMORY_MB}.",
            )
