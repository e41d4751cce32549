"""The writes of the group."""

from functools import partial
from typing import ClassVar

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED, HTTP_207_MULTI_STATUS

from contracts import config_events as facts
from contracts import errors
from contracts import gateway_events as requests
from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event
from contracts.executor_events import ConfigurationTested, ConfigurationTestRefused
from contracts.refusal import Refusal
from gateway.auth.rights import Right
from gateway.groups.configurations import bulk, examples
from gateway.groups.configurations.queries import ConfigurationQueries, body_of
from gateway.groups.configurations.resources import (
    Configuration,
    NewConfiguration,
    NewConfigurations,
    SentConfigurations,
)
from gateway.groups.configurations.sealed import against_subject, is_same_source, require_subject_keys, sealed_body
from gateway.groups.configurations.submitted import as_kept, wrong_fields
from gateway.groups.configurations.tested import version_and_last_run
from gateway.openapi.operation import ETAG, LOCATION, Answer
from gateway.writes import queries as request_queries
from gateway.writes.declaration import Asked, Draft, Items, Superseded, Write
from gateway.writes.resources import WriteRequest
from gateway.writes.things import BULK, CONFIGURATION, RETENTION_POLICY


class CreateConfiguration(Write[NewConfiguration]):
    """Submit a new configuration and wait, bounded, for the config service's answer."""

    NAME = "create-configuration"
    SUMMARY = "Create a configuration"
    PATH = "/configurations"
    RIGHT = Right.CONFIGURE
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
        errors.DATA_SUBJECT_ERASED,
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
            partial(is_same_source, sealer, asked.organisation, asked.body, before)
        ):
            # It may be away while something else is changed: that is a run's to say, and the next one's to get over.
            wrong = [each for each in wrong if each.code is not errors.SOURCE_UNREACHABLE]
        data = as_kept(asked.body)
        wrong += await sealer.ask(partial(against_subject, sealer, asked.organisation, data, before))
        if data.data_subject is not None:
            async with asked.gateway.reading(asked.organisation) as database:
                await require_subject_keys(database, sealer, asked.organisation, [data])
        if asked.body.retention_policy_id is not None:
            wrong += await _against_policy(asked, asked.body.retention_policy_id)
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
        queries = ConfigurationQueries(asked.gateway.sealer, asked.gateway.locations)
        created = await queries.one(asked.gateway.reading, asked.organisation, resource_id)
        return self.in_force(asked, created)


