"""The writes of the group."""

from typing import Any, ClassVar, LiteralString

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_200_OK, HTTP_201_CREATED

from contracts import cleanup_events as cleanups
from contracts import config_events as facts
from contracts import errors
from contracts import gateway_events as requests
from contracts.errors import ErrorCode, PlatformError
from contracts.event import Event
from contracts.refusal import Refusal
from contracts.retention import POLICY_NAME_FIELD, RetentionPolicyBody, RetentionRules
from gateway.auth.rights import Right
from gateway.groups.retention import examples
from gateway.groups.retention.queries import RetentionPolicyQueries
from gateway.groups.retention.resources import IDS_MAX, NewCleanup, NewRetentionPolicy, RetentionPolicy
from gateway.groups.retention.submitted import rules_of, wrong_fields
from gateway.http.texts import kept
from gateway.openapi.operation import ETAG, LOCATION, Answer
from gateway.writes.declaration import Asked, Draft, Superseded, Write
from gateway.writes.things import CLEANUP, CONFIGURATION, RETENTION_POLICY


class CreateRetentionPolicy(Write[NewRetentionPolicy]):
    """Say how long what is saved is to be kept. Configurations name it; a cleanup lets go what it does not keep.

    What contradicts itself is refused: longer kept or locked than `maximumDays`, or nothing kept at all.
    """

    NAME = "create-retention-policy"
    SUMMARY = "Create a retention policy"
    PATH = "/retention/policies"
    RIGHT = Right.SET_RETENTION
    BODY = NewRetentionPolicy
    EXAMPLE = ("photos", examples.NEW_RETENTION_POLICY)
    REQUEST: ClassVar[type[Event]] = requests.RetentionPolicySubmitted
    ACCEPTED: ClassVar[type[Event]] = facts.RetentionPolicyCreated
    REFUSED: ClassVar[type[Refusal]] = facts.RetentionPolicyRefused
    OF = RETENTION_POLICY
    REFUSALS: ClassVar[tuple[ErrorCode, ...]] = (errors.RETENTION_KEEPS_NOTHING, errors.RETENTION_CONTRADICTION)
    ANSWERS = (
        Answer(
            status=HTTP_201_CREATED,
            description="Created",
            body=RetentionPolicy,
            examples={"created": examples.RETENTION_POLICY},
            headers={**LOCATION, **ETAG},
        ),
    )

    async def draft(self, asked: Asked[NewRetentionPolicy]) -> Draft:
        """Every field that is wrong, and the rest as it is kept."""
        if self.is_targeted:
            async with asked.gateway.reading(asked.organisation) as database:
                await self.OF.check(database, asked.organisation, asked.target)
        data, rules = asked.body, rules_of(asked.body)
        data = msgspec.structs.replace(data, name=kept(data.name), tags=rules.tags)
        sealer, organisation = asked.gateway.sealer, asked.organisation

        def body() -> RetentionPolicyBody:
            said: dict[str, Any] = {name: getattr(rules, name) for name in RetentionRules.__struct_fields__}
            return RetentionPolicyBody(name=sealer.seal(organisation, POLICY_NAME_FIELD, data.name), **said)

        return Draft(
            lambda new: self.REQUEST(
                request_id=new.request_id,
                retention_policy_id=new.resource_id,
                body=body(),
                evidence=new.evidence,
                **asked.expected,
            ),
            body=data,
            wrong=list(wrong_fields(asked.body, rules)),
        )

    async def shown(self, asked: Asked[NewRetentionPolicy], resource_id: str) -> Response[RetentionPolicy] | Superseded:
        """The policy as it is in force, if that is what was accepted: the version after what was seen."""
        queries = RetentionPolicyQueries(asked.gateway.sealer)
        made = await queries.one(asked.gateway.reading, asked.organisation, resource_id)
        return self.in_force(asked, made)


