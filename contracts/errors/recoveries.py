"""What may be wrong with a recovery, its point or its target."""

from contracts.errors.catalogue import Retry, entered

RECOVERY_POINT_UNKNOWN = entered(
    "recovery-point-unknown",
    404,
    Retry.NEVER,
    "There is no such recovery point",
    "Choose one of GET /api/backup/recovery-points.",
)
RECOVERY_POINT_GONE = entered(
    "recovery-point-gone",
    409,
    Retry.NEVER,
    "The recovery point is gone",
    "A cleanup has let it go by its retention policy (goneAt, goneBecause of GET /api/backup/recovery-points/ID). "
    "Choose another one.",
)
RECOVERY_POINT_NOT_SEEN_YET = entered(
    "recovery-point-not-seen-yet",
    503,
    Retry.LATER,
    "The recovery point has not arrived at the recovery service yet",
    "Nothing is to be done; the request is looked at again by itself.",
)
RECOVERY_POINT_MISSING = entered(
    "recovery-point-missing",
    503,
    Retry.AFTER_OPERATOR,
    "No tier that answers has the recovery point",
    "Bring back the tiers that took it (GET /api/backup/recovery-points/ID names them), then ask again; what of it is "
    "there tells wedsync-backup repo snapshots.",
)
TARGET_UNUSABLE = entered(
    "target-unusable",
    422,
    Retry.AFTER_OPERATOR,
    "The target cannot be written to",
    "Check that the target's location is there (its disk is mounted), is a folder, and that the platform may write "
    "there; then ask again.",
)
TARGET_EXCLUDED = entered(
    "target-excluded",
    422,
    Retry.NEVER,
    "The target is in a folder that nothing is ever restored to",
    "Choose a folder outside the platform's own (keys, data, settings, logs) and outside every tier.",
)
LOCATION_SILENT = entered(
    "location-silent",
    503,
    Retry.AFTER_OPERATOR,
    "A tier or a source may lie in the target, or around it, and its disk does not answer",
    "Bring it back, or choose a target on another disk to which no mount of it leads; then ask again.",
)
TARGET_NOT_EMPTY = entered(
    "target-not-empty",
    409,
    Retry.NEVER,
    "The target holds something already",
    "Choose an empty folder or one that is not there yet, or another conflictPolicy: skip, overwrite or rename.",
)
TARGET_BUSY = entered(
    "target-busy",
    409,
    Retry.LATER,
    "Another recovery writes to the target",
    "Wait for its end, or choose another folder; then ask again with a new Idempotency-Key.",
)
TARGET_FULL = entered(
    "target-full",
    507,
    Retry.AFTER_OPERATOR,
    "The target has no space left",
    "Make room there, then ask for the same recovery again: it goes on with what is there.",
)
TARGET_NEEDS_APPROVAL = entered(
    "target-needs-approval",
    403,
    Retry.NEVER,
    "Something could be overwritten that is backed up itself",
    "A restore over a source takes the approval of a second person, which cannot be given over the API yet: choose "
    "another folder, or an empty one with the conflictPolicy refuse.",
)
RECOVERY_INCOMPLETE = entered(
    "recovery-incomplete",
    500,
    Retry.AFTER_OPERATOR,
    "Some of what was asked for is not in the target as it was",
    "The counts by reason say of how many entries; a file without all of its bytes is called NAME.incomplete-… there. "
    "Bring back the tiers that were away (damaged), make room for what is in-the-way or not-created, then ask for the "
    "same again: a recovery that has failed goes on with what is there.",
)
RECOVERY_MATCHES_NOTHING = entered(
    "recovery-matches-nothing",
    422,
    Retry.NEVER,
    "Nothing in the recovery point matches what was asked for",
    "Correct the paths: they are below the root of what was backed up, and a name without a slash is looked for in "
    "every folder.",
)
RECOVERY_SCOPE_UNMATCHED = entered(
    "recovery-scope-unmatched",
    422,
    Retry.NEVER,
    "Some of the paths that were asked for match nothing in the recovery point",
    "The count of the reason unmatched says how many. Compare the scope with what is in the target, and ask for what "
    "is missing by its corrected path.",
)
RECOVERY_FINISHED = entered(
    "recovery-finished", 409, Retry.NEVER, "The recovery has ended already", "Ask for a new recovery."
)
RECOVERY_ABANDONED = entered(
    "recovery-abandoned",
    500,
    Retry.AFTER_OPERATOR,
    "The recovery has cost one worker after another its life",
    "Look at the logs of recovery-worker for what stops them, mend it, then ask for the same recovery again.",
)
NO_RECOVERY_WORKER = entered(
    "no-recovery-worker",
    503,
    Retry.LATER,
    "No worker takes recoveries at present",
    "Ask the operator to look at what became of recovery-worker (wedsync-backup status). The recovery is taken by"
    " itself once one is back.",
)
ENTRY_UNKNOWN = entered(
    "entry-unknown",
    404,
    Retry.NEVER,
    "The recovery point has nothing at this path",
    "List its root with GET /api/backup/recovery-points/ID/entries; names are told apart by their case.",
)
LOOK_UNANSWERED = entered(
    "look-unanswered",
    503,
    Retry.LATER,
    "No recovery worker has looked into the recovery point in time",
    "Try again in a few seconds. Where it goes on, ask the operator to look at recovery-worker (wedsync-backup status) "
    "and at the tiers of the recovery point.",
)
ENTRY_WITHOUT_CONTENT = entered(
    "entry-without-content",
    409,
    Retry.NEVER,
    "What lies at this path has no content to be sent",
    "Name a file (kind of GET /api/backup/recovery-points/ID/entries) whose states do not say unreadable.",
)
RANGE_NOT_THERE = entered(
    "range-not-there",
    416,
    Retry.NEVER,
    "The file has no such bytes",
    "Ask for one range within its size, which the context says.",
)
VALIDATION_OPEN = entered(
    "validation-open",
    409,
    Retry.LATER,
    "A validation of the recovery point has not ended",
    "Wait for its end (GET /api/backup/recovery/validations), or cancel it; then ask again with a new Idempotency-Key.",
)
VALIDATION_TIER_UNKNOWN = entered(
    "validation-tier-unknown",
    422,
    Retry.NEVER,
    "The configuration of the recovery point has never had this tier",
    "Choose among the tiers of GET /api/backup/recovery-points/ID, or leave tiers out for all of them.",
)
VALIDATION_OVERDUE = entered(
    "validation-overdue",
    503,
    Retry.AFTER_OPERATOR,
    "Locations were not read whole within the set time",
    "GET /api/backup/recovery/validations tells what kept them. Where they hold more than the time allows, whoever "
    "operates the platform gives them more bytes a day, or more days.",
)
VALIDATION_FINISHED = entered(
    "validation-finished", 409, Retry.NEVER, "The validation has ended already", "Ask for a new validation."
)
VALIDATION_ABANDONED = entered(
    "validation-abandoned",
    500,
    Retry.AFTER_OPERATOR,
    "The validation has cost one worker after another its life",
    "Look at the logs of recovery-worker for what stops them, mend it, then ask for the same validation again.",
)
