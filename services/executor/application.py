"""What the executor decides: which requested backups it takes on, and which configurations it knows."""

from chassis.claims.port import Queue, QueueLimits
from chassis.clock import Clock
from chassis.handling import Handling
from contracts import errors
from contracts.config_events import BackupFellDue, ConfigurationFact
from contracts.executor_events import BackupRefused, ConfigurationTestRefused, ExecutionType
from contracts.gateway_events import BackupRequested, BackupRetryRequested, ConfigurationTestRequested
from contracts.refusal import Objection
from services.executor.domain import BackupRun, ConfigurationTest
from services.executor.errors import ConfigurationBusy, ConfigurationNotSeenYet, TestOpen
from services.executor.kept import Replica
from services.executor.policies import (
    when_backup_requested,
    when_fell_due,
    when_looked_up,
    when_queued,
    when_retry_requested,
    when_test_queued,
    when_test_requested,
)
from services.executor.ports import Configurations, Registry, Runs, Trials, TrialTask

Asking = BackupRequested | BackupFellDue
"""What asks for a run: a person, or a schedule."""

TRIES = 3
"""How often a decision is made anew because another decider was faster."""


class BackupDecisions:
    """Takes requested backups on, or refuses them."""

    def __init__(
        self,
        runs: Runs,
        configurations: Configurations,
        registry: Registry,
        queue: Queue,
        limits: QueueLimits,
        clock: Clock,
    ) -> None:
        self._runs = runs
        self._configurations = configurations
        self._registry = registry
        self._queue = queue
        self._limits = limits
        self._clock = clock

    async def decide(self, request: BackupRequested, handling: Handling) -> None:
        """Accept or refuse a request. Raises CONFIGURATION_NOT_SEEN_YET to be asked again later."""
        replica = await self._known(request, handling, field="configurationId")
        if replica is not None:
            await self._take_on(request, replica, handling)

    async def decide_retry(self, request: BackupRetryRequested, handling: Handling) -> None:
        """The same of a request for a run in place of another, which names that run and no configuration."""
        replica = await self._known(request, handling, field=None)
        if replica is None:
            return
        retried = await self._runs.find(request.retry_of, handling.context.organisation)
        needless = when_retry_requested(retried, request.configuration_id)
        if needless is not None:
            await self._refuse(request, needless, handling)
            return
        await self._take_on(request, replica, handling, retry_of=request.retry_of)

    async def decide_due(self, due: BackupFellDue, handling: Handling) -> None:
        """The same of a run that a schedule asks for. One that is refused was missed, and is told as that."""
        replica = await self._known(due, handling, field=None)
        if replica is None:
            return
        if (missed := when_fell_due(replica.body.schedule, due.due_at, self._clock.now())) is not None:
            await self._refuse(due, missed, handling)
            return
        await self._take_on(due, replica, handling)

    async def _known(self, request: Asking, handling: Handling, *, field: str | None) -> Replica | None:
        """The configuration, at the version that is asked for or a later one; None where that was refused.

        `field`: what named it, where whoever asks did.
        """
        replica = await self._configurations.find(request.configuration_id)
        unknown = when_backup_requested(
            organisation=handling.context.organisation,
            configuration_version=request.configuration_version,
            replica=replica,
            deliveries=handling.deliveries,
        )
        if unknown is errors.CONFIGURATION_NOT_SEEN_YET:
            raise ConfigurationNotSeenYet(
                request.configuration_id,
                version=request.configuration_version,
                seen=replica.version if replica else 0,
            )
        if unknown is not None or replica is None:
            code = unknown or errors.CONFIGURATION_UNKNOWN
            await self._refuse(request, Objection(code, field, code.hint), handling)
            return None
        return replica

    async def _take_on(
        self, request: Asking, replica: Replica, handling: Handling, *, retry_of: str | None = None
    ) -> None:
        organisation, configuration_id = handling.context.organisation, request.configuration_id
        lacking = await self._registry.lacking(organisation, replica.body)
        if (needless := when_looked_up(replica.body, lacking)) is not None:
            await self._refuse(request, needless, handling)
            return
        for attempt in range(TRIES):
            standing = await self._queue.standing(subject=configuration_id, organisation=organisation)
            objection = when_queued(request.execution_id, standing, self._limits)
            if objection is not None:
                await self._refuse(request, objection, handling)
                return
            run = BackupRun(request.execution_id)
            run.accept(
                request_id=request.request_id,
                configuration_id=configuration_id,
                configuration_version=replica.version,
                execution_type=_type_of(request),
                tiers=tuple(replica.body.storage_destinations.by_tier()),
                retry_of=retry_of,
                due_at=request.due_at if isinstance(request, BackupFellDue) else None,
                is_urgent=_is_urgent(request, replica),
                size_estimate_bytes=replica.last_source_bytes,
            )
            try:
                await self._runs.record_accepted(run, handling, replica)
            except ConfigurationBusy:
                if standing.open_work == request.execution_id:
                    return  # The same request, told by another message: it was accepted, and is under way.
                # Another decider was faster: look again, and refuse by what is open now.
                if attempt == TRIES - 1:
                    raise
            else:
                return

    async def _refuse(self, request: Asking, objection: Objection, handling: Handling) -> None:
        run = BackupRun(request.execution_id)
        run.record(BackupRefused.of(request, objection))
        await self._runs.record_answer(run, handling)


