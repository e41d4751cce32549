"""What can go wrong in the executor, each with its code in the catalogue."""

from chassis.claims.port import ClaimLost as ClaimLost
from contracts import errors
from contracts.errors import PlatformError


class ConfigurationBusy(PlatformError):
    """The configuration has a run that has not ended: there is one at a time."""

    def __init__(self, configuration_id: str) -> None:
        super().__init__(
            errors.RUN_ALREADY_OPEN, "the configuration has an open run", configuration_id=configuration_id
        )


class TestOpen(PlatformError):
    """The configuration has a test that has not ended: there is one at a time."""

    def __init__(self, configuration_id: str) -> None:
        super().__init__(
            errors.TEST_ALREADY_OPEN, "the configuration is being tested", configuration_id=configuration_id
        )


class RunFinished(PlatformError):
    """The run has ended; nothing more happens to it."""

    def __init__(self, run_id: str, state: str) -> None:
        hint = f"{errors.RUN_FINISHED.hint} This one is {state}."
        super().__init__(errors.RUN_FINISHED, "the run has ended already", hint=hint, run_id=run_id)


class ConfigurationNotSeenYet(PlatformError):
    """The request names a configuration, or a version of one, that has not arrived here yet."""

    def __init__(self, configuration_id: str, *, version: int, seen: int) -> None:
        super().__init__(
            errors.CONFIGURATION_NOT_SEEN_YET,
            "the configuration has not arrived yet",
            configuration_id=configuration_id,
            version=version,
            seen=seen,
        )


class RepairBusy(PlatformError):
    """The organisation has a repair that has not ended: there is one at a time."""

    def __init__(self) -> None:
        super().__init__(errors.STORAGE_REPAIR_OPEN, "the organisation has an open repair")


class OptimizationBusy(PlatformError):
    """The organisation has an optimisation that has not ended: there is one at a time."""

    def __init__(self) -> None:
        super().__init__(errors.STORAGE_OPTIMIZATION_OPEN, "the organisation has an open optimisation")


class CleanupBusy(PlatformError):
    """The organisation has a cleanup that has not ended: there is one at a time."""

    def __init__(self) -> None:
        super().__init__(errors.RETENTION_CLEANUP_OPEN, "the organisation has an open cleanup")


class ErasureBusy(PlatformError):
    """The data subject has an erasure that is not complete: there is one at a time."""

    def __init__(self) -> None:
        super().__init__(errors.ERASURE_OPEN, "the data subject has an open erasure")
