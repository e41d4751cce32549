"""Examples of the group's requests and answers: typed, so that they cannot drift from what the API takes and gives."""

from gateway.groups.holds.resources import Hold, HoldState, NewHold
from gateway.http.resources import ListPage
from gateway.runs.examples import ACTOR, CONFIGURATION_ID, HOLD_ID, at

NEW_HOLD = NewHold(
    reason="The couple disputes the contract",
    matter="LG Berlin 12 O 345/26",
    review_at=at(86_400 * 36_500),
    configuration_ids=(CONFIGURATION_ID,),
    made_before=at(86_400),
)

HOLD = Hold(
    id=HOLD_ID,
    version=1,
    state=HoldState.PLACED,
    reason=NEW_HOLD.reason,
    matter=NEW_HOLD.matter,
    review_at=NEW_HOLD.review_at,
    is_review_due=False,
    configuration_ids=[CONFIGURATION_ID],
    recovery_point_ids=[],
    tags=[],
    made_from=None,
    made_before=NEW_HOLD.made_before,
    kept=52,
    too_late=0,
    too_late_points=[],
    placed_by=ACTOR,
    placed_at=at(3600),
    approval_id=None,
    released_at=None,
)

HOLDS = ListPage[Hold](items=[HOLD])
