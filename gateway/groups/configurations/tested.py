"""What tests of configurations have found, as it is told."""

from contracts import errors
from contracts.configuration import Tier
from contracts.errors import PlatformError
from contracts.gateway_events import LastRunSeen
from contracts.reading import read_plain, written_as
from contracts.trial import Verdict
from gateway.groups.configurations.projection import test_found
from gateway.groups.configurations.resources import ConfigurationTest, TestEstimate, TestFinding, TestVerdict
from gateway.http.problems import public_hint
from gateway.projections.applied import Database

_SHOW = """
    SELECT t.tested_at, t.fact::text FROM configurations c LEFT JOIN configuration_tests t USING (configuration_id)
    WHERE c.organisation = %s AND c.configuration_id = %s
"""
_SEEN = """
    SELECT c.version, e.source_bytes, e.files, (e.view ->> 'seconds')::float8
    FROM configurations c LEFT JOIN LATERAL (
        SELECT * FROM executions r WHERE r.organisation = c.organisation AND r.configuration_id = c.configuration_id
            AND r.state = 'completed' ORDER BY r.accepted_at DESC, r.execution_id DESC LIMIT 1) e ON true
    WHERE c.organisation = %s AND c.configuration_id = %s
"""
_TOLD = {Verdict.PASS: TestVerdict.PASS, Verdict.FAIL: TestVerdict.FAIL}


async def latest(database: Database, organisation: str, configuration_id: str) -> ConfigurationTest:
    """The latest test. Raises CONFIGURATION_UNKNOWN, also where it is another organisation's, and ViewUnreadable."""
    row = await (await database.execute(_SHOW, (organisation, configuration_id))).fetchone()
    if row is None:
        raise PlatformError(errors.CONFIGURATION_UNKNOWN, "there is no such configuration")
    tested_at, stored = row
    if stored is None:
        return ConfigurationTest(configuration_id=configuration_id, verdict=TestVerdict.UNTESTED)
    fact = test_found(stored)
    estimate = fact.estimate
    return ConfigurationTest(
        configuration_id=configuration_id,
        verdict=_TOLD.get(fact.verdict, TestVerdict.UNKNOWN),
        request_id=fact.request_id,
        configuration_version=fact.configuration_version,
        tested_at=tested_at,
        seconds=fact.seconds,
        findings=[
            TestFinding(
                check=written_as(each.check),
                verdict=_TOLD.get(each.verdict, TestVerdict.UNKNOWN),
                tier=None if each.tier is None else read_plain(each.tier, Tier),
                code=each.code,
                hint=public_hint(errors.catalogue().get(each.code or "", errors.NOT_TESTED), each.hint)
                if each.code
                else "",
            )
            for each in fact.findings
        ],
        estimate=TestEstimate(
            source_bytes=estimate.source_bytes,
            files=estimate.files,
            seconds=estimate.seconds,
            at_least=estimate.at_least,
            estimated_from=None if estimate.estimated_from is None else written_as(estimate.estimated_from),
        ),
    )


async def version_and_last_run(
    database: Database, organisation: str, configuration_id: str
) -> tuple[int, LastRunSeen | None]:
    """The version in force, and what its latest run that completed has read. Raises CONFIGURATION_UNKNOWN."""
    row = await (await database.execute(_SEEN, (organisation, configuration_id))).fetchone()
    if row is None:
        raise PlatformError(errors.CONFIGURATION_UNKNOWN, "there is no such configuration")
    version, source_bytes, files, seconds = row
    if source_bytes is None:
        return version, None
    return version, LastRunSeen(source_bytes=source_bytes, files=files or 0, seconds=seconds or 0.0)
