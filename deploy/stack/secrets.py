"""The embedded stack's own secrets: made once, at the first start, never logged, never changed by a later start."""

import secrets
from collections.abc import Sequence

import msgspec

from chassis.key_files import read_regular
from contracts import errors
from contracts.errors import PlatformError
from deploy.misread import misread
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout


class S3Credentials(msgspec.Struct, frozen=True, rename="camel"):
    """What a client shows to one S3 server."""

    access_key_id: str
    secret_access_key: str


class Secrets(msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What secrets.json holds: the database's administrator and runtime roles, the S3 servers."""

    postgres_admin: str
    postgres_roles: dict[str, str] = {}
    s3: dict[str, S3Credentials] = {}


_SECRETS = msgspec.json.Decoder(Secrets)


def secrets_of(body: bytes) -> Secrets:
    """What a file's bytes hold. Raises `MsgspecError`, ValueError or RecursionError."""
    return _SECRETS.decode(body)


def open_secrets(layout: Layout, *, roles: Sequence[str], regions: Sequence[str]) -> Secrets:
    """Read the secrets; make those that were never made.

    Raises HOME_UNUSABLE where the file cannot be understood, KEYS_UNUSABLE where it is gone. A role gets a new
    password without harm, since each start sets it; the administrator's is in the cluster alone.
    """
    path = layout.secrets_file
    if not path.exists():
        layout.make_key(path, msgspec.json.encode(Secrets(postgres_admin=_password())))
    kept = read_secrets(layout)
    before = msgspec.json.encode(kept)
    for role in roles:
        kept.postgres_roles.setdefault(role, _password())
    for region in regions:
        if region not in kept.s3:
            kept.s3[region] = S3Credentials("WS" + secrets.token_hex(9).upper(), secrets.token_urlsafe(30))
    if msgspec.json.encode(kept) != before:
        write_atomically(path, msgspec.json.format(msgspec.json.encode(kept), indent=2))
    return kept


def read_secrets(layout: Layout) -> Secrets:
    """The secrets of a home that was started before. Raises HOME_UNUSABLE where they are missing or damaged."""
    path = layout.secrets_file
    try:
        return secrets_of(read_regular(path))
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"{path} cannot be read: {misread(error)}",
            hint="Restore keys/secrets.json from a copy.",
        ) from error


def _password() -> str:
    """256 bits, in characters that no connection string has to quote."""
    return secrets.token_hex(32)
