"""Settings of the executor's two processes, beside those that every service has."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from chassis.settings import ServiceSettings


class ExecutorSettings(ServiceSettings, frozen=True, kw_only=True):
    """The deciding process."""


class WorkerSettings(ServiceSettings, frozen=True, kw_only=True):
    """A worker process."""

    worker_name: Annotated[
        str | None, Meta(description="Name of the worker in the record; host and process id where it is not given.")
    ] = None
    worker_slots: Annotated[int, Meta(ge=1, le=64, description="Runs that a worker performs at the same time.")] = 2
    worker_memory_mb: Annotated[
        int,
        Meta(ge=192, le=65536, description="Memory for packs, in MiB, shared by a worker's runs: 192 a slot at least."),
    ] = 512
    tier_reserve_mb: Annotated[
        int,
        Meta(ge=0, le=1 << 20, description="Free MiB below which a directory tier takes no new run (`tier-full`)."),
    ] = 256
    excluded_folders: Annotated[
        tuple[Path, ...],
        Meta(description="Folders that are never read as a source, such as the platform's own data and keys."),
    ] = ()
