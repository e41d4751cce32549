"""Brings a platform's home back from its recovery kit and one tier: keys and lists, then the record, which is started.

Promise: the home appears whole under its name, or not at all; nothing that is there is touched. What it says of the
record was read from it, by the server that will work with it.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from chassis.key_files import read_regular
from contracts import errors
from contracts.errors import PlatformError
from deploy.stack.account import database_account
from deploy.stack.begun import STORES, missing_of
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from deploy.stack.own_backup.kit import KEY
from deploy.stack.own_backup.memory import Memory, Position, SavedRecord, read_memory
from deploy.stack.own_backup.places import Place
from deploy.stack.own_backup.positions import behind
from deploy.stack.own_backup.record_server import positions_in
from deploy.stack.own_backup.repo_command import Said, repo
from deploy.stack.own_backup.saving import HOME_LABEL
from deploy.stack.secrets import read_secrets
from deploy.stack.whole import Reader, named

JETSTREAM = "data/nats/jetstream"
_READ = (0, 4)
"""Exit codes of `repo` with which what was read is whole: with 4 another tier may have something newer."""


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came back. `behind`: what the record lacks of what it was saved with. `stores`: tiers that lay in the home.

    `lists`: keys and lists that the home remembers and that are not there, or cannot be read.
    """

    snapshot: str
    record: SavedRecord
    positions: list[Position]
    behind: list[str]
    lists: list[str]
    stores: list[str]
    remarks: list[str]
    seconds: float


def rebuild(folder: Path, place: Place, home: Path, *, snapshot: str | None, say: Callable[[str], None]) -> Rebuilt:
    """Bring the home back under its name. Raises HOME_UNUSABLE where something is there, STACK_FAILED, UNAVAILABLE."""
    _refuse_taken(home)
    with _draft(home) as draft:
        rebuilt = bring_back(folder, place, draft, snapshot=snapshot, say=say)
        _forget_transport(draft)
        if home.exists():
            home.rmdir()
        draft.rename(home)
    return rebuilt


def bring_back(folder: Path, place: Place, draft: Path, *, snapshot: str | None, say: Callable[[str], None]) -> Rebuilt:
    """The same into a folder that is not there yet, without its name. Raises STACK_FAILED, UNAVAILABLE."""
    begun = time.monotonic()
    remarks: list[str] = []
    with _key_beside(draft, folder) as key:
        words = ["--key-file", str(key), *place.words()]
        chosen = _chosen(repo("snapshots", "--label", HOME_LABEL, *words), snapshot, remarks)
        say(f"keys and lists of {chosen['time']}, snapshot {str(chosen['id'])[:12]}")
        _restored(repo("restore", str(chosen["id"]), "--target", str(draft), *words), "keys and lists", remarks)
        record = _record_of(draft, str(chosen["id"]))
        say(f"the record of {record.saved:%Y-%m-%d %H:%M:%S} UTC, snapshot {record.snapshot[:12]}")
        data = draft.with_name(f"{draft.name}-record")
        try:
            _own_folder(data)
            _restored(repo("restore", record.snapshot, "--target", str(data), *words), "the record", remarks)
            (draft / "data").mkdir(mode=0o700, exist_ok=True)
            data.rename(draft / "data" / "postgres")
        finally:
            shutil.rmtree(data, ignore_errors=True)
    say("Postgres is started on it, to see up to where it goes")
    layout = Layout.find(draft)
    (layout.logs).mkdir(mode=0o700, exist_ok=True)
    password = read_secrets(layout).postgres_admin
    log = layout.log("rebuild")
    positions = positions_in(layout.postgres_data, password, owner=f"{layout.remembered.instance}-rebuild", log=log)
    return Rebuilt(
        snapshot=str(chosen["id"]),
        record=record,
        positions=positions,
        behind=behind(positions, record.positions),
        lists=_unlike(layout),
        stores=[name for name in STORES if name in layout.remembered.stores],
        remarks=remarks,
        seconds=time.monotonic() - begun,
    )


