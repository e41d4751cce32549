"""The secrets of locations: a file for each, in the folder of its organisation, its owner's alone.

    <keys>/credentials/<organisation>/<location>.json    of a location that is one organisation's
    <keys>/credentials/<location>.json                   of one that several may use

A secret comes from the environment, a file, standard input or a prompt, and never from the command line, which every
user of the machine can read. It is in no message and in no other file.
"""

import getpass
import os
import sys

import msgspec

from chassis.location import Location
from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from repository.errors import RepositoryError
from repository.tiers.s3 import credentials as s3

FORMS = "env, env:PREFIX, file:PATH, profile:NAME (S3), - (standard input) or ask"
STDIN = "-"
ASK = "ask"
_LENGTH_MAX = 64 << 10


class S3Secret(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """Of a bucket."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


class DatabaseSecret(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a database. `user`: where the address names none."""

    password: str
    user: str | None = None


Secret = S3Secret | DatabaseSecret
_DATABASE_SECRET = msgspec.json.Decoder(DatabaseSecret)


def read_secret(reference: str, kind: str) -> Secret:
    """What a reference leads to, for a location of a kind. Raises CREDENTIALS_UNUSABLE, INVALID_FIELD."""
    if kind == "directory":
        message = "a folder takes no credentials"
        raise PlatformError(errors.INVALID_FIELD, message, field="credentials", hint="Leave --credentials out.")
    try:
        if reference == ASK:
            return _asked(kind)
        if reference == STDIN:
            return _decoded(sys.stdin.buffer.read(_LENGTH_MAX), kind, "standard input")
        if kind == "postgres":
            return _of_database(reference)
        found = s3.credentials_from(reference)()
    except RepositoryError as error:
        # Its context names a file or a variable, never what is in it.
        raise _unusable(str(error), error.hint) from error
    return S3Secret(found.access_key_id, found.secret_access_key, found.session_token)


def keep(layout: Layout, location: Location, secret: Secret) -> None:
    """Write a location's secret, or replace it, whole and durably. Raises OSError."""
    path = layout.credentials / f"{location.credentials}.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_atomically(path, msgspec.json.encode(secret), mode=0o600)


def kept(layout: Layout, location: Location) -> Secret | None:
    """A location's secret; None where it has none. Raises CREDENTIALS_UNUSABLE."""
    if location.credentials is None:
        return None
    path = layout.credentials / f"{location.credentials}.json"
    try:
        return _decoded(s3.read_secret(path), location.kind, str(path))
    except RepositoryError as error:
        raise _unusable(str(error), error.hint) from error


def discard(layout: Layout, location: Location) -> bool:
    """Remove a location's secret; whether there was one."""
    if location.credentials is None:
        return False
    path = layout.credentials / f"{location.credentials}.json"
    is_there = path.exists()
    path.unlink(missing_ok=True)
    return is_there


def _decoded(body: bytes, kind: str, origin: str) -> Secret:
    if kind == "s3":
        found = s3.decoded(body, origin)
        return S3Secret(found.access_key_id, found.secret_access_key, found.session_token)
    try:
        return _DATABASE_SECRET.decode(body)
    except ValueError:
        raise _unusable(f"{origin} has no JSON document with password", 'It is {"password": "…"}.') from None


def _of_database(reference: str) -> Secret:
    form, colon, rest = reference.partition(":")
    if form == "env":
        name = f"{rest}_PASSWORD" if colon else "PGPASSWORD"
        if not (password := os.environ.get(name)):
            raise _unusable(f"the environment has no {name}", f"Set {name} to the database's password.")
        return DatabaseSecret(password)
    if form == "file" and rest:
        return _decoded(s3.read_secret(os.path.expanduser(rest)), "postgres", rest)  # noqa: PTH111  # bytes are kept
    raise _unusable("credentials are named in no known form", f"Write {FORMS}; a secret itself is never written.")


def _asked(kind: str) -> Secret:
    if not sys.stdin.isatty():
        raise _unusable("there is no terminal to ask at", f"Name the credentials in another form: {FORMS}.")
    if kind == "postgres":
        return DatabaseSecret(getpass.getpass("Password: "))
    key, secret = getpass.getpass("Access key id: "), getpass.getpass("Secret access key: ")
    return _decoded(msgspec.json.encode(S3Secret(key, secret)), kind, "what was typed")


def _unusable(message: str, hint: str | None) -> PlatformError:
    return PlatformError(errors.CREDENTIALS_UNUSABLE, message, field="credentials", hint=hint)
