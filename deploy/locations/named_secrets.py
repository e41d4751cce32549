"""The named secrets of organisations, which notification channels name: a file for each, its owner's alone.

    <keys>/secrets/<organisation>/<name>

What is in one comes from a file, the environment, standard input or a prompt, or is made here, and never from the
command line, which every user of the machine can read.
"""

import base64
import getpass
import os
import re
import secrets
import sys
from pathlib import Path

from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from services.config.adapters.receivers import checked_secret, secret_file

FORMS = "new (a key for webhooks is made), file:PATH, env:NAME, - (standard input) or ask"
NEW = "new"
KEY_BYTES = 32
KEPT_KEYS = 2
"""After a rotation: the new one, and the one before it, with which receivers may still judge."""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}\Z")
_LENGTH_MAX = 4096


def require_name(name: str) -> None:
    """Raise INVALID_FIELD where nothing can be called so."""
    if not _NAME.match(name):
        hint = "Use up to 63 small letters, digits and hyphens; the first is no hyphen."
        raise PlatformError(errors.INVALID_FIELD, f"{name} is no name of a secret", field="name", hint=hint)


def new_key() -> str:
    """A key that webhooks are signed with."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def read(reference: str) -> str:
    """What a reference leads to. Raises SECRET_UNUSABLE."""
    form, _, rest = reference.partition(":")
    if reference == NEW:
        return new_key()
    if reference == "-":
        return _checked(sys.stdin.buffer.read(_LENGTH_MAX + 1).decode("utf-8", "replace"))
    if reference == "ask":
        if not sys.stdin.isatty():
            raise _unusable("there is no terminal to ask at")
        return _checked(getpass.getpass("Secret: "))
    if form == "env" and rest:
        if not (text := os.environ.get(rest)):
            raise _unusable(f"the environment has no {rest}")
        return _checked(text)
    if form == "file" and rest:
        path = Path(rest).expanduser()
        try:
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise _unusable(f"others may read {path}", f"Make it yours alone: chmod 600 {path}")
                return _checked(file.read(_LENGTH_MAX + 1).decode("utf-8", "replace"))
        except OSError as error:
            raise _unusable(f"{path} cannot be read: {error.strerror}") from error
    raise _unusable("it is named in no known form", f"Write {FORMS}; a secret itself is never written.")


def keep(layout: Layout, organisation: str, name: str, text: str) -> bool:
    """Write a secret, or replace it, whole and durably; whether there was one. Raises OSError."""
    path = secret_file(layout.platform_keys, organisation, name)
    for folder in (path.parent.parent, path.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    was_there = path.exists()
    write_atomically(path, text.strip() + "\n", mode=0o600)
    return was_there


def rotated(layout: Layout, organisation: str, name: str) -> str:
    """A key for webhooks in the place of another, which stays as the second: both sign. Raises SECRET_UNKNOWN,
    SECRET_UNUSABLE where it is none for webhooks.
    """
    path = secret_file(layout.platform_keys, organisation, name)
    try:
        lines = path.read_text(encoding="utf-8").split()
    except FileNotFoundError as error:
        raise _unknown(organisation, name) from error
    if not all(line.startswith("whsec_") for line in lines):
        raise _unusable(f"{name} is no key for webhooks", f"Replace it: wedsync-backup secret add {name} --replace")
    made = new_key()
    keep(layout, organisation, name, "\n".join([made, *lines][:KEPT_KEYS]))
    return made


def names(layout: Layout, organisation: str) -> list[str]:
    """Those of an organisation."""
    folder = secret_file(layout.platform_keys, organisation, "any").parent
    return sorted(each.name for each in folder.iterdir() if _NAME.match(each.name)) if folder.is_dir() else []


def discard(layout: Layout, organisation: str, name: str) -> None:
    """Remove one. Raises SECRET_UNKNOWN."""
    try:
        secret_file(layout.platform_keys, organisation, name).unlink()
    except FileNotFoundError as error:
        raise _unknown(organisation, name) from error


def _checked(text: str) -> str:
    if len(text) > _LENGTH_MAX:
        raise _unusable("it is too long")
    checked_secret(text)
    return text


def _unknown(organisation: str, name: str) -> PlatformError:
    message = f"{organisation} has no secret {name}"
    hint = f"Those that there are: wedsync-backup secret list --organisation {organisation}"
    return PlatformError(errors.SECRET_UNKNOWN, message, field="name", hint=hint)


def _unusable(message: str, hint: str | None = None) -> PlatformError:
    return PlatformError(errors.SECRET_UNUSABLE, message, field="from", hint=hint)
