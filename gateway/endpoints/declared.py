"""The route of a declared write: guards, idempotency, recording, waiting and answering, the same for every one."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from inspect import Parameter, Signature
from typing import Any

from litestar import Request, Response, route
from litestar.handlers import HTTPRouteHandler
from litestar.params import JSONBody
from litestar.status_codes import HTTP_202_ACCEPTED

from chassis.sealing import Sealer
from contracts import errors
from contracts.errors import PlatformError, Retry
from contracts.event import Event
from contracts.gateway_events import ADDRESS_FIELD, AGENT_FIELD, Evidence
from gateway.auth.guards import needs
from gateway.endpoints.answers import raise_refusal, taken_down
from gateway.http.parameters import Id, IdempotencyKey, IfMatch, checked_id, checked_version
from gateway.parts import parts_of, principal_of
from gateway.writes.book import Submission, check_key
from gateway.writes.declaration import Asked, Draft, New, Write

AnyRequest = Request[Any, Any, Any]
KEYWORD = Parameter.KEYWORD_ONLY
BODY: Any = JSONBody

AGENT_LENGTH_MAX = 200
"""How much of what a client calls itself is kept."""


def handler_of(write: Write[Any]) -> HTTPRouteHandler:
    """The handler of a write: it takes what the declaration says, and nothing else."""
    taken: dict[str, Any] = {"request": AnyRequest}
    if write.BODY is not None:
        taken["data"] = BODY[write.TAKEN or write.BODY]
    if write.is_targeted:
        taken[write.OF.about] = Id
    taken["idempotency_key"] = IdempotencyKey
    if write.IF_MATCH:
        taken["if_match"] = IfMatch

    async def fn(**given: Any) -> Response[Any]:
        return await _serve(write, target=given.pop(write.OF.about, ""), **given)

    fn.__name__ = fn.__qualname__ = write.operation
    fn.__doc__ = write.__doc__
    fn.__annotations__ = {**taken, "return": Response[Any]}
    signature = [
        # What is missing is told in our words.
        Parameter(
            name, KEYWORD, annotation=kind, default=None if kind in (IdempotencyKey, IfMatch) else Parameter.empty
        )
        for name, kind in taken.items()
    ]
    vars(fn)["__signature__"] = Signature(signature, return_annotation=Response[Any])
    return route(
        write.PATH,
        http_method=[write.METHOD],
        **needs(write.RIGHT, second_factor=write.SECOND_FACTOR),
        status_code=HTTP_202_ACCEPTED,
        summary=write.SUMMARY,
        request_max_body_size=write.BODY_BYTES,
    )(fn)


async def _serve(
    write: Write[Any],
    request: AnyRequest,
    idempotency_key: str | None,
    data: Any = None,
    target: str = "",
    if_match: str | None = None,
) -> Response[Any]:
    # Not as the class of all requests reads it: that needs a body.
    if write.BODY is None and await Request.body(request) not in (b"", b"{}"):
        raise PlatformError(errors.UNKNOWN_FIELD, "this takes no body", field="body", hint="Send none.")
    target = checked_id(target, code=write.OF.missing) if write.is_targeted else ""
    gateway, principal = parts_of(request), principal_of(request)
    key = check_key(idempotency_key)
    asked = Asked(gateway, principal, target, data, checked_version(if_match) if write.IF_MATCH else None)
    try:
        draft = await write.draft(asked)
    except PlatformError as error:
        if error.retry is not Retry.NEVER:
            raise
        # It may have been taken down under this key while it could be, a deletion say: then that is the answer.
        draft = Draft(_none, wrong=(error,))
    outcome = await gateway.book.submit(principal, _submission(write, request, asked, draft, key))
    await raise_refusal(gateway, principal, outcome)
    shown = None
    if outcome.is_answered:
        # It was done; that it cannot be shown now must not make anybody do it again.
        with suppress(PlatformError):
            shown = await write.shown(asked, outcome.resource_id)
    if isinstance(shown, Response):
        return shown
    return await taken_down(gateway, principal, outcome, shown)


def _none(new: New) -> Event:
    raise AssertionError(f"the request {new.request_id} is of what cannot be")


def _submission(write: Write[Any], request: AnyRequest, asked: Asked[Any], draft: Draft, key: str) -> Submission:
    sent = (asked.body if draft.body is None else draft.body, asked.target or None, asked.seen)
    compared = [each for each in sent if each is not None]
    evidence: list[Evidence] = []

    def new(request_id: str, resource_id: str, bulk_id: str = "") -> New:
        if not evidence:
            now = parts_of(request).clock.now()
            evidence.append(evidence_of(request, asked.gateway.sealer, now))
        return New(request_id, resource_id, evidence[0], bulk_id)

    return Submission(
        kind=write.NAME,
        route=write.route,
        key=key,
        # One alone as itself: so it was compared when there was never more, and keys are kept for days.
        body=compared[0] if len(compared) == 1 else compared,
        wrong=draft.wrong,
        target=asked.target if write.is_targeted and not write.MAKES else None,
        event=lambda request_id, resource_id: draft.event(new(request_id, resource_id)),
        items=[partial(_item, new, item) for item in draft.items],
    )


def _item(new: Callable[..., New], item: Callable[[New], Event], *ids: str) -> Event:
    return item(new(*ids))


def evidence_of(request: AnyRequest, sealer: Sealer, now: datetime) -> Evidence:
    """How the person had proved who they are, and where from. What tells of the person is sealed."""
    principal = principal_of(request)
    seal, organisation = sealer.seal, principal.organisation
    agent = request.headers.get("user-agent")
    return principal.evidence(
        now,
        address=seal(organisation, ADDRESS_FIELD, request.client.host) if request.client else None,
        agent=seal(organisation, AGENT_FIELD, agent[:AGENT_LENGTH_MAX]) if agent else None,
    )
