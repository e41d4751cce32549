"""Where the credentials of an S3 tier are read from: never an address, never a command line.

| written as | what is read |
|---|---|
| `env` | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where they are temporary, `AWS_SESSION_TOKEN` |
| `env:PREFIX` | the same three with `PREFIX` in the place of `AWS` |
| `file:PATH` | a JSON document with `accessKeyId`, `secretAccessKey` and perhaps `sessionToken` |
| `profile:NAME` | the section `NAME` of `$AWS_SHARED_CREDENTIALS_FILE`, else of `~/.aws/credentials` |

Promise: nothing is looked at but what was named. A file that others than its owner may read is refused: what is in it
is no secret any more. What is read is in no message; each time the credentials are asked for they are read anew, so
that what was rotated meanwhile is taken.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from repository.errors import AccessDenied, LocationInvalid
from repository.regular_file import open_regular
from repository.tiers.s3.options import CredentialsProvider, S3Credentials, credentials_from_environment

FORMS = "env, env:PREFIX, file:PATH or profile:NAME"
_PREFIX = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}", re.ASCII)
_LENGTH_MAX = 64 << 10


class _File(msgspec.Struct, frozen=True, rename="camel"):
    access_key_id: str
    secret_access_key: str
    session_token: str | None = None


_FILE = msgspec.json.Decoder(_File)


def credentials_from(reference: str) -> CredentialsProvider:
    """The provider of credentials that a reference means. Raises `LocationInvalid` for a form that does not exist."""
    form, colon, rest = reference.partition(":")
    if reference == "env":
        return credentials_from_environment()
    if form == "env" and _PREFIX.fullmatch(rest):
        return credentials_from_environment(prefix=rest)
    if form == "file" and colon and rest:
        return credentials_from_file(Path(rest).expanduser())
    if form == "profile" and colon and rest:
        return credentials_from_profile(rest)
    # What was written may be a secret that was put in the wrong place.
    raise LocationInvalid("credentials are named in no known form", hint=f"Write {FORMS}; a secret itself is never.")


def credentials_from_file(path: str | os.PathLike[str], *, owner_only: bool = True) -> CredentialsProvider:
    """A provider that reads a JSON document. It raises `AccessDenied` where the file is not as it must be."""

    def provide() -> S3Credentials:
        return decoded(read_secret(path, owner_only=owner_only), os.fsdecode(path))

    return provide


def credentials_from_profile(name: str, environment: Mapping[str, str] | None = None) -> CredentialsProvider:
    """A provider that reads a section of a file of profiles. It raises `AccessDenied` where there is none."""

    def provide() -> S3Credentials:
        import configparser  # of profiles alone

        variables = os.environ if environment is None else environment
        path = Path(variables.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials").expanduser()
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(read_secret(path).decode())
            section = parser[name]
            key, secret = section["aws_access_key_id"], section["aws_secret_access_key"]
        except (configparser.Error, KeyError, UnicodeDecodeError):
            # The parser's own words quote the lines that it has read.
            raise AccessDenied(
                "the file of profiles has no such profile with aws_access_key_id and aws_secret_access_key",
                hint="Name a profile that is in the file, or another form: " + FORMS + ".",
                file=path,
                profile=name,
            ) from None
        return S3Credentials(key, secret, section.get("aws_session_token") or None)

    return provide


def decoded(body: bytes, origin: str) -> S3Credentials:
    """The credentials of a JSON document. Raises `AccessDenied`, which names `origin` and quotes nothing."""
    try:
        found = _FILE.decode(body)
    except ValueError:
        raise AccessDenied(
            "the credentials are no JSON document with accessKeyId and secretAccessKey",
            hint='It is {"accessKeyId": "…", "secretAccessKey": "…"}, with "sessionToken" where they are temporary.',
            file=origin,
        ) from None
    return S3Credentials(found.access_key_id, found.secret_access_key, found.session_token)


def read_secret(path: str | os.PathLike[str], *, owner_only: bool = True) -> bytes:
    """The bytes of a file of secrets. Raises `AccessDenied`, also where others than its owner may read it."""
    name = os.fsdecode(path)
    try:
        with open_regular(path) as file:
            mode = os.fstat(file.fileno()).st_mode
            body = file.read(_LENGTH_MAX)
    except OSError as error:
        raise AccessDenied(
            f"the file of credentials cannot be read: {error.strerror}", hint="Check the path.", file=name
        ) from error
    if owner_only and mode & 0o077:
        hint = "Take the rights away (chmod 600 FILE), and rotate what others may have read."
        raise AccessDenied("the file of credentials is open to others than its owner", hint=hint, file=name)
    return body
