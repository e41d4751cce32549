"""Retention policies as resources. Sealed names are opened here, for people of the organisation, and nowhere else."""

from collections.abc import Sequence
from functools import partial
from typing import Any, LiteralString

import msgspec

from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError
from contracts.retention import POLICY_NAME_FIELD, RetentionRules
from gateway.groups.retention.projection import policy_body
from gateway.groups.retention.resources import RetentionPolicy
from gateway.http.resources import ListPage
from gateway.reading.cursor import Cursors, Place
from gateway.reading.opened import OpenedFields
from gateway.reading.slices import Reading, page_of

_SELECT: LiteralString = """
    SELECT p.retention_policy_id, p.version, coalesce(q.actor, p.created_by), p.created_at, p.changed_at, p.body::text
    FROM retention_policies p
    LEFT JOIN requests q ON q.request_id = p.request_id
    WHERE p.organisation = %s
"""


class _All(msgspec.Struct, frozen=True):
    """No list of policies is narrowed."""


class RetentionPolicyQueries:
    """Reads retention policies and opens their names."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    async def one(self, reading: Reading, organisation: str, policy_id: str) -> RetentionPolicy:
        """A policy. Raises RETENTION_POLICY_UNKNOWN, also where it is another organisation's."""
        query = _SELECT + " AND p.retention_policy_id = %s"
        async with reading(organisation) as database:
            row = await (await database.execute(query, (organisation, policy_id))).fetchone()
        if row is None:
            raise PlatformError(errors.RETENTION_POLICY_UNKNOWN, "there is no such retention policy")
        (told,) = await self._all_told(organisation, [row])
        return told

    async def page(
        self, reading: Reading, organisation: str, *, limit: int, cursor: str | None
    ) -> ListPage[RetentionPolicy]:
        """A page of policies, the latest first. Raises INVALID_CURSOR."""
        return await page_of(
            reading,
            organisation,
            _SELECT,
            [],
            partial(self._all_told, organisation),
            key=("p.created_at", "p.retention_policy_id"),
            place=lambda each: Place(each.created_at, each.id),
            cursors=Cursors(self._sealer, organisation, "retention-policies", _All()),
            limit=limit,
            cursor=cursor,
        )

    async def _all_told(self, organisation: str, rows: Sequence[tuple[Any, ...]]) -> list[RetentionPolicy]:
        """Policies of rows, beside the event loop: what opens their names lies on a disk."""
        return await self._sealer.ask(lambda: [self._told(organisation, row) for row in rows])

    def _told(self, organisation: str, row: tuple[Any, ...]) -> RetentionPolicy:
        policy_id, version, created_by, created_at, changed_at, stored = row
        body = policy_body(stored)
        rules: dict[str, Any] = {name: getattr(body, name) for name in RetentionRules.__struct_fields__}
        fields = OpenedFields(self._sealer, organisation)
        name = fields.text(POLICY_NAME_FIELD, body.name, "name")
        return RetentionPolicy(
            id=policy_id,
            version=version,
            name=name,
            **rules | {"tags": list(body.tags), "data_categories": list(body.data_categories)},
            created_by=created_by,
            created_at=created_at,
            changed_at=changed_at,
            unreadable_fields=fields.unreadable,
        )
