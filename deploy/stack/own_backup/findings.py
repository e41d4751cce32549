"""What is said of the platform's own backup and of its kit: for `status`, and as findings where it is not well."""

from datetime import datetime, timedelta

from contracts.errors import PlatformError
from deploy.stack.layout import Layout
from deploy.stack.own_backup.kit import is_current
from deploy.stack.own_backup.memory import Memory, read_memory
from deploy.stack.own_backup.places import all_within, places_of
from deploy.stack.state import PlaceState
from repository.errors import RepositoryError

OWN_BACKUP, KIT = "own-backup", "kit"
OVERDUE = timedelta(hours=26)
REHEARSED_WITHIN = timedelta(days=92)
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def findings_of(layout: Layout, now: datetime) -> list[PlaceState]:
    """What is not well, each with what to do."""
    try:
        memory = read_memory(layout.home)
    except PlatformError as error:
        return [PlaceState(name=OWN_BACKUP, path=str(layout.home), reason=f"{error.message}. {error.hint}")]
    found = [(OWN_BACKUP, _of_backup(memory, now)), (KIT, _of_kit(layout, memory, now))]
    return [PlaceState(name=name, path=str(layout.home), reason=reason) for name, reason in found if reason]


def lines_of(layout: Layout, now: datetime) -> list[str]:
    """How old backup, kit and rehearsal are; where the backup lies. For people, also where all is well."""
    try:
        memory = read_memory(layout.home)
        places = places_of(layout, memory)
    except PlatformError:
        return []  # It is a finding.
    saved = "never yet" if memory.whole_at is None else f"{_ago(memory.whole_at, now)} ago on {', '.join(memory.on)}"
    if all_within(layout, places):
        saved += " (in this home alone: nothing of it outlives this disk)"
    kit = memory.kit
    written = "none" if kit is None else f"{kit.folder}, written {_ago(kit.written, now)} ago"
    rehearsal = memory.rehearsal
    tried = (
        "never rehearsed"
        if rehearsal is None
        else f"rehearsed {_ago(rehearsal.rehearsed, now)} ago from {rehearsal.tier} in {rehearsal.seconds:.0f} s"
    )
    return [f"own backup: {saved}", f"kit: {written}, {tried}"]


def _of_backup(memory: Memory, now: datetime) -> str | None:
    since = memory.whole_at or (memory.kit.written if memory.kit is not None else None)
    if since is None or now - since < OVERDUE:
        return None
    why = f": {memory.trouble.words}" if memory.trouble is not None else ""
    when = f"{_ago(memory.whole_at, now)} ago" if memory.whole_at is not None else "never"
    return f"the platform itself was saved last {when}{why}. Mend the cause, then: wedsync-backup self-backup run"


def _of_kit(layout: Layout, memory: Memory, now: datetime) -> str | None:
    if memory.kit is None:
        if memory == Memory():
            return None  # It was never started: the first start writes one, or notes why not.
        why = f": {memory.trouble.words}" if memory.trouble is not None else ""
        return f"no recovery kit was written{why}. Write one: wedsync-backup self-backup kit --out DIR"
    try:
        if not is_current(layout, memory):
            return (
                "tiers or credentials of the platform's own backup have changed since the recovery kit was written: "
                "wedsync-backup self-backup kit"
            )
    except (OSError, PlatformError, RepositoryError) as error:
        return f"whether the recovery kit is of now cannot be seen: {error}"
    last = memory.rehearsal.rehearsed if memory.rehearsal is not None else memory.kit.written
    if now - last > REHEARSED_WITHIN:
        return (
            f"that the recovery kit brings the platform back was not tried for {_ago(last, now)}: "
            "wedsync-backup self-backup rehearse --kit DIR"
        )
    return None


def _ago(then: datetime, now: datetime) -> str:
    seconds = max(0, int((now - then).total_seconds()))
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
