"""Where an S3 tier is and how it is used: everything but the calls."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from repository.errors import AccessDenied
from repository.tiers.limits import Limits
from repository.tiers.retry import RetryPolicy


@dataclass(frozen=True, slots=True)
class S3Credentials:
    """One access key; `session_token` only with temporary ones. Never printed.

    Raises `AccessDenied` for one that cannot be sent, such as one with the line break of the file that it came from.
    """

    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check what is going to be a header: the client's own refusal would pass for a failing connection."""
        for name, value in (
            ("access key id", self.access_key_id),
            ("secret access key", self.secret_access_key),
            ("session token", self.session_token or "-"),
        ):
            if not value or not value.isascii() or not value.isprintable() or " " in value:
                wrong = "is empty" if not value else "has a line break, a space or a character that none has"
                hint = "Give it as the provider shows it, without the end of the line that it stood on."
                raise AccessDenied(f"the {name} {wrong}", hint=hint, setting="AWS_" + name.upper().replace(" ", "_"))


CredentialsProvider = Callable[[], S3Credentials]
"""Asked when the first call is made, and again when the server says that the credentials have expired."""


def credentials_from_environment(
    environment: Mapping[str, str] | None = None, *, prefix: str = "AWS"
) -> CredentialsProvider:
    """A provider that reads AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (or with another prefix).

    Nothing else is looked at: no file in a home folder and no metadata service decides by accident who
    writes the backups. The provider raises `AccessDenied` when a variable is missing.
    """

    def provide() -> S3Credentials:
        variables = os.environ if environment is None else environment
        try:
            return S3Credentials(
                variables[f"{prefix}_ACCESS_KEY_ID"],
                variables[f"{prefix}_SECRET_ACCESS_KEY"],
                variables.get(f"{prefix}_SESSION_TOKEN") or None,
            )
        except KeyError as missing:
            raise AccessDenied(
                f"the environment has no {missing.args[0]}",
                hint=f"Set {prefix}_ACCESS_KEY_ID and {prefix}_SECRET_ACCESS_KEY to the tier's credentials.",
            ) from None

    return provide


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Options:
    """One tier's bucket and how to talk to it.

    `prefix` is empty or ends in a slash. `endpoint` is None for AWS itself. `lock_mode` is what new
    locks are made with: COMPLIANCE cannot be lifted by anybody, GOVERNANCE by who has the permission.
    `certificate_authorities` is the path of a PEM file for servers with certificates of one's own.
    Timeouts are in seconds; `read_timeout_seconds` is the longest silence within an answer.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    credentials: CredentialsProvider = field(default_factory=credentials_from_environment, repr=False)
    storage_class: str | None = None
    lock_mode: Literal["COMPLIANCE", "GOVERNANCE"] = "COMPLIANCE"
    addressing: Literal["path", "virtual"] = "path"
    certificate_authorities: str | None = None
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 60.0
    limits: Limits = field(default_factory=Limits)
    retry: RetryPolicy = field(default_factory=RetryPolicy)

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the server is reached by loopback, where a proxy of the environment has no part."""
        host = urlsplit(self.endpoint or "").hostname or ""
        try:
            return host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            return False
