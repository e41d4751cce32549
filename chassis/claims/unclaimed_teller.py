"""What is told of work that no worker can take, and how it ends."""

from collections.abc import Callable
from typing import Any

from chassis.claims.port import Unclaimed, WorkRecord
from contracts.errors import ErrorCode


class UnclaimedTeller:
    """`Teller` of work: whoever asked for it sees what it waits for, and how it ended.

    `told`: the code that people of the organisation are told of what workers lack. `actor`: who records it.
    """

    def __init__(self, record: WorkRecord[Any], told: Callable[[ErrorCode], ErrorCode], *, actor: str) -> None:
        self._record = record
        self._told = told
        self._actor = actor

    async def tell(self, unclaimed: Unclaimed, lack: ErrorCode | None) -> None:
        """Why it waits; None: no longer for that."""
        work = await self._record.at_hand(unclaimed.claim)
        if lack is None:
            work.requeue(fence=work.fence)
        else:
            code = self._told(lack)
            work.requeue(fence=work.fence, code=code.code, hint=code.hint)
        await self._record.record_told(work, unclaimed, lack, context=unclaimed.claim.context(self._actor))

    async def end(self, unclaimed: Unclaimed, lack: ErrorCode) -> None:
        """It fails of what kept all workers from it."""
        work, code = await self._record.at_hand(unclaimed.claim), self._told(lack)
        work.fail(fence=work.fence, code=code.code, hint=code.hint)
        await self._record.record_unclaimed_end(work, unclaimed, context=unclaimed.claim.context(self._actor))
