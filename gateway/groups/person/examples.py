"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from gateway.auth.rights import MAY, Role
from gateway.groups.person.resources import Person
from gateway.runs.examples import at

OPERATOR = Person(
    actor="user:7d0e2f9c-5a4b-4c3d-9e8f-1a2b3c4d5e6f",
    organisation="acme-weddings",
    roles=[Role.OPERATOR],
    rights=sorted(MAY[Role.OPERATOR]),
    second_factor=False,
    second_factor_until=None,
    expires_at=at(3600),
)
