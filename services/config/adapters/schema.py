"""The config service's own tables, beside the event store's. Installed by the administrator's role; append only.

`configuration_names` keeps names unique without knowing them: `digest` is keyed with the organisation's key. `timers`
are those of `chassis.timers`: the next instant of each schedule, each notification that is not over, each run that fell
due and has not ended. `bulk_items` waits for the request that it is of: events as they were submitted, sealed.
`notification_channels` finds an organisation's; `failing_since`, `failing_code`: since when and why its latest
notification was given up. `told_of_configurations`: what happened last to what each one saves.
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
    """CREATE TABLE bulk_items (
        request_id text NOT NULL,
        position integer NOT NULL,
        item bytea NOT NULL,
        arrived_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (request_id, position)
    )""",
    "CREATE INDEX bulk_items_arrived ON bulk_items (arrived_at)",
    """CREATE TABLE notification_channels (
        channel_id text PRIMARY KEY,
        organisation text NOT NULL,
        is_active boolean NOT NULL,
        failing_since timestamptz,
        failing_code text
    )""",
    "CREATE INDEX notification_channels_of ON notification_channels (organisation) WHERE is_active",
    """CREATE TABLE told_of_configurations (
        configuration_id text PRIMARY KEY,
        event text NOT NULL,
        happened_at timestamptz NOT NULL
    )""",
    # What waits for a channel, which is the body of a notification's timer.
    "CREATE INDEX timers_of_channels ON timers (body) WHERE kind = 'notification'",
)
