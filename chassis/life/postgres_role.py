"""The service's role and its password, where they are not in the connection string.

One connection string serves all processes then, and each has a role of its own. A container platform and an init system
hand secrets over as files; in a variable every program that a process starts would inherit them. The file is read at
the start: a new password counts with the next one.
"""

from pathlib import Path
from typing import TypeVar

import msgspec
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chassis.key_files import read_regular
from chassis.settings import ServiceSettings, variable_of
from contracts.errors import INVALID_SETTING, PlatformError

S = TypeVar("S", bound=ServiceSettings)


def with_role(settings: S) -> S:
    """The settings with role and password in the connection string. Raises INVALID_SETTING, without either."""
    role, path = settings.postgres_role, settings.postgres_password_file
    if role is None and path is None:
        return settings
    try:
        options = conninfo_to_dict(settings.postgres_dsn)
    except psycopg.Error:
        return settings  # Who connects says what is wrong with the string, by its name.
    own: dict[str, str] = {}
    if role is not None:
        if options.get("user"):
            raise _refused("postgres_role", "is set, and WEDSYNC_POSTGRES_DSN names a role, too", _ONE_OF_THEM)
        own["user"] = role
    if path is not None:
        if options.get("password"):
            raise _refused(
                "postgres_password_file", "is set, and WEDSYNC_POSTGRES_DSN has a password, too", _ONE_OF_THEM
            )
        own["password"] = _line_of(path)
    return msgspec.structs.replace(settings, postgres_dsn=make_conninfo(settings.postgres_dsn, **own))


_ONE_OF_THEM = "Take it out of one of them."


def _line_of(path: Path) -> str:
    try:
        text = read_regular(path).decode().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise _refused(
            "postgres_password_file",
            "names no file that this user may read as a text",
            "Correct the path, or mount it.",
        ) from error
    if not text or "\n" in text or "\0" in text:
        raise _refused(
            "postgres_password_file", "names a file that is no single line", "Write the password into it, and no more."
        )
    return text


def _refused(setting: str, fault: str, hint: str) -> PlatformError:
    variable = variable_of(setting)
    return PlatformError(INVALID_SETTING, f"{variable} {fault}", field=variable, hint=hint)
