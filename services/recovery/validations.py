"""Where validations are put together: what decides about them, and a worker's loop of them."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from chassis.bus.connection import Connection
from chassis.claims.aside import SetAside
from chassis.claims.loop import ClaimLoop
from chassis.claims.port import ProgressFeed
from chassis.claims.table import BEAT_SECONDS, ClaimTable
from chassis.claims.unclaimed import UnclaimedWork
from chassis.claims.unclaimed_teller import UnclaimedTeller
from chassis.deciding import Deciding
from chassis.handling import UseCase
from chassis.life.health import Health
from chassis.life.standstills import Standstills
from chassis.locations import Locations
from chassis.postgres.pool import Pool
from chassis.record.eventstore import EventStore
from chassis.record.unanswered import RefusedAs
from chassis.telemetry.instruments import Telemetry
from chassis.timers.loop import TimerLoop
from chassis.timers.table import Timer, TimerTable
from contracts.event import Event
from contracts.storage_requests import RecoveryValidationCancellationRequested, RecoveryValidationRequested
from contracts.streams import STOP_VALIDATIONS, WAKE_VALIDATIONS
from contracts.validation_events import RecoveryValidationCancellationRefused, RecoveryValidationRefused
from services.recovery.adapters.points import PointTable
from services.recovery.adapters.rounds import ROUND, RecordedRounds
from services.recovery.adapters.validation_plane import RepositoryValidations
from services.recovery.adapters.validations import RecordedValidations
from services.recovery.adapters.work import VALIDATIONS
from services.recovery.failures import told_code
from services.recovery.ports import Points
from services.recovery.validating.decisions import ValidationDecisions
from services.recovery.validating.domain import RecoveryValidation
from services.recovery.validating.performance import ValidationPerformance
from services.recovery.validating.ports import Validations
from services.recovery.validating.scheduled import ScheduledValidations

REFUSED: dict[type[Event], RefusedAs] = {
    RecoveryValidationRequested: RefusedAs(RecoveryValidationRefused, "validation_id", kind=RecoveryValidation),
    RecoveryValidationCancellationRequested: RefusedAs(RecoveryValidationCancellationRefused, kind=RecoveryValidation),
}
"""What each of these is refused with where its message is given up."""


def validation_cases(validations: Validations, points: Points) -> dict[type[Event], UseCase]:
    """What deals with the events that validations are about."""
    of_validations = Deciding(RecoveryValidation, validations, about="validation_id")
    return {
        RecoveryValidationRequested: ValidationDecisions(validations, points).decide,
        RecoveryValidationCancellationRequested: of_validations.by(
            RecoveryValidation.cancel, RecoveryValidationCancellationRefused
        ),
    }


def unclaimed_validations(
    store: EventStore, pool: Pool, *, bound_seconds: float, telemetry: Telemetry
) -> UnclaimedWork:
    """What tells of validations that no worker can take."""
    return UnclaimedWork(
        VALIDATIONS,
        pool,
        UnclaimedTeller(RecordedValidations(store), told_code, actor="service:recovery"),
        bound_seconds=bound_seconds,
        name="unclaimed-validations",
        telemetry=telemetry,
    )


def validation_timers(
    store: EventStore, pool: Pool, *, within_days: int, bytes_a_day: int, health: Health, telemetry: Telemetry
) -> TimerLoop:
    """What begins validations by themselves."""
    rounds = RecordedRounds(store, pool, health)
    scheduled = ScheduledValidations(rounds, PointTable(pool, store), within_days=within_days, bytes_a_day=bytes_a_day)

    async def turn(timer: Timer) -> None:
        await scheduled.turn(rounds.round_of(timer))

    table, once = TimerTable(pool), {ROUND: 1}
    return TimerLoop(table, {ROUND: turn}, health=health, telemetry=telemetry, recalled=[ROUND], at_once=once)


def validation_loop(
    *,
    worker: str,
    store: EventStore,
    pool: Pool,
    beats: Pool,
    connection: Connection,
    locations: Locations,
    keys_dir: Path,
    progress: ProgressFeed,
    health: Health,
    telemetry: Telemetry,
    leave_seconds: float,
    require_means: Callable[[], Awaitable[None]],
) -> ClaimLoop:
    """A worker's loop of validations: one at a time, beside its recoveries."""
    claims = ClaimTable(VALIDATIONS, pool, beats)
    performance = ValidationPerformance(
        validations=RecordedValidations(store),
        points=PointTable(pool, store),
        claims=claims,
        plane=RepositoryValidations(locations=locations, keys_dir=keys_dir),
        progress=progress,
        standstills=Standstills(health, noun=VALIDATIONS.noun),
        leave_seconds=leave_seconds,
    )
    return ClaimLoop(
        noun=VALIDATIONS.noun,
        claims=claims,
        performer=performance,
        connection=connection,
        wake=WAKE_VALIDATIONS,
        stop=STOP_VALIDATIONS,
        worker=worker,
        slots=1,
        beat_seconds=BEAT_SECONDS,
        set_aside=SetAside(health, noun=VALIDATIONS.noun),
        name="validation-loop",
        require_means=require_means,
        telemetry=telemetry,
    )
