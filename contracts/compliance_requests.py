"""What the gateway records of what people say for compliance. Owner: gateway."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from contracts.attestations import ABOUT_MAX, AboutName, AttestationKind
from contracts.event import Event, pinned
from contracts.gateway_events import Evidence
from contracts.sealed import Sealed


@pinned("gateway.attestation-submitted.v1", taken_by=("compliance--record-attestation",))
class AttestationSubmitted(Event, frozen=True, kw_only=True):
    """Somebody put their name to something. Sealed is what they say of it.

    `holds`: whether it is as it has to be. `happened_at`: when what it is about happened, where that counts.
    """

    request_id: str
    attestation_id: str
    kind: AttestationKind
    holds: bool
    about: Annotated[tuple[AboutName, ...], Meta(max_length=ABOUT_MAX)]
    statement: Sealed
    evidence: Evidence
    happened_at: datetime | None = None
