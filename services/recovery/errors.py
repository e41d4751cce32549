"""What can go wrong in the recovery service, each with its code in the catalogue."""

from contracts import errors
from contracts.errors import ErrorCode, PlatformError


class RecoveryFinished(PlatformError):
    """The recovery has ended; nothing more happens to it."""

    def __init__(self, operation_id: str, state: str) -> None:
        hint = f"{errors.RECOVERY_FINISHED.hint} This one is {state}."
        super().__init__(
            errors.RECOVERY_FINISHED, "the recovery has ended already", hint=hint, operation_id=operation_id
        )


class TargetBusy(PlatformError):
    """Another recovery that has not ended writes to the target."""

    def __init__(self, operation_id: str) -> None:
        super().__init__(
            errors.TARGET_BUSY, "another recovery writes to the target", field="targetPath", operation_id=operation_id
        )


class TiersUnusable(PlatformError):
    """No tier gives the recovery point. `shown`: why each does not, by names that the organisation knows."""

    def __init__(self, code: ErrorCode, message: str, shown: str) -> None:
        super().__init__(code, message, hint=f"{shown}. Then ask for the same again.")


class PointNotSeenYet(PlatformError):
    """The recovery point, or where it lies, has not arrived here yet."""

    def __init__(self, recovery_point_id: str) -> None:
        super().__init__(
            errors.RECOVERY_POINT_NOT_SEEN_YET,
            "the recovery point has not arrived yet",
            recovery_point_id=recovery_point_id,
        )


class RecoveryNotSeenYet(PlatformError):
    """What is withdrawn has not arrived here yet: requests of two kinds have no order among each other."""

    def __init__(self, operation_id: str) -> None:
        message = "the recovery that is withdrawn has not arrived yet"
        super().__init__(errors.RECOVERY_POINT_NOT_SEEN_YET, message, operation_id=operation_id)
