"""An operator's word for which log is the record of a service.

Promise: read models leave the log that they were made from for no other reason. What a stream says of itself is no
reason: whoever holds the service's key can say it.
"""

import psycopg

from chassis.postgres.database import connection_arguments, translated
from contracts.streams import stream_of
from gateway.projections import state
from gateway.projections.state import Record


async def announce_record(dsn: str, schema: str, owner: str, *, log: str, position: int) -> None:
    """Have the read models follow a log of a service, once its stream holds it up to a position.

    `dsn` is the administrator's, `schema` the gateway's. Raises UNAVAILABLE.
    """
    with translated():
        async with await psycopg.AsyncConnection.connect(dsn, **connection_arguments(dsn, schema)) as database:
            await state.announce(database, stream_of(owner), Record(log, position))
