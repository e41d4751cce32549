"""Who asks: what a verified token says about a person."""

from datetime import datetime

import msgspec

from contracts.gateway_events import Evidence
from contracts.sealed import Sealed
from gateway.auth.rights import MAY, Right, Role

FACTOR_SECONDS_MAX = 900
CLOCK_SECONDS_MAX = 60
"""How far the provider's clock may be ahead: a factor of the future would be recent until then."""


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated person. Nothing in here is a secret; the token itself is kept nowhere.

    `actor`: `user:<subject>`. `assurance`: `aal1` or `aal2`. `factors`: the methods of the sign-in; `factor_at`: when
    the latest of them was used, `second_factor_at`: when the latest that is a second one was, where the provider says
    so. `expires_at`: the token's end, Unix seconds. `signed_by`: the thumbprint of the key that signed it.
    """

    actor: str
    organisation: str
    roles: frozenset[Role]
    assurance: str = "aal1"
    factors: tuple[str, ...] = ()
    token_id: str | None = None
    factor_at: datetime | None = None
    second_factor_at: datetime | None = None
    expires_at: float
    signed_by: str = ""

    def may(self, right: Right) -> bool:
        """Whether one of the person's roles has this right."""
        return any(right in MAY[role] for role in self.roles)

    def has_second_factor(self, now: datetime) -> bool:
        """Whether a second factor was given within `FACTOR_SECONDS_MAX`; of what has no time, nobody knows."""
        if self.assurance != "aal2" or self.second_factor_at is None:
            return False
        return -CLOCK_SECONDS_MAX <= (now - self.second_factor_at).total_seconds() <= FACTOR_SECONDS_MAX

    def evidence(self, now: datetime, *, address: Sealed | None = None, agent: Sealed | None = None) -> Evidence:
        """How the person had proved who they are, and where from, as it is recorded: what tells of them is sealed."""
        return Evidence(
            assurance=self.assurance,
            factors=self.factors,
            roles=tuple(sorted(self.roles)),
            token_id=self.token_id,
            factor_at=self.factor_at,
            second_factor=self.has_second_factor(now),
            address=address,
            agent=agent,
        )
