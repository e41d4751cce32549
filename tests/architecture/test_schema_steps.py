"""A service of the next version runs beside one of this: its steps add to tables, and take nothing from them."""

from deploy.postgres.schemas import SCHEMAS

TAKEN_AWAY = {"compliance": 0, "config": 0, "dr": 0, "executor": 1, "gateway": 3, "recovery": 0}
"""Steps of old that took something away. A step that does so now breaks the build that still runs: leave the column,
and go on writing it, until no build that uses it can run beside the newest one; then count it here and say so."""


def test_no_step_takes_away_what_an_older_build_uses() -> None:
    """Steps are never changed, so that their number says all."""
    taken = {
        schema.service: sum("DROP COLUMN" in step or step.startswith("DROP TABLE") for step in schema.statements())
        for schema in SCHEMAS
    }
    assert taken == TAKEN_AWAY
