"""What can go wrong in the config service, each with its code in the catalogue."""

from collections.abc import Sequence

from contracts import errors
from contracts.errors import PlatformError


class ConfigurationNameTaken(PlatformError):
    """Another configuration of the organisation has this name."""

    def __init__(self) -> None:
        super().__init__(errors.CONFIGURATION_NAME_TAKEN, "another configuration has this name", field="name")


class ConfigurationChanged(PlatformError):
    """A change of a version that is not the one in force."""

    def __init__(self, *, seen: int, version: int) -> None:
        super().__init__(
            errors.VERSION_CONFLICT,
            "another version is in force",
            field="If-Match",
            hint=f"{errors.VERSION_CONFLICT.hint} It was version {seen} that you have seen, and is version {version}.",
        )


class SecondFactorNeeded(PlatformError):
    """A change takes something away, and whoever asks gave no second factor lately."""

    def __init__(self, taken_away: Sequence[str]) -> None:
        super().__init__(
            errors.SECOND_FACTOR_NEEDED,
            "the change takes something away, and no second factor was given lately",
            field=taken_away[0],
            hint=f"The change takes away what was protected: {', '.join(taken_away)}. Sign in again with a second "
            "factor, and send it within fifteen minutes, with a new Idempotency-Key; or leave that as it was.",
        )


class PolicyKeepsLess(PlatformError):
    """A change lets a retention policy keep less, and whoever asks gave no second factor lately."""

    def __init__(self, fields: Sequence[str]) -> None:
        super().__init__(
            errors.SECOND_FACTOR_NEEDED,
            "the policy would keep less, and no second factor was given lately",
            field=fields[0],
            hint=f"By this change less is kept, or shorter: {', '.join(fields)}. Sign in again with a second factor, "
            "and send it within fifteen minutes, with a new Idempotency-Key; or leave that as it was.",
        )


class RetiredAlready(PlatformError):
    """The configuration is retired: nothing of it changes any more."""

    def __init__(self) -> None:
        super().__init__(errors.CONFIGURATION_RETIRED, "the configuration is retired")
