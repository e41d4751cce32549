"""What the executor decides: which requested backups it takes on, and which configurations it knows."""

from chassis.context import Context
from contracts import errors
from contracts.configuration import ConfigurationBody
from contracts.executor_events import ExecutionType
from services.executor.domain import BackupRun
from services.executor.errors import ConfigurationNotSeenYet
from services.executor.policies import when_backup_requested
from services.executor.ports import Configurations, Handled, Replica, Runs


class BackupDecisions:
    """Takes requested backups on, or refuses them."""

    def __init__(self, runs: Runs, configurations: Configurations) -> None:
        self._runs = runs
        self._configurations = configurations

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
    ) -> None:
        """Accept or refuse one request. Raises CONFIGURATION_NOT_SEEN_YET to be asked again later."""
        replica = await self._configurations.find(configuration_id)
        objection = when_backup_requested(
            organisation=context.organisation,
            configuration_version=configuration_version,
            replica=replica,
            deliveries=deliveries,
        )
        if objection is errors.CONFIGURATION_NOT_SEEN_YET:
            raise ConfigurationNotSeenYet(
                configuration_id, version=configuration_version, seen=replica.version if replica else 0
            )
        run = BackupRun(execution_id)
        if objection is not None or replica is None:
            code = objection or errors.CONFIGURATION_UNKNOWN
            run.refuse(request_id=request_id, configuration_id=configuration_id, code=code.code, hint=code.hint)
        else:
            run.accept(
                request_id=request_id,
                configuration_id=configuration_id,
                configuration_version=replica.version,
                execution_type=ExecutionType.MANUAL,
                tiers=tuple(replica.body.storage_destinations.by_tier()),
            )
        await self._runs.record_decision(run, context=context, handled=handled)


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
