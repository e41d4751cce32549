"""The writes of the group."""

from functools import partial
from typing import ClassVar

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from chassis.sealing import Sealer, normalised
from contracts import config_events as facts
from contracts import errors
from contracts import gateway_events as requests
from contracts.configuration import (
    EXCLUDE_FIELD,
    NAME_DIGEST,
    NAME_FIELD,
    SOURCE_IDENTIFIER_FIELD,
    WEDDING_DATE_FIELD,
    ConfigurationBody,
)
from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event
from contracts.refusal import Refusal
from contracts.sealed import Sealed
from gateway.auth.principal import OWNERS
from gateway.groups.configurations import examples
from gateway.groups.configurations.queries import ConfigurationQueries, body_of
from gateway.groups.configurations.resources import Configuration, NewConfiguration
from gateway.groups.configurations.submitted import as_kept, wrong_fields
from gateway.openapi.operation import ETAG, LOCATION, Answer
from gateway.writes.declaration import Asked, Draft, Superseded, Write
from gateway.writes.things import CONFIGURATION, RETENTION_POLICY


class CreateConfiguration(Write[NewConfiguration]):
    """Submit a new configuration and wait, bounded, for the config service's answer."""

    NAME = "create-configuration"
    SUMMARY = "Create a configuration"
    PATH = "/configurations"
    ROLES = OWNERS
    BODY = NewConfiguration
    EXAMPLE = ("photos", examples.NEW_CONFIGURATION)
    REQUEST: ClassVar[type[Event]] = requests.ConfigurationSubmitted
    ACCEPTED: ClassVar[type[Event]] = facts.ConfigurationCreated
    REFUSED: ClassVar[type[Refusal]] = facts.ConfigurationRefused
    OF = CONFIGURATION
    REFUSALS: ClassVar[tuple[ErrorCode, ...]] = (
        errors.CONFIGURATION_NAME_TAKEN,
        errors.UNKNOWN_LOCATION,
        errors.LOCATION_KIND_MISMATCH,
        errors.NO_DESTINATION,
        errors.DESTINATION_TWICE,
        errors.DESTINATION_IS_SOURCE,
        errors.SOURCE_EXCLUDED,
        errors.DESTINATION_EXCLUDED,
        errors.LOCK_NOT_SUPPORTED,
        errors.PATH_OUTSIDE_LOCATION,
        errors.SOURCE_NOT_A_FOLDER,
        errors.SOURCE_UNREACHABLE,
        errors.SCHEDULE_NEVER_DUE,
        errors.RETENTION_POLICY_UNKNOWN,
        errors.LOCATION_UNUSABLE,
        errors.LOCATIONS_UNREADABLE,
    )
    ANSWERS = (
        Answer(
            status=HTTP_201_CREATED,
            description="Created",
            body=Configuration,
            examples={"created": examples.CONFIGURATION},
            headers={**LOCATION, **ETAG},
        ),
    )

    async def draft(self, asked: Asked[NewConfiguration]) -> Draft:
        """Every field that is wrong, and the rest as it is kept."""
        before = None
        if self.is_targeted:
            async with asked.gateway.reading(asked.organisation) as database:
                await self.OF.check(database, asked.organisation, asked.target)
                before = await body_of(database, asked.organisation, asked.target)
        wrong = await wrong_fields(asked.body, asked.gateway.locations, asked.organisation)
        sealer = asked.gateway.sealer
        if before is not None and await sealer.ask(
            partial(_is_same_source, sealer, asked.organisation, asked.body, before)
        ):
            # It may be away while something else is changed: that is a run's to say, and the next one's to get over.
            wrong = [each for each in wrong if each.code is not errors.SOURCE_UNREACHABLE]
        if asked.body.retention_policy_id is not None:
            wrong += await _against_policy(asked, asked.body.retention_policy_id)
        data = as_kept(asked.body)
        return Draft(
            lambda new: self.REQUEST(
                request_id=new.request_id,
                configuration_id=new.resource_id,
                body=sealed_body(sealer, asked.organisation, data, before),
                evidence=new.evidence,
                **asked.expected,
            ),
            body=data,
            wrong=wrong,
        )

    async def shown(self, asked: Asked[NewConfiguration], resource_id: str) -> Response[Configuration] | Superseded:
        """The configuration as it is in force, if that is what was accepted: the version after what was seen."""
        queries = ConfigurationQueries(asked.gateway.sealer)
        created = await queries.one(asked.gateway.reading, asked.organisation, resource_id)
        if created.version != (asked.seen or 0) + 1:
            return Superseded(created.version)
        headers = {"Location": self.resource_path(created.id), "ETag": f'"{created.version}"'}
        return Response(created, status_code=self.ANSWERS[0].status, headers=headers)


