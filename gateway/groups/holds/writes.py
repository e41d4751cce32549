"""The writes of the group."""

from collections.abc import Iterator
from typing import LiteralString

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_201_CREATED

from contracts import errors
from contracts import gateway_events as requests
from contracts import hold_events as facts
from contracts.errors import PlatformError
from contracts.holds import HOLD_MATTER_FIELD, HOLD_REASON_FIELD, HoldBody, HoldScope
from gateway.auth.rights import Right
from gateway.groups.holds import examples
from gateway.groups.holds.queries import HoldQueries
from gateway.groups.holds.resources import Hold, NewHold
from gateway.http.texts import kept, wrong_texts
from gateway.openapi.operation import LOCATION, Answer
from gateway.projections.applied import Database
from gateway.writes.declaration import Asked, Draft, Superseded, Write
from gateway.writes.things import HOLD

_CONFIGURATIONS: LiteralString = (
    "SELECT configuration_id FROM configurations WHERE organisation = %s AND configuration_id = ANY(%s)"
)
_POINTS: LiteralString = (
    "SELECT recovery_point_id, gone_at FROM recovery_points WHERE organisation = %s AND recovery_point_id = ANY(%s)"
)


class PlaceHold(Write[NewHold]):
    """Have recovery points stay, whatever a retention policy says, until two people release the hold.

    It binds each cleanup from the moment of the answer. What a cleanup had decided to let go before may be gone for
    that: `tooLate` says how many points. The tiers follow by themselves (cleanups with `purpose: holds`).
    """

    NAME = "place-hold"
    SUMMARY = "Place a hold"
    PATH = "/retention/holds"
    RIGHT = Right.SET_RETENTION
    BODY = NewHold
    EXAMPLE = ("a dispute", examples.NEW_HOLD)
    REQUEST, ACCEPTED, REFUSED = (requests.HoldPlacementRequested, facts.HoldPlaced, facts.HoldPlacementRefused)
    OF = HOLD
    REFUSALS = (
        errors.HOLD_OF_EVERYTHING,
        errors.HOLD_TOO_WIDE,
        errors.CONFIGURATION_UNKNOWN,
        errors.RECOVERY_POINT_UNKNOWN,
        errors.RECOVERY_POINT_GONE,
    )
    ANSWERS = (
        Answer(
            status=HTTP_201_CREATED,
            description="Placed",
            body=Hold,
            examples={"placed": examples.HOLD},
            headers=LOCATION,
        ),
    )

    async def draft(self, asked: Asked[NewHold]) -> Draft:
        """Every field that is wrong, and the rest as it is kept."""
        sent = asked.body
        data = msgspec.structs.replace(
            sent,
            reason=kept(sent.reason),
            matter=kept(sent.matter),
            configuration_ids=tuple(dict.fromkeys(sent.configuration_ids)),
            recovery_point_ids=tuple(dict.fromkeys(sent.recovery_point_ids)),
            tags=tuple(dict.fromkeys(kept(tag) for tag in sent.tags)),
        )
        wrong = [*wrong_texts(("reason", sent.reason), ("matter", sent.matter))]
        wrong += wrong_texts(*((f"tags[{place}]", tag) for place, tag in enumerate(sent.tags)))
        if sent.review_at <= asked.gateway.clock.now():
            hint = "Give a time that is to come: nothing ends by it."
            wrong.append(PlatformError(errors.INVALID_FIELD, "it is over", field="reviewAt", hint=hint))
        scope = HoldScope(
            configuration_ids=data.configuration_ids,
            recovery_point_ids=data.recovery_point_ids,
            tags=data.tags,
            made_from=data.made_from,
            made_before=data.made_before,
        )
        wrong += _wrong_scope(scope)
        async with asked.gateway.reading(asked.organisation) as database:
            wrong += await _missing(database, asked.organisation, sent)
        sealer, organisation = asked.gateway.sealer, asked.organisation

        def body() -> HoldBody:
            return HoldBody(
                scope=scope,
                reason=sealer.seal(organisation, HOLD_REASON_FIELD, data.reason),
                matter=sealer.seal(organisation, HOLD_MATTER_FIELD, data.matter),
                review_at=data.review_at,
            )

        return Draft(
            lambda new: requests.HoldPlacementRequested(
                request_id=new.request_id, hold_id=new.resource_id, body=body(), evidence=new.evidence
            ),
            body=data,
            wrong=wrong,
        )

    async def shown(self, asked: Asked[NewHold], resource_id: str) -> Response[Hold] | Superseded:
        """The hold, with what it came too late for."""
        queries = HoldQueries(asked.gateway.sealer, asked.gateway.clock)
        made = await queries.one(asked.gateway.reading, asked.organisation, resource_id)
        headers = {"Location": self.resource_path(made.id)}
        return Response(made, status_code=self.ANSWERS[0].status, headers=headers)


class ReleaseHold(Write[None]):
    """Ask for a hold to be released: it goes on until another owner approves, within a day.

    202 with the request, whose `resource` is the hold; the approval has the request's id, and the hold's `approvalId`
    names it.
    """

    NAME = "release-hold"
    SUMMARY = "Ask for a hold to be released"
    PATH = "/retention/holds/{hold_id:str}/release"
    RIGHT = Right.SET_RETENTION
    SECOND_FACTOR = True
    REQUEST, ACCEPTED, REFUSED = (requests.HoldReleaseRequested, facts.HoldReleaseAwaited, facts.HoldReleaseRefused)
    OF = HOLD
    REFUSALS = (errors.HOLD_RELEASED, errors.HOLD_RELEASE_OPEN)


def _wrong_scope(scope: HoldScope) -> Iterator[PlatformError]:
    if scope.is_empty:
        yield PlatformError(errors.HOLD_OF_EVERYTHING, "the hold names nothing", field="configurationIds")
    if scope.made_from is not None and scope.made_before is not None and scope.made_from >= scope.made_before:
        hint = "Give a time after madeFrom, or leave one of the two out: so it keeps nothing."
        yield PlatformError(errors.INVALID_FIELD, "it is not after madeFrom", field="madeBefore", hint=hint)


async def _missing(database: Database, organisation: str, data: NewHold) -> list[PlatformError]:
    """What is named and is not there."""
    found = await database.execute(_CONFIGURATIONS, (organisation, list(data.configuration_ids)))
    configurations = {each for (each,) in await found.fetchall()}
    found = await database.execute(_POINTS, (organisation, list(data.recovery_point_ids)))
    points = dict(await found.fetchall())
    wrong = [
        PlatformError(errors.CONFIGURATION_UNKNOWN, "there is none of this id", field=f"configurationIds[{place}]")
        for place, each in enumerate(data.configuration_ids)
        if each not in configurations
    ]
    for place, each in enumerate(data.recovery_point_ids):
        field = f"recoveryPointIds[{place}]"
        if each not in points:
            wrong.append(PlatformError(errors.RECOVERY_POINT_UNKNOWN, "there is none of this id", field=field))
        elif points[each] is not None:
            wrong.append(PlatformError(errors.RECOVERY_POINT_GONE, "the recovery point is gone", field=field))
    return wrong
