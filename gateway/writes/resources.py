"""A write as the API tells of it."""

from enum import StrEnum

from gateway.http.fields import Timestamp
from gateway.http.problems import Problem
from gateway.http.resources import Resource
from gateway.runs.resources import Execution


class RequestState(StrEnum):
    """Whether a request was answered by its owner."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    REFUSED = "refused"


class ItemResult(Resource, frozen=True, kw_only=True):
    """What became of one of several things that were asked for at once. `index`: its place in the request, from 0.

    `id` and `resource` are those of what was made, null until it is there and where it never will be.
    """

    index: int
    state: RequestState
    id: str | None = None
    resource: str | None = None
    problem: Problem | None = None


class WriteRequest(Resource, frozen=True, kw_only=True):
    """A write that was taken down: it is in the record, and its owner answers it. The body of every 202.

    `resource`: where the result is; null while nothing is there, not yet or, of a refused request, never. `execution`:
    the run, once accepted and readable; `submittedBy`: once it is known. `supersededBy`: in the answer to a write that
    was done, the version that something else has made of it since; read it before you change it. `items`: where it
    asks for several things at once, what became of each; `refusedItems`: how many of them are refused.
    """

    id: str
    kind: str
    state: RequestState
    resource: str | None
    submitted_by: str | None
    submitted_at: Timestamp
    answered_at: Timestamp | None = None
    problem: Problem | None = None
    execution: Execution | None = None
    superseded_by: int | None = None
    items: list[ItemResult] | None = None
    refused_items: int | None = None