class UpdateConfiguration(CreateConfiguration):
    """Have a configuration say what is sent, all of it, from its next run on: fields that are left out are not kept.

    `If-Match` is the ETag of what was read; another version in force is answered with 412. A run that was accepted
    before is of the version that it was accepted with.

    What takes something away needs a second factor of the last fifteen minutes, as a retirement does
    (`second-factor-needed`): another source, more that is left out of it (`exclude`, `excludeCaches`), a tier less,
    another place or a shorter lock of a tier, one that is `required` no longer, a wedding that is critical no longer
    or has another date (beside a schedule), and a schedule that has fewer runs, more blackouts, or makes up for less,
    or is gone, and a retention policy that keeps less. A change that only adds needs none.
    """

    NAME = "update-configuration"
    SUMMARY = "Change a configuration"
    METHOD = "PUT"
    PATH = "/configurations/{configuration_id:str}"
    IF_MATCH = True
    EXAMPLE = ("renamed", msgspec.structs.replace(examples.NEW_CONFIGURATION, name="Photos of Ada and Ben"))
    REQUEST, ACCEPTED, REFUSED = (
        requests.ConfigurationChangeSubmitted,
        facts.ConfigurationUpdated,
        facts.ConfigurationChangeRefused,
    )
    REFUSALS = (errors.CONFIGURATION_RETIRED, errors.SECOND_FACTOR_NEEDED, *CreateConfiguration.REFUSALS)
    ANSWERS = (
        Answer(
            status=HTTP_200_OK,
            description="Changed",
            body=Configuration,
            examples={"changed": msgspec.structs.replace(examples.CONFIGURATION, version=2, name=EXAMPLE[1].name)},
            headers={**LOCATION, **ETAG},
        ),
    )


class RetireConfiguration(Write[None]):
    """Have no more runs of a configuration. What it has saved stays, and so does it, with the state `retired`.

    A run that was accepted before goes on, or is cancelled by itself. Its name is free for another configuration.
    """

    NAME = "retire-configuration"
    SUMMARY = "Retire a configuration"
    METHOD = "DELETE"
    PATH = "/configurations/{configuration_id:str}"
    ROLES = OWNERS
    SECOND_FACTOR = True
    REQUEST, ACCEPTED, REFUSED = (
        requests.ConfigurationRetirementRequested,
        facts.ConfigurationRetired,
        facts.ConfigurationRetirementRefused,
    )
    OF = CONFIGURATION
    REFUSALS = (errors.CONFIGURATION_RETIRED,)


class PauseConfiguration(Write[None]):
    """Have no runs of a configuration until it is resumed; whoever asks for one is refused (`configuration-paused`).

    A run that was accepted before goes on. It can be changed meanwhile and stays paused, is shown with the state
    `paused`, and keeps its place in the status: what it would save is as unprotected as it is.
    """

    NAME = "pause-configuration"
    SUMMARY = "Pause a configuration"
    PATH = "/configurations/{configuration_id:str}/pause"
    ROLES = OWNERS
    SECOND_FACTOR = True
    REQUEST, ACCEPTED, REFUSED = (
        requests.ConfigurationPauseRequested,
        facts.ConfigurationPaused,
        facts.ConfigurationPauseRefused,
    )
    OF = CONFIGURATION
    REFUSALS = (errors.CONFIGURATION_RETIRED, errors.CONFIGURATION_PAUSED)


class ResumeConfiguration(Write[None]):
    """Have runs of a paused configuration again. None is begun by that."""

    NAME = "resume-configuration"
    SUMMARY = "Resume a configuration"
    PATH = "/configurations/{configuration_id:str}/resume"
    ROLES = OWNERS
    REQUEST, ACCEPTED, REFUSED = (
        requests.ConfigurationResumptionRequested,
        facts.ConfigurationResumed,
        facts.ConfigurationResumptionRefused,
    )
    OF = CONFIGURATION
    REFUSALS = (errors.CONFIGURATION_RETIRED, errors.CONFIGURATION_NOT_PAUSED)


def sealed_body(
    sealer: Sealer, organisation: str, data: NewConfiguration, before: ConfigurationBody | None = None
) -> ConfigurationBody:
    """The configuration as it enters the record: what may be personal is sealed before it leaves this process.

    What is the same as `before` stays in its box, so that whoever opens nothing sees that it is.
    """
    wedding, exclude = data.wedding_date, "\n".join(data.exclude)
    path_before = exclude_before = wedding_before = None
    if before is not None:
        path_before, exclude_before, wedding_before = before.source_identifier, before.exclude, before.wedding_date
    kept = partial(_kept_box, sealer, organisation)
    return ConfigurationBody(
        name=sealer.seal(organisation, NAME_FIELD, data.name),
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
    )


async def _against_policy(asked: Asked[NewConfiguration], policy: str) -> list[PlatformError]:
    """That there is no such retention policy, where there is none."""
    try:
        async with asked.gateway.reading(asked.organisation) as database:
            await RETENTION_POLICY.check(database, asked.organisation, policy)
    except PlatformError as error:
        if error.code is not errors.RETENTION_POLICY_UNKNOWN:
            raise
        return [PlatformError(errors.RETENTION_POLICY_UNKNOWN, error.message, field="retentionPolicyId")]
    return []


def _is_same_source(sealer: Sealer, organisation: str, data: NewConfiguration, before: ConfigurationBody) -> bool:
    """Whether a change leaves the source as it was."""
    box = before.source_identifier
    is_same_path = _holds(sealer, organisation, SOURCE_IDENTIFIER_FIELD, data.source_identifier, box)
    return before.source_location == data.source_location and is_same_path


def _kept_box(sealer: Sealer, organisation: str, field: str, text: str, before: Sealed | None) -> Sealed:
    """The box that a text is in already, or a new one."""
    if before is not None and _holds(sealer, organisation, field, text, before):
        return before
    return sealer.seal(organisation, field, text)


def _holds(sealer: Sealer, organisation: str, field: str, text: str, box: Sealed) -> bool:
    """Whether a text is what is in a box. Raises KEYS_UNREACHABLE."""
    try:
        return sealer.open(organisation, field, box) == text
    except PlatformError as error:
        if error.code is errors.KEYS_UNREACHABLE:
            raise
        return False  # One that does not open any more is another source, as far as anybody can tell.
