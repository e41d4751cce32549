"""The passwords of the services' roles: a file each, made where there is none, and told to the server.

Promise: a file that is there is never written over, and the server has in the end what the files have: said again, it
changes nothing. The server is told the verifier alone (SCRAM-SHA-256), so that no log of statements has a password.
"""

import secrets
from pathlib import Path

import psycopg
from psycopg import sql

from chassis.key_files import read_regular
from chassis.postgres.connection_string import parsed
from contracts import errors
from contracts.errors import PlatformError
from deploy.misread import misread
from deploy.postgres.schemas import ROLES
from deploy.stack.files import write_once

_BYTES = 24


def set_passwords(admin_dsn: str, folder: Path) -> list[str]:
    """Give each role the password that its file has; the roles whose file was made. Raises PlatformError.

    The roles are there: `python3 -m deploy.elsewhere` makes them.
    """
    parsed(admin_dsn, "WEDSYNC_POSTGRES_ADMIN_DSN")
    made = []
    with psycopg.connect(admin_dsn, autocommit=True) as connection:
        there = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        if missing := sorted(set(ROLES.values()) - there):
            raise PlatformError(
                errors.INVALID_FIELD,
                f"the server has no role {', '.join(missing)}",
                field="FOLDER",
                hint="Make them first: python3 -m deploy.elsewhere. No file was written.",
            )
        folder.mkdir(mode=0o700, exist_ok=True)
        for role in ROLES.values():
            path = folder / role
            if not path.exists():
                write_once(path, f"{secrets.token_urlsafe(_BYTES)}\n")
                made.append(role)
            verifier = connection.pgconn.encrypt_password(_password(path), role.encode(), b"scram-sha-256")
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(verifier.decode()))
            )
    return made


def _password(path: Path) -> bytes:
    try:
        password = read_regular(path).removesuffix(b"\n")
    except OSError as error:
        raise _unusable(path, f"cannot be read: {misread(error)}") from error
    if not password or b"\n" in password or b"\0" in password:
        raise _unusable(path, "is no single line")
    return password


def _unusable(path: Path, fault: str) -> PlatformError:
    hint = "Put its copy back, or move the file away: a new password is made then."
    return PlatformError(errors.KEYS_UNUSABLE, f"{path} {fault}", hint=hint)
