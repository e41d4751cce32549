"""The unprivileged account that Postgres runs as when the platform is started by root, since Postgres refuses root."""

import os
import pwd
from collections.abc import Mapping
from typing import TypedDict

import msgspec

from contracts import errors
from contracts.errors import PlatformError

SETTING = "WEDSYNC_DATABASE_USER"
DEFAULT = "nobody"


class PopenOptions(TypedDict, total=False):
    """The part of Popen's arguments that changes the user."""

    user: int
    group: int
    extra_groups: list[int]


class Account(msgspec.Struct, frozen=True):
    """A user of this machine."""

    name: str
    uid: int
    gid: int

    def popen_options(self) -> PopenOptions:
        """What makes a child run as this account, without any of the caller's groups."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def database_account(environment: Mapping[str, str]) -> Account | None:
    """Whom Postgres runs as: None for an ordinary user (as oneself), else the account that root names.

    Raises INVALID_SETTING where WEDSYNC_DATABASE_USER names no account, or root.
    """
    if os.geteuid() != 0:
        return None
    name = environment.get(SETTING, DEFAULT)
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise PlatformError(
            errors.INVALID_SETTING,
            f"there is no account named {name}",
            field=SETTING,
            hint=f"Set {SETTING} to an unprivileged account of this machine.",
        ) from None
    if entry.pw_uid == 0:
        raise PlatformError(
            errors.INVALID_SETTING, "Postgres does not run as root", field=SETTING, hint=f"Name another in {SETTING}."
        )
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)
