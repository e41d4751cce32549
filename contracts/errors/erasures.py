"""What may stand against the erasure of a data subject."""

from contracts.errors.catalogue import Retry, entered

ERASURE_UNKNOWN = entered(
    "erasure-unknown",
    404,
    Retry.NEVER,
    "There is no such erasure",
    "Check the id; only erasures of your own organisation are found.",
)
DATA_SUBJECT_UNKNOWN = entered(
    "data-subject-unknown",
    422,
    Retry.NEVER,
    "Nothing is kept under a key of this data subject",
    "Write dataSubject as a configuration has it. What was saved without one lies among that of others, under the "
    "organisation's key, and cannot be erased by itself: let its recovery points go (retention cleanup).",
)
DATA_SUBJECT_ERASED = entered(
    "data-subject-erased",
    409,
    Retry.NEVER,
    "The data subject's keys were destroyed",
    "GET /api/backup/compliance/erasures says when. For what is to be kept of the same person from now on, choose "
    "another dataSubject.",
)
DATA_SUBJECT_FIXED = entered(
    "data-subject-fixed",
    422,
    Retry.NEVER,
    "The data subject of a configuration cannot be changed",
    "What it has saved is under that subject's key, or under the organisation's. Create another configuration, and "
    "retire this one.",
)
ERASURE_RECEIPT_NONE = entered(
    "erasure-receipt-none",
    404,
    Retry.LATER,
    "There is no receipt of this erasure",
    "There is one when keys were destroyed on a tier (erasedAt). Of a subject of whom no backup was made there is "
    "none: the audit log has the proof (GET /api/backup/security/audit-log).",
)
ERASURE_OPEN = entered(
    "erasure-open",
    409,
    Retry.LATER,
    "The data subject has an erasure that is not complete",
    "Nothing is to be done: it goes on by itself (GET /api/backup/compliance/erasures).",
)
ERASURE_ABANDONED = entered(
    "erasure-abandoned",
    500,
    Retry.AFTER_OPERATOR,
    "The erasure was put off after too many workers fell silent over it",
    "Look at the workers' logs (wedsync-backup logs executor-worker); it is tried again every hour.",
)
CONFIGURATION_IN_FORCE = entered(
    "configuration-in-force",
    409,
    Retry.AFTER_OPERATOR,
    "A configuration of the data subject is not retired",
    "Retire it (DELETE /api/backup/configurations/ID): else it would go on saving what is to be erased.",
)
BACKUP_UNDER_WAY = entered(
    "backup-under-way",
    409,
    Retry.LATER,
    "A backup of the data subject's configuration is under way",
    "Nothing is to be done but to wait for its end, or to cancel it.",
)
RECOVERY_UNDER_WAY = entered(
    "recovery-under-way",
    409,
    Retry.LATER,
    "A recovery reads a recovery point of the data subject",
    "Nothing is to be done but to wait for its end, or to cancel it.",
)
POINT_HELD = entered(
    "point-held",
    409,
    Retry.AFTER_OPERATOR,
    "A hold keeps a recovery point of the data subject",
    "Two owners release it (POST /api/backup/retention/holds/ID/release), once what it was placed for allows that. "
    "One that the command line has placed is released by it (wedsync-backup repo release NAME).",
)
RETENTION_OBLIGED = entered(
    "retention-obliged",
    409,
    Retry.LATER,
    "A retention policy keeps a recovery point by a legal obligation",
    "Nothing is to be done: the erasure goes on when the policy's minimumDays are over.",
)
KEYS_LOCKED = entered(
    "keys-locked",
    409,
    Retry.LATER,
    "An object lock keeps a wrapped key on a tier",
    "Nothing is to be done: the erasure goes on when the lock is over. Until then who has the organisation's key file "
    "and reads the bucket can open it.",
)
