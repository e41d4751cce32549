"""Who asks: for a page that offers what somebody may do, and nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

from litestar import Request, get

from gateway.auth.guards import needs
from gateway.auth.principal import FACTOR_SECONDS_MAX
from gateway.auth.rights import Right
from gateway.groups.person.resources import Person
from gateway.parts import parts_of, principal_of


@get("/me", **needs(Right.READ), summary="Show who asks")
async def show_person(request: Request[Any, Any, Any]) -> Person:
    """Organisation, roles and rights of the token that is sent, and until when it and its second factor are good."""
    principal = principal_of(request)
    has_factor = principal.has_second_factor(parts_of(request).clock.now())
    given_at = principal.second_factor_at if has_factor else None
    return Person(
        actor=principal.actor,
        organisation=principal.organisation,
        roles=sorted(principal.roles),
        rights=[right for right in sorted(Right) if principal.may(right)],
        second_factor=has_factor,
        second_factor_until=None if given_at is None else given_at + timedelta(seconds=FACTOR_SECONDS_MAX),
        expires_at=datetime.fromtimestamp(principal.expires_at, UTC),
    )


HANDLERS = [show_person]
