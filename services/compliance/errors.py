"""What can go wrong in the compliance service, each with its code in the catalogue."""

from contracts import errors
from contracts.errors import PlatformError


class AuditLogBehind(PlatformError):
    """The audit log has not taken in what is asked yet: what happened before it may be missing there, too."""

    def __init__(self, audit_id: str) -> None:
        super().__init__(errors.AUDIT_LOG_BEHIND, "the audit log has not taken in the request yet", audit_id=audit_id)


class SignerUnknown(PlatformError):
    """The key that signs the audit log is missing, or another one than has signed it so far."""

    def __init__(self, file: str, why: str, *, hint: str | None = None) -> None:
        super().__init__(
            errors.KEYS_UNUSABLE,
            f"the key that signs the audit log {why}",
            hint=hint
            or f"Put {file} back from the copy of the folder of WEDSYNC_KEYS_DIR, with the mode 0600. No other key "
            "is made by itself: what it signed would not be verified by the key that auditors were given. Without a "
            f"copy: wedsync-backup down, then wedsync-backup up --begin-anew keys/platform/{file} (docs/operations.md, "
            "section 13).",
            file=file,
        )


class AuditLogPutBack(PlatformError):
    """The log in the database is shorter than what was signed last, or has other entries."""

    def __init__(self, signed: int, there: int) -> None:
        super().__init__(
            errors.AUDIT_LOG_PUT_BACK,
            f"the audit log in the database is not the one that was signed last: that had {signed} entries, "
            + (f"and this one has {there}" if there < signed else f"and the {there} of this one are others"),
        )
