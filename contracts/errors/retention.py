"""What may be wrong with a retention policy."""

from contracts.errors.catalogue import Retry, entered

RETENTION_POLICY_UNKNOWN = entered(
    "retention-policy-unknown",
    404,
    Retry.NEVER,
    "There is no such retention policy",
    "Check the id; only retention policies of your own organisation are found.",
)
RETENTION_KEEPS_NOTHING = entered(
    "retention-keeps-nothing",
    422,
    Retry.NEVER,
    "The retention policy keeps nothing",
    "Give one of keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly, keepWithin, minimumDays.",
)
RETENTION_CONTRADICTION = entered(
    "retention-contradiction",
    422,
    Retry.NEVER,
    "The retention policy contradicts itself",
    "Nothing can be kept or locked longer than maximumDays: lower the one, or raise the other.",
)
RETENTION_PREVIEW_TOO_LARGE = entered(
    "retention-preview-too-large",
    422,
    Retry.NEVER,
    "Too many recovery points are to be judged at once",
    "Name fewer configurations in configurationIds.",
)
RETENTION_CLEANUP_OPEN = entered(
    "retention-cleanup-open",
    409,
    Retry.LATER,
    "The organisation has a cleanup that has not ended",
    "Wait for its end (GET /api/backup/retention/cleanups), then ask again with a new Idempotency-Key.",
)
RETENTION_CLEANUP_ABANDONED = entered(
    "retention-cleanup-abandoned",
    500,
    Retry.AFTER_OPERATOR,
    "The cleanup was given up after too many workers fell silent over it",
    "Look at the workers' logs (wedsync-backup logs executor-worker), then ask for another cleanup: it goes on.",
)
RETENTION_CLOCK_IN_DOUBT = entered(
    "retention-clock-in-doubt",
    503,
    Retry.AFTER_OPERATOR,
    "The clock has jumped, so that nothing is judged to be old",
    "Set the clocks of the platform's machines right (chronyc tracking, timedatectl), then ask again. A recovery point "
    "that was made while a clock was ahead keeps everything until its time has come.",
)
