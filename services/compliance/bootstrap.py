"""Where the compliance service is put together."""

from chassis.bus.connection import Connection
from chassis.bus.subscriptions import Bus
from chassis.bus.topology import TopologyCheck
from chassis.bus.use_cases import handlers_of
from chassis.handling import UseCase
from chassis.life.health import DEGRADED, Health, HealthServer
from chassis.life.runtime import Part, run_service
from chassis.outbox.relay import Relay
from chassis.postgres.database import open_pool
from chassis.postgres.pool import PoolPart
from chassis.record.eventstore import EventStore
from chassis.record.unanswered import RefusedAs, Unanswered
from chassis.telemetry.certificates import add_certificate_figures
from chassis.telemetry.instruments import Telemetry
from contracts.compliance_events import AttestationRefused, ComplianceAuditRefused
from contracts.compliance_requests import AttestationSubmitted
from contracts.errors import PlatformError
from contracts.event import Event
from contracts.gateway_events import ComplianceAuditRequested
from services.compliance.adapters.audits import AuditLogLookups, RecordedAttestations, RecordedAudits
from services.compliance.adapters.following import AuditLogFollower
from services.compliance.adapters.log import AuditLogTable
from services.compliance.adapters.signing import SigningKey
from services.compliance.application import AttestationDecisions, AuditDecisions
from services.compliance.domain import Attestation, ComplianceAudit
from services.compliance.ports import AttestationRecord, AuditLogReading, Audits
from services.compliance.settings import ComplianceSettings

SERVICE = "compliance"
POOL_CONNECTIONS = 3

REFUSED: dict[type[Event], RefusedAs] = {
    ComplianceAuditRequested: RefusedAs(ComplianceAuditRefused, "audit_id"),
    AttestationSubmitted: RefusedAs(AttestationRefused, "attestation_id", Attestation),
}
"""What each request is refused with where its message is given up."""


def use_cases(log: AuditLogReading, audits: Audits, attestations: AttestationRecord) -> dict[type[Event], UseCase]:
    """What deals with each event that the compliance service takes."""
    return {
        ComplianceAuditRequested: AuditDecisions(log, audits).decide,
        AttestationSubmitted: AttestationDecisions(log, attestations).decide,
    }


def add_log_checks(health: Health, log: AuditLogTable) -> None:
    """Not ready while the log cannot be signed; degraded while what was signed last is known to the database alone."""

    async def signing() -> PlatformError | None:
        await log.look()
        return None

    async def memory() -> PlatformError | None:
        return log.not_remembered()

    health.add("audit-log-signing", signing)
    health.add("audit-log-memory", memory, worst=DEGRADED)


async def run(settings: ComplianceSettings) -> int:
    """Append what happens to the audit log and answer audits until told to stop; the exit code."""
    telemetry = Telemetry(SERVICE, otlp_endpoint=settings.otel_endpoint, sample_ratio=settings.otel_sample_ratio)
    health = Health(SERVICE)
    connection = Connection.of(settings, SERVICE, telemetry, health)
    add_certificate_figures(
        telemetry,
        dsn=settings.postgres_dsn,
        nats_ca_file=settings.nats_ca_file,
        nats_expires=connection.certificate_expires,
    )
    dsn, schema = settings.postgres_dsn, settings.postgres_schema
    store = EventStore(dsn=dsn, schema=schema, service=SERVICE, health=health)
    pool = open_pool(dsn, schema, name=SERVICE, max_size=POOL_CONNECTIONS)
    relay = Relay(dsn=dsn, schema=schema, nats=connection, owner=SERVICE, telemetry=telemetry)
    log = AuditLogTable(pool, SigningKey(settings.keys_dir))
    add_log_checks(health, log)
    follower = AuditLogFollower(log, nats=lambda: connection.client, telemetry=telemetry, health=health)
    bus = Bus(connection, SERVICE, telemetry=telemetry, health=health)
    answering = use_cases(AuditLogLookups(pool), RecordedAudits(store), RecordedAttestations(store))
    for each in handlers_of(SERVICE, answering, Unanswered(store, SERVICE, ComplianceAudit, REFUSED)):
        bus.handle(*each)
    server = HealthServer(health, telemetry, host=settings.health_host, port=settings.health_port)
    topology = TopologyCheck(connection, SERVICE)
    parts: list[Part] = [server, store, PoolPart(pool), connection, topology, relay, follower.loop, bus]
    return await run_service(parts, health=health)
