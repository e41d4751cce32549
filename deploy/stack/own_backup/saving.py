"""Saves the platform: first the record, as Postgres streams it, then the keys and lists that open it.

In this order, since keys are added and never changed: whatever the record of before needs is among the keys of
after. A crash in between leaves a record without its home, which no rebuild takes. What is erased meanwhile (the keys
of a data subject) is not in the home that is saved behind it.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from chassis.clock import Clock, SystemClock
from contracts import errors
from contracts.errors import PlatformError
from deploy.postgres.settings import ADMIN_ROLE
from deploy.stack import postgres
from deploy.stack.files import write_atomically
from deploy.stack.layout import Layout
from deploy.stack.own_backup.kit import key_path, own_key
from deploy.stack.own_backup.memory import NAME, SavedRecord, Trouble, changed
from deploy.stack.own_backup.places import Place, places_of
from deploy.stack.own_backup.positions import positions_of
from deploy.stack.own_backup.repo_command import Said, repo, told
from deploy.stack.secrets import Secrets, read_secrets

RECORD_LABEL, HOME_LABEL = "platform-record", "platform-home"
SAVED = ("keys", "config", "layout.json", NAME)
"""What of a home is saved beside the record."""
KEPT = ("--keep-last", "3", "--keep-hourly", "24", "--keep-daily", "14")
"""How long the platform's own snapshots stay: they hold the keys of whoever is erased meanwhile."""
TIDIED_EVERY = timedelta(days=1)
"""To let snapshots go and to free their space costs more than to save what has changed in an hour."""
OK, DEGRADED = 0, 4


class Outcome(msgspec.Struct, frozen=True):
    """What became of it. `lacking`: what is less than whole, in words; nothing where all is well."""

    record: SavedRecord
    on: list[str]
    lacking: list[str]


def save(layout: Layout, clock: Clock | None = None) -> Outcome:
    """Save record and home to every tier that answers, and let old snapshots go.

    Raises STACK_RUNNING where another save goes on, UNAVAILABLE where Postgres does not answer or no tier takes it;
    why is remembered then.
    """
    clock = clock or SystemClock()
    with _alone(layout):
        try:
            outcome = _save(layout, clock)
        except Exception as error:
            with changed(layout) as memory:
                memory.trouble = Trouble(at=clock.now(), words=str(error))
            raise
        with changed(layout) as memory:
            memory.whole_at, memory.on = clock.now(), outcome.on
            memory.trouble = Trouble(at=clock.now(), words="; ".join(outcome.lacking)) if outcome.lacking else None
        return outcome


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    descriptor = os.open(layout.run / "self-backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            hint = "Wait for its end: wedsync-backup self-backup show."
            raise PlatformError(errors.STACK_RUNNING, "the platform is being saved already", hint=hint) from None
        yield
    finally:
        os.close(descriptor)


def _save(layout: Layout, clock: Clock) -> Outcome:
    with changed(layout) as memory:
        places = places_of(layout, memory)
        own_key(layout, memory)
    words = _common(layout, places)
    if not memory.is_begun:
        _begin(words)
        with changed(layout) as memory:
            memory.is_begun = True
    lacking: list[str] = []
    record, on = _save_record(layout, words, clock.now(), lacking)
    with changed(layout) as memory:
        # What is saved with the keys says which record belongs to them.
        memory.record = record
    on_home = _save_home(layout, words, lacking)
    if lacking:
        # A tier that was away, or is new, gets what the others have.
        caught_up = repo("catch-up", *words)
        lacking = [*filter(None, [told(caught_up)])]
        if not lacking:
            on = on_home = [each.name for each in places]
    if memory.tidied_at is None or clock.now() - memory.tidied_at > TIDIED_EVERY:
        left = _let_go(words) if memory.tidied_at is not None else []
        lacking += left
        if not left:
            with changed(layout) as memory:
                memory.tidied_at = clock.now()
    both = sorted(set(on).intersection(on_home))
    return Outcome(record, both, lacking)


def _common(layout: Layout, places: Sequence[Place]) -> list[str]:
    return ["--key-file", str(key_path(layout)), *(word for place in places for word in place.words())]


def _begin(words: list[str]) -> None:
    """Begin the repository; one that is there already, of this key, was begun by a save that was killed."""
    begun = repo("init", *words)
    if begun.code not in (OK, DEGRADED) and repo("snapshots", *words).code not in (OK, DEGRADED):
        raise _failed("its repository cannot be begun", begun)


def _save_record(layout: Layout, words: list[str], now: datetime, lacking: list[str]) -> tuple[SavedRecord, list[str]]:
    secrets = read_secrets(layout)
    positions = positions_of(postgres.admin_dsn(layout, secrets))
    address = f"postgres-cluster://{ADMIN_ROLE}@127.0.0.1:{layout.port(postgres.NAME)}/postgres"
    with _password(layout, secrets) as password:
        said = repo("backup", address, "--label", RECORD_LABEL, "--source-credentials", f"file:{password}", *words)
    snapshot, tiers = _snapshot_of(said, "its record cannot be saved", lacking)
    return SavedRecord(snapshot=snapshot, saved=now, positions=positions), tiers


def _save_home(layout: Layout, words: list[str], lacking: list[str]) -> list[str]:
    left_out = [each.name for each in layout.home.iterdir() if each.name not in SAVED]
    excluded = [word for name in left_out for word in ("--exclude", f"/{_quoted(name)}")]
    said = repo("backup", str(layout.home), "--label", HOME_LABEL, *excluded, *words)
    return _snapshot_of(said, "its keys and lists cannot be saved", lacking)[1]


def _quoted(name: str) -> str:
    """A name as a pattern that matches it alone."""
    return "".join(f"\\{each}" if each in "\\*?[]!#" else each for each in name)


@contextmanager
def _password(layout: Layout, secrets: Secrets) -> Iterator[Path]:
    """The administrator's password in a file, for as long as it is read: in no command line and no environment."""
    path = layout.run / "self-backup.password"
    write_atomically(path, msgspec.json.encode({"password": secrets.postgres_admin}), durable=False)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _snapshot_of(said: Said, what: str, lacking: list[str]) -> tuple[str, list[str]]:
    """The snapshot that was made, and the tiers that have it. A save that is not whole is none."""
    snapshot = said.document.get("snapshot")
    if said.code not in (OK, DEGRADED) or not isinstance(snapshot, dict):
        raise _failed(what, said)
    if said.code == DEGRADED:
        lacking.append(said.words or "a tier is owed a catch-up")
    return str(snapshot["id"]), [str(each) for each in snapshot["tiers"]]


def _let_go(words: list[str]) -> list[str]:
    """Let old snapshots go, and free their space. What does not go now goes the next time, and is said."""
    for label in (RECORD_LABEL, HOME_LABEL):
        if (trouble := told(repo("forget", "--label", label, *KEPT, *words))) is not None:
            return [f"old snapshots stay: {trouble}"]
    trouble = told(repo("prune", *words))
    return [] if trouble is None else [f"old snapshots stay: {trouble}"]


def _failed(what: str, said: Said) -> PlatformError:
    return PlatformError(
        errors.UNAVAILABLE,
        f"the platform was not saved: {what}: {told(said, ok=())}",
        hint="What was saved before stays. Mend the cause, then: wedsync-backup self-backup run.",
    )
