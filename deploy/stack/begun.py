"""What a home was begun with: keys and data that are never made a second time beside the other half of them.

Keys that are made anew open nothing of what lies there, and seal what comes beside it: the old is unreadable for
good, also once the copy of the keys is back. Data that is made anew (on whatever lies below a disk that is not
mounted) hides the old. A list that an operator has made and that is gone is as good as empty to whoever reads it:
tenants' tiers and sources, or who may subscribe, would be forgotten without a word. So `layout.json`, which lies in
none of them, remembers what was begun, and the start is refused while some of it is missing or its disk does not
answer, before anything is made.

An organisation's own keys are not among them: where one is missing the platform starts, that organisation's runs and
writes are refused by its name, the others' go on, and `status` is degraded with the file to put back
(`vault.key_files`, `chassis.key_checks`). None is made anew: of a sealing key `MADE` remembers that it was made, of a
repository's key a note beside it, the executor's record, and each tier that holds the repository.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path

from chassis.auditlog.files import KEY
from chassis.disk import Disk
from contracts import errors
from contracts.errors import PlatformError

IDENTITY = "keys/identity.pem"
_KEYS = ("keys/secrets.json", IDENTITY, "keys/platform/SEALING-KEYS")
KEYS_MADE = "keys/platform/MADE"
"""Which sealing keys were ever made; there from the first request of an organisation on."""
AUDIT_KEY = f"keys/platform/{KEY}"
"""Signs the audit log; there from the first event on."""
SEEDS = "keys/nats/*.seed"
CLUSTER = "data/postgres"
DATA_SECONDS = 10.0
"""How long a disk may take to say whether data is there."""
DATA = (CLUSTER, "data/nats/jetstream")
LOCATIONS = "config/locations.json"
ORGANISATIONS = "config/organisations.json"
SUBSCRIBERS = "config/subscribers.json"
LISTS = (LOCATIONS, ORGANISATIONS, SUBSCRIBERS)
"""What an operator has registered."""
LOCAL_TIER = "data/tiers/local"
S3 = ("data/s3/cloud-primary", "data/s3/cloud-secondary", "data/s3/offsite")
STORES = (*S3, LOCAL_TIER)
"""Without them the platform starts; they are told and never made again by themselves (`deploy.stack.stores`)."""
_LAST_LOG = "logs/gateway.log"
"""Of the part that is started last: all stores have been made by then."""
LAYOUT = "layout.json"
MAY_BE_BEGUN_ANEW = (*DATA, *S3, LOCAL_TIER, IDENTITY, KEYS_MADE, AUDIT_KEY, *LISTS, LAYOUT)
"""What can be made again when that is said (`wedsync-backup up --begin-anew`). Nothing is sealed under the key of the
identity provider: a new one ends all tokens. A sealing key that is there is noted again once it opens an entry. What
the key of the audit log has signed stays verifiable; another one goes on under another name.
"""


def begun_in(home: Path, *, known: Collection[str]) -> set[str]:
    """Which keys, lists, and data that nothing starts without, are there by now, beside what is known already."""
    found = {
        name for name in (*_KEYS, KEYS_MADE, AUDIT_KEY, *DATA, *LISTS) if name not in known and _is_there(home / name)
    }
    return found | {str(path.relative_to(home)) for path in home.glob(SEEDS)}


def begun_unnoted(home: Path) -> set[str]:
    """What a home of a build that did not note it was begun with: all of it, once it was used at all.

    What is missing there now is so seen to be missing, be it a store whose disk is not mounted.
    """
    is_used = _is_there(home / CLUSTER) or (home / _LAST_LOG).exists()
    return {CLUSTER, *STORES} if is_used else set()


def is_trace(home: Path) -> bool:
    """Whether a folder without a layout.json is a platform's home all the same, or what its copies have brought."""
    # The lock is a file; a folder of that name has the root of every Linux.
    return (_is_there(home / "run/lock") and not (home / "run/lock").is_dir()) or any(
        _is_there(home / name) for name in (_KEYS[0], CLUSTER)
    )


def require_whole(home: Path, begun: Iterable[str], begin_anew: Collection[str] = ()) -> None:
    """Raise KEYS_UNUSABLE or HOME_UNUSABLE where something that was begun is gone; nothing has been made yet."""
    expected = set(begun).difference(STORES)
    if _is_there(home / CLUSTER):
        # Also in a home of a build that did not note what was begun: these are made before the cluster.
        expected.update((*_KEYS, LOCATIONS))
    missing = sorted(name for name in expected.difference(begin_anew) if not _is_there(home / name))
    keys = [name for name in missing if name.startswith("keys/")]
    if keys:
        raise keys_missing(home, keys)
    if missing:
        raise PlatformError(
            errors.HOME_UNUSABLE,
            f"{home} lacks data that was there before: {', '.join(missing)}",
            hint="Mount its disk or put its copy back, then start again: nothing was changed. To go on without it: "
            + " ".join(["wedsync-backup up", *(f"--begin-anew {name}" for name in missing)])
            + " (docs/operations.md says what is lost then).",
        )


def still_there(home: Path, names: Iterable[str]) -> list[str]:
    """What of these is there, and holds something. Raises OSError where that cannot be told: DiskSilent, too."""

    def holds(path: Path) -> bool:
        return path.is_file() or (path.is_dir() and any(path.iterdir()))

    return [name for name in names if Disk(home / name).answer(partial(holds, home / name), seconds=DATA_SECONDS)]


def missing_of(home: Path, begun: Iterable[str]) -> list[str]:
    """Which keys and lists that were begun are gone: nothing needs them until the next start, which is then refused."""
    return sorted(name for name in begun if name.startswith(("keys/", "config/")) and not _is_there(home / name))


def _is_there(path: Path) -> bool:
    """Raises OSError where that cannot be told: DiskSilent, too."""
    return Disk(path).answer(path.exists, seconds=DATA_SECONDS)


def keys_missing(home: Path, names: Iterable[str]) -> PlatformError:
    """The refusal to make keys beside data that was sealed under others, and the way on without a copy."""
    missing = list(names)
    if set(missing) <= set(MAY_BE_BEGUN_ANEW):
        command = " ".join(["wedsync-backup up", *(f"--begin-anew {name}" for name in missing)])
        without = f"Without a copy: {command} (docs/operations.md, section 13, says what is lost then)."
    else:
        without = "New keys would open nothing of what is here; to begin with nothing, name a new home with --home."
    return PlatformError(
        errors.KEYS_UNUSABLE,
        f"{home} lacks keys that were made before: {', '.join(missing)}",
        hint=f"Put the copy of the folder keys/ back, then start again: nothing was changed. {without}",
    )


def keys_damaged(home: Path, damaged: Mapping[str, str]) -> PlatformError:
    """The refusal to go on with keys that are there and cannot be read; `damaged`: what is wrong with each."""
    named = ", ".join(f"{name} ({what})" for name, what in damaged.items())
    return PlatformError(
        errors.KEYS_UNUSABLE,
        f"{home} has keys that cannot be read: {named}",
        hint="Put the copy of what is named back, then start again. It is not made anew.",
    )
