"""What is told of recoveries that no worker can take, and how they end."""

from chassis.claims.port import Unclaimed
from contracts import errors
from contracts.errors import ErrorCode
from services.recovery.failures import told_code
from services.recovery.ports import Operations

ACTOR = "service:recovery"


class UnclaimedRecoveries:
    """`Teller` of recoveries: whoever asked for one sees what it waits for, and how it ended."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def tell(self, unclaimed: Unclaimed, lack: ErrorCode | None) -> None:
        """Why a recovery waits; None: no longer for that."""
        operation = await self._operations.at_hand(unclaimed.claim)
        code = _code(lack) if lack else None
        operation.requeue(fence=operation.fence, code=code.code if code else None, hint=code.hint if code else "")
        await self._operations.record_told(operation, unclaimed, lack, context=unclaimed.claim.context(ACTOR))

    async def end(self, unclaimed: Unclaimed, lack: ErrorCode) -> None:
        """The recovery fails of what kept all workers from it."""
        operation, code = await self._operations.at_hand(unclaimed.claim), _code(lack)
        operation.fail(fence=operation.fence, code=code.code, hint=code.hint)
        await self._operations.record_unclaimed_end(operation, unclaimed, context=unclaimed.claim.context(ACTOR))


def _code(lack: ErrorCode) -> ErrorCode:
    return errors.NO_RECOVERY_WORKER if lack is errors.NO_WORKER else told_code(lack)