class BulkCreateConfigurations(Write[SentConfigurations]):
    """Submit up to 1,000 configurations at once, each as `POST /configurations` takes one.

    `mode` `partial` (which is meant where none is said): those that are right are created, and each other is told with
    all that is wrong with it: `201` where every item was created, `207` where some were. `atomic`: all are created
    (`201`), or none is. Where none is created it is a problem in both modes, with every wrong field of every item
    (`items[3].name`). Of a name that several items have the first item gets it.

    The answer and `/requests/{id}` have one result for each item, in their order. The same key and body again is the
    same request. Each item counts as a write of the person and the organisation: after a large one the next waits.
    """

    NAME = "bulk-create-configurations"
    SUMMARY = "Create several configurations"
    PATH = "/configurations/bulk-create"
    RIGHT = Right.CONFIGURE
    BODY = NewConfigurations
    TAKEN = SentConfigurations
    BODY_BYTES = 2 * 1024 * 1024
    EXAMPLE = ("two", examples.NEW_CONFIGURATIONS)
    REQUEST: ClassVar[type[Event]] = requests.ConfigurationsSubmitted
    ACCEPTED: ClassVar[type[Event]] = facts.ConfigurationsCreated
    REFUSED: ClassVar[type[Refusal]] = facts.ConfigurationsRefused
    ITEMS = Items(CreateConfiguration, requests.ConfigurationItemSubmitted, requests.ConfigurationItemRefused)
    OF = BULK
    REFUSALS = (errors.BULK_REFUSED, *CreateConfiguration.REFUSALS)
    ANSWERS = (
        Answer(
            status=HTTP_201_CREATED,
            description="All created",
            body=WriteRequest,
            examples={"created": examples.ALL_CREATED},
            headers=LOCATION,
        ),
        Answer(
            status=HTTP_207_MULTI_STATUS,
            description="Some created: `items` tells of each",
            body=WriteRequest,
            examples={"some": examples.SOME_CREATED},
            headers=LOCATION,
        ),
    )

    async def draft(self, asked: Asked[SentConfigurations]) -> Draft:
        """Every item with all that is wrong with it; in the record is what of them can be."""
        items, mode = await bulk.judged(asked), asked.body.mode
        submitted = len([item for item in items if not item.wrong])
        return Draft(
            lambda new: self.REQUEST(request_id=new.request_id, mode=mode, items=submitted, evidence=new.evidence),
            body=bulk.compared(items, mode),
            wrong=bulk.all_wrong(items, mode),
            items=bulk.drawn(items, asked),
        )

    async def shown(self, asked: Asked[SentConfigurations], resource_id: str) -> Response[WriteRequest]:
        """What became of each item."""
        async with asked.gateway.reading(asked.organisation) as database:
            request = await request_queries.one(database, asked.organisation, resource_id)
        status = HTTP_207_MULTI_STATUS if request.refused_items else HTTP_201_CREATED
        return Response(request, status_code=status, headers={"Location": self.resource_path(resource_id)})


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
    REFUSALS = (
        errors.CONFIGURATION_RETIRED,
        errors.DATA_SUBJECT_FIXED,
        errors.SECOND_FACTOR_NEEDED,
        *CreateConfiguration.REFUSALS,
    )
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
    RIGHT = Right.CONFIGURE
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
    RIGHT = Right.CONFIGURE
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
    RIGHT = Right.CONFIGURE
    REQUEST, ACCEPTED, REFUSED = (
        requests.ConfigurationResumptionRequested,
        facts.ConfigurationResumed,
        facts.ConfigurationResumptionRefused,
    )
    OF = CONFIGURATION
    REFUSALS = (errors.CONFIGURATION_RETIRED, errors.CONFIGURATION_NOT_PAUSED)


class TestConfiguration(Write[None]):
    """Have a worker look whether a configuration would be backed up: source, keys and each tier, a finding each.

    Nothing is backed up, and nothing of the look is left anywhere. `202` with the request; when it is accepted,
    `resource` shows what was found. It takes up to a minute, one at a time of an organisation, beside its runs. A
    paused configuration is tested as any other.
    """

    NAME = "test-configuration"
    SUMMARY = "Test a configuration"
    PATH = "/configurations/{configuration_id:str}/test"
    RIGHT = Right.TEST
    REQUEST, ACCEPTED, REFUSED = (
        requests.ConfigurationTestRequested,
        ConfigurationTested,
        ConfigurationTestRefused,
    )
    OF = CONFIGURATION
    REFUSALS = (
        errors.CONFIGURATION_RETIRED,
        errors.CONFIGURATION_UNREADABLE,
        errors.TEST_ALREADY_OPEN,
        errors.TEST_GIVEN_UP,
        errors.NO_WORKER,
        errors.QUEUE_FULL,
    )

    async def draft(self, asked: Asked[None]) -> Draft:
        """Of the configuration as it is in force at this moment."""
        async with asked.gateway.reading(asked.organisation) as database:
            version, last_run = await version_and_last_run(database, asked.organisation, asked.target)
        return Draft(
            lambda new: requests.ConfigurationTestRequested(
                request_id=new.request_id,
                configuration_id=new.resource_id,
                configuration_version=version,
                last_run=last_run,
                evidence=new.evidence,
            )
        )

    def resource_path(self, resource_id: str) -> str:
        """What was found."""
        return f"{super().resource_path(resource_id)}/test"


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
