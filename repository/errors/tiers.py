"""What a tier answers."""

from repository.errors.base import RepositoryError, Retry
from repository.errors.stored import REPAIR_SENTENCE


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


HELD_HINT = "It has no end: whoever set it takes it away (`repo holds` lists ours, `repo release NAME` ends one)."


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


class LegalHoldNotSet(LockNotProven):
    """A legal hold was to be set or taken away, and the tier refuses, or does not show it afterwards."""

    code = "legal-hold-not-set"
    hint = (
        "Give the credentials the rights to set and to read legal holds of objects (s3:PutObjectLegalHold, "
        "s3:GetObjectLegalHold), then give the same command once more, or `repo repair`."
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
    hint = "Check the credentials, and what the bucket's policy or the folder's permissions allow them."


class TierReadOnly(AccessDenied):
    """The tier's file system takes nothing from anybody: what is on it can be read."""

    code = "tier-read-only"
    hint = "Its disk is mounted read-only, perhaps since it has failed (dmesg): mount it for writing, then run again."


class ChecksumMismatch(TierError):
    """The bytes that arrived are not the ones that were sent, again and again."""

    code = "checksum-mismatch"
    retry = Retry.LATER
    hint = "Memory, network or storage between here and the tier flips bits: test them before going on."


class Truncated(TierError):
    """The object ends before the range that was asked for; `context` has `size`, where it is known."""

    code = "object-truncated"
    retry = Retry.AFTER_OPERATOR
    hint = f"Run `repo check` on the tier, then {REPAIR_SENTENCE}"


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


class PlaceBlocked(InvalidKey):
    """Something lies where a folder or an object of the tier belongs: a file or a link, say, or a folder for a file.

    `context` names it by `object_key`, and a directory tier by its `path`.
    """

    code = "place-blocked"
    retry = Retry.AFTER_OPERATOR
    hint = (
        "Run `repo repair`, which moves what is in the way below quarantine/. What lies in the place of quarantine "
        "itself has to be moved away by hand: the message names its path."
    )
