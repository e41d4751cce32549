"""Erasures as the API takes and gives them."""

from typing import Any

import msgspec

from contracts.erasure_events import ErasureState, PlaceErased, PrivacyLaw
from gateway.http.fields import Printable, Timestamp
from gateway.http.resources import Body, Resource
from gateway.runs.resources import Waiting


class NewErasure(Body, frozen=True, kw_only=True):
    """Who is to be erased.

    `dataSubject`: as configurations have it (case and blanks are no matter). `law`: by which they ask, which says how
    long it may take. `receivedAt`: when they asked you, from which that counts; now without it.
    """

    data_subject: Printable
    law: PrivacyLaw = PrivacyLaw.GDPR
    received_at: Timestamp | None = None


class ErasureReceipt(Resource, frozen=True, kw_only=True):
    """What the organisation's repository has signed: Ed25519 over the very bytes of `receipt` as they are answered.

    `receipt`: which keys were destroyed on which tier, what is left there, and what nobody can promise.
    """

    receipt: dict[str, Any]
    signature: str


class ErasureObstacle(Resource, frozen=True, kw_only=True):
    """One thing that stands against an erasure. `about`: its id; `until`: when it is over by itself, where that is so.

    `hint`: what to do about it.
    """

    code: str
    title: str
    hint: str
    about: str
    until: Timestamp | None


class ErasureError(Resource, frozen=True, kw_only=True):
    """Why the latest attempt failed; another one follows by itself."""

    code: str
    title: str
    hint: str


class Erasure(Resource, frozen=True, kw_only=True):
    """The erasure of one data subject.

    `dataSubject`: null once it is erased. `dueAt`: when the law wants it done; `isDueSoon`: within seven days, and it
    is not complete; `isOverdue`: it is not, and that time is over. `obstacles`: what stands against it, `possibleAt`:
    when all of that is over by itself, null where it takes a person or nobody knows. `configurationIds`, `points`: what
    there was when it was asked for. `erasedAt`: since when the subject's keys are destroyed in the record and at every
    location that answered; `completedAt`: since when at all. `places`: what became of the wrapped keys at each
    location. `hasReceipt`: there is one to be had. `appliedAgain`: how often a key that was back was destroyed again.
    """

    id: str
    version: int
    request_id: str
    requested_by: str
    data_subject: str | None
    law: PrivacyLaw
    received_at: Timestamp
    due_at: Timestamp
    is_due_soon: bool
    is_overdue: bool
    state: ErasureState
    accepted_at: Timestamp
    obstacles: list[ErasureObstacle]
    possible_at: Timestamp | None
    configuration_ids: list[str]
    points: int
    erased_at: Timestamp | None
    completed_at: Timestamp | None
    places: list[PlaceErased]
    has_receipt: bool
    applied_again: int
    attempts: int
    error: ErasureError | None
    waiting: Waiting | None
    unreadable_fields: list[str] = msgspec.field(default_factory=list)
