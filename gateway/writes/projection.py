"""The read model of requests: what was asked for, and what its owner answered.

The request and its answer come by different streams, in any order: each writes its own columns. Who asked is told by
the request alone: the answer is its owner's.
"""

from contracts.config_events import ConfigurationCreated, ConfigurationRefused
from contracts.executor_events import BackupAccepted, BackupRefused
from contracts.gateway_events import BackupRequested, ConfigurationSubmitted
from gateway.projections.applied import Applied, Database, Row, upsert
from gateway.projections.projection import Batch, Projection, Side

CREATE_CONFIGURATION = "create-configuration"
EXECUTE_BACKUP = "execute-backup"

_SUBMITTED = """
    INSERT INTO {requests} (request_id, organisation, kind, resource_id, actor, submitted_at)
    SELECT request_id, organisation, kind, resource_id, actor, submitted_at
    FROM json_populate_recordset(NULL::{requests}, %s)
    ON CONFLICT (request_id) DO UPDATE SET submitted_at = excluded.submitted_at, actor = excluded.actor
"""
_ANSWERED = """
    INSERT INTO {requests} (request_id, organisation, kind, resource_id, state, code, field, hint, answered_at)
    SELECT request_id, organisation, kind, resource_id, state, code, field, hint, answered_at
    FROM json_populate_recordset(NULL::{requests}, %s)
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
        submitted: dict[str, Row] = {}
        answered: dict[str, Row] = {}

        def submit(applied: Applied, kind: str, request: str, resource: str) -> None:
            row = _row(applied, kind, request, resource)
            submitted[request] = {**row, "actor": applied.envelope.actor, "submitted_at": applied.envelope.time}

        def answer(applied: Applied, kind: str, request: str, resource: str, **refusal: str | None) -> None:
            row = _row(applied, kind, request, resource)
            state = "refused" if refusal else "accepted"
            answered[request] = {**row, "state": state, **refusal, "answered_at": applied.envelope.time}

        for applied in batch.events:
            match applied.event:
                case ConfigurationSubmitted(request_id=request, configuration_id=resource):
                    submit(applied, CREATE_CONFIGURATION, request, resource)
                case BackupRequested(request_id=request, execution_id=resource):
                    submit(applied, EXECUTE_BACKUP, request, resource)
                case ConfigurationCreated(request_id=request, configuration_id=resource):
                    answer(applied, CREATE_CONFIGURATION, request, resource)
                case BackupAccepted(request_id=request, execution_id=resource):
                    answer(applied, EXECUTE_BACKUP, request, resource)
                case ConfigurationRefused(
                    request_id=request, configuration_id=resource, code=code, field=field, hint=hint
                ):
                    answer(applied, CREATE_CONFIGURATION, request, resource, code=code, field=field, hint=hint)
                case BackupRefused(request_id=request, execution_id=resource, code=code, hint=hint):
                    answer(applied, EXECUTE_BACKUP, request, resource, code=code, hint=hint)
        await upsert(database, self._submitted, list(submitted.values()))
        await upsert(database, self._answered, list(answered.values()))

    async def take_over(self, database: Database) -> None:
        """Requests that were taken down and are not published yet: whoever has their address finds them."""
        await database.execute(_TAKE_OVER)


def _row(applied: Applied, kind: str, request: str, resource: str) -> dict[str, object]:
    organisation = applied.envelope.organisation
    return {"request_id": request, "organisation": organisation, "kind": kind, "resource_id": resource}
