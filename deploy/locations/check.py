"""What is there at a location: a finding for each check, so that whoever relies on it knows what was looked at.

Nothing is left behind: what is written for the trial is removed. A place that does not answer is given up after
seconds, and what could not be found out is said to be unknown.
"""

import errno
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from chassis.disk import Disk, says_nothing
from chassis.location import Location
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from deploy.locations import alone
from deploy.locations.credentials import DatabaseSecret, S3Secret, Secret
from deploy.locations.finding import Finding, Outcome
from deploy.locations.places import refuse_place, sources_around, tiers_inside
from deploy.stack.locations import OWN
from repository.backup.source import SourceUnreachable
from repository.errors import AccessDenied, BucketMissing, LocationInvalid, RepositoryError
from repository.tiers.location import open_tier, s3_options
from repository.tiers.places import place_of
from repository.tiers.port import ObjectStore
from repository.tiers.retry import RetryPolicy
from repository.tiers.s3.options import S3Credentials
from services.executor.adapters.tier_watch import folder_trouble
from sources.postgres.database import Database
from sources.postgres.source import PostgresSource
from sources.s3.bucket import Bucket
from vault.stores import folder_of
from vault.targets import is_mounted

ANSWER_SECONDS = 5.0
RESERVE_BYTES = 256 << 20
"""Below so much free space a directory tier takes no run (`WEDSYNC_TIER_RESERVE_MB`, where nobody has set it)."""
_DATABASE_ANSWERS = "the database takes these credentials, and answers"
_TRIAL = b"a trial of a location; it may be deleted\n"


def findings(location: Location, secret: Secret | None, others: Sequence[Location], home: Path) -> Iterator[Finding]:
    """Every check of a location, in the order in which one needs the other. `others`: what else is registered."""
    is_there = True
    for finding in _of_place(location, secret):
        is_there = is_there and finding.outcome is not Outcome.FAILED
        yield finding
    if is_there:
        yield _separate(location, others, home)
        if "tier" in location.roles and location.name not in OWN:
            yield _alone(location, secret)
    if "tier" in location.roles and is_there:
        yield _space(location)


def _folder(location: Location) -> Path:
    return Path(os.fsdecode(folder_of(location)))


def _of_place(location: Location, secret: Secret | None) -> Iterator[Finding]:
    match location.kind:
        case "directory":
            yield from _of_folder(location)
        case "s3":
            yield from _of_bucket(location, secret)
        case "postgres":
            yield from _of_database(location, secret)


def _of_folder(location: Location) -> Iterator[Finding]:
    folder = _folder(location)
    disk = Disk(folder)
    unreachable = errors.TIER_UNREACHABLE if "tier" in location.roles else errors.SOURCE_UNREACHABLE
    tried = partial(_tried, disk, unreachable)
    hint = "Make the folder, or mount its disk: the platform never makes it, since the disk may only not be mounted."
    yield (first := tried("reachable", lambda: _require_folder(folder), "it is a folder", unreachable, hint))
    if first.outcome is Outcome.FAILED:
        return
    hint = "Give the user who runs the platform the right to read and enter it (ls -ld)."
    denied = errors.LOCATION_ACCESS_DENIED
    yield tried("readable", lambda: next(os.scandir(folder), None), "it can be read", denied, hint)
    if "target" in location.roles:
        yield _mounted(location, disk)
        yield _of_one(location)
    if {"tier", "target"}.intersection(location.roles):
        hint = "Give the user who runs the platform the right to write to it (ls -ld, mount)."
        yield tried("writable", lambda: _try_to_write(folder), "it was written to, read back", denied, hint)


def _tried(
    disk: Disk,
    silent: ErrorCode,
    check: str,
    question: Callable[[], object],
    detail: str,
    code: ErrorCode,
    hint: str,
) -> Finding:
    """`silent`: what it is where the disk says nothing of the question."""
    try:
        disk.answer(question, seconds=ANSWER_SECONDS)
    except OSError as error:
        if error.errno == errno.EROFS:
            code, hint = errors.TIER_READ_ONLY, errors.TIER_READ_ONLY.hint
        elif says_nothing(error):
            code, hint = silent, "Look at the disk, and at what it hangs on (a share's server, a frozen volume)."
        return Finding(check, Outcome.FAILED, (error.strerror or type(error).__name__).lower(), code.code, hint)
    return Finding(check, Outcome.OK, detail)


