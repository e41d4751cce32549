"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from contracts.attestations import AttestationKind
from gateway.groups.attestations.resources import Attestation, NewAttestation
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, ATTESTATION_ID, REQUEST_ID, at

NEW_ATTESTATION = NewAttestation(
    kind=AttestationKind.AUDIT_LOG_REVIEW,
    statement="Accesses of the third quarter were looked through: two denials, both explained",
)

ATTESTATION = Attestation(
    id=ATTESTATION_ID,
    request_id=REQUEST_ID,
    kind=NEW_ATTESTATION.kind,
    holds=True,
    about=[],
    statement=NEW_ATTESTATION.statement,
    attested_by=ACTOR,
    recorded_at=at(7200),
    happened_at=None,
    log_size=4712,
    log_root="bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
)

ATTESTATIONS = ListPage[Attestation](items=[ATTESTATION])
