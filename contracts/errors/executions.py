"""What may be wrong with a run, its source or its tiers."""

from contracts.errors.catalogue import Retry, entered

RUN_ALREADY_OPEN = entered(
    "run-already-open",
    409,
    Retry.LATER,
    "A run of the configuration has not ended yet",
    "Wait for the open run to end, then ask again with a new Idempotency-Key.",
)
QUEUE_FULL = entered(
    "queue-full",
    429,
    Retry.LATER,
    "Too many runs wait for a worker",
    "Wait until some of the runs have ended, then ask again with a new Idempotency-Key.",
)
SOURCE_UNREACHABLE = entered(
    "source-unreachable",
    422,
    Retry.AFTER_OPERATOR,
    "The source cannot be read",
    "Check that the source exists and that the platform may read it.",
)
SOURCE_EXCLUDED = entered(
    "source-excluded",
    422,
    Retry.NEVER,
    "The source is in a folder that is never backed up",
    "Choose a folder outside the platform's own (keys, data, settings, logs) and outside every tier. If it was outside"
    " before, a tier's folder leads into it now (a link, a mount): ask the operator to put that right.",
)
SOURCE_INCOMPLETE = entered(
    "source-incomplete",
    422,
    Retry.AFTER_OPERATOR,
    "Some of the source is not in the backup",
    "Look at the permissions, the disk and what deletes files meanwhile; the run's sealed report, which an "
    "operator opens (wedsync-backup run-report ID --organisation ID), names each entry, and the next run tries again.",
)
SOURCE_EMPTIED = entered(
    "source-emptied",
    422,
    Retry.AFTER_OPERATOR,
    "The source is there and holds no file, and held some before",
    "Look whether its disk is mounted, and run again. What was saved before stays the recovery point. Where it is "
    "meant to be empty, put any file into it (a note that says so), or retire the configuration.",
)
LOCATION_UNUSABLE = entered(
    "location-unusable",
    503,
    Retry.AFTER_OPERATOR,
    "A location is not set up as it must be",
    "Ask the operator to correct the location's address or credentials; the worker's log says what is wrong.",
)
TIER_UNREACHABLE = entered(
    "tier-unreachable",
    503,
    Retry.LATER,
    "A tier cannot be reached",
    "Check the tier's endpoint and credentials, or mount its disk; the next run, or a retry, brings it what it lacks.",
)
REQUIRED_TIER_FAILED = entered(
    "required-tier-failed",
    503,
    Retry.LATER,
    "A required tier does not have the backup",
    "Bring the tier back, then retry the run; what was uploaded is reused.",
)
TIER_FULL = entered(
    "tier-full",
    507,
    Retry.AFTER_OPERATOR,
    "A tier has no space left",
    "Free space on the tier or move it, then retry the run.",
)
TIER_READ_ONLY = entered(
    "tier-read-only",
    503,
    Retry.AFTER_OPERATOR,
    "A tier's file system can only be read",
    "Its disk is mounted read-only, perhaps since it has failed (dmesg): mount it for writing, then retry the run.",
)
TIER_VANISHED = entered(
    "tier-vanished",
    503,
    Retry.AFTER_OPERATOR,
    "A tier that was in use is empty or gone",
    "Mount its disk or bring its bucket back; the next run goes on. If it is gone for good:"
    " wedsync-backup tiers begin-anew LOCATION.",
)
TIER_ROLLED_BACK = entered(
    "tier-rolled-back",
    503,
    Retry.AFTER_OPERATOR,
    "A tier shows an older state than it had, or another one",
    "Bring back what it had, and find out who put an older copy there; the next run goes on. If the older one is to"
    " count: wedsync-backup tiers accept-history LOCATION, which says what is to be done before.",
)
TIER_CLOCK_DIFFERS = entered(
    "tier-clock-differs",
    503,
    Retry.AFTER_OPERATOR,
    "The clock of a tier and that of the worker differ",
    "Set both by one time server: locks are dated by the tier's clock, and a server refuses who is far from it.",
)
TIER_BEHIND = entered(
    "tier-behind",
    503,
    Retry.LATER,
    "A tier was too slow and is behind",
    "Nothing is to be done; the next run, or repo catch-up, brings it what it lacks.",
)
LOCK_NOT_PROVEN = entered(
    "lock-not-proven",
    503,
    Retry.AFTER_OPERATOR,
    "A tier does not lock what it was asked to lock",
    "Give the bucket object lock, and the credentials the rights to set and read the retention of objects; "
    "or set lockDays to 0.",
)
TIER_UNUSABLE = entered(
    "tier-unusable",
    503,
    Retry.AFTER_OPERATOR,
    "A tier is damaged, or another repository's",
    "Run repo check on the tier; repair it from another, or register another location.",
)
REPOSITORY_AWAY = entered(
    "repository-away",
    503,
    Retry.LATER,
    "A new tier cannot join the organisation's repository, whose other locations are away",
    "Bring back one of the locations that have the organisation's repository; the next run goes on.",
)
OTHER_REPOSITORY = entered(
    "other-repository",
    409,
    Retry.AFTER_OPERATOR,
    "The tiers belong to two repositories of the organisation",
    "Name tiers of one of them in each configuration; or ask the operator to move one away and to begin its location"
    " anew: wedsync-backup tiers begin-anew LOCATION.",
)
KEYS_UNUSABLE = entered(
    "keys-unusable",
    503,
    Retry.AFTER_OPERATOR,
    "The encryption keys cannot be used",
    "Put the key file back from its copy (a repository's: from the recovery kit as well); do not create a new one.",
)
KEYS_UNREACHABLE = entered(
    "keys-unreachable",
    503,
    Retry.LATER,
    "The disk of the encryption keys does not answer",
    "Ask the operator to look at the disk of the keys. No key is missing and nothing is to be restored: it goes on by"
    " itself.",
)
VERIFICATION_FAILED = entered(
    "verification-failed",
    500,
    Retry.LATER,
    "What was read back differs from what was written",
    "Run repo check on the tier and repair it from another.",
)
CLAIM_LOST = entered(
    "claim-lost",
    409,
    Retry.LATER,
    "Another worker has taken the run over",
    "Nothing is to be done; the other worker goes on.",
)
RUN_ABANDONED = entered(
    "run-abandoned",
    500,
    Retry.AFTER_OPERATOR,
    "The run has cost one worker after another its life",
    "Look at the workers' logs for what stops them, mend it, then start a new run.",
)
NO_WORKER = entered(
    "no-worker",
    503,
    Retry.LATER,
    "No worker takes runs at present",
    "Ask the operator to look at what became of executor-worker (wedsync-backup status). The run is taken by itself"
    " once one is back.",
)
MEMORY_TAKEN = entered(
    "memory-taken",
    503,
    Retry.LATER,
    "The worker's memory is taken by other runs",
    "Nothing is to be done at once: runs have their memory in the order of arrival, and this one begins when others"
    " have ended. Where it lasts, ask the operator for a worker more, or for more memory of the worker.",
)
RUN_FINISHED = entered("run-finished", 409, Retry.NEVER, "The run has ended already", "Start a new run.")
RUN_NOT_RETRYABLE = entered(
    "run-not-retryable",
    409,
    Retry.NEVER,
    "Only a run that has failed or was cancelled is retried",
    "Look at the run: wait for its end, or start a new one with POST /api/backup/execute.",
)
