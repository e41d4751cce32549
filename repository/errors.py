"""Errors of the repository: one base with a stable code, a retry class and a hint.

A code never changes its meaning. `retry` tells a machine what to do: `never` (the same call fails
again), `later` (the same call may succeed), `after-operator` (somebody has to act first, as `hint`
says). Messages are lower case, without a full stop, and carry no secret and no path of a source. What an error is
about (tier, object key, file of a key) is in its context; `str` tells both, for the log of an operator or for the
command line, `message` alone says nothing of an operator's places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from typing import ClassVar

_SHOWN_LENGTH_MAX = 200


class Retry(StrEnum):
    """Whether the same call may succeed when it is made again."""

    NEVER = "never"
    LATER = "later"
    AFTER_OPERATOR = "after-operator"


class RepositoryError(Exception):
    """The base of every error that leaves `repository/` or `sources/`.

    `context` holds ids, object keys and figures for a log; never a secret.
    """

    code: ClassVar[str] = "repository-error"
    retry: Retry = Retry.NEVER
    hint: str = "Look at the message and at the context."
    causes: Sequence[RepositoryError] = ()
    """What is wrong with each of several tiers, where that is why."""

    def __init__(self, message: str, *, hint: str | None = None, retry: Retry | None = None, **context: object) -> None:
        super().__init__(message)
        self.message = message
        if hint is not None:
            self.hint = hint
        if retry is not None:
            self.retry = retry
        self.context = context

    def __str__(self) -> str:
        """The message, and what it is about."""
        about = [
            f"{name.replace('_', ' ')} {_shown(value)}"
            for name, value in self.context.items()
            if not isinstance(value, Mapping)
        ]
        return f"{self.message} ({', '.join(about)})" if about else self.message


def _shown(value: object) -> str:
    """A value in one printable line."""
    text = value.hex() if isinstance(value, bytes) else str(value)
    text = "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
    return text if len(text) <= _SHOWN_LENGTH_MAX else f"{text[:_SHOWN_LENGTH_MAX]}…"


@contextmanager
def about(kind: type[RepositoryError] = RepositoryError, /, **context: object) -> Iterator[None]:
    """Name what the work within is about, in errors of layers that cannot know it: bytes that do not open, say.

    `kind`: only in errors of this one.
    """
    try:
        yield
    except kind as error:
        for name, value in context.items():
            error.context.setdefault(name, value)
        raise


# What is stored is not what was written


class Damaged(RepositoryError):
    """Stored bytes are not what was written: flipped, truncated, swapped or forged."""

    code = "damaged"
    retry = Retry.AFTER_OPERATOR
    hint = "Run `repo check`, then `repo repair` with a second tier."


class UnsupportedFormat(RepositoryError):
    """The object was written by a later version of the format."""

    code = "unsupported-format"
    retry = Retry.AFTER_OPERATOR
    hint = "Use a later version of the program; nothing is wrong with the repository."


class Replayed(RepositoryError):
    """A tier shows an older or another history than one that was seen before."""

    code = "replayed-older-state"
    retry = Retry.AFTER_OPERATOR
    hint = "Somebody restored or rewrote this tier's objects; find out who, and use another tier meanwhile."


# Keys


class WrongKey(RepositoryError):
    """The key that was given wraps none of this repository's keys."""

    code = "wrong-key"
    retry = Retry.AFTER_OPERATOR
    hint = "Give the key file that was made when the repository was created, or the one of the last rotation."


class KeyFileInvalid(RepositoryError):
    """The key file is not one, is damaged, or is readable by everybody."""

    code = "key-file-invalid"
    retry = Retry.AFTER_OPERATOR
    hint = "Take the key file from the recovery kit, and give it mode 0600."


class KeyUnavailable(RepositoryError):
    """The key provider does not answer."""

    code = "key-unavailable"
    retry = Retry.LATER
    hint = "Wait for the key provider, or take its key from the recovery kit."


class UnknownKey(RepositoryError):
    """An object names a data key that this repository does not have, or whose wrapping was destroyed."""

    code = "unknown-key"
    retry = Retry.AFTER_OPERATOR
    hint = "The key object is missing on this tier, or its domain was erased; try another tier."


