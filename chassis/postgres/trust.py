"""Whether Postgres is believed, lets us in and has room: what is wrong with a certificate, a role, a password or the
number of connections, told as that.

A pool tries for ten seconds and says that nobody answered. What never gets better by waiting is told before.
"""

import asyncio

import psycopg

from chassis.postgres.refusal import Refusal, refusal_of
from contracts.errors import INVALID_SETTING, UNAVAILABLE, PlatformError

DSN_VARIABLE = "WEDSYNC_POSTGRES_DSN"
_CONNECT_SECONDS = 5
_LEFT = """
    SELECT current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true), '0')::int
        - (SELECT sum(numbackends) FROM pg_stat_database)::int
"""

_REASONS = (
    (
        "certificate verify failed",
        "the certificate of postgres is not believed: no authority of sslrootcert has signed it",
        "sslrootcert has to name a PEM file with the authority that signed the server's certificate.",
    ),
    (
        "does not match host name",
        "the certificate of postgres is for another host than the connection string names",
        "Name the server as its certificate does, or renew the certificate with this name.",
    ),
    (
        "root certificate file",
        "the file that sslrootcert names is not there or cannot be read",
        "sslrootcert has to name a PEM file with the authority that signed the server's certificate.",
    ),
    (
        "server does not support SSL",
        "postgres offers no tls, and the connection string asks for it",
        "Switch TLS on at the server. Where it is on, somebody stands between: nothing was said to them.",
    ),
)
"""What libpq says, what it means here, and what to do. Its own words name hosts, users and paths."""


def distrust(error: Exception, setting: str = DSN_VARIABLE) -> PlatformError | None:
    """What an operator is told of a server that is not believed; None where that is not what is wrong."""
    said = str(error)
    for words, message, hint in _REASONS:
        if words in said:
            return PlatformError(INVALID_SETTING, message, field=setting, hint=hint)
    return None


async def check_trust(dsn: str, setting: str = DSN_VARIABLE, *, connections: int = 0) -> None:
    """Connect once. Raises INVALID_SETTING where the server is not believed, or answers and lets nobody in who comes
    with what the setting names; UNAVAILABLE where it has fewer connections left than the process may take: another
    one would take those that the others need for their heartbeats. Whatever else is wrong, others tell.
    """
    try:
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=_CONNECT_SECONDS) as connection:
            # Its own one is counted, and will be free.
            ((left,),) = await (await connection.execute(_LEFT)).fetchall()
    except psycopg.Error as error:
        if (why := distrust(error, setting)) is not None:
            raise why from error
        refusal = await asyncio.to_thread(refusal_of, dsn, seconds=_CONNECT_SECONDS)
        if refusal is Refusal.FULL:
            raise _full(0, connections) from None
        if refusal is Refusal.ACCESS:
            raise PlatformError(
                INVALID_SETTING,
                f"postgres answers, and refuses the role, the password or the database that {setting} names",
                field=setting,
                hint=f"Correct user, password and dbname in {setting}, or make them at the server, which has to let "
                "this machine in, too (pg_hba.conf). The server's log says which of them it is.",
            ) from None
        return
    if connections > 0 and left + 1 < connections:
        raise _full(left + 1, connections)


def _full(left: int, connections: int) -> PlatformError:
    return PlatformError(
        UNAVAILABLE,
        f"postgres has {left} connections left, and this process takes up to {connections}",
        hint="Raise max_connections of the server by what each worker takes (six), or run fewer workers.",
        part="postgres",
        connections=connections,
    )
