"""Why a backup or a restore does not go on."""

from repository.errors.base import RepositoryError, Retry


class BackupCancelled(RepositoryError):
    """The caller's `is_cancelled` said so; what was uploaded serves the next run."""

    code = "backup-cancelled"
    retry = Retry.LATER
    hint = "Start the backup again; it goes on with what was uploaded."


class RestoreRefused(RepositoryError):
    """The target of a restore is not empty, or is no folder, and the caller did not say what to do about it."""

    code = "restore-refused"
    retry = Retry.AFTER_OPERATOR
    hint = (
        "Give an empty or absent folder, or say what to do with what is there: skip, overwrite or rename"
        " (--on-conflict of the command)."
    )


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


class PinNotFound(RepositoryError):
    """No tier that answers has a pin of this id."""

    code = "pin-not-found"
    hint = "List them: `repo pins list`. One that is not there keeps nothing any more."


class PatternInvalid(RepositoryError):
    """A pattern that says what is left out can match nothing."""

    code = "pattern-invalid"
    hint = "Write it as in a .gitignore."