# The repository and its log


class NotARepository(RepositoryError):
    """No tier that answers holds a repository at this place."""

    code = "not-a-repository"
    retry = Retry.AFTER_OPERATOR
    hint = "Check the tier's address, or create the repository with `repo init`."


class RepositoryExists(RepositoryError):
    """There is a repository already where one was to be created."""

    code = "repository-exists"
    hint = "Use it, or choose an empty place."


class PlaceInUse(RepositoryError):
    """A tier was to be made among files that are none of a repository's."""

    code = "place-in-use"
    retry = Retry.AFTER_OPERATOR
    hint = "Choose an empty place; or, if it is meant to lie among them, say so: --beside-other-files."


class TextInvalid(RepositoryError):
    """A name that is kept with a snapshot is no text in UTF-8; `context` has the `field`."""

    code = "text-invalid"
    hint = "A path may have any bytes; a label, a tag or a token is text in UTF-8."


class NoUsableTier(RepositoryError):
    """No tier can do what was asked; `context` says of each tier why."""

    code = "no-usable-tier"
    retry = Retry.LATER
    hint = "Look at what each tier answered; one that works is enough."

    @classmethod
    def because(cls, message: str, errors: Iterable[BaseException | None], **context: object) -> NoUsableTier:
        """With its cause, what to do, and whether it may pass: what is damaged or refused does not mend by itself."""
        causes = [error for error in errors if error is not None]
        may_pass = not causes or any(getattr(error, "retry", Retry.LATER) is Retry.LATER for error in causes)
        told = cls.hint if may_pass else "Look at what each tier answered: somebody has to act first."
        refusal = cls(
            message,
            hint=" ".join(dict.fromkeys([told, *(each.hint for each in causes if isinstance(each, RepositoryError))])),
            retry=Retry.LATER if may_pass else Retry.AFTER_OPERATOR,
            **context,
        )
        refusal.__cause__ = next(iter(causes), None)
        refusal.causes = [error for error in causes if isinstance(error, RepositoryError)]
        return refusal


class PackMarked(RepositoryError):
    """The snapshot references a pack that an earlier log entry marked for deletion."""

    code = "pack-marked"
    retry = Retry.LATER
    hint = "Run the backup again: it uploads what the marked packs held."


class TierBehind(RepositoryError):
    """The tier lacks packs that the snapshot was deduplicated against."""

    code = "tier-behind"
    retry = Retry.LATER
    hint = "Run `repo catch-up` for this tier."


class LogContended(RepositoryError):
    """Other writers took the next entry again and again."""

    code = "log-contended"
    retry = Retry.LATER
    hint = "Try again when fewer writers are at work."


class SnapshotNotFound(RepositoryError):
    """No snapshot has this id, or more than one begins with it."""

    code = "snapshot-not-found"
    hint = "List the snapshots with `repo snapshots`."


class NotInIndex(RepositoryError):
    """A chunk is referenced that no pack of the index holds."""

    code = "chunk-not-in-index"
    retry = Retry.AFTER_OPERATOR
    hint = "Run `repo rebuild-index`, then `repo check`."


class LimitExceeded(RepositoryError):
    """A value does not fit the format's field."""

    code = "limit-exceeded"
    hint = "The format's limits are listed in docs/repository-format.md."


# Tiers


class TierError(RepositoryError):
    """The base of what a tier answers; `context` has `tier` and, where there is one, `key`."""

    code = "tier-error"


class ObjectMissing(TierError):
    """There is no object of this key on the tier."""

    code = "object-missing"
    hint = "Another tier may have it: run `repo check`, then `repo repair`."


class AlreadyExists(TierError):
    """There is an object of this key already, with other bytes."""

    code = "object-exists"
    hint = "Somebody else wrote it first: read it, then decide."


class Locked(TierError):
    """The tier keeps the object from deletion and replacement until its lock date has passed."""

    code = "object-locked"
    hint = "Wait until the lock date has passed; it cannot be brought forward."


class LockNotProven(TierError):
    """A lock was asked for, and the tier cannot set it, or does not show it afterwards."""

    code = "lock-not-proven"
    retry = Retry.AFTER_OPERATOR
    hint = (
        "The bucket needs object lock, and the credentials the rights to set and to read the retention of objects; "
        "or ask for no lock on this tier."
    )


