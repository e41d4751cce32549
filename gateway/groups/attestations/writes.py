"""The write of the group."""

from contracts import errors
from contracts.attestations import ABOUT, STATEMENT_FIELD
from contracts.compliance_events import AttestationRecorded, AttestationRefused
from contracts.compliance_requests import AttestationSubmitted
from contracts.errors import PlatformError
from gateway.auth.rights import Right
from gateway.groups.attestations.examples import NEW_ATTESTATION
from gateway.groups.attestations.resources import NewAttestation
from gateway.http.texts import kept, wrong_texts
from gateway.writes.declaration import Asked, Draft, New, Write
from gateway.writes.things import ATTESTATION


class Attest(Write[NewAttestation]):
    """Put your name to something that nothing else proves: a review, an approval, a certification.

    202 with the request, whose `resource` is the attestation. It is evidence of the controls that name its kind, by
    your word, bound to the audit log as it was signed then; it is never changed, and a later one says otherwise. With a
    recent second factor: it stands for your signature.
    """

    NAME = "attest"
    SUMMARY = "Attest"
    PATH = "/compliance/attestations"
    RIGHT = Right.ATTEST
    SECOND_FACTOR = True
    BODY = NewAttestation
    EXAMPLE = ("a review", NEW_ATTESTATION)
    REQUEST, ACCEPTED, REFUSED = AttestationSubmitted, AttestationRecorded, AttestationRefused
    OF = ATTESTATION

    async def draft(self, asked: Asked[NewAttestation]) -> Draft:
        """It names what it is about, and what has happened."""
        gateway, organisation, body = asked.gateway, asked.organisation, asked.body
        wrong = list(wrong_texts(("statement", body.statement)))
        if not body.about and (names := ABOUT.get(body.kind)) is not None:
            wrong.append(PlatformError(errors.INVALID_FIELD, "it names nothing", field="about", hint=f"Name {names}."))
        if body.happened_at is not None and body.happened_at > gateway.clock.now():
            hint = "Name an instant that has passed, or none for now."
            wrong.append(PlatformError(errors.INVALID_FIELD, "it has not come yet", field="happenedAt", hint=hint))
        statement = kept(body.statement)

        def event(new: New) -> AttestationSubmitted:
            return AttestationSubmitted(
                request_id=new.request_id,
                attestation_id=new.resource_id,
                kind=body.kind,
                holds=body.holds,
                about=tuple(dict.fromkeys(body.about)),
                statement=gateway.sealer.seal(organisation, STATEMENT_FIELD, statement),
                evidence=new.evidence,
                happened_at=body.happened_at,
            )

        return Draft(event, body=body, wrong=wrong)
