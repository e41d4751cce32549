"""What can go wrong in the config service, each with its code in the catalogue."""

from contracts import errors
from contracts.errors import PlatformError


class ConfigurationNameTaken(PlatformError):
    """Another configuration of the organisation has this name."""

    def __init__(self) -> None:
        super().__init__(errors.CONFIGURATION_NAME_TAKEN, "another configuration has this name", field="name")