def _mounted(location: Location, disk: Disk) -> Finding:
    """Whether a target is on the disk on which it was registered: what is not mounted is written below it."""
    again = f"wedsync-backup location remove {location.name}, then add it while its disk is mounted"
    if location.mount is None:
        detail = "where its disk is mounted was not noted, so that nobody sees when it is not"
        return Finding("mounted", Outcome.WARNING, detail, hint=f"Note it: {again}.")
    try:
        mounted = disk.answer(lambda: is_mounted(location, os.path.realpath(folder_of(location))))
    except OSError as error:
        return Finding("mounted", Outcome.UNKNOWN, f"its disk cannot tell: {error.strerror}")
    if mounted is None:
        return Finding("mounted", Outcome.UNKNOWN, "the system does not tell what is mounted")
    if not mounted:
        detail = f"its disk is not mounted: it was at {location.mount} when it was registered"
        hint = f"Mount it: nothing is restored there meanwhile. If the folder is meant without it: {again}."
        return Finding("mounted", Outcome.FAILED, detail, errors.TARGET_UNUSABLE.code, hint)
    return Finding("mounted", Outcome.OK, f"its disk is mounted at {location.mount}, as it was registered")


def _of_one(location: Location) -> Finding:
    if not location.is_shared:
        return Finding("of one", Outcome.OK, "it is one organisation's alone")
    hint = "Remove it, and add a folder of its own for each: what one restores, another could overwrite, or find."
    detail = "several organisations may use it: nothing is restored there"
    return Finding("of one", Outcome.FAILED, detail, errors.TARGET_EXCLUDED.code, hint)


def _require_folder(folder: Path) -> None:
    folder.stat()
    if not folder.is_dir():
        raise NotADirectoryError(0, "it is no folder", str(folder))


def _try_to_write(folder: Path) -> None:
    trial = folder / f".location-test-{secrets.token_hex(8)}"
    descriptor = os.open(trial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, _TRIAL)
        os.fsync(descriptor)
        if os.pread(descriptor, len(_TRIAL) + 1, 0) != _TRIAL:
            raise OSError(0, "what was written is not what is read back", str(trial))
    finally:
        os.close(descriptor)
        trial.unlink()


def _of_bucket(location: Location, secret: Secret | None) -> Iterator[Finding]:
    try:
        with_secret = _credentials_of(secret)
    except RepositoryError as error:
        yield Finding("credentials", Outcome.FAILED, error.message, errors.CREDENTIALS_UNUSABLE.code, error.hint)
        return
    yield Finding("credentials", Outcome.OK, "they are there, whole, and their owner's alone")
    parts = urlsplit(location.url)
    url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/location-test-{secrets.token_hex(8)}"))
    store = open_tier(
        url,
        name=location.name,
        credentials=lambda: with_secret,
        retry=RetryPolicy(budget_seconds=ANSWER_SECONDS),
    )
    try:
        unreachable = errors.TIER_UNREACHABLE if "tier" in location.roles else errors.SOURCE_UNREACHABLE
        detail = "the bucket is there, and lists"
        yield (first := _asked("reachable", lambda: list(islice(store.list(""), 1)), detail, unreachable))
        if first.outcome is Outcome.FAILED:
            return
        if "source" in location.roles:
            yield _object_readable(location, with_secret)
        if "tier" in location.roles:
            detail = "an object was written, read back and deleted"
            yield _asked("writable", partial(_try_to_store, store), detail)
        if location.lock:
            yield _lockable(store)
    finally:
        store.close()


def _object_readable(location: Location, credentials: S3Credentials) -> Finding:
    """One object of a source, by its head and its tags: as a run reads each that is new."""
    options, _ = s3_options(
        location.url, credentials=lambda: credentials, retry=RetryPolicy(budget_seconds=ANSWER_SECONDS)
    )
    with closing(Bucket(options)) as bucket:
        found: list[str] = []
        finding = _asked(
            "readable",
            lambda: found.extend(_try_to_read(bucket)),
            "an object and its tags can be read",
            errors.SOURCE_UNREACHABLE,
        )
    if finding.outcome is Outcome.OK and not found:
        return Finding(
            "readable",
            Outcome.WARNING,
            "there is no object that could be tried",
            errors.SOURCE_UNREACHABLE.code,
            "Correct the prefix, or put something there: a prefix without any object is told as a folder that is gone.",
        )
    return finding