class TierFull(TierError):
    """The tier has no space left, or its quota is used up."""

    code = "tier-full"
    retry = Retry.AFTER_OPERATOR
    hint = "Free space on the tier or move it, then run again; what was uploaded is reused."


class TierVanished(TierError):
    """The tier was in use, and is empty or gone now: its disk is not mounted, or its bucket was emptied."""

    code = "tier-vanished"
    retry = Retry.AFTER_OPERATOR
    hint = "Mount the tier's disk or bring its bucket back; nothing is written to it meanwhile."


class TierUnreachable(TierError):
    """The tier does not answer, or went on failing until the budget for retries was spent."""

    code = "tier-unreachable"
    retry = Retry.LATER
    hint = "Check the tier's endpoint, network or mount; the call may be made again."


class TooFewDescriptors(TierError):
    """The process may not have as many files and connections open as it needs: nothing is wrong with the tier."""

    code = "too-few-descriptors"
    retry = Retry.AFTER_OPERATOR
    hint = "Raise the limit of open files (`ulimit -n 4096`, or LimitNOFILE of the service), then run again."


class AccessDenied(TierError):
    """The tier refuses these credentials, or what they are used for."""

    code = "tier-access-denied"
    retry = Retry.AFTER_OPERATOR
    hint = "Check the tier's credentials and what its policy or its permissions allow them."


class ChecksumMismatch(TierError):
    """The bytes that arrived are not the ones that were sent, again and again."""

    code = "checksum-mismatch"
    retry = Retry.LATER
    hint = "Memory, network or storage between here and the tier flips bits: test them before going on."


class Truncated(TierError):
    """The object ends before the range that was asked for; `context` has `size`, where it is known."""

    code = "object-truncated"
    retry = Retry.AFTER_OPERATOR
    hint = "Run `repo check` on the tier, then `repo repair` with a second one."


class ObjectArchived(TierError):
    """The object is in a storage class that must be thawed before it can be read."""

    code = "object-archived"
    retry = Retry.AFTER_OPERATOR
    hint = "Restore the objects from the archive class at the provider, or read from another tier."


class ClockSkewed(TierError):
    """The tier refuses requests because this machine's clock is too far from its own."""

    code = "clock-skewed"
    retry = Retry.AFTER_OPERATOR
    hint = "Set this machine's clock; S3 allows a difference of 15 minutes."


class LocationInvalid(TierError):
    """The tier's address is malformed, or names a bucket, region or option that does not exist."""

    code = "location-invalid"
    retry = Retry.AFTER_OPERATOR
    hint = "A tier is file:///PATH or s3://BUCKET/PREFIX?endpoint=URL&region=NAME."


class BucketMissing(LocationInvalid):
    """The endpoint answers, and has no such bucket."""

    code = "bucket-missing"
    hint = "Check bucket, endpoint and region; was the bucket deleted, or the server's data lost?"


class InvalidKey(TierError):
    """The object key is malformed or leaves the tier's folder; a fault of the program."""

    code = "invalid-object-key"


# Backup and restore


class BackupCancelled(RepositoryError):
    """The caller's `is_cancelled` said so; what was uploaded serves the next run."""

    code = "backup-cancelled"
    retry = Retry.LATER
    hint = "Start the backup again; it goes on with what was uploaded."


class RestoreRefused(RepositoryError):
    """The target of a restore is not empty, or is no folder, and the caller did not say what to do about it."""

    code = "restore-refused"
    retry = Retry.AFTER_OPERATOR
    hint = "Give an empty or absent folder, or say what to do with what is there: skip, overwrite or rename."


class TargetFailed(RepositoryError):
    """The target of a restore cannot be written any more: it is full, read-only or failing."""

    code = "target-failed"
    retry = Retry.AFTER_OPERATOR
    hint = "Make room or mend the target, then start the same restore again: it goes on with what is there."


class RestoreCancelled(RepositoryError):
    """The caller's `is_cancelled` said so; the same restore goes on with what is there."""

    code = "restore-cancelled"
    retry = Retry.LATER
    hint = "Start the same restore again."
