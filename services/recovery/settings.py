"""Settings of the recovery service's two processes, beside those that every service has."""

from typing import Annotated

from msgspec import Meta

from chassis.settings import ServiceSettings


class RecoverySettings(ServiceSettings, frozen=True, kw_only=True):
    """The deciding process."""

    recovery_unclaimed_seconds: Annotated[
        float,
        Meta(
            ge=60.0,
            le=604_800.0,
            description="A recovery that no worker can take fails with what keeps them from it after so many seconds. "
            "What it waits for is told after 60.",
        ),
    ] = 3600.0
    recovery_validate_within_days: Annotated[
        int,
        Meta(
            ge=0,
            le=3660,
            description="Every byte of every location is read within so many days, by validations that begin by "
            "themselves once half of them are over; readiness tells what was not. 0: nothing is validated by itself.",
        ),
    ] = 0
    recovery_validate_bytes_a_day: Annotated[
        int,
        Meta(
            ge=1_000_000,
            le=1_000_000_000_000_000,
            description="So many bytes of an organisation such validations read in a day, on the average: after a "
            "location was read, the next one waits until what it had is paid for.",
        ),
    ] = 100 * 1024**3


class RecoveryWorkerSettings(ServiceSettings, frozen=True, kw_only=True):
    """A worker process."""

    recovery_worker_name: Annotated[
        str | None, Meta(description="Name of the worker in the record; host and process id where it is not given.")
    ] = None
    recovery_worker_slots: Annotated[
        int, Meta(ge=1, le=64, description="Recoveries that a worker performs at the same time.")
    ] = 2
    recovery_standstill_seconds: Annotated[
        float,
        Meta(
            ge=300.0,
            le=86_400.0,
            description="A recovery whose target or tiers give no byte and no answer for so many seconds fails, and "
            "frees its slot. Readiness tells it after 120.",
        ),
    ] = 3600.0
