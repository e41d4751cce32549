"""The config service's own tables, beside the event store's. Installed by the administrator's role; append only.

`configuration_names` keeps names unique without knowing them: `digest` is keyed with the organisation's key. `timers`
are those of `chassis.timers`: the next instant of each schedule.
"""

from typing import LiteralString

from chassis.timers import table as timers

STATEMENTS: tuple[LiteralString, ...] = (
    """CREATE TABLE configuration_names (
        organisation text NOT NULL,
        digest text NOT NULL,
        configuration_id text NOT NULL UNIQUE,
        PRIMARY KEY (organisation, digest)
    )""",
    *timers.STATEMENTS,
)
