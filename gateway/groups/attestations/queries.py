"""Attestations as resources. What they say is opened here, for people of the organisation, and nowhere else."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.attestations import STATEMENT_FIELD, AttestationKind
from contracts.errors import PlatformError
from gateway.groups.attestations.projection import recorded
from gateway.groups.attestations.resources import Attestation
from gateway.http.resources import ListPage
from gateway.reading.cursor import Cursors, Place
from gateway.reading.opened import OpenedFields
from gateway.reading.slices import Reading, page_of

_SELECT: LiteralString = "SELECT a.fact::text, a.recorded_at FROM compliance_attestations a WHERE a.organisation = %s"


class AttestationFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which attestations a list shows."""

    kind: AttestationKind | None = None


class AttestationQueries:
    """Reads attestations and opens what is sealed in them."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def one(self, reading: Reading, organisation: str, attestation_id: str) -> Attestation:
        """An attestation. Raises NOT_FOUND, also where it is another organisation's."""
        async with reading(organisation) as database:
            found = await database.execute(_SELECT + " AND a.attestation_id = %s", (organisation, attestation_id))
            row = await found.fetchone()
        if row is None:
            raise PlatformError(errors.NOT_FOUND, "there is no such attestation")
        (told,) = await self._all_told(organisation, [row])
        return told

    async def page(
        self, reading: Reading, organisation: str, wanted: AttestationFilter, *, limit: int, cursor: str | None
    ) -> ListPage[Attestation]:
        """A page of them, the latest first. Raises INVALID_CURSOR."""
        return await page_of(
            reading,
            organisation,
            _SELECT,
            [(" AND a.kind = %s", wanted.kind)],
            partial(self._all_told, organisation),
            key=("a.recorded_at", "a.attestation_id"),
            place=lambda each: Place(each.recorded_at, each.id),
            cursors=Cursors(self._sealer, organisation, "compliance-attestations", wanted),
            limit=limit,
            cursor=cursor,
        )

    async def _all_told(self, organisation: str, rows: Sequence[tuple[Any, ...]]) -> list[Attestation]:
        """Beside the event loop: what opens their texts lies on a disk."""
        return await self._sealer.ask(lambda: [self._told(organisation, *row) for row in rows])

    def _told(self, organisation: str, stored: str, recorded_at: datetime) -> Attestation:
        fact, fields = recorded(stored), OpenedFields(self._sealer, organisation)
        return Attestation(
            id=fact.attestation_id,
            request_id=fact.request_id,
            kind=fact.kind,
            holds=fact.holds,
            about=list(fact.about),
            statement=fields.text(STATEMENT_FIELD, fact.statement, "statement"),
            attested_by=fact.attested_by,
            recorded_at=recorded_at,
            happened_at=fact.happened_at,
            log_size=fact.log_size,
            log_root=fact.log_root,
            unreadable_fields=fields.unreadable,
        )
