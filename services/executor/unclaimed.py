"""What is told of runs that no worker can take, and how they end."""

from chassis.claims.port import Unclaimed
from contracts.errors import ErrorCode
from services.executor.failures import told_code
from services.executor.ports import Runs

ACTOR = "service:executor"


class UnclaimedRuns:
    """`Teller` of runs: whoever asked for one sees what it waits for (`backup-requeued`), and how it ended."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def tell(self, unclaimed: Unclaimed, lack: ErrorCode | None) -> None:
        """Why a run waits; None: no longer for that."""
        run = await self._runs.at_hand(unclaimed.claim)
        if lack is None:
            run.requeue(fence=run.fence)
        else:
            code = told_code(lack)
            run.requeue(fence=run.fence, code=code.code, hint=code.hint)
        await self._runs.record_told(run, unclaimed, lack, context=unclaimed.claim.context(ACTOR))

    async def end(self, unclaimed: Unclaimed, lack: ErrorCode) -> None:
        """The run fails of what kept all workers from it."""
        run, code = await self._runs.at_hand(unclaimed.claim), told_code(lack)
        run.fail(fence=run.fence, code=code.code, hint=code.hint)
        await self._runs.record_unclaimed_end(run, unclaimed, context=unclaimed.claim.context(ACTOR))