def _refuse_taken(home: Path) -> None:
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"{home} holds something already: nothing was brought back, and nothing touched",
            hint=f"Is it what is left of the platform: mv {home} {home}-lost, then the same command again; tiers that "
            "lie in it are moved into the new home afterwards (docs/disaster-recovery.md).",
        )


@contextmanager
def _draft(home: Path) -> Iterator[Path]:
    """A name beside the home's, on its disk. What an earlier attempt has left there is of no use to anybody."""
    home.parent.mkdir(parents=True, exist_ok=True)
    draft = home.with_name(f".{home.name}.rebuilding")
    remove(draft)
    try:
        yield draft
    finally:
        remove(draft)


def remove(draft: Path) -> None:
    """Take away what was brought back into a draft, and what beside it."""
    for each in (draft, draft.with_name(f"{draft.name}-record"), draft.with_name(f"{draft.name}-key")):
        shutil.rmtree(each, ignore_errors=True)


@contextmanager
def _key_beside(draft: Path, folder: Path) -> Iterator[Path]:
    """A copy of the kit's key: `repo` keeps beside it what it has seen, and a kit may lie on what takes no writes."""
    place = draft.with_name(f"{draft.name}-key")
    place.mkdir(mode=0o700)
    try:
        write_atomically(place / KEY, read_regular(folder / KEY))
        yield place / KEY
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _chosen(said: Said, snapshot: str | None, remarks: list[str]) -> dict[str, Any]:
    found = said.document.get("snapshots")
    if said.code not in _READ or not isinstance(found, list):
        raise _failed("the tier does not show the platform's own backup", said)
    if said.code != 0 and said.words:
        remarks.append(said.words)
    fitting = [each for each in found if snapshot is None or str(each["id"]).startswith(snapshot)]
    if not fitting or (snapshot is not None and len(fitting) > 1):
        have = ", ".join(f"{str(each['id'])[:12]} of {each['time']}" for each in found[-5:]) or "none"
        raise PlatformError(
            errors.UNAVAILABLE,
            "the tier has no backup of the platform that is meant",
            hint=f"The newest there: {have}. Give one of them (--snapshot), or another tier.",
        )
    newest: dict[str, Any] = max(fitting, key=lambda each: str(each["time"]))
    return newest


def _restored(said: Said, what: str, remarks: list[str]) -> None:
    if said.code not in _READ:
        raise _failed(f"{what} cannot be brought back", said)
    if said.code != 0 and said.words:
        remarks.append(said.words)


def _record_of(draft: Path, snapshot: str) -> SavedRecord:
    memory: Memory = read_memory(draft)
    if memory.record is None:
        raise PlatformError(
            errors.UNAVAILABLE,
            f"the snapshot {snapshot[:12]} does not say which record belongs to it",
            hint="Give another one (--snapshot).",
        )
    return memory.record


def _own_folder(data: Path) -> None:
    """Postgres's account is given what is restored into a folder of its own."""
    data.mkdir(mode=0o700)
    account = database_account(os.environ)
    if account is not None:
        os.chown(data, account.uid, account.gid)


def _forget_transport(draft: Path) -> None:
    """The streams are filled from the record: that they are not there is no loss that a start has to be stopped by."""
    layout = Layout.find(draft)
    layout.remembered.begun = [name for name in layout.remembered.begun if name != JETSTREAM]
    layout.remembered.stores.pop("data/nats", None)
    layout.remembered.stores.pop(JETSTREAM, None)
    layout.remember()


def _unlike(layout: Layout) -> list[str]:
    """Keys and lists of the home that are not there, or cannot be read."""
    missing = [f"{name} is not there" for name in missing_of(layout.home, layout.remembered.begun)]
    damaged = Reader(layout.home).damaged()
    return [*missing, *([named(damaged)] if damaged else [])]


def _failed(what: str, said: Said) -> PlatformError:
    return PlatformError(
        errors.UNAVAILABLE,
        f"{what}: {said.words or f'repo ended with exit code {said.code}'}",
        hint="Nothing was left in the home's place. Try another tier (--tier), or an older snapshot (--snapshot).",
    )
