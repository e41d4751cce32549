"""Who did what, and the audit log: for auditors."""

from typing import Annotated, Any

from litestar import Request, Router, get
from litestar.params import PathParameter, QueryParameter

from contracts import errors
from contracts.errors import PlatformError
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.security.queries import AccessFilter, SecurityQueries
from gateway.groups.security.receipts import Receipts
from gateway.groups.security.resources import (
    Access,
    AuditConsistency,
    AuditEntries,
    AuditLog,
    AuditProof,
    Outcome,
    RecoveryReceipt,
)
from gateway.http.parameters import LIMIT_DEFAULT, Before, CursorText, From, Id, Limit, checked_id, checked_period
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

SIZE_MAX = 2**53 - 1
"""What every client reads as a whole number."""
OfActor = Annotated[
    str | None, QueryParameter(name="actor", max_length=300, description="Of one person, as `actor` names them")
]
OfOutcome = Annotated[Outcome | None, QueryParameter(name="outcome", description="Allowed or denied")]
OfAction = Annotated[
    str | None, QueryParameter(name="action", max_length=100, description="Such as `recovery-requested`")
]
Begin = Annotated[
    int, QueryParameter(name="start", ge=0, le=SIZE_MAX, description="The place of the first entry: `next` of a page")
]
Index = Annotated[int, PathParameter(ge=0, le=SIZE_MAX, description="The entry's place in the log")]
Size = Annotated[
    int | None,
    QueryParameter(name="size", ge=1, le=SIZE_MAX, description="Of the checkpoint; the first that has the entry"),
]
First = Annotated[
    int | None,
    QueryParameter(name="first", ge=1, le=SIZE_MAX, description="The size of the older checkpoint. Required."),
]
Second = Annotated[
    int | None,
    QueryParameter(name="second", ge=1, le=SIZE_MAX, description="The size of the newer checkpoint. Required."),
]


def _queries(request: Request[Any, Any, Any]) -> tuple[SecurityQueries, str]:
    gateway, principal = parts_of(request), principal_of(request)
    return SecurityQueries(gateway.reading, gateway.sealer, gateway.compliance_schema), principal.organisation


@get("/access-logs", **needs(Right.READ_ACCESS_LOGS), summary="List accesses")
async def list_accesses(
    request: Request[Any, Any, Any],
    limit: Limit = LIMIT_DEFAULT,
    cursor: CursorText = None,
    actor: OfActor = None,
    outcome: OfOutcome = None,
    action: OfAction = None,
    happened_from: From = None,
    happened_before: Before = None,
) -> ListPage[Access]:
    """Who asked for what, when, from where and with which factor, and who was denied something; the latest first.

    Every write of the API and every denial is here, a second after it happened. Reads are not recorded, nor is what
    an operator does at the machine.
    """
    queries, organisation = _queries(request)
    start, before = checked_period(happened_from, happened_before)
    wanted = AccessFilter(actor=actor, outcome=outcome, action=action, happened_from=start, happened_before=before)
    return await queries.accesses(organisation, wanted, limit=limit, cursor=cursor)


@get("/audit-log", **needs(Right.READ_ACCESS_LOGS), summary="Show the audit log's checkpoint")
async def show_audit_log(request: Request[Any, Any, Any]) -> AuditLog:
    """The organisation's audit log: its size, and the signed note about it. Keep the note somewhere else."""
    queries, organisation = _queries(request)
    return await queries.log(organisation)


@get("/audit-log/entries", **needs(Right.READ_ACCESS_LOGS), summary="Export the audit log")
async def list_audit_entries(
    request: Request[Any, Any, Any], start: Begin = 0, limit: Limit = LIMIT_DEFAULT
) -> AuditEntries:
    """Entries in the order of the log, each event as it was published. Pages, a line each, are what `verify` reads."""
    queries, organisation = _queries(request)
    return await queries.entries(organisation, start, limit)


@get(
    "/audit-log/entries/{index:int}/proof",
    **needs(Right.READ_ACCESS_LOGS),
    summary="Prove that an entry is in the audit log",
)
async def prove_audit_entry(request: Request[Any, Any, Any], index: Index, size: Size = None) -> AuditProof:
    """The hashes that lead from an entry to a checkpoint's root."""
    queries, organisation = _queries(request)
    return await queries.proof(organisation, index, size)


@get(
    "/audit-log/consistency",
    **needs(Right.READ_ACCESS_LOGS),
    summary="Prove that the audit log only grew",
)
async def prove_audit_consistency(
    request: Request[Any, Any, Any], first: First = None, second: Second = None
) -> AuditConsistency:
    """The hashes that prove that the log at one checkpoint is the beginning of itself at another."""
    queries, organisation = _queries(request)
    return await queries.consistency(organisation, _given(first, "first"), _given(second, "second"))


@get(
    "/recovery-receipts/{execution_id:str}",
    **needs(Right.READ_ACCESS_LOGS),
    summary="Show the receipt of an execution or test of a plan",
)
async def show_recovery_receipt(request: Request[Any, Any, Any], execution_id: Id) -> RecoveryReceipt:
    """All that was said of an ended execution or test and of its recoveries, each with its proof, to be kept."""
    queries, organisation = _queries(request)
    checked_id(execution_id, code=errors.DR_EXECUTION_UNKNOWN)
    return await Receipts(queries).of_execution(organisation, execution_id)


def _given(size: int | None, field: str) -> int:
    if size is None:
        hint = "Give the sizes of two checkpoints that you have."
        raise PlatformError(errors.INVALID_FIELD, "it is not said of which size", field=field, hint=hint)
    return size


HANDLERS = [
    Router(
        "/security",
        route_handlers=[
            list_accesses,
            show_audit_log,
            list_audit_entries,
            prove_audit_entry,
            prove_audit_consistency,
            show_recovery_receipt,
        ],
    )
]
