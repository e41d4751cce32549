"""Who asks, as the API tells them."""

from gateway.auth.rights import Right, Role
from gateway.http.fields import Timestamp
from gateway.http.resources import Resource


class Person(Resource, frozen=True, kw_only=True):
    """Who the token says that one is, and what one may.

    `rights`: what the person's roles let them do together; which operation takes which is in the reference.
    `secondFactor`: whether the token's second factor is recent enough for what demands one; `secondFactorUntil`: until
    when, null where it is not. `expiresAt`: when the token ends.
    """

    actor: str
    organisation: str
    roles: list[Role]
    rights: list[Right]
    second_factor: bool
    second_factor_until: Timestamp | None
    expires_at: Timestamp
