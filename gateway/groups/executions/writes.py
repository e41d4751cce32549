"""The writes of the group."""

from contracts import errors
from contracts.executor_events import (
    BackupAccepted,
    BackupCancellationRefused,
    BackupCancelled,
    BackupRefused,
)
from contracts.gateway_events import BackupCancellationRequested, BackupRequested, BackupRetryRequested
from gateway.auth.rights import Right
from gateway.groups.executions.examples import NEW_EXECUTION
from gateway.groups.executions.queries import version_of
from gateway.groups.executions.resources import NewExecution
from gateway.runs import queries as runs
from gateway.writes.declaration import Asked, Draft, Write
from gateway.writes.things import RUN


class ExecuteBackup(Write[NewExecution]):
    """Ask for an immediate backup and wait, bounded, until the executor has accepted or refused it.

    202 with the request: `state` says whether it is accepted (then `execution` is the run) or not answered yet.
    """

    NAME = "execute-backup"
    SUMMARY = "Execute a backup now"
    PATH = "/execute"
    RIGHT = Right.RUN_BACKUPS
    BODY = NewExecution
    EXAMPLE = ("now", NEW_EXECUTION)
    REQUEST, ACCEPTED, REFUSED = BackupRequested, BackupAccepted, BackupRefused
    OF = RUN
    REFUSALS = (
        errors.CONFIGURATION_UNKNOWN,
        errors.CONFIGURATION_RETIRED,
        errors.CONFIGURATION_PAUSED,
        errors.CONFIGURATION_UNREADABLE,
        errors.UNKNOWN_LOCATION,
        errors.RUN_ALREADY_OPEN,
        errors.QUEUE_FULL,
    )

    async def draft(self, asked: Asked[NewExecution]) -> Draft:
        """Of the configuration as it is in force at this moment."""
        configuration_id = asked.body.configuration_id
        async with asked.gateway.reading(asked.organisation) as database:
            version = await version_of(database, asked.organisation, configuration_id, field="configurationId")
        return Draft(
            lambda new: BackupRequested(
                request_id=new.request_id,
                execution_id=new.resource_id,
                configuration_id=configuration_id,
                configuration_version=version,
                evidence=new.evidence,
            )
        )


class CancelBackup(Write[None]):
    """Have a run stopped that has not ended: its worker lets go of it within two seconds, or another finds it silent.

    No tier is left with half a snapshot; one that had committed it by then has all of it. What was uploaded is reused
    by the next run of the configuration, which may be started at once.
    """

    NAME = "cancel-backup"
    SUMMARY = "Cancel a run"
    PATH = "/executions/{execution_id:str}/cancel"
    RIGHT = Right.RUN_BACKUPS
    REQUEST, ACCEPTED, REFUSED = BackupCancellationRequested, BackupCancelled, BackupCancellationRefused
    OF = RUN
    REFUSALS = (errors.RUN_FINISHED,)


class RetryBackup(Write[None]):
    """Ask for another run in place of one that has failed or was cancelled, of the configuration as it is now.

    202 with the request, whose `execution` is the new run once it is accepted; its `retryOf` is the one before.
    """

    NAME = "retry-backup"
    SUMMARY = "Retry a run"
    PATH = "/executions/{execution_id:str}/retry"
    RIGHT = Right.RUN_BACKUPS
    REQUEST, ACCEPTED, REFUSED = BackupRetryRequested, BackupAccepted, BackupRefused
    OF = RUN
    MAKES = True
    REFUSALS = (errors.RUN_NOT_RETRYABLE, *ExecuteBackup.REFUSALS)

    async def draft(self, asked: Asked[None]) -> Draft:
        """Of a run of the organisation, and of its configuration as it is in force at this moment."""
        async with asked.gateway.reading(asked.organisation) as database:
            retried = await runs.one(database, asked.organisation, asked.target)
            version = await version_of(database, asked.organisation, retried.configuration_id)
        return Draft(
            lambda new: BackupRetryRequested(
                request_id=new.request_id,
                execution_id=new.resource_id,
                configuration_id=retried.configuration_id,
                configuration_version=version,
                retry_of=asked.target,
                evidence=new.evidence,
            )
        )
