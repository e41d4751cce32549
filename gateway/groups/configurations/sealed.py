"""Configurations as they enter the record: what may be personal is sealed."""

from collections.abc import Sequence
from functools import partial

from chassis.sealing import Sealer, normalised
from chassis.subject_keys import SubjectKey, make_subject_key, standing, subject_id_of
from contracts import errors
from contracts.configuration import (
    DATA_SUBJECT_FIELD,
    EXCLUDE_FIELD,
    NAME_DIGEST,
    NAME_FIELD,
    PURPOSE_FIELD,
    SOURCE_IDENTIFIER_FIELD,
    WEDDING_DATE_FIELD,
    ConfigurationBody,
)
from contracts.errors import PlatformError
from contracts.sealed import Sealed
from gateway.groups.configurations.resources import NewConfiguration
from gateway.projections.applied import Database

_SEALED_BEFORE = """
    SELECT 1 FROM configurations WHERE organisation = %s AND body ->> 'dataSubjectId' = ANY(%s) LIMIT 1
"""


def sealed_body(
    sealer: Sealer, organisation: str, data: NewConfiguration, before: ConfigurationBody | None = None
) -> ConfigurationBody:
    """The configuration as it enters the record: what may be personal is sealed before it leaves this process.

    What is the same as `before` stays in its box, so that whoever opens nothing sees that it is.
    """
    wedding, exclude = data.wedding_date, "\n".join(data.exclude)
    path_before = exclude_before = wedding_before = purpose_before = None
    if before is not None:
        path_before, exclude_before, wedding_before = before.source_identifier, before.exclude, before.wedding_date
        purpose_before = before.purpose
    subject = None if data.data_subject is None else subject_id_of(sealer, organisation, data.data_subject)
    if subject is not None:
        make_subject_key(sealer, organisation, subject)
    seal = partial(sealer.seal, organisation, subject=subject)
    kept = partial(_kept_box, sealer, organisation, subject)
    return ConfigurationBody(
        name=seal(NAME_FIELD, data.name),
        name_digest=sealer.digest(organisation, NAME_DIGEST, normalised(data.name)),
        source_type=data.source_type,
        source_location=data.source_location,
        source_identifier=kept(SOURCE_IDENTIFIER_FIELD, data.source_identifier, path_before),
        backup_type=data.backup_type,
        storage_destinations=data.storage_destinations,
        compression_enabled=data.compression_enabled,
        is_wedding_critical=data.is_wedding_critical,
        wedding_date=kept(WEDDING_DATE_FIELD, wedding.isoformat(), wedding_before) if wedding else None,
        tags=data.tags,
        schedule=data.schedule,
        exclude=kept(EXCLUDE_FIELD, exclude, exclude_before) if exclude else None,
        exclude_caches=data.exclude_caches,
        retention_policy_id=data.retention_policy_id,
        purpose=kept(PURPOSE_FIELD, data.purpose, purpose_before) if data.purpose else None,
        data_categories=data.data_categories,
        data_subject=seal(DATA_SUBJECT_FIELD, data.data_subject) if data.data_subject is not None else None,
        data_subject_id=subject,
    )


def against_subject(
    sealer: Sealer, organisation: str, data: NewConfiguration, before: ConfigurationBody | None = None
) -> list[PlatformError]:
    """What speaks against the data subject: they were erased, or the configuration is another one's. Reads keys."""
    subject = None
    if data.data_subject is not None and all(sealer.has_keys(organisation)):
        subject = subject_id_of(sealer, organisation, data.data_subject)
        if standing(sealer, organisation, subject) in (SubjectKey.DESTROYED, SubjectKey.BACK):
            return [PlatformError(errors.DATA_SUBJECT_ERASED, "the subject was erased", field="dataSubject")]
    if before is not None and before.data_subject_id != subject:
        return [PlatformError(errors.DATA_SUBJECT_FIXED, "it is another data subject", field="dataSubject")]
    return []


async def require_subject_keys(
    database: Database, sealer: Sealer, organisation: str, every: Sequence[NewConfiguration]
) -> None:
    """Raise KEYS_UNUSABLE where a subject's key is gone, though there are configurations that it sealed.

    To be called before keys are made: one that is made beside old data opens none of it.
    """

    def without() -> list[str]:
        if not all(sealer.has_keys(organisation)):
            return []
        called = {each.data_subject for each in every if each.data_subject is not None}
        ids = [subject_id_of(sealer, organisation, each) for each in called]
        return [each for each in ids if standing(sealer, organisation, each) is SubjectKey.NONE]

    if any(each.data_subject is not None for each in every) and (ids := await sealer.ask(without)):
        found = await database.execute(_SEALED_BEFORE, (organisation, ids))
        if await found.fetchone() is not None:
            raise PlatformError(errors.KEYS_UNUSABLE, "a data subject's key is missing", organisation=organisation)


def is_same_source(sealer: Sealer, organisation: str, data: NewConfiguration, before: ConfigurationBody) -> bool:
    """Whether a change leaves the source as it was."""
    box = before.source_identifier
    is_same_path = _holds(sealer, organisation, SOURCE_IDENTIFIER_FIELD, data.source_identifier, box)
    return before.source_location == data.source_location and is_same_path


def _kept_box(
    sealer: Sealer, organisation: str, subject: str | None, field: str, text: str, before: Sealed | None
) -> Sealed:
    """The box that a text is in already, or a new one."""
    if before is not None and _holds(sealer, organisation, field, text, before):
        return before
    return sealer.seal(organisation, field, text, subject=subject)


def _holds(sealer: Sealer, organisation: str, field: str, text: str, box: Sealed) -> bool:
    """Whether a text is what is in a box. Raises KEYS_UNREACHABLE."""
    try:
        return sealer.open(organisation, field, box) == text
    except PlatformError as error:
        if error.code is errors.KEYS_UNREACHABLE:
            raise
        return False  # One that does not open any more is another source, as far as anybody can tell.
