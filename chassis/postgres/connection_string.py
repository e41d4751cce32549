"""What a connection string of Postgres says, and whether libpq takes it.

Promise: a name or a value that libpq refuses is told with the setting and the option, before anybody is asked for
anything; never with the value, since one of them is a password.
"""

import re
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from contracts.errors import INVALID_SETTING, PlatformError

_NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
)
"""Read by libpq when it has found the server only, or never, where the platform has values of its own."""
_NOBODY = "/dev/null"
"""The folder of a socket that can never be there."""
_CANNOT_CONNECT = "connection to server"


def parsed(dsn: str, setting: str) -> dict[str, Any]:
    """The options of a connection string. Raises INVALID_SETTING where it is none, or an option has no such value."""
    try:
        options = conninfo_to_dict(dsn)
    except psycopg.Error:
        # Its own words quote the string, which holds a password.
        raise PlatformError(
            INVALID_SETTING,
            f"{setting} is no connection string of libpq",
            field=setting,
            hint=f"Write {setting} as host=… port=… user=… dbname=…, or as a postgresql:// URL.",
        ) from None
    refused = _refused(dsn, options)
    if refused is not None:
        raise PlatformError(
            INVALID_SETTING,
            f"{setting} has a value that libpq does not take: of {refused}",
            field=setting,
            hint=f"Correct {refused} in {setting}; the documentation of libpq lists the values of each option.",
        )
    return options


def _refused(dsn: str, options: dict[str, Any]) -> str | None:
    """The option that libpq refuses; None where it would go on and connect."""
    for option in _NUMBERS:
        if not re.fullmatch(r"\s*[+-]?\d+\s*", str(options.get(option, "0"))):
            return option
    # libpq itself looks at all options before it looks for a server; none is there, and no name is looked up.
    servers = str(options.get("hostaddr") or options.get("host") or "").count(",") + 1
    asked = make_conninfo(dsn, host=",".join([_NOBODY] * servers), hostaddr="")
    connection = pq.PGconn.connect_start(asked.encode())
    try:
        said = connection.error_message.decode(errors="replace")
    finally:
        connection.finish()
    if not said or _CANNOT_CONNECT in said:
        return None
    names = {each.keyword.decode() for each in pq.Conninfo.get_defaults()}
    return next((word for word in re.findall(r"\w+", said) if word in names), "one of its options")
