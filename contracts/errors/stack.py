"""What may be wrong with the embedded stack."""

from contracts.errors.catalogue import Retry, entered

STACK_RUNNING = entered(
    "stack-running",
    409,
    Retry.AFTER_OPERATOR,
    "The platform runs already in this home",
    "Use it, or stop it first with wedsync-backup down.",
)
STACK_NOT_RUNNING = entered(
    "stack-not-running",
    503,
    Retry.AFTER_OPERATOR,
    "The platform does not run in this home",
    "Start it with wedsync-backup up.",
)
HOME_NOT_FOUND = entered(
    "home-not-found",
    404,
    Retry.AFTER_OPERATOR,
    "The folder is no home of a platform",
    "Name the home with --home.",
)
STACK_FAILED = entered(
    "stack-failed",
    500,
    Retry.AFTER_OPERATOR,
    "A part of the platform does not start",
    "Read the named log; docs/operations.md says what its messages mean.",
)
HOME_UNUSABLE = entered(
    "home-unusable",
    500,
    Retry.AFTER_OPERATOR,
    "The home of the platform cannot be used",
    "Give the folder to the user who runs the platform, or name another one with --home.",
)
RESTORE_FAILED = entered(
    "restore-failed",
    500,
    Retry.AFTER_OPERATOR,
    "A restore has failed",
    "Run the printed command again; its own message says what is wrong.",
)
