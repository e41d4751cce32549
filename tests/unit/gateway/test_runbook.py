"""The runbook of a plan: in the order of its steps, and what people wrote is never taken for Markdown."""

from datetime import datetime, timedelta, timezone

import msgspec

from gateway.groups.disaster_recovery.examples import PLAN
from gateway.groups.disaster_recovery.runbook import in_order, runbook_of


def test_steps_are_told_in_the_order_in_which_they_may_begin() -> None:
    backwards = msgspec.structs.replace(PLAN, procedures=PLAN.procedures[::-1])
    text = runbook_of(backwards)
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Before you begin",
        "## 1. go (approve)",
        "## 2. photos (restore)",
        "## 3. whole (check)",
        "## When it is done",
    ]
    assert "path ` after-a-disaster/photos `" in text
    assert "the newest that was read back and found whole" in text
    assert "is to work again within 4 h (RTO)" in text
    assert "Whether any of this was reached in a test" in text


def test_what_people_wrote_is_no_markdown_and_what_cannot_be_read_says_so() -> None:
    hostile = msgspec.structs.replace(PLAN.procedures[0], instructions="<script> [a](http://b) `rm`")
    plan = msgspec.structs.replace(
        PLAN,
        plan_name=None,
        procedures=[hostile, msgspec.structs.replace(PLAN.procedures[1], target_path=None), PLAN.procedures[2]],
        unreadable_fields=["planName", "procedures[1].targetPath"],
    )
    text = runbook_of(plan)
    assert "<script>" not in text
    assert "[a](" not in text
    assert text.startswith("# (cannot be read: its key is missing)\n")
    assert "path (cannot be read: its key is missing)" in text


def test_steps_beside_each_other_are_told_so_and_a_circle_ends() -> None:
    go, photos, whole = PLAN.procedures
    beside = msgspec.structs.replace(photos, id="films")
    assert [[step.id for step in row] for row in in_order([go, photos, beside, whole])] == [
        ["go"],
        ["photos", "films"],
        ["whole"],
    ]
    assert "May go on beside films." in runbook_of(
        msgspec.structs.replace(PLAN, procedures=[go, photos, beside, whole])
    )
    assert len(in_order([msgspec.structs.replace(go, after=["whole"]), photos, whole])) == 1


def test_what_is_to_be_typed_is_as_it_is_typed() -> None:
    """A moment is one of the zone that is named; a path has nothing that is not its own."""
    go, photos, whole = PLAN.procedures
    moment = datetime(2026, 6, 1, 18, tzinfo=timezone(timedelta(hours=2)))
    asked = msgspec.structs.replace(photos, moment=moment, target_path="a_b/`c``d")
    text = runbook_of(msgspec.structs.replace(PLAN, procedures=[go, asked, whole]))
    assert "not younger than 2026-06-01 16:00 UTC" in text
    assert "path ``` a_b/`c``d ```" in text
