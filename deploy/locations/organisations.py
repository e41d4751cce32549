"""The organisations that an operator has added: `<home>/config/organisations.json`, with the names that people use.

An organisation is an id, and nothing has to be made before its first request. `add` gives it the name and the folder of
its secrets. Its sealing keys it makes not: an organisation that is added anew, because the list was lost together with
its keys, has things in the record that new keys would not open. The gateway asks the record, and makes them with the
first request (`gateway.writes.book`).
"""

import fcntl
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from chassis.clock import SystemClock
from chassis.ids import new_id
from chassis.key_files import read_regular
from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from contracts.identifiers import ORGANISATION, ORGANISATION_RULE
from deploy.locations.entry import invalid
from deploy.misread import misread
from deploy.registered import NAME, Organisation, Registry, organisations_of
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from gateway.http.texts import unreadable_character

NAME_LENGTH_MAX = 200


def added(layout: Layout) -> list[Organisation]:
    """Those that were added. Raises HOME_UNUSABLE."""
    path = layout.config / NAME
    layout.require_list(path)
    try:
        return organisations_of(read_regular(path))
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"{path} cannot be read: {misread(error)}",
            hint="Correct it or put its copy back; it has names alone, and no organisation is lost with it.",
        ) from error


def known(layout: Layout) -> list[Organisation]:
    """Those that were added, and those that have keys or are the home's own, by id."""
    found = {each.id: each for each in added(layout)}
    folder = layout.platform_keys / "organisations"
    with_keys = sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
    for each in (layout.remembered.organisation, layout.remembered.demo_organisation, *with_keys):
        found.setdefault(each, Organisation(id=each, name=""))
    return [found[each] for each in sorted(found)]


def add(layout: Layout, name: str, identity: str | None = None) -> Organisation:
    """Add an organisation. `identity`: its id; else the name where it can be one, else a new one.

    Raises INVALID_FIELD, ORGANISATION_TAKEN, KEYS_UNUSABLE where the folder of the keys is gone, NO_SPACE.
    """
    if (character := unreadable_character(name)) is not None:
        raise invalid("name", f"the name has {character}", "Use visible characters alone.")
    name = unicodedata.normalize("NFC", name).strip()
    if not 0 < len(name) <= NAME_LENGTH_MAX:
        raise invalid("name", f"a name has 1 to {NAME_LENGTH_MAX} characters")
    if identity is None:
        identity = name if ORGANISATION.fullmatch(name) else new_id()
    if not ORGANISATION.fullmatch(identity):
        raise invalid("id", f"{identity[:80]!a} is no organisation's id: one {ORGANISATION_RULE}")
    organisation = Organisation(id=identity, name=name, added=SystemClock().now())
    with _locked(layout):
        before = added(layout)
        taken = next((each for each in before if identity == each.id or each.name == name), None)
        if taken is not None:
            what = "id" if taken.id == identity else "name"
            message = f"there is an organisation of this {what} already: {taken.id}"
            raise PlatformError(errors.ORGANISATION_TAKEN, message, field=what)
        Sealer(layout.platform_keys).check_folder()
        for folder in (layout.credentials, layout.credentials / identity):
            folder.mkdir(mode=0o700, exist_ok=True)
        path = layout.config / NAME
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o600
        body = msgspec.json.encode(Registry([*before, organisation]))
        write_atomically(path, msgspec.json.format(body, indent=2), mode=mode)
    return organisation


@contextmanager
def _locked(layout: Layout) -> Iterator[None]:
    descriptor = os.open(layout.config / ".organisations.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
