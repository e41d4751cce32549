"""What may be wrong with a hold, or with an approval."""

from contracts.errors.catalogue import Retry, entered

HOLD_UNKNOWN = entered(
    "hold-unknown",
    404,
    Retry.NEVER,
    "There is no such hold",
    "Check the id; only holds of your own organisation are found.",
)
HOLD_OF_EVERYTHING = entered(
    "hold-of-everything",
    422,
    Retry.NEVER,
    "The hold does not say what it keeps",
    "Name configurations, recovery points or tags, or a time in madeFrom or madeBefore.",
)
HOLD_TOO_WIDE = entered(
    "hold-too-wide",
    422,
    Retry.NEVER,
    "Too many configurations have a tag of the hold",
    "Place one hold by a time range without tags, or several that name configurations.",
)
HOLD_RELEASED = entered(
    "hold-released",
    409,
    Retry.NEVER,
    "The hold is released already",
    "Nothing is to be done; what is to be kept again takes a new hold.",
)
HOLD_RELEASE_OPEN = entered(
    "hold-release-open",
    409,
    Retry.LATER,
    "The release of the hold waits for a second person already",
    "Have another owner approve or deny it: GET /api/backup/approvals lists it.",
)
APPROVAL_UNKNOWN = entered(
    "approval-unknown",
    404,
    Retry.NEVER,
    "There is no such approval",
    "Check the id; only approvals of your own organisation are found.",
)
APPROVAL_OVER = entered(
    "approval-over",
    409,
    Retry.NEVER,
    "The approval is over",
    "It was granted, denied or has expired (GET /api/backup/approvals/ID). Whoever needs it asks for it anew.",
)
APPROVAL_OUTDATED = entered(
    "approval-outdated",
    409,
    Retry.NEVER,
    "What was to be approved has changed since it was asked for",
    "Look at it as it is now, deny this approval, and ask for what is wanted anew.",
)
SECOND_PERSON_NEEDED = entered(
    "second-person-needed",
    403,
    Retry.NEVER,
    "Who asked for it cannot approve it",
    "Have another owner of the organisation approve it; whoever asked may take it back by denying it.",
)
