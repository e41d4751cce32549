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
