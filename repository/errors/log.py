"""What may be wrong with a repository and its log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from repository.errors.base import RepositoryError, Retry


class NotARepository(RepositoryError):
    """No tier that answers holds a repository at this place."""

    code = "not-a-repository"
    retry = Retry.AFTER_OPERATOR
    hint = (
        "Check the tier's address. Is it a new place for a repository that there is, give its other tiers as well: "
        "beside a `--tier` of the command line, the environment's and the profile's do not count. Only where there is "
        "no repository yet: `repo init`."
    )


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
            hint=_together([told, *(each.hint for each in causes if isinstance(each, RepositoryError))]),
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


class SnapshotHeld(RepositoryError):
    """A hold keeps the snapshot: it is not forgotten before the hold is released."""

    code = "snapshot-held"
    retry = Retry.AFTER_OPERATOR
    hint = "`repo holds` lists the holds; whoever placed this one may end it with `repo release NAME`."


class HoldTaken(RepositoryError):
    """The name of a hold is, or was, another one's."""

    code = "hold-taken"
    hint = "Give the hold another name; one that was released is not used again."


class HoldNotFound(RepositoryError):
    """No hold has this name."""

    code = "hold-not-found"
    hint = "List the holds with `repo holds`."


class RulesInvalid(RepositoryError):
    """What is to be kept is not said, or not understood."""

    code = "rules-invalid"
    hint = "Say what is to be kept, e.g. `--keep-daily 14 --keep-monthly 12`."


def _together(hints: Iterable[str]) -> str:
    """Several hints as one. A sentence that several of them have is said once, where it comes last."""
    sentences = re.split(r"(?<=[.!?]) (?=[A-Z])", " ".join(hints))
    return " ".join(reversed(dict.fromkeys(reversed(sentences))))
