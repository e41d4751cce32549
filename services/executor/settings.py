"""Settings of the executor's two processes, beside those that every service has."""

from typing import Annotated

from msgspec import Meta

from chassis.claims.work import PER_PLACE, Bounds
from chassis.settings import ServiceSettings, variable_of
from contracts.errors import INVALID_SETTING, PlatformError

BASE_MEMORY_MB = 176
SLOT_MEMORY_MB = 16
"""What a worker needs for packs at least, and what each run needs to read into; with less none begins."""
RUNS_MAX = 100_000
AT_SOURCE, AT_TIER = "source", "tier"
"""The kinds of places at which a run is, each with the name of a location."""
SLOTS_MAX = 50
MEMORY_MB = 512
"""What a worker takes that is told nothing: so many slots at most, and so much memory where they need less."""


class ExecutorSettings(ServiceSettings, frozen=True, kw_only=True):
    """The deciding process."""

    WITHIN = {"queue_per_organisation": "queue_in_all"}  # noqa: RUF012  # no field of the Struct, nor changed

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
    run_unclaimed_seconds: Annotated[
        float,
        Meta(
            ge=60.0,
            le=604_800.0,
            description="A run that no worker can take, since none runs or all of them lack what they need, fails with "
            "that after so many seconds. What it waits for is told after 60.",
        ),
    ] = 3600.0


class WorkerSettings(ServiceSettings, frozen=True, kw_only=True):
    """A worker process."""

    WITHIN = {"runs_per_database": "runs_per_source"}  # noqa: RUF012  # as above

    worker_name: Annotated[
        str | None, Meta(description="Name of the worker in the record; host and process id where it is not given.")
    ] = None
    worker_slots: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Runs that a worker performs at the same time, each in a thread of its own. 0: 50, or as many "
            "as the memory holds.",
        ),
    ] = 0
    runs_per_organisation: Annotated[
        int,
        Meta(
            ge=1,
            le=RUNS_MAX,
            description="Runs of one organisation that all workers together perform at the same time; others wait in "
            "the queue. The same at every worker. As much as may be written: no bound.",
        ),
    ] = RUNS_MAX
    runs_per_source: Annotated[
        int,
        Meta(ge=1, le=RUNS_MAX, description="The same of one source's location."),
    ] = RUNS_MAX
    runs_per_database: Annotated[
        int,
        Meta(
            ge=1,
            le=RUNS_MAX,
            description="The same of one organisation at one database, of which each run takes several connections; "
            "`WEDSYNC_RUNS_PER_SOURCE` at most.",
        ),
    ] = PER_PLACE
    runs_per_tier: Annotated[
        int,
        Meta(ge=1, le=RUNS_MAX, description="The same of one tier's location, of all organisations."),
    ] = RUNS_MAX
    worker_memory_mb: Annotated[
        int,
        Meta(
            ge=0,
            le=65536,
            description="Memory for packs and for what is read, in MiB, which a worker's runs share: 176, and 16 a "
            "slot, at least. Runs of different organisations need about 110 each; those that do not find it wait, "
            "in the order of arrival. "
            "0: what the slots need (976 for 50), 512 at least, and half of the machine's at most.",
        ),
    ] = 0
    tier_reserve_mb: Annotated[
        int,
        Meta(ge=0, le=1 << 20, description="Free MiB below which a directory tier takes no new run (`tier-full`)."),
    ] = 256
    cache: Annotated[
        str,
        Meta(
            description="Folder in which a worker keeps index segments and checkpoints that it has read of buckets, as "
            "ciphertext, at most 2 GiB, in files `wedsync-…`, which may be removed at any time. Without it nothing is "
            "kept."
        ),
    ] = ""
    run_standstill_seconds: Annotated[
        float,
        Meta(
            ge=300.0,
            le=86_400.0,
            description="A run whose source or tiers give no byte and no answer for so many seconds fails, and frees "
            "its slot. Readiness tells it after 120.",
        ),
    ] = 3600.0
    run_retry_seconds: Annotated[
        float,
        Meta(
            ge=0.0,
            le=86_400.0,
            description="A run that failed for what may pass, or owes a tier a catch-up, is followed by another one "
            "after so many seconds, and after ever longer, six times; 0: never by itself.",
        ),
    ] = 15.0

    def bounds(self) -> Bounds:
        """How many runs are performed at a time at most."""
        return Bounds(
            per_organisation=self.runs_per_organisation,
            per_place=self.runs_per_database,
            per_kind={AT_SOURCE: self.runs_per_source, AT_TIER: self.runs_per_tier},
        )

    def fitted(self, machine_bytes: int) -> tuple[int, int]:
        """How many slots the worker has, and how many bytes its runs share.

        Raises INVALID_SETTING with both variables and the figures where they contradict each other or the machine:
        the system would kill the worker, run after run, and each run would seem to be what kills it.
        """
        machine_mb = machine_bytes >> 20
        slots_variable, memory_variable = variable_of("worker_slots"), variable_of("worker_memory_mb")
        memory = self.worker_memory_mb
        if not memory:
            memory = min(machine_mb // 2, max(MEMORY_MB, _memory_of(self.worker_slots or SLOTS_MAX)))
        elif memory > machine_mb:
            raise PlatformError(
                INVALID_SETTING,
                f"{memory_variable} is {memory}, and the machine has {machine_mb} MiB",
                field=memory_variable,
                hint=f"Set {memory_variable} to half of what the machine has at most, or give it more memory.",
            )
        most = (memory - BASE_MEMORY_MB) // SLOT_MEMORY_MB
        if most < (self.worker_slots or 1):
            told = memory_variable if self.worker_memory_mb else f"half of the machine's {machine_mb} MiB"
            wanted = (
                f"{slots_variable} is {self.worker_slots}" if self.worker_slots else "a worker has one slot at least"
            )
            needed = _memory_of(self.worker_slots or 1)
            fewer = f", or {slots_variable} to {most}" if most > 0 else ""
            raise PlatformError(
                INVALID_SETTING,
                f"{told} is {memory}, and {wanted}: {BASE_MEMORY_MB} MiB and {SLOT_MEMORY_MB} a slot make {needed}",
                field=memory_variable,
                hint=f"Set {memory_variable} to {needed} or more{fewer}.",
            )
        return self.worker_slots or min(SLOTS_MAX, most), memory << 20


def _memory_of(slots: int) -> int:
    return BASE_MEMORY_MB + slots * SLOT_MEMORY_MB