def _try_to_read(bucket: Bucket) -> list[str]:
    page = bucket.call(lambda client: client.list_objects_v2(Bucket=bucket.name, Prefix=bucket.prefix, MaxKeys=1))
    keys = [each["Key"] for each in page.get("Contents", [])]
    for key in keys:
        bucket.call(partial(_read_one, bucket.name, key))
    return keys


def _read_one(name: str, key: str, client: Any) -> None:
    client.get_object(Bucket=name, Key=key)["Body"].close()
    client.get_object_tagging(Bucket=name, Key=key)


def _credentials_of(secret: Secret | None) -> S3Credentials:
    if not isinstance(secret, S3Secret):
        raise AccessDenied(
            "the location has none", hint="Give it some: wedsync-backup location rotate NAME --credentials WHERE."
        )
    return S3Credentials(secret.access_key_id, secret.secret_access_key, secret.session_token)


def _try_to_store(store: ObjectStore) -> None:
    store.put("trial", _TRIAL)
    try:
        if store.get("trial") != _TRIAL:
            raise LocationInvalid("what was written is not what is read back")
    finally:
        store.delete("trial")


def _lockable(store: ObjectStore) -> Finding:
    locks: list[bool | None] = []
    finding = _asked("lockable", lambda: locks.append(store.capabilities.locks), "the bucket has object lock")
    if finding.outcome is Outcome.FAILED or locks[0]:
        return finding
    if locks[0] is None:
        hint = "Allow them s3:GetBucketObjectLockConfiguration, or trust each run, which proves it by its own objects."
        return Finding("lockable", Outcome.UNKNOWN, "these credentials may not ask whether it locks", hint=hint)
    hint = "Use a bucket that was made with object lock, or register it without --lock."
    return Finding("lockable", Outcome.FAILED, "the bucket has no object lock", errors.LOCK_NOT_SUPPORTED.code, hint)


def _asked(
    check: str, question: Callable[[], object], detail: str, unreachable: ErrorCode = errors.TIER_UNREACHABLE
) -> Finding:
    try:
        question()
    except RepositoryError as error:
        cause = error.__cause__ if isinstance(error, SourceUnreachable) else error
        code = unreachable
        if isinstance(cause, AccessDenied):
            code = errors.LOCATION_ACCESS_DENIED
        elif isinstance(cause, LocationInvalid):
            code = errors.LOCATION_UNUSABLE
        hint = "Make the bucket, or correct its name." if isinstance(cause, BucketMissing) else error.hint
        return Finding(check, Outcome.FAILED, error.message, code.code, hint)
    return Finding(check, Outcome.OK, detail)


def _of_database(location: Location, secret: Secret | None) -> Iterator[Finding]:
    """As a run reads it: by the same programs, over the same connection, with the same rights."""
    found = secret if isinstance(secret, DatabaseSecret) else DatabaseSecret("")
    try:
        patience = round(ANSWER_SECONDS)
        database = Database(location.url, lambda: found.password or None, user=found.user, patience_seconds=patience)
        with closing(PostgresSource(database)) as source:
            source.require()
    except LocationInvalid as error:
        yield Finding("reachable", Outcome.FAILED, error.message, errors.LOCATION_UNUSABLE.code, error.hint)
    except SourceUnreachable as error:
        reason = error.context.get("reason")
        is_denied = reason in {"credentials-refused", "access-denied"}
        code = errors.LOCATION_ACCESS_DENIED if is_denied else errors.SOURCE_UNREACHABLE
        if error.context.get("answers"):
            yield Finding("reachable", Outcome.OK, _DATABASE_ANSWERS)
            yield Finding("readable", Outcome.FAILED, error.message, code.code, error.hint)
        else:
            yield Finding("reachable", Outcome.FAILED, error.message, code.code, error.hint)
    else:
        yield Finding("reachable", Outcome.OK, _DATABASE_ANSWERS)
        yield Finding("readable", Outcome.OK, "all tables can be read, and seen whole")


