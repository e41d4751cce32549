"""Where the config service is put together."""

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
from chassis.postgres.database import open_pool
from chassis.postgres.pool import PoolPart
from chassis.record.eventstore import EventStore
from chassis.record.unanswered import RefusedAs, Unanswered
from chassis.sealing import Sealer
from chassis.telemetry.certificates import add_certificate_figures
from chassis.telemetry.instruments import Telemetry
from chassis.timers.loop import TimerLoop
from chassis.timers.table import Timer, TimerTable
from contracts import config_events as facts
from contracts import executor_events as runs
from contracts import gateway_events as requests
from contracts.dr_events import DrTestMissed
from contracts.dr_execution_events import DrNoticeAsked
from contracts.event import Event
from services.config.adapters.bulk import GatheredItems
from services.config.adapters.notices import NOTIFICATION, ChannelWatch, RecordedChannels, RecordedNotices
from services.config.adapters.receivers import OpenedReceivers
from services.config.adapters.record import (
    DUE,
    OVERDUE,
    RecordedConfigurations,
    RecordedPolicies,
    RecordedTurns,
)
from services.config.adapters.weddings import SealedWeddings
from services.config.application import ConfigurationDecisions, RetentionDecisions, Schedules
from services.config.bulk import BulkDecisions
from services.config.domain import Configuration, ConfigurationBulk, RetentionPolicy
from services.config.ports import Configurations, Gathered, LocationRegistry, Turns, Weddings
from services.config.settings import ConfigSettings
from services.config.telling.channels import ChannelDecisions
from services.config.telling.domain import NotificationChannel
from services.config.telling.notices import Attempts, Telling
from services.config.telling.ports import Channels, Notices, Receivers

SERVICE = "config"
TIMER_CONNECTIONS = 3
SENT_AT_ONCE = 16
"""Notifications under way at the same time: more than the organisations whose receivers hang at one moment."""
REFUSED: dict[type[Event], RefusedAs] = {
    requests.ConfigurationSubmitted: RefusedAs(facts.ConfigurationRefused, "configuration_id"),
    requests.ConfigurationItemSubmitted: RefusedAs(facts.ConfigurationRefused, "configuration_id"),
    requests.ConfigurationsSubmitted: RefusedAs(facts.ConfigurationsRefused, kind=ConfigurationBulk),
    requests.ConfigurationChangeSubmitted: RefusedAs(facts.ConfigurationChangeRefused),
    requests.ConfigurationRetirementRequested: RefusedAs(facts.ConfigurationRetirementRefused),
    requests.ConfigurationPauseRequested: RefusedAs(facts.ConfigurationPauseRefused),
    requests.ConfigurationResumptionRequested: RefusedAs(facts.ConfigurationResumptionRefused),
    requests.RetentionPolicySubmitted: RefusedAs(
        facts.RetentionPolicyRefused, "retention_policy_id", kind=RetentionPolicy
    ),
    requests.RetentionPolicyChangeSubmitted: RefusedAs(facts.RetentionPolicyChangeRefused, kind=RetentionPolicy),
    requests.NotificationChannelSubmitted: RefusedAs(
        facts.NotificationChannelRefused, "channel_id", kind=NotificationChannel
    ),
    requests.NotificationChannelChangeSubmitted: RefusedAs(
        facts.NotificationChannelChangeRefused, kind=NotificationChannel
    ),
    requests.NotificationChannelRetirementRequested: RefusedAs(
        facts.NotificationChannelRetirementRefused, kind=NotificationChannel
    ),
    requests.NotificationTestRequested: RefusedAs(facts.NotificationTestRefused, kind=NotificationChannel),
}
"""What each request is refused with where its message is given up."""


