"""What can go wrong in the compliance service, each with its code in the catalogue."""

from contracts import errors
from contracts.errors import PlatformError


class AuditLogBehind(PlatformError):
    """The audit log has not taken in what is asked yet: what happened before it may be missing there, too."""

    def __init__(self, audit_id: str) -> None:
        super().__init__(errors.AUDIT_LOG_BEHIND, "the audit log has not taken in the request yet", audit_id=audit_id)


class SignerUnknown(PlatformError):
    """The key that signs the audit log is missing, or another one than has signed it so far."""

    def __init__(self, file: str, why: str) -> None:
        super().__init__(
            errors.KEYS_UNUSABLE,
            f"the key that signs the audit log {why}",
            hint=f"Put {file} back from the copy of the folder of WEDSYNC_KEYS_DIR. No other key is made: what it "
            "signed would not be verified by the key that auditors were given. Until then nothing is appended.",
            file=file,
        )
