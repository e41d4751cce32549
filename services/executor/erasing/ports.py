"""What erasures need of the outside.

All calls may raise `PlatformError`; those with retry class *later* may be made again.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from chassis.claims.port import Claim, WorkRecord
from chassis.context import Context
from chassis.handling import Handling
from contracts.erasure_events import PlaceErased
from services.executor.erasing.domain import SubjectErasure
from services.executor.erasing.obstacles import Standing
from services.executor.on_tiers import Plane


class Domain(msgspec.Struct, frozen=True, kw_only=True):
    """What the tiers have of a subject's domain. `holds`: names of those that keep a snapshot of it there."""

    key_ids: Sequence[str]
    holds: Sequence[str]


class Destroyed(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the domain's keys. `is_complete`: at every location where the organisation's repository is.

    `receipt`: signed, to the byte; None where there was no key of it.
    """

    places: Sequence[PlaceErased]
    is_complete: bool
    receipt: str | None = None


class Erasures(WorkRecord[SubjectErasure], Protocol):
    """The record of erasures."""

    async def find(self, id: str, organisation: str) -> SubjectErasure | None:  # noqa: A002  # as the aggregate names it
        """One of an organisation's, or None."""
        ...

    async def standing(self, organisation: str, data_subject_id: str) -> Standing:
        """What is known of a subject, at one moment."""
        ...

    async def record_answer(self, thing: SubjectErasure, handling: Handling) -> None:
        """Record a refusal and the message as handled: both or none."""
        ...

    async def record_accepted(self, erasure: SubjectErasure, handling: Handling) -> None:
        """Record that one is taken on, its deadline, and that it waits: for a worker, or for what stands against it.

        All or none. Raises ErasureBusy, where the subject has one already.
        """
        ...

    async def record_begun(self, erasure: SubjectErasure, standing: Standing, *, context: Context) -> None:
        """Record that it has begun. Raises CONCURRENT_CHANGE where a hold was placed since it was looked at."""
        ...

    async def record_end(self, erasure: SubjectErasure, *, claim: Claim, context: Context) -> None:
        """Record how an attempt has ended, close its claim and set when it goes on: all or none. Raises CLAIM_LOST."""
        ...


class OpenErasure(Protocol):
    """An organisation's repository, opened where it is remembered. Blocking calls; made in a thread."""

    def look(self, data_subject_id: str, key_ids: Collection[str]) -> Domain:
        """What there is of the subject's domain. `key_ids`: of which it is known that they were its keys."""
        ...

    def destroy(self, data_subject_id: str, key_ids: Collection[str]) -> Destroyed:
        """Destroy the domain's keys wherever they can be reached. Raises POINT_HELD where a hold came meanwhile."""
        ...

    def close(self) -> None:
        """Give the tiers back."""
        ...


class ErasurePlane(Plane[OpenErasure], Protocol):
    """The repository and the sealing keys, seen from an erasure. Blocking calls; made in a thread."""

    def forget(self, organisation: str, data_subject_id: str) -> None:
        """Destroy the key of the subject's sealed fields. Once more changes nothing."""
        ...
