"""Where the disaster recovery service is put together."""

from chassis.bus.connection import Connection
from chassis.bus.subscriptions import Bus
from chassis.bus.topology import TopologyCheck
from chassis.bus.use_cases import handlers_of
from chassis.deciding import Things
from chassis.handling import UseCase
from chassis.life.health import Health, HealthServer
from chassis.life.runtime import Part, run_service
from chassis.locations import Locations
from chassis.outbox.relay import Relay
from chassis.own_folders import OwnFolders
from chassis.record.eventstore import EventStore
from chassis.record.unanswered import RefusedAs, Unanswered
from chassis.telemetry.certificates import add_certificate_figures
from chassis.telemetry.instruments import Telemetry
from contracts.dr_events import DrPlanChangeRefused, DrPlanRefused
from contracts.event import Event
from contracts.gateway_events import DrPlanChangeSubmitted, DrPlanSubmitted
from services.dr.adapters.record import RecordedPlans
from services.dr.application import PlanDecisions
from services.dr.domain import Plan
from services.dr.ports import Targets
from services.dr.settings import DrSettings

SERVICE = "dr"

REFUSED: dict[type[Event], RefusedAs] = {
    DrPlanSubmitted: RefusedAs(DrPlanRefused, "plan_id"),
    DrPlanChangeSubmitted: RefusedAs(DrPlanChangeRefused),
}
"""What each request is refused with where its message is given up."""


def use_cases(plans: Things[Plan], targets: Targets) -> dict[type[Event], UseCase]:
    """What deals with each event that the disaster recovery service takes."""
    decisions = PlanDecisions(plans, targets)
    return {DrPlanSubmitted: decisions.decide, DrPlanChangeSubmitted: decisions.decide_change}


async def run(settings: DrSettings) -> int:
    """Answer submissions and publish the record until told to stop; the exit code."""
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
    relay = Relay(dsn=dsn, schema=schema, nats=connection, owner=SERVICE, telemetry=telemetry)
    locations = Locations(settings.locations_file, health, own=OwnFolders.of(settings))
    bus = Bus(connection, SERVICE, telemetry=telemetry, health=health)
    answering = use_cases(RecordedPlans(store), locations)
    for each in handlers_of(SERVICE, answering, Unanswered(store, SERVICE, Plan, REFUSED)):
        bus.handle(*each)
    server = HealthServer(health, telemetry, port=settings.health_port)
    parts: list[Part] = [server, store, connection, TopologyCheck(connection, SERVICE), relay, bus]
    return await run_service(parts, health=health)
