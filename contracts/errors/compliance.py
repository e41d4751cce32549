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
