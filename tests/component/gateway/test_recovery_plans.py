"""How much of the read models a list of recovery points looks at."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from gateway.groups.recovery.queries import _POINTS_AT
from gateway.schema import STATEMENTS
from tests.support.postgres_server import PostgresServer, SchemaAccess

pytestmark = pytest.mark.stack
pytest_plugins = ["tests.support.postgres_server"]

CONFIGURATIONS, EACH = 20, 100


@pytest.fixture
def access(postgres: PostgresServer) -> Iterator[SchemaAccess]:
    """A gateway's schema with points of two organisations."""
    access = postgres.fresh(statements=STATEMENTS, prefix="gateway")
    with psycopg.connect(access.admin_dsn) as connection:
        connection.execute(f"SET search_path TO {access.schema}".encode())
        for organisation in ("org-a", "org-b"):
            connection.execute(
                """INSERT INTO recovery_points (recovery_point_id, organisation, configuration_id, completed_at, fact)
                SELECT %(who)s || '-' || c || '-' || n, %(who)s, %(who)s || '-' || c,
                    '2026-01-01Z'::timestamptz + n * interval '1 hour', '{}'
                FROM generate_series(1, %(many)s) c, generate_series(1, %(each)s) n""",
                {"who": organisation, "many": CONFIGURATIONS, "each": EACH},
            )
    with psycopg.connect(access.admin_dsn, autocommit=True) as connection:
        connection.execute(f"ANALYZE {access.schema}.recovery_points".encode())
    yield access
    postgres.drop(access)


def _rows(plan: dict[str, object]) -> float:
    """The rows that all scans of points have read."""
    below = plan.get("Plans", [])
    assert isinstance(below, list)
    own = 0.0
    if plan.get("Relation Name") == "recovery_points":
        own = float(str(plan["Actual Rows"])) * float(str(plan["Actual Loops"]))
        own += float(str(plan.get("Rows Removed by Filter", 0))) * float(str(plan["Actual Loops"]))
    return own + sum(_rows(each) for each in below)


def test_what_there_was_at_a_moment_is_looked_up_once_a_configuration(access: SchemaAccess) -> None:
    """Not once a point, nor in the points of other organisations."""
    with psycopg.connect(access.admin_dsn) as connection:
        connection.execute(f"SET search_path TO {access.schema}".encode())
        asked = ("org-a", "2026-01-03T12:30:00Z")
        found = connection.execute(_POINTS_AT, asked).fetchall()
        assert len(found) == CONFIGURATIONS
        assert {row[1].hour for row in found} == {12}
        row = connection.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + _POINTS_AT, asked).fetchone()
        assert row is not None
        plan = row[0] if isinstance(row[0], list) else json.loads(row[0])
    assert _rows(plan[0]["Plan"]) <= 3 * CONFIGURATIONS
