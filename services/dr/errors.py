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