def _separate(location: Location, others: Sequence[Location], home: Path) -> Finding:
    if location.name in OWN:
        detail = "it is the embedded stack's own, on this machine"
        return Finding("separate", Outcome.WARNING, detail, hint="It is lost with the machine: keep a copy elsewhere.")
    try:
        refuse_place(location, others, home)
        shared = _shared_with(location, others, home) if "tier" in location.roles else None
    except PlatformError as error:
        return Finding("separate", Outcome.FAILED, error.message, error.code.code, error.hint)
    except OSError as error:
        detail = f"where it is cannot be told: {error.strerror}"
        return Finding(
            "separate", Outcome.UNKNOWN, detail, hint="Look at its disk or its mount, which does not answer."
        )
    if "target" in location.roles and (around := [each.name for each in sources_around(location, others)]):
        hint = "What is restored is backed up again with it: best choose a folder outside of every source."
        return Finding("separate", Outcome.WARNING, f"it lies in the source {', '.join(around)}", hint=hint)
    if inside := tiers_inside(location, others):
        return beside_tiers(inside)
    if shared is not None:
        hint = "A copy that shares its disk or its server with another is lost with it: keep one elsewhere."
        return Finding("separate", Outcome.WARNING, shared, hint=hint)
    return Finding("separate", Outcome.OK, "it is a place of its own")


def beside_tiers(names: Sequence[str]) -> Finding:
    """That tiers lie in a source, which is a bucket: who saves all of it is refused then."""
    hint = (
        "Let each configuration name a part of it beside them (sourceIdentifier): one of the whole is refused, since a "
        "backup of its own backups has no end."
    )
    return Finding("separate", Outcome.WARNING, f"in it lies the tier {', '.join(names)}", hint=hint)


def _alone(location: Location, secret: Secret | None) -> Finding:
    if location.kind == "directory":
        return alone.of_folder(location, seconds=ANSWER_SECONDS)
    with_secret = _credentials_of(secret)

    def open_at(url: str) -> alone.PartOfBucket:
        # Most of what a command loads that has no tier in a bucket would be this.
        from repository.tiers.s3.store import S3ObjectStore

        options, _ = s3_options(url, credentials=lambda: with_secret, retry=RetryPolicy(budget_seconds=ANSWER_SECONDS))
        return S3ObjectStore(options, location.name)

    try:
        return alone.of_bucket(location, open_at)
    except RepositoryError as error:
        return Finding(
            alone.CHECK, Outcome.UNKNOWN, f"what lies there cannot be told: {error.message}", hint=error.hint
        )


def _shared_with(location: Location, others: Sequence[Location], home: Path) -> str | None:
    """What a tier shares its disk or its server with; None where it stands by itself."""
    tiers = [each for each in others if "tier" in each.roles and each.name != location.name]
    if location.kind == "s3":
        *server, _, _ = place_of(location.url)
        same = [each.name for each in tiers if each.kind == "s3" and list(place_of(each.url)[:-2]) == server]
        return f"it is on the same server as {', '.join(same)}" if same else None
    own = _device(folder_of(location))
    around = [each.name for each in sources_around(location, others) if _device(folder_of(each), missing=-1) == own]
    if around:
        return f"it lies in the source {', '.join(around)}, on the same disk: who loses that disk has lost both"
    if own == _device(bytes(home)):
        return "it is on the same disk as the platform's home"
    same = [each.name for each in tiers if each.kind == "directory" and _device(folder_of(each), missing=-1) == own]
    return f"it is on the same disk as {', '.join(same)}" if same else None


def _device(folder: bytes, *, missing: int | None = None) -> int:
    try:
        return Disk(Path(os.fsdecode(folder))).answer(lambda: os.stat(folder).st_dev)
    except OSError:
        if missing is None:
            raise
        return missing


def _space(location: Location) -> Finding:
    if location.kind != "directory":
        return Finding("space", Outcome.UNKNOWN, "a bucket does not tell how much it still takes")
    folder = _folder(location)
    try:
        trouble = Disk(folder).answer(lambda: folder_trouble(location, RESERVE_BYTES))
        found = Disk(folder).answer(lambda: os.statvfs(folder))
    except OSError as error:
        return Finding("space", Outcome.UNKNOWN, f"its disk cannot tell: {error.strerror}")
    if trouble is not None:
        is_full = "nearly" not in trouble.message
        outcome = Outcome.FAILED if is_full else Outcome.WARNING
        return Finding("space", outcome, trouble.message, trouble.code.code, trouble.hint)
    return Finding("space", Outcome.OK, f"{(found.f_bavail * found.f_frsize) >> 20} MiB are free")
