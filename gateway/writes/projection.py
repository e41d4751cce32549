"""The read model of requests: what was asked for, and what its owner answered.

The request and its answer come by different streams, in any order: each writes its own columns. Who asked is told by
the request alone: the answer is its owner's.
"""

from contracts.config_events import ConfigurationCreated, ConfigurationRefused
from contracts.executor_events import BackupAccepted, BackupRefused
from contracts.gateway_events import BackupRequested, ConfigurationSubmitted
from gateway.projections.applied import Database, Row, upsert
from gateway.projections.projection import Batch, Projection, Side

CREATE_CONFIGURATION = "create-configuration"
EXECUTE_BACKUP = "execute-backup"

_SUBMITTED = """
    INSERT INTO {requests} (request_id, organisation, kind, resource_id, actor, submitted_at)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (request_id) DO UPDATE SET submitted_at = excluded.submitted_at, actor = excluded.actor
"""
_ANSWERED = """
    INSERT INTO {requests} (request_id, organisation, kind, resource_id, state, code, field, hint, answered_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (request_id) DO UPDATE SET
        state = excluded.state, code = excluded.code, field = excluded.field, hint = excluded.hint,
        answered_at = excluded.answered_at
"""

_TAKE_OVER = """
    INSERT INTO requests_shadow SELECT * FROM requests WHERE state = 'pending' ON CONFLICT (request_id) DO NOTHING
"""


class Requests(Projection):
    """Requests and their answers."""

    NAME = "requests"
    VERSION = 1
    EVENTS = (
        ConfigurationSubmitted,
        BackupRequested,
        ConfigurationCreated,
        ConfigurationRefused,
        BackupAccepted,
        BackupRefused,
    )
    TABLES = ("requests",)

    def __init__(self, side: Side) -> None:
        super().__init__(side)
        self._submitted, self._answered = self.sql(_SUBMITTED), self.sql(_ANSWERED)

    async def project(self, database: Database, batch: Batch) -> None:
        """Take requests and answers over, in the caller's transaction."""
        submitted: list[Row] = []
        answered: list[Row] = []
        for applied in batch.events:
            envelope = applied.envelope
            organisation, actor, at = envelope.organisation, envelope.actor, envelope.time
            match applied.event:
                case ConfigurationSubmitted(request_id=request, configuration_id=resource):
                    submitted.append((request, organisation, CREATE_CONFIGURATION, resource, actor, at))
                case BackupRequested(request_id=request, execution_id=resource):
                    submitted.append((request, organisation, EXECUTE_BACKUP, resource, actor, at))
                case ConfigurationCreated(request_id=request, configuration_id=resource):
                    kind = CREATE_CONFIGURATION
                    answered.append((request, organisation, kind, resource, "accepted", None, None, None, at))
                case BackupAccepted(request_id=request, execution_id=resource):
                    kind = EXECUTE_BACKUP
                    answered.append((request, organisation, kind, resource, "accepted", None, None, None, at))
                case ConfigurationRefused(request_id=request, configuration_id=resource) as refusal:
                    reason = ("refused", refusal.code, refusal.field, refusal.hint, at)
                    answered.append((request, organisation, CREATE_CONFIGURATION, resource, *reason))
                case BackupRefused(request_id=request, execution_id=resource) as refusal:
                    reason = ("refused", refusal.code, None, refusal.hint, at)
                    answered.append((request, organisation, EXECUTE_BACKUP, resource, *reason))
        await upsert(database, self._submitted, submitted)
        await upsert(database, self._answered, answered)

    async def take_over(self, database: Database) -> None:
        """Requests that were taken down and are not published yet: whoever has their address finds them."""
        await database.execute(_TAKE_OVER)
