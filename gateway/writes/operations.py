"""What the OpenAPI document says of a declared write: its examples follow from the declaration."""

from functools import partial

import msgspec

from contracts import errors
from gateway.openapi.operation import Answer, Operation
from gateway.runs.examples import ACCEPTED, at
from gateway.writes.declaration import Write, declared
from gateway.writes.examples import PENDING
from gateway.writes.queries import resource_path
from gateway.writes.resources import RequestState, WriteRequest
from gateway.writes.things import RUN

OF_ALL = (errors.CONCURRENT_CHANGE, errors.KEYS_UNUSABLE, errors.KEYS_UNREACHABLE, errors.NO_SPACE)
"""What every write may be refused with, beside what every request may."""


def _operation(write: Write) -> Operation:  # type: ignore[type-arg]  # of whatever body
    of_state = partial(resource_path, write.NAME, PENDING.id, write.OF.example)
    pending = msgspec.structs.replace(PENDING, kind=write.NAME, resource=of_state(RequestState.PENDING))
    examples = {"pending": pending}
    if not write.ANSWERS:
        accepted = msgspec.structs.replace(
            pending,
            state=RequestState.ACCEPTED,
            resource=of_state(RequestState.ACCEPTED),
            answered_at=at(0.02),
        )
        is_run = write.OF is RUN
        examples["accepted"] = msgspec.structs.replace(accepted, execution=ACCEPTED if is_run else None)
    return Operation(
        group=write.group,
        body=write.BODY,
        body_examples=dict([write.EXAMPLE]) if write.EXAMPLE else {},
        answers=(*write.ANSWERS, _taken_down(examples)),
        errors=tuple(dict.fromkeys((*write.refusals, *OF_ALL))),
        is_write=True,
    )


def _taken_down(examples: dict[str, WriteRequest]) -> Answer:
    """The one 202 that every write may answer with."""
    return Answer(
        status=202,
        description="In the record. `state` says whether it is accepted; Location is where the answer is or will be",
        body=WriteRequest,
        examples=examples,
        headers={"Location": "Where the request is", "Retry-After": "When to ask there, where it is pending"},
    )


OPERATIONS = {write.operation: _operation(write) for write in declared().values()}
"""Of every declared write, by the name of its handler."""