class UpdateRetentionPolicy(CreateRetentionPolicy):
    """Have a retention policy say what is sent, all of it: fields that are left out are not kept.

    `If-Match` is the ETag of what was read; another version in force is answered with 412. What keeps less, or shorter,
    than before needs a second factor of the last fifteen minutes (`second-factor-needed`).
    """

    NAME = "update-retention-policy"
    SUMMARY = "Change a retention policy"
    METHOD = "PUT"
    PATH = "/retention/policies/{retention_policy_id:str}"
    IF_MATCH = True
    EXAMPLE = ("longer", msgspec.structs.replace(examples.NEW_RETENTION_POLICY, keep_monthly=36))
    REQUEST, ACCEPTED, REFUSED = (
        requests.RetentionPolicyChangeSubmitted,
        facts.RetentionPolicyUpdated,
        facts.RetentionPolicyChangeRefused,
    )
    REFUSALS = (errors.SECOND_FACTOR_NEEDED, *CreateRetentionPolicy.REFUSALS)
    ANSWERS = (
        Answer(
            status=HTTP_200_OK,
            description="Changed",
            body=RetentionPolicy,
            examples={"changed": msgspec.structs.replace(examples.RETENTION_POLICY, version=2, keep_monthly=36)},
            headers={**LOCATION, **ETAG},
        ),
    )


SEEN_MAX = 3_500
"""So many versions fit into an event, at sixty bytes each."""
_SEEN: LiteralString = """
    SELECT configuration_id, version FROM configurations
    WHERE organisation = %(organisation)s AND state <> 'retired'
        AND (%(of)s::text[] IS NULL OR configuration_id = ANY(%(of)s))
    UNION ALL
    SELECT retention_policy_id, version FROM retention_policies WHERE organisation = %(organisation)s
"""


class CleanUpRetention(Write[NewCleanup]):
    """Let go what the retention policies of configurations do not keep, on every tier, and free what nothing needs.

    202 with the request, whose `resource` is the cleanup once it is accepted: a worker plans it over what the tiers
    have, tells each point before it goes, and what each place gave back. What is held, locked, read, or the last of its
    kind stays, whatever a policy says. One cleanup of an organisation at a time.
    """

    NAME = "clean-up-retention"
    SUMMARY = "Let go what retention policies do not keep"
    PATH = "/retention/cleanup"
    RIGHT = Right.CLEAN_UP
    SECOND_FACTOR = True
    BODY = NewCleanup
    EXAMPLE = ("one configuration", examples.NEW_CLEANUP)
    REQUEST, ACCEPTED, REFUSED = (
        requests.RetentionCleanupRequested,
        cleanups.RetentionCleanupAccepted,
        cleanups.RetentionCleanupRefused,
    )
    OF = CLEANUP
    REFUSALS = (errors.CONFIGURATION_UNKNOWN, errors.RETENTION_CLEANUP_OPEN)

    async def draft(self, asked: Asked[NewCleanup]) -> Draft:
        """Of configurations that are there."""
        data = msgspec.structs.replace(asked.body, configuration_ids=tuple(dict.fromkeys(asked.body.configuration_ids)))
        wrong: list[PlatformError] = []
        async with asked.gateway.reading(asked.organisation) as database:
            for place, each in enumerate(asked.body.configuration_ids):
                try:
                    await CONFIGURATION.check(database, asked.organisation, each)
                except PlatformError as error:
                    if error.code is not errors.CONFIGURATION_UNKNOWN:
                        raise
                    wrong.append(PlatformError(error.code, error.message, field=f"configurationIds[{place}]"))
            of = list(data.configuration_ids) or None
            found = await database.execute(_SEEN, {"organisation": asked.organisation, "of": of})
            seen = tuple([requests.SeenVersion(id=each, version=version) for each, version in await found.fetchall()])
        if len(seen) > SEEN_MAX:
            message = f"the organisation has more than {SEEN_MAX} configurations"
            hint = f"Name some of them in configurationIds, at most {IDS_MAX} at a time; a cleanup is of those."
            wrong.append(PlatformError(errors.INVALID_FIELD, message, field="configurationIds", hint=hint))
        return Draft(
            lambda new: requests.RetentionCleanupRequested(
                request_id=new.request_id,
                cleanup_id=new.resource_id,
                evidence=new.evidence,
                dry_run=data.dry_run,
                configuration_ids=data.configuration_ids,
                seen=seen,
            ),
            body=data,
            wrong=wrong,
        )
