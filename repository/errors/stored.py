"""What is stored is not what was written."""

from repository.errors.base import RepositoryError, Retry

REPAIR_SENTENCE = (
    "`repo repair`: it takes what is whole from a second tier, or from older versions on this one, where it keeps"
    " any (an S3 bucket with versioning or object lock; who may only read it adds originals=1 to its address)."
)


class Damaged(RepositoryError):
    """Stored bytes are not what was written: flipped, truncated, swapped or forged."""

    code = "damaged"
    retry = Retry.AFTER_OPERATOR
    hint = f"Run `repo check`, then {REPAIR_SENTENCE}"


class UnsupportedFormat(RepositoryError):
    """The object was written by a later version of the format."""

    code = "unsupported-format"
    retry = Retry.AFTER_OPERATOR
    hint = "Use a later version of the program; nothing is wrong with the repository."


class Replayed(RepositoryError):
    """A tier shows an older or another history than one that was seen before."""

    code = "replayed-older-state"
    retry = Retry.AFTER_OPERATOR
    hint = (
        "Somebody restored or rewrote this tier's objects, or it was begun anew: find out who, and use another tier"
        " meanwhile. Is what it shows to count: repo repair --accept-history NAME."
    )


class TiersExchanged(Replayed):
    """Each of two tiers, or more, is whole and where another one was: disks or folders were exchanged."""

    code = "tiers-exchanged"
    hint = "Mount the disks, or put the folders, as they were; nothing is lost."
