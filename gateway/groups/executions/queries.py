"""What the group reads beside runs and the status."""

from contracts import errors
from contracts.errors import PlatformError
from gateway.projections.applied import Database

_VERSION = "SELECT version FROM configurations WHERE organisation = %s AND configuration_id = %s"


async def version_of(database: Database, organisation: str, configuration_id: str, *, field: str | None = None) -> int:
    """The version of a configuration that is in force. Raises CONFIGURATION_UNKNOWN, of the `field` that named it."""
    row = await (await database.execute(_VERSION, (organisation, configuration_id))).fetchone()
    if row is None:
        raise PlatformError(errors.CONFIGURATION_UNKNOWN, "there is no such configuration", field=field)
    return int(row[0])
