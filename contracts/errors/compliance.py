"""What may be wrong with an audit."""

from contracts.errors.catalogue import Retry, entered

AUDIT_LOG_BEHIND = entered(
    "audit-log-behind",
    503,
    Retry.LATER,
    "The audit log has not taken in the request yet",
    "Nothing is to be done; the request is looked at again by itself. Where it lasts, what keeps the compliance "
    "service is said by wedsync-backup status.",
)

AUDIT_LOG_PUT_BACK = entered(
    "audit-log-put-back",
    503,
    Retry.AFTER_OPERATOR,
    "The audit log in the database is not the one that was signed last",
    "Put the newest copy of the record in its place. Is the record as it is now to go on: wedsync-backup refill "
    "compliance --new-incarnation (docs/operations.md, section 3). Nothing is appended until then.",
)
