"""What a subscription names, looked for: who waits for what is not there waits for ever, and is told instead."""

from contracts import errors
from contracts.errors import PlatformError
from gateway.monitoring.frames import Subscribe
from gateway.projections.applied import Database

_UNKNOWN = """
    SELECT kind, place FROM (
        SELECT 'executions' AS kind, place FROM unnest(%(executions)s::text[]) WITH ORDINALITY AS named (id, place)
        WHERE NOT EXISTS (SELECT 1 FROM executions WHERE organisation = %(organisation)s AND execution_id = named.id)
            AND NOT EXISTS (
                SELECT 1 FROM recovery_operations WHERE organisation = %(organisation)s AND operation_id = named.id
            )
            AND NOT EXISTS (
                SELECT 1 FROM dr_executions WHERE organisation = %(organisation)s AND execution_id = named.id
            )
        UNION ALL
        SELECT 'configurations', place FROM unnest(%(configurations)s::text[]) WITH ORDINALITY AS named (id, place)
        WHERE NOT EXISTS (
            SELECT 1 FROM configurations WHERE organisation = %(organisation)s AND configuration_id = named.id
        )
    ) AS unknown ORDER BY kind DESC, place LIMIT 1
"""


async def unknown(database: Database, organisation: str, wanted: Subscribe) -> PlatformError | None:
    """The first that is named and that the organisation does not have, be it another's or nobody's."""
    named = {"executions": list(wanted.executions), "configurations": list(wanted.configurations)}
    if not any(named.values()):
        return None
    row = await (await database.execute(_UNKNOWN, {"organisation": organisation, **named})).fetchone()
    if row is None:
        return None
    kind, place = row
    return PlatformError(errors.NOT_FOUND, "there is nothing of this id", field=f"{kind}[{place - 1}]")
