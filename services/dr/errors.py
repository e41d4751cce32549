"""What can go wrong in the disaster recovery service, each with its code in the catalogue."""

from contracts import errors
from contracts.errors import PlatformError


class PlanChanged(PlatformError):
    """A change of a version that is not the one in force."""

    def __init__(self, *, seen: int, version: int) -> None:
        super().__init__(
            errors.VERSION_CONFLICT,
            "another version is in force",
            field="If-Match",
            hint=f"{errors.VERSION_CONFLICT.hint} It was version {seen} that you have seen, and is version {version}.",
        )


class TestNotIsolated(PlatformError):
    """A test would write where its plan restores to."""

    __test__ = False  # no test of ours

    def __init__(self, location: str) -> None:
        hint = f"It is the location {location}. {errors.DR_TEST_NOT_ISOLATED.hint}"
        super().__init__(errors.DR_TEST_NOT_ISOLATED, "a test names a target of its plan", field="planId", hint=hint)


class ExecutionOpen(PlatformError):
    """The plan is being executed, or tested, already."""

    def __init__(self) -> None:
        super().__init__(errors.DR_EXECUTION_OPEN, "another execution of the plan goes on", field="planId")