def use_cases(
    configurations: Configurations,
    locations: LocationRegistry,
    turns: Turns,
    weddings: Weddings,
    policies: Things[RetentionPolicy],
    gathered: Gathered,
    channels: Channels,
    notices: Notices,
    receivers: Receivers,
) -> dict[type[Event], UseCase]:
    """What deals with each event that the config service takes."""
    schedules = Schedules(turns, weddings)
    decisions = ConfigurationDecisions(configurations, locations, schedules, policies)
    bulk = BulkDecisions(gathered, decisions, schedules)
    retention = RetentionDecisions(policies)
    by = decisions.of_configurations.by
    told_by = ChannelDecisions(channels, notices, receivers, configurations)
    telling = Telling(channels, notices)
    return {
        requests.ConfigurationSubmitted: decisions.decide,
        requests.ConfigurationItemSubmitted: bulk.gather,
        requests.ConfigurationsSubmitted: bulk.decide,
        requests.ConfigurationChangeSubmitted: decisions.decide_change,
        requests.ConfigurationRetirementRequested: by(Configuration.retire, facts.ConfigurationRetirementRefused),
        requests.ConfigurationPauseRequested: by(Configuration.pause, facts.ConfigurationPauseRefused),
        requests.ConfigurationResumptionRequested: by(
            Configuration.resume, facts.ConfigurationResumptionRefused, beside=schedules.next_of
        ),
        requests.RetentionPolicySubmitted: retention.decide,
        requests.RetentionPolicyChangeSubmitted: retention.of_policies.by(
            RetentionPolicy.change, facts.RetentionPolicyChangeRefused
        ),
        requests.NotificationChannelSubmitted: told_by.decide,
        requests.NotificationChannelChangeSubmitted: told_by.decide_change,
        requests.NotificationChannelRetirementRequested: told_by.of_channels.by(
            NotificationChannel.retire, facts.NotificationChannelRetirementRefused
        ),
        requests.NotificationTestRequested: told_by.test,
        runs.BackupAccepted: telling.tell,
        runs.BackupCompleted: telling.tell,
        runs.BackupFailed: telling.tell,
        runs.BackupRefused: telling.tell,
        runs.BackupCancelled: telling.note_cancellation,
        facts.BackupMissed: telling.tell,
        DrNoticeAsked: telling.tell_of_plan,
        DrTestMissed: telling.tell_of_plan,
    }


async def run(settings: ConfigSettings) -> int:
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
    store = EventStore(dsn=settings.postgres_dsn, schema=settings.postgres_schema, service=SERVICE, health=health)
    relay = Relay(
        dsn=settings.postgres_dsn,
        schema=settings.postgres_schema,
        nats=connection,
        owner=SERVICE,
        telemetry=telemetry,
    )
    bus = Bus(connection, SERVICE, telemetry=telemetry, health=health)
    locations = Locations(settings.locations_file, health, own=OwnFolders.of(settings))
    pool = open_pool(settings.postgres_dsn, settings.postgres_schema, name="timers", max_size=TIMER_CONNECTIONS)
    table = TimerTable(pool)
    turns = RecordedTurns(store, table, overdue_seconds=settings.notify_overdue_seconds)
    sealer = Sealer(settings.keys_dir)
    weddings = SealedWeddings(sealer, health)
    schedules = Schedules(turns, weddings)

    async def fire(timer: Timer) -> None:
        await schedules.turn(turns.turn_of(timer))

    channels, notices = RecordedChannels(store, pool), RecordedNotices(store, pool)
    receivers = OpenedReceivers(sealer, private=settings.notify_private)
    telling, attempts = Telling(channels, notices), Attempts(channels, notices, receivers)
    watch = ChannelWatch(pool)
    telemetry.figures.add("notifications", watch.figures)

    async def send(timer: Timer) -> None:
        await attempts.attempt(notices.due_of(timer))

    async def tell_overdue(timer: Timer) -> None:
        await telling.overdue(notices.due_of(timer))

    timers = TimerLoop(
        table,
        {DUE: fire, NOTIFICATION: send, OVERDUE: tell_overdue},
        health=health,
        telemetry=telemetry,
        recalled=[DUE],
        at_once={NOTIFICATION: SENT_AT_ONCE},
    )
    records = RecordedConfigurations(store), RecordedPolicies(store)
    gathered = GatheredItems(store, pool)
    answering = use_cases(records[0], locations, turns, weddings, records[1], gathered, channels, notices, receivers)
    for each in handlers_of(SERVICE, answering, Unanswered(store, SERVICE, Configuration, REFUSED)):
        bus.handle(*each)
    server = HealthServer(health, telemetry, host=settings.health_host, port=settings.health_port)
    topology = TopologyCheck(connection, SERVICE)
    parts: list[Part] = [server, store, PoolPart(pool, name="timer-pool"), connection, topology, relay, bus, timers]
    return await run_service(parts, health=health)