class TestDecisions:
    """Has configurations tested, or refuses to."""

    def __init__(self, trials: Trials, configurations: Configurations, queue: Queue) -> None:
        self._trials = trials
        self._configurations = configurations
        self._queue = queue

    async def decide(self, request: ConfigurationTestRequested, handling: Handling) -> None:
        """Let a worker look. Raises CONFIGURATION_NOT_SEEN_YET to be asked again later."""
        organisation = handling.context.organisation
        replica = await self._configurations.find(request.configuration_id)
        why = when_test_requested(request, organisation, replica, handling.deliveries)
        if why is errors.CONFIGURATION_NOT_SEEN_YET:
            seen = replica.version if replica else 0
            raise ConfigurationNotSeenYet(request.configuration_id, version=request.configuration_version, seen=seen)
        standing = await self._queue.standing(subject=request.configuration_id, organisation=organisation)
        if why is None:
            why = when_test_queued(standing)
        if why is None and replica is not None:
            task = TrialTask(
                configuration_id=request.configuration_id,
                version=replica.version,
                body=replica.body,
                last_run=request.last_run,
            )
            try:
                await self._trials.record_asked(request.request_id, handling, task)
            except TestOpen:
                why = errors.TEST_ALREADY_OPEN
            else:
                return
        code = why or errors.CONFIGURATION_UNKNOWN
        test = ConfigurationTest(request.request_id)
        test.record(ConfigurationTestRefused.of(request, Objection(code, None, code.hint)))
        await self._trials.record_answer(test, handling)


def _type_of(request: Asking) -> ExecutionType:
    if isinstance(request, BackupFellDue):
        return ExecutionType.SCHEDULED
    return ExecutionType.RETRY if isinstance(request, BackupRetryRequested) else ExecutionType.MANUAL


class ConfigurationCopies:
    """Keeps the newest version of every configuration."""

    def __init__(self, configurations: Configurations) -> None:
        self._configurations = configurations

    async def remember(self, fact: ConfigurationFact, handling: Handling) -> None:
        """Take note of a version, in whichever order they are told."""
        organisation = handling.context.organisation
        replica = Replica(
            configuration_id=fact.configuration_id,
            organisation=organisation,
            version=fact.version,
            body=fact.body,
            state=fact.state,
        )
        await self._configurations.remember(replica, handling)


def _is_urgent(request: Asking, replica: Replica) -> bool:
    """Whether a run goes before the organisation's others: a critical wedding is near, as far as it is known here.

    A schedule knows the date; who asks for a run of such a wedding by himself has his reason.
    """
    return request.is_urgent if isinstance(request, BackupFellDue) else replica.body.is_wedding_critical
