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
