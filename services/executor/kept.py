"""The configurations that runs are performed by: as they were kept in a table, and as what they say."""

import msgspec

from contracts import errors
from contracts.configuration import ConfigurationBody
from contracts.errors import PlatformError
from contracts.reading import read_json

_BODY = msgspec.json.Decoder(ConfigurationBody)


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """The newest version of a configuration that has arrived here."""

    configuration_id: str
    organisation: str
    version: int
    body: ConfigurationBody
    is_retired: bool = False


class KeptConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a configuration, not read yet."""

    configuration_id: str
    organisation: str
    version: int
    body: bytes
    is_retired: bool = False

    def read(self) -> Replica:
        """What it says. Raises CONFIGURATION_UNREADABLE."""
        try:
            body = read_json(self.body, _BODY)
        except ValueError as error:
            # The decoder's words may quote the body: they stay with the cause.
            raise PlatformError(
                errors.CONFIGURATION_UNREADABLE,
                "the kept copy of the configuration cannot be read",
                configuration_id=self.configuration_id,
                version=self.version,
            ) from error
        return Replica(
            configuration_id=self.configuration_id,
            organisation=self.organisation,
            version=self.version,
            body=body,
            is_retired=self.is_retired,
        )
