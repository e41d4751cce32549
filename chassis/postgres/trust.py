"""Whether Postgres is believed, and lets us in: what is wrong with a certificate, a role or a password, told as that.

A pool tries for ten seconds and says that nobody answered. What never gets better by waiting is told before.
"""

import asyncio

import psycopg

from chassis.postgres.refusal import is_access_denied
from contracts.errors import INVALID_SETTING, PlatformError

DSN_VARIABLE = "WEDSYNC_POSTGRES_DSN"
_CONNECT_SECONDS = 5

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


async def check_trust(dsn: str, setting: str = DSN_VARIABLE) -> None:
    """Connect once. Raises INVALID_SETTING where the server is not believed, or answers and lets nobody in who comes
    with what the setting names; whatever else is wrong, others tell.
    """
    try:
        async with await psycopg.AsyncConnection.connect(dsn, connect_timeout=_CONNECT_SECONDS):
            return
    except psycopg.Error as error:
        if (why := distrust(error, setting)) is not None:
            raise why from error
        if await asyncio.to_thread(is_access_denied, dsn, seconds=_CONNECT_SECONDS):
            raise PlatformError(
                INVALID_SETTING,
                f"postgres answers, and refuses the role, the password or the database that {setting} names",
                field=setting,
                hint=f"Correct user, password and dbname in {setting}, or make them at the server, which has to let "
                "this machine in, too (pg_hba.conf). The server's log says which of them it is.",
            ) from None
