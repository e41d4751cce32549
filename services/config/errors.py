"""What can go wrong in the config service, each with its code in the catalogue."""

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


class RetiredAlready(PlatformError):
    """The configuration is retired: nothing of it changes any more."""

    def __init__(self) -> None:
        super().__init__(errors.CONFIGURATION_RETIRED, "the configuration is retired")
