"""Which pairs a standby takes over in, by how both stand."""

import msgspec
import pytest

from sources.postgres.standby.promotion import Pair, refuse_unless_ready
from sources.postgres.standby.server import StandbyRefused, State, literal

PRIMARY = State(
    server=170_000, system="1", is_standby=False, timeline=1, written=1000, replayed=1000, is_settled=True,
    segment=1 << 24, fence=None,
    open_databases=1, has_source=False, followers=[],
)  # fmt: skip
STANDBY = msgspec.structs.replace(PRIMARY, is_standby=True, written=900, replayed=900)
replaced = msgspec.structs.replace


def test_standby_that_is_behind_takes_over_and_one_that_has_gone_another_way_does_not() -> None:
    refuse_unless_ready(Pair(PRIMARY, STANDBY))
    refuse_unless_ready(Pair(None, STANDBY))
    for primary, standby, reason in (
        (PRIMARY, replaced(STANDBY, written=1001), "diverged"),
        (PRIMARY, replaced(STANDBY, timeline=2), "diverged"),
        (PRIMARY, replaced(STANDBY, is_standby=False), "promoted-already"),
        (None, replaced(STANDBY, is_standby=False), "promoted-already"),
        (replaced(PRIMARY, is_standby=True), STANDBY, "no-primary"),
    ):
        with pytest.raises(StandbyRefused) as caught:
            refuse_unless_ready(Pair(primary, standby))
        assert caught.value.reason == reason


def test_holder_of_a_fence_is_a_name_that_ends_no_statement() -> None:
    assert literal("execution:018f-a_b") == "'execution:018f-a_b'"
    for text in ("", "a'b", "a\\b", "a b", "a" * 101):
        with pytest.raises(ValueError, match="fence"):
            literal(text)
