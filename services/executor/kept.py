"""The configurations that runs are performed by: as they were kept in a table, and as what they say."""

import msgspec

from contracts import errors
from contracts.configuration import ConfigurationBody, ConfigurationState
from contracts.errors import PlatformError
from contracts.reading import read_json

_BODY = msgspec.json.Decoder(ConfigurationBody)


class _Version(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a version without reading it. `last_source_bytes`: of the latest run that completed, of any."""

    configuration_id: str
    organisation: str
    version: int
    state: ConfigurationState = ConfigurationState.ACTIVE
    last_source_bytes: int | None = None


class Replica(_Version, frozen=True, kw_only=True):
    """The newest version of a configuration that has arrived here."""

    body: ConfigurationBody


class KeptConfiguration(_Version, frozen=True, kw_only=True):
    """A version of a configuration, not read yet."""

    body: bytes

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
        return Replica(**{**msgspec.structs.asdict(self), "body": body})
