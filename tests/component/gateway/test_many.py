"""An organisation with many configurations and runs: what is told of them stays right, and is counted by Postgres."""

import psycopg
import pytest

from benchmarks.spine_large import fill
from chassis.postgres.database import connection_arguments
from gateway.groups.executions import status as status_queries
from tests.support.gateway import ORGANISATION, RunningGateway

pytestmark = pytest.mark.stack

CONFIGURATIONS = 300
EXECUTIONS = 900


async def test_status_of_many_configurations_is_counted_by_postgres(gateway: RunningGateway) -> None:
    """However many configurations there are, what this process judges is what differs among them."""
    access = gateway.access
    async with gateway.http("owner") as http:
        template = (await gateway.create_configuration(http))["id"]
        await fill(
            access.dsn,
            access.schema,
            ORGANISATION,
            template,
            configurations=CONFIGURATIONS,
            executions=EXECUTIONS,
        )
    status = await gateway.shows("/api/backup/status", lambda body: body["configurations"]["total"] > CONFIGURATIONS)
    assert status["configurations"] == {
        "total": CONFIGURATIONS + 1,
        "weddingCritical": CONFIGURATIONS + 1,
        "healthy": CONFIGURATIONS,
        "degraded": 0,
        "failing": 0,
        "neverRun": 1,
        "paused": 0,
    }
    assert status["executions"]["completed"] == EXECUTIONS
    tiers = {tier["tier"]: tier for tier in status["tiers"]}
    assert (tiers["local"]["verdict"], tiers["local"]["configurations"]) == ("healthy", CONFIGURATIONS + 1)
    assert (tiers["offsite"]["verdict"], tiers["offsite"]["lastUploadedAt"]) == ("unproven", None)
    failing = {rule["rule"]: rule["failingConfigurations"] for rule in status["verdict"]["rules"]}
    assert failing == {
        "three-copies": CONFIGURATIONS + 1,
        "two-media": CONFIGURATIONS + 1,
        "one-offsite": CONFIGURATIONS + 1,
        "one-immutable": CONFIGURATIONS + 1,
        "zero-errors": 1,
    }
    arguments = connection_arguments(access.dsn, access.schema)
    async with await psycopg.AsyncConnection.connect(access.dsn, **arguments) as database:
        groups = await (await database.execute(status_queries._GROUPS, (ORGANISATION,))).fetchall()
    assert len(groups) == 2
    oldest = status["oldestUnprotectedSource"]
    assert oldest["configurationId"] != template
    assert oldest["since"] == oldest["lastRecoveryPointAt"]


async def test_lists_of_many_end_where_they_should(gateway: RunningGateway) -> None:
    """Every run is on exactly one page, by each filter."""
    access = gateway.access
    async with gateway.http("owner") as http:
        template = (await gateway.create_configuration(http))["id"]
        await fill(
            access.dsn, access.schema, ORGANISATION, template, configurations=CONFIGURATIONS, executions=EXECUTIONS
        )
        for query, expected in (
            ("", EXECUTIONS),
            ("&status=completed&weddingCritical=true", EXECUTIONS),
            ("&weddingCritical=false", 0),
            ("&status=failed", 0),
            ("&status=cancelled", 0),
            ("&status=initializing&status=preparing", 0),
            ("&degraded=true", 0),
            ("&degraded=false", EXECUTIONS),
        ):
            found: set[str] = set()
            cursor = ""
            while True:
                answer = await http.get(f"/api/backup/executions?limit=200{query}{cursor}")
                page = answer.json()
                assert not found.intersection(run["id"] for run in page["items"])
                found.update(run["id"] for run in page["items"])
                if page["nextCursor"] is None:
                    break
                cursor = f"&cursor={page['nextCursor']}"
            assert len(found) == expected, query
