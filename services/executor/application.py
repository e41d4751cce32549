"""What the executor decides: which requested backups it takes on, and which configurations it knows."""

from chassis.claims.port import Queue, QueueLimits
from chassis.context import Context
from contracts import errors
from contracts.configuration import ConfigurationBody
from contracts.errors import PlatformError
from contracts.executor_events import ExecutionType
from contracts.refusal import Objection
from services.executor.domain import BackupRun
from services.executor.errors import ConfigurationBusy, ConfigurationNotSeenYet, RunFinished
from services.executor.kept import Replica
from services.executor.policies import when_backup_requested, when_queued, when_retry_requested
from services.executor.ports import Configurations, Handled, Runs

TRIES = 3
"""How often a decision is made anew because another decider was faster."""
STEPS = 16
"""More than a run has under one claim: a cancellation that meets each of them comes through all the same."""


class BackupDecisions:
    """Takes requested backups on, or refuses them."""

    def __init__(self, runs: Runs, configurations: Configurations, queue: Queue, limits: QueueLimits) -> None:
        self._runs = runs
        self._configurations = configurations
        self._queue = queue
        self._limits = limits

    async def decide(
        self,
        *,
        request_id: str,
        execution_id: str,
        configuration_id: str,
        configuration_version: int,
        context: Context,
        handled: Handled,
        deliveries: int,
        retry_of: str | None = None,
    ) -> None:
        """Accept or refuse one request; `retry_of`: the run in whose place the new one is to be.

        Raises CONFIGURATION_NOT_SEEN_YET to be asked again later.
        """
        replica = await self._configurations.find(configuration_id)
        unknown = when_backup_requested(
            organisation=context.organisation,
            configuration_version=configuration_version,
            replica=replica,
            deliveries=deliveries,
        )
        if unknown is errors.CONFIGURATION_NOT_SEEN_YET:
            raise ConfigurationNotSeenYet(
                configuration_id, version=configuration_version, seen=replica.version if replica else 0
            )
        if unknown is not None or replica is None:
            code = unknown or errors.CONFIGURATION_UNKNOWN
            unseen = Objection(code, "configurationId", code.hint)
            await self._refuse(request_id, execution_id, configuration_id, unseen, context, handled)
            return
        if retry_of is not None:
            retried = await self._runs.find(retry_of, context.organisation)
            needless = when_retry_requested(retried, configuration_id)
            if needless is not None:
                await self._refuse(request_id, execution_id, configuration_id, needless, context, handled)
                return
        for attempt in range(TRIES):
            standing = await self._queue.standing(subject=configuration_id, organisation=context.organisation)
            objection = when_queued(execution_id, standing, self._limits)
            if objection is not None:
                await self._refuse(request_id, execution_id, configuration_id, objection, context, handled)
                return
            run = BackupRun(execution_id)
            run.accept(
                request_id=request_id,
                configuration_id=configuration_id,
                configuration_version=replica.version,
                execution_type=ExecutionType.MANUAL if retry_of is None else ExecutionType.RETRY,
                tiers=tuple(replica.body.storage_destinations.by_tier()),
                retry_of=retry_of,
            )
            try:
                await self._runs.record_decision(run, configuration=replica, context=context, handled=handled)
            except ConfigurationBusy:
                if standing.open_work == execution_id:
                    return  # The same request, told by another message: it was accepted, and is under way.
                # Another decider was faster: look again, and refuse by what is open now.
                if attempt == TRIES - 1:
                    raise
            else:
                return

    async def _refuse(
        self,
        request_id: str,
        execution_id: str,
        configuration_id: str,
        objection: Objection,
        context: Context,
        handled: Handled,
    ) -> None:
        run = BackupRun(execution_id)
        run.refuse(
            request_id=request_id,
            configuration_id=configuration_id,
            objection=objection,
        )
        await self._runs.record_decision(run, configuration=None, context=context, handled=handled)


class Cancellations:
    """Stops runs, whoever performs them, or refuses to."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def decide(self, *, request_id: str, execution_id: str, context: Context, handled: Handled) -> None:
        """Answer one request. Raises CONCURRENT_CHANGE where the run goes on changing: to be asked again later."""
        for attempt in range(STEPS):
            run = await self._runs.find(execution_id, context.organisation)
            if run is None:
                unknown = PlatformError(errors.NOT_FOUND, "there is no such run")
                run = BackupRun(request_id)  # The refusal has to be in some history.
                run.refuse_cancellation(request_id=request_id, execution_id=execution_id, error=unknown)
            else:
                try:
                    run.cancel(request_id=request_id)
                except RunFinished as error:
                    run.refuse_cancellation(request_id=request_id, execution_id=execution_id, error=error)
            try:
                await self._runs.record_cancellation(run, context=context, handled=handled)
            except PlatformError as error:
                # A step of the run was recorded at this instant, perhaps its last.
                if error.code is not errors.CONCURRENT_CHANGE or attempt == STEPS - 1:
                    raise
            else:
                return


class ConfigurationCopies:
    """Keeps the newest version of every configuration."""

    def __init__(self, configurations: Configurations) -> None:
        self._configurations = configurations

    async def remember(
        self, *, configuration_id: str, version: int, body: ConfigurationBody, context: Context, handled: Handled
    ) -> None:
        """Take note of a version."""
        await self._configurations.remember(
            Replica(configuration_id=configuration_id, organisation=context.organisation, version=version, body=body),
            context=context,
            handled=handled,
        )
