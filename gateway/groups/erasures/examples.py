"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from contracts.erasure_events import ErasureState, PlaceErased, PrivacyLaw
from gateway.groups.erasures.resources import Erasure, ErasureReceipt, NewErasure
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, CONFIGURATION_ID, ERASURE_ID, REQUEST_ID, at

_DAY = 86_400
NEW_ERASURE = NewErasure(data_subject="ada@example.com", law=PrivacyLaw.GDPR, received_at=at(7200))

ERASURE = Erasure(
    id=ERASURE_ID,
    version=4,
    request_id=REQUEST_ID,
    requested_by=ACTOR,
    data_subject=None,
    law=PrivacyLaw.GDPR,
    received_at=at(7200),
    due_at=at(7200 + 30 * _DAY),
    is_due_soon=False,
    is_overdue=False,
    state=ErasureState.COMPLETED,
    accepted_at=at(7260),
    obstacles=[],
    possible_at=None,
    configuration_ids=[CONFIGURATION_ID],
    points=12,
    erased_at=at(7290),
    completed_at=at(7290),
    places=[PlaceErased(location="local", removed=1), PlaceErased(location="offsite", removed=1)],
    has_receipt=True,
    applied_again=0,
    attempts=1,
    error=None,
    waiting=None,
)

ERASURES = ListPage[Erasure](items=[ERASURE])
RECEIPT = ErasureReceipt(
    receipt={
        "format": 1,
        "repositoryId": "5f0c3a9b",
        "domain": "subject-9a1b9a1b",
        "keyIds": ["7c31"],
        "snapshots": [],
        "time": "2026-06-13T11:31:30+00:00",
        "isComplete": True,
        "tiers": [{"name": "local", "state": "erased", "removed": ["keys/7c31.9d20"], "left": {}}],
        "notPromised": [],
    },
    signature="00" * 64,
)
