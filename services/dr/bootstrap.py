"""Where the disaster recovery service is put together."""

from chassis.bus.connection import Connection
from chassis.bus.subscriptions import Bus
from chassis.bus.topology import TopologyCheck
from chassis.bus.use_cases import handlers_of
from chassis.clock import Clock, SystemClock
from chassis.deciding import Things
from chassis.handling import UseCase
from chassis.key_checks import add_key_checks
from chassis.life.health import Health, HealthServer
from chassis.life.runtime import Part, run_service
from chassis.locations import Locations
from chassis.outbox.relay import Relay
from chassis.own_folders import OwnFolders
from chassis.postgres.database import open_pool
from chassis.postgres.pool import Pool, PoolPart
from chassis.record.eventstore import EventStore
from chassis.record.unanswered import RefusedAs, Unanswered
from chassis.sealing import Sealer
from chassis.telemetry.certificates import add_certificate_figures
from chassis.telemetry.instruments import Telemetry
from chassis.timers.loop import TimerLoop
from chassis.timers.table import Timer, TimerTable
from contracts import dr_execution_events as executions_of
from contracts import gateway_events as requests
from contracts.config_events import NotificationDelivered, NotificationGivenUp
from contracts.dr_events import DrPlanChangeRefused, DrPlanRefused
from contracts.event import Event
from contracts.gateway_events import DrPlanChangeSubmitted, DrPlanSubmitted
from contracts.recovery_events import RecoveryCancelled, RecoveryCompleted, RecoveryFailed, RecoveryRefused
from services.dr.adapters.executions import CLEAN_UP, STEP, RecordedExecutions
from services.dr.adapters.places import RegisteredPlaces
from services.dr.adapters.record import RecordedPlans
from services.dr.adapters.turns import TEST, AskedPoints, RecordedTurns
from services.dr.application import PlanDecisions
from services.dr.domain import Plan
from services.dr.executing.decisions import ExecutionDecisions
from services.dr.executing.domain import Execution
from services.dr.executing.ports import Executions, Places
from services.dr.executing.scheduled import TestSchedules
from services.dr.ports import Targets, Time
from services.dr.settings import DrSettings

SERVICE = "dr"

POOL_CONNECTIONS = 2
REFUSED: dict[type[Event], RefusedAs] = {
    DrPlanSubmitted: RefusedAs(DrPlanRefused, "plan_id"),
    DrPlanChangeSubmitted: RefusedAs(DrPlanChangeRefused),
    **{
        request: RefusedAs(refusal, under, kind=Execution)
        for request, refusal, under in (
            (requests.DrExecutionRequested, executions_of.DrExecutionRefused, "execution_id"),
            (requests.DrTestRequested, executions_of.DrTestRefused, "execution_id"),
            (requests.DrStepApprovalRequested, executions_of.DrStepApprovalRefused, "request_id"),
            (requests.DrExecutionPauseRequested, executions_of.DrExecutionPauseRefused, "request_id"),
            (requests.DrExecutionResumptionRequested, executions_of.DrExecutionResumptionRefused, "request_id"),
            (requests.DrExecutionAbortionRequested, executions_of.DrExecutionAbortionRefused, "request_id"),
        )
    },
}
"""What each request is refused with where its message is given up."""


def use_cases(
    plans: Things[Plan], targets: Targets, executions: Executions, places: Places, time: Time, clock: Clock
) -> dict[type[Event], UseCase]:
    """What deals with each event that the disaster recovery service takes."""
    decisions = PlanDecisions(plans, targets, time)
    executing = ExecutionDecisions(plans, executions, targets, places, clock)
    by = executing.by
    return {
        DrPlanSubmitted: decisions.decide,
        DrPlanChangeSubmitted: decisions.decide_change,
        requests.DrExecutionRequested: executing.begin,
        requests.DrTestRequested: executing.begin,
        requests.DrStepApprovalRequested: by(Execution.approve, executions_of.DrStepApprovalRefused),
        requests.DrExecutionPauseRequested: by(Execution.pause, executions_of.DrExecutionPauseRefused),
        requests.DrExecutionResumptionRequested: by(Execution.resume, executions_of.DrExecutionResumptionRefused),
        requests.DrExecutionAbortionRequested: by(Execution.abort, executions_of.DrExecutionAbortionRefused),
        RecoveryRefused: executing.note_recovery,
        RecoveryCompleted: executing.note_recovery,
        RecoveryFailed: executing.note_recovery,
        RecoveryCancelled: executing.note_recovery,
        NotificationDelivered: executing.note_notice,
        NotificationGivenUp: executing.note_notice,
    }


def timer_loop(
    pool: Pool,
    executing: ExecutionDecisions,
    tests: TestSchedules,
    *,
    health: Health,
    telemetry: Telemetry | None = None,
) -> TimerLoop:
    """What fires the timers: steps whose time is over, tests that are due, and those whose place is to be empty."""

    async def fall_due(timer: Timer) -> None:
        await executing.fall_due(RecordedExecutions.due_of(timer))

    async def clean_up(timer: Timer) -> None:
        await executing.clean_up(RecordedExecutions.due_of(timer))

    async def begin_test(timer: Timer) -> None:
        await tests.turn(RecordedTurns.turn_of(timer))

    return TimerLoop(
        TimerTable(pool),
        {STEP: fall_due, CLEAN_UP: clean_up, TEST: begin_test},
        health=health,
        telemetry=telemetry,
        recalled=[TEST],
    )


async def run(settings: DrSettings) -> int:
    """Answer requests, bring executions from step to step, and publish the record until told to stop; the exit code."""
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
    sealer = Sealer(settings.keys_dir)
    add_key_checks(health, sealer)
    pool = open_pool(dsn, schema, name=SERVICE, max_size=POOL_CONNECTIONS)
    plans, executions = RecordedPlans(store), RecordedExecutions(store, pool)
    places, clock = RegisteredPlaces(locations, sealer, settings.dr_test_locations), SystemClock()
    executing = ExecutionDecisions(plans, executions, locations, places, clock)
    turns = RecordedTurns(store, pool)
    tests = TestSchedules(turns, executing, AskedPoints(lambda: connection.client))
    answering = use_cases(plans, locations, executions, places, turns, clock)
    timers = timer_loop(pool, executing, tests, health=health, telemetry=telemetry)
    for each in handlers_of(SERVICE, answering, Unanswered(store, SERVICE, Plan, REFUSED)):
        bus.handle(*each)
    server = HealthServer(health, telemetry, host=settings.health_host, port=settings.health_port)
    topology = TopologyCheck(connection, SERVICE)
    parts: list[Part] = [server, store, PoolPart(pool), connection, topology, relay, bus, timers]
    return await run_service(parts, health=health)
