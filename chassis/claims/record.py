"""Work in the record and its claim in one: what is recorded of work that is claimed holds both or none."""

from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from chassis.claims.port import Claim, ClaimLost, Unclaimed
from chassis.claims.work import Work
from chassis.context import Context
from chassis.record.answers import Answers
from chassis.record.eventstore import Statement, StatementRefused
from contracts import errors
from contracts.errors import ErrorCode, PlatformError

A = TypeVar("A", bound=Any)
"""An aggregate with the `fence` under which it is worked on."""


class RecordedWork(Answers[A]):
    """Aggregates that are worked on. A subclass says their `KIND`, and the `WORK` that they are."""

    WORK: ClassVar[Work]

    async def load(self, work_id: str) -> A:
        """Read one from its history. Raises AGGREGATE_NOT_FOUND."""
        kind: type[A] = self.KIND  # type: ignore[assignment]  # a class variable knows no type variable
        return await self._store.load(kind, work_id)

    async def at_hand(self, claim: Claim) -> A:
        """One to be told about or ended; where this build cannot read its history, it stands at the claim's fence."""
        try:
            return await self.load(claim.work_id)
        except PlatformError as error:
            if error.code is not errors.EVENT_UNREADABLE:
                raise
        kind: type[A] = self.KIND  # type: ignore[assignment]  # as above
        unread = await self._store.unread(kind, claim.work_id)
        unread.fence = claim.fence
        self.unread(unread, claim)
        return unread

    def unread(self, thing: A, claim: Claim) -> None:
        """Give what its claim alone tells to one whose history cannot be read."""

    async def record(self, thing: A, *, context: Context) -> None:
        """Record what has happened. Raises CONCURRENT_CHANGE."""
        await self._store.save(thing, context=context)

    async def record_told(self, thing: A, unclaimed: Unclaimed, lack: ErrorCode | None, *, context: Context) -> None:
        """Record what is told of work that no worker can take, with the note that it was. Raises CLAIM_LOST."""
        statement = self.WORK.told(unclaimed, lack.code if lack else None)
        await self.save_of(thing, unclaimed.claim, context, [statement])

    async def record_unclaimed_end(self, thing: A, unclaimed: Unclaimed, *, context: Context) -> None:
        """Record the end of work that no worker could take, and close its claim. Raises CLAIM_LOST."""
        await self.save_of(thing, unclaimed.claim, context, [self.WORK.ended(unclaimed)])

    async def record_release(
        self, thing: A, *, claim: Claim, is_left: bool, in_trouble: bool, context: Context
    ) -> None:
        """Record that it waits again and give its claim back (`Claims.release`). Raises CLAIM_LOST."""
        await self.save_of(thing, claim, context, [self.WORK.released(claim, is_left=is_left, in_trouble=in_trouble)])

    async def save_of(self, thing: A, claim: Claim, context: Context, also: Sequence[Statement]) -> None:
        """Record with statements of which one is about the claim. Raises CLAIM_LOST where that is another's."""
        try:
            await self._store.save(thing, context=context, also=also)
        except StatementRefused as error:
            raise ClaimLost(claim.work_id, fence=claim.fence, current=claim.fence + 1) from error
