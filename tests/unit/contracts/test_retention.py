"""The rules of retention policies."""

from typing import Any

import pytest

from contracts.retention import RetentionRules, kept_less, objections


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"keep_last": 1}, []),
        ({"minimum_days": 30}, []),
        ({"keep_within": "1y6m2w3d4h"}, []),
        ({"keep_within": "12m", "maximum_days": 365}, []),
        ({}, [("retention-keeps-nothing", "keepLast")]),
        ({"keep_within": "0d", "lock_days": 9}, [("retention-keeps-nothing", "keepLast")]),
        ({"keep_within": "90"}, [("invalid-field", "keepWithin")]),
        ({"keep_within": "d90"}, [("invalid-field", "keepWithin")]),
        ({"keep_within": "1d\n"}, [("invalid-field", "keepWithin")]),
        ({"keep_within": "\u0669d"}, [("invalid-field", "keepWithin")]),
        ({"keep_within": "366d", "maximum_days": 365}, [("retention-contradiction", "keepWithin")]),
        (
            {"maximum_days": 1, "minimum_days": 2, "lock_days": 3},
            [("retention-contradiction", "minimumDays"), ("retention-contradiction", "lockDays")],
        ),
        (
            {"maximum_days": 10, "lock_days": 11},
            [("retention-keeps-nothing", "keepLast"), ("retention-contradiction", "lockDays")],
        ),
    ],
)
def test_policy_is_refused_by_every_field_that_contradicts(said: dict[str, Any], found: list[tuple[str, str]]) -> None:
    """Each with what to do about it."""
    every = list(objections(RetentionRules(**said)))
    assert [(each.code.code, each.field) for each in every] == found
    assert all(each.hint for each in every)


@pytest.mark.parametrize(
    ("before", "after", "fields"),
    [
        (None, None, []),
        (None, {"keep_last": 9}, ["retentionPolicyId"]),
        ({"keep_last": 9}, None, []),
        ({"lock_days": 9}, None, ["lockDays"]),
        ({"keep_last": 1}, {"keep_last": 1, "cleanup_days": 1}, ["cleanupDays"]),
        ({"keep_last": 1, "cleanup_days": 30}, {"keep_last": 1, "cleanup_days": 1}, []),
        ({"keep_last": 1, "cleanup_days": 1}, {"keep_last": 1}, []),
        ({"keep_daily": 9}, {"keep_daily": 8, "keep_yearly": 9}, ["keepDaily"]),
        ({"keep_within": "90d"}, {"keep_within": "2160h"}, []),
        ({"keep_within": "90d"}, {}, ["keepWithin"]),
        ({"keep_within": "12m"}, {"keep_within": "1y"}, []),
        ({"keep_within": "12m"}, {"keep_within": "362d"}, ["keepWithin"]),
        ({"keep_within": "1m"}, {"keep_within": "31d"}, []),
        ({"minimum_days": 2}, {"minimum_days": 1}, ["minimumDays"]),
        ({}, {"maximum_days": 9}, ["maximumDays"]),
        ({"maximum_days": 9}, {"maximum_days": 8}, ["maximumDays"]),
        ({"maximum_days": 9}, {}, []),
        ({"tags": ("a",), "data_categories": ("a",)}, {}, []),
    ],
)
def test_what_is_kept_less_is_named(
    before: dict[str, Any] | None, after: dict[str, Any] | None, fields: list[str]
) -> None:
    """None keeps everything; where only the calendar could tell which span is shorter, it is taken to be shorter."""
    was, becomes = (None if said is None else RetentionRules(**said) for said in (before, after))
    assert list(kept_less(was, becomes)) == fields
