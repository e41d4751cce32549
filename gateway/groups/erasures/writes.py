"""The write of the group."""

from chassis.subject_keys import SubjectKey, standing, subject_id_of
from contracts import errors
from contracts.configuration import DATA_SUBJECT_FIELD
from contracts.erasure_events import NAMED_MAX, ErasureAccepted, ErasureRefused
from contracts.errors import PlatformError
from contracts.storage_requests import ErasureRequested
from gateway.auth.rights import Right
from gateway.groups.erasures.examples import NEW_ERASURE
from gateway.groups.erasures.resources import NewErasure
from gateway.http.texts import kept, wrong_texts
from gateway.writes.declaration import Asked, Draft, New, Write
from gateway.writes.things import ERASURE

_CONFIGURATIONS = """
    SELECT configuration_id FROM configurations WHERE organisation = %s AND body ->> 'dataSubjectId' = %s
    ORDER BY configuration_id LIMIT %s
"""


class EraseDataSubject(Write[NewErasure]):
    """Have a data subject erased: every key that opens what is theirs is destroyed, in the record and on all tiers.

    202 with the request, whose `resource` is the erasure. What stands against it (a configuration that is not retired,
    a hold, a legal obligation, a recovery that reads) does not refuse it: it waits, says why and until when, and goes
    on by itself, in the time that the law gives. Nobody of whom nothing is kept under a key of their own is taken
    (`data-subject-unknown`): their data lies among that of others.
    """

    NAME = "erase-data-subject"
    SUMMARY = "Erase a data subject"
    PATH = "/compliance/erasures"
    RIGHT = Right.ERASE
    SECOND_FACTOR = True
    BODY = NewErasure
    EXAMPLE = ("gdpr", NEW_ERASURE)
    REQUEST, ACCEPTED, REFUSED = ErasureRequested, ErasureAccepted, ErasureRefused
    OF = ERASURE
    REFUSALS = (errors.DATA_SUBJECT_UNKNOWN, errors.DATA_SUBJECT_ERASED, errors.ERASURE_OPEN)

    async def draft(self, asked: Asked[NewErasure]) -> Draft:
        """Whom it is about has to be known, and has to have asked already."""
        gateway, organisation, body = asked.gateway, asked.organisation, asked.body
        now, called = gateway.clock.now(), kept(asked.body.data_subject)
        wrong = list(wrong_texts(("dataSubject", body.data_subject)))
        if body.received_at is not None and body.received_at > now:
            hint = "Name the moment at which the subject has asked, or none for now."
            wrong.append(PlatformError(errors.INVALID_FIELD, "it has not come yet", field="receivedAt", hint=hint))
        sealer = gateway.sealer

        def known() -> tuple[str, SubjectKey]:
            # Who has no keys has never saved anything.
            if not all(sealer.has_keys(organisation)):
                return "", SubjectKey.NONE
            subject = subject_id_of(sealer, organisation, called)
            return subject, standing(sealer, organisation, subject)

        subject, key = await sealer.ask(known)
        if key is SubjectKey.NONE:
            wrong.append(PlatformError(errors.DATA_SUBJECT_UNKNOWN, "nothing is under their key", field="dataSubject"))
        elif key is not SubjectKey.THERE:
            wrong.append(PlatformError(errors.DATA_SUBJECT_ERASED, "they were erased", field="dataSubject"))

        async with gateway.reading(organisation) as database:
            found = await database.execute(_CONFIGURATIONS, (organisation, subject, NAMED_MAX))
            configurations = tuple(each for (each,) in await found.fetchall())

        def event(new: New) -> ErasureRequested:
            return ErasureRequested(
                request_id=new.request_id,
                erasure_id=new.resource_id,
                data_subject=sealer.seal(organisation, DATA_SUBJECT_FIELD, called, subject=subject),
                data_subject_id=subject,
                law=body.law,
                received_at=body.received_at or now,
                configuration_ids=configurations,
                evidence=new.evidence,
            )

        return Draft(event, body=body, wrong=wrong)
