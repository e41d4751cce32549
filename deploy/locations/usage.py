"""Which configurations name a location: asked of the record, since a configuration outlives every session."""

import msgspec
import psycopg

from chassis.postgres.database import translated
from deploy.stack.layout import Layout
from deploy.stack.postgres import admin_dsn
from deploy.stack.secrets import read_secrets

# The executor's copies are the newest versions; what was created and has not arrived there yet, the record knows.
_USERS = """
    WITH configurations AS (
        SELECT configuration_id, organisation, convert_from(body, 'UTF8')::jsonb AS body
        FROM executor.configuration_replicas
        UNION ALL
        SELECT created.event #>> '{data,configurationId}', created.event ->> 'organisation',
               created.event #> '{data,body}'
        FROM (SELECT convert_from(state, 'UTF8')::jsonb AS event FROM config.stored_events
              WHERE topic = 'config.configuration-created.v1') AS created
        WHERE NOT EXISTS (SELECT 1 FROM executor.configuration_replicas
                          WHERE configuration_id = created.event #>> '{data,configurationId}')
    )
    SELECT configuration_id, organisation FROM configurations
    WHERE body ->> 'sourceLocation' = %(location)s
       OR EXISTS (SELECT 1 FROM jsonb_each(body -> 'storageDestinations') WHERE value ->> 'location' = %(location)s)
    ORDER BY organisation, configuration_id
"""
_BEGUN = "SELECT organisation FROM executor.begun_repositories WHERE location = %(location)s ORDER BY begun_at DESC"


class Usage(msgspec.Struct, frozen=True):
    """Who uses a location. `repositories`: the organisations that have one there, the newest first."""

    configurations: list[tuple[str, str]]
    repositories: list[str]


def usage_of(layout: Layout, location: str) -> Usage:
    """The configurations that name a location, each with its organisation. Raises UNAVAILABLE."""
    dsn = admin_dsn(layout, read_secrets(layout))
    with translated(), psycopg.connect(dsn, connect_timeout=4) as connection:
        users = connection.execute(_USERS.encode(), {"location": location}).fetchall()
        begun = connection.execute(_BEGUN.encode(), {"location": location}).fetchall()
    return Usage([(str(one), str(other)) for one, other in users], [str(organisation) for (organisation,) in begun])
