"""Attestations: list and show what people have put their names to."""

from typing import Annotated, Any

from litestar import Request, Router, get
from litestar.params import QueryParameter

from contracts.attestations import AttestationKind
from gateway.auth.guards import needs
from gateway.auth.rights import Right
from gateway.groups.attestations.queries import AttestationFilter, AttestationQueries
from gateway.groups.attestations.resources import Attestation
from gateway.http.parameters import LIMIT_DEFAULT, CursorText, Id, Limit, checked_id
from gateway.http.resources import ListPage
from gateway.parts import parts_of, principal_of

OfKind = Annotated[AttestationKind | None, QueryParameter(name="kind", description="Of one kind")]


@get("/", **needs(Right.READ), summary="List attestations")
async def list_attestations(
    request: Request[Any, Any, Any], limit: Limit = LIMIT_DEFAULT, cursor: CursorText = None, kind: OfKind = None
) -> ListPage[Attestation]:
    """What people of the organisation have attested, the latest first."""
    gateway, principal = parts_of(request), principal_of(request)
    return await AttestationQueries(gateway.sealer).page(
        gateway.reading, principal.organisation, AttestationFilter(kind=kind), limit=limit, cursor=cursor
    )


@get("/{attestation_id:str}", **needs(Right.READ), summary="Show an attestation")
async def show_attestation(request: Request[Any, Any, Any], attestation_id: Id) -> Attestation:
    """One attestation: who has said what, and what the audit log was then."""
    gateway, principal = parts_of(request), principal_of(request)
    identity = checked_id(attestation_id)
    return await AttestationQueries(gateway.sealer).one(gateway.reading, principal.organisation, identity)


HANDLERS = [Router("/compliance/attestations", route_handlers=[list_attestations, show_attestation])]
