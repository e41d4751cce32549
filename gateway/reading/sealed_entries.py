"""Who has something in the record, and a few of its sealed names: what an organisation's keys have to open."""

from typing import LiteralString

import msgspec

from chassis.key_checks import KeysOfTenants
from chassis.sealing import Sealer
from contracts.configuration import NAME_FIELD
from contracts.notifications import CHANNEL_NAME_FIELD
from contracts.retention import POLICY_NAME_FIELD
from contracts.sealed import Sealed
from gateway.reading.slices import Reading

_TABLES: tuple[tuple[str, LiteralString], ...] = (
    (NAME_FIELD, "configurations"),
    (POLICY_NAME_FIELD, "retention_policies"),
    (CHANNEL_NAME_FIELD, "notification_channels"),
)
_ORGANISATIONS: LiteralString = """
    SELECT organisation FROM configurations UNION SELECT organisation FROM retention_policies
    UNION SELECT organisation FROM notification_channels ORDER BY 1
"""
_ENTRIES: tuple[tuple[str, LiteralString], ...] = tuple(
    (
        field,
        f"""
        SELECT o.organisation, e.name FROM unnest(%s::text[]) o (organisation), LATERAL (
            (SELECT (t.body->'name')::text AS name FROM {table} t WHERE t.organisation = o.organisation
             ORDER BY t.created_at DESC LIMIT 1)
            UNION ALL
            (SELECT (t.body->'name')::text FROM {table} t WHERE t.organisation = o.organisation
             ORDER BY t.created_at LIMIT 1)
        ) e
        """,  # noqa: S608  # our own names
    )
    for field, table in _TABLES
)

_SEALED = msgspec.json.Decoder(Sealed)


def keys_of_tenants(sealer: Sealer, reading: Reading, share: str) -> KeysOfTenants:
    """What looks whether the keys of all who have something in the record open it. `share`: in whose turn it reads."""

    async def organisations() -> list[str]:
        async with reading(share) as database:
            found = await database.execute(_ORGANISATIONS)
            return [organisation for (organisation,) in await found.fetchall()]

    async def entries(names: list[str]) -> dict[str, list[tuple[str, Sealed]]]:
        boxes: dict[str, list[tuple[str, Sealed]]] = {}
        for field, query in _ENTRIES:
            async with reading(share) as database:
                for organisation, name in await (await database.execute(query, (names,))).fetchall():
                    boxes.setdefault(organisation, []).append((field, _SEALED.decode(name)))
        return boxes

    return KeysOfTenants(sealer, organisations, entries)
