"""Whom Postgres runs as: it refuses root, and its `initdb` refuses a user without a name.

Root names an unprivileged account. A user whom the machine has no name for (`docker run --user`, many a cluster's
containers) makes the cluster in a user namespace, in which he has the name of another; the files are his own all
the same, and the server itself needs no name.
"""

import os
import pwd
import subprocess
from collections.abc import Mapping
from typing import TypedDict

import msgspec

from contracts import errors
from contracts.errors import PlatformError

SETTING = "WEDSYNC_DATABASE_USER"
DEFAULT = "nobody"
_TRIAL_SECONDS = 20.0


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


def with_a_name() -> tuple[str, ...]:
    """What stands before a command that needs a user with a name: nothing for one who has it.

    Raises STACK_FAILED where there is none and none can be borrowed.
    """
    own = os.geteuid()
    try:
        pwd.getpwuid(own)
    except KeyError:
        pass
    else:
        return ()
    lent = next((entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid != 0), None)
    command = ("unshare", "--user", f"--map-user={lent}", "--")
    why = "no other user has one either" if lent is None else _failure([*command, "true"])
    if why is None:
        return command
    raise PlatformError(
        errors.STACK_FAILED,
        f"the user {own} has no name on this machine (no entry in /etc/passwd), Postgres makes its cluster for named"
        f" users only, and none can be borrowed: {why}",
        hint=f"As root: echo 'wedsync:x:{own}:{os.getegid()}::/:/bin/sh' >> /etc/passwd. Or run it as a named user"
        " (docker run --user nobody, or useradd).",
    )


def _failure(command: list[str]) -> str | None:
    """Why a command does not work here, in its own last words."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
