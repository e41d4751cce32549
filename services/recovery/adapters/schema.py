"""The recovery service's own tables, beside the event store's. Installed by the administrator's role; append only.

`recovery_points` and `configuration_places` are working state: they are filled again from the streams of the executor
and the config service. `recovery_claims` follows from the operations, `validation_claims` from
the validations.
`proven_places` is what readiness and the budget of scheduled validations go by: where it is lost, all is read anew.
"""

from typing import LiteralString

from services.recovery.adapters.operations import RECOVERIES
from services.recovery.adapters.rounds import SCHEMA as ROUNDS
from services.recovery.adapters.work import VALIDATIONS

STATEMENTS: tuple[LiteralString, ...] = (
    """CREATE TABLE recovery_points (
        recovery_point_id text PRIMARY KEY,
        organisation text NOT NULL,
        configuration_id text NOT NULL,
        snapshot_id text NOT NULL
    )""",
    """CREATE TABLE configuration_places (
        configuration_id text NOT NULL,
        tier text NOT NULL,
        location text NOT NULL,
        organisation text NOT NULL,
        version integer NOT NULL,
        PRIMARY KEY (configuration_id, tier, location)
    )""",
    *RECOVERIES.schema(),
    # What a cleanup of the executor's has let go. Apart from the points: the one may be told before the other.
    """CREATE TABLE gone_points (
        organisation text NOT NULL,
        recovery_point_id text NOT NULL,
        PRIMARY KEY (organisation, recovery_point_id)
    )""",
    *RECOVERIES.later_schema(),
    *VALIDATIONS.schema(),
    *VALIDATIONS.later_schema(),
    "CREATE INDEX recovery_points_by_snapshot ON recovery_points (organisation, snapshot_id)",
    *ROUNDS,
)
