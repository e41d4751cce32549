"""Which configurations name a location: asked of the record, since a configuration outlives every session."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from chassis.postgres.database import translated
from deploy.locations.kept import Begun
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
_BEGUN = """
    SELECT location, organisation, repository_id, head_number, head_digest, begun_at FROM executor.begun_repositories
    WHERE location = coalesce(%(location)s, location) ORDER BY location, begun_at DESC, organisation
"""


class Usage(msgspec.Struct, frozen=True):
    """Who uses a location. `repositories`: those that were begun there, the newest first."""

    configurations: list[tuple[str, str]]
    repositories: list[Begun]


def usage_of(layout: Layout, location: str) -> Usage:
    """The configurations that name a location, each with its organisation. Raises UNAVAILABLE."""
    with _connected(layout) as connection:
        users = connection.execute(_USERS.encode(), {"location": location}).fetchall()
        begun = _begun(connection, location)
    return Usage([(str(one), str(other)) for one, other in users], [each for _, _, each in begun])


def begun(layout: Layout) -> list[tuple[str, datetime, Begun]]:
    """All repositories that were begun, each with its location and its time; the newest of a location first.

    Raises UNAVAILABLE.
    """
    with _connected(layout) as connection:
        return _begun(connection, None)


@contextmanager
def _connected(layout: Layout) -> "Iterator[psycopg.Connection[tuple[Any, ...]]]":
    dsn = admin_dsn(layout, read_secrets(layout))
    with translated(), psycopg.connect(dsn, connect_timeout=4) as connection:
        yield connection


def _begun(
    connection: "psycopg.Connection[tuple[Any, ...]]", location: str | None
) -> list[tuple[str, datetime, Begun]]:
    return [
        (at, since, Begun(owner, identity or "", None if number is None else (number, bytes(digest))))
        for at, owner, identity, number, digest, since in connection.execute(_BEGUN.encode(), {"location": location})
    ]
