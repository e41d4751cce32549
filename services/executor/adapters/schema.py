"""The executor's own tables, beside the event store's. Installed by the administrator's role; append only.

`configuration_replicas` and `run_claims` are working state: the first is filled again from the config service's stream,
the second follows from the runs (a run that has not ended has an open claim). `run_claims.configuration` is the body
that the run was accepted with, until it ends; `opening`: its worker opens the repository, or creates it. The table is
that of `chassis.claims.work`, under names of its own; `configuration_version` is of older builds. `timers` are those of
`chassis.timers`: when a configuration's run is followed by another, when an approval is over, when tiers are to follow
holds, and when an erasure is to be looked at again or its time is over.
"""

from typing import LiteralString

from chassis.timers import table as timers
from services.executor.adapters.cleanups import CLEANUPS
from services.executor.adapters.erasing.record import SCHEMA as ERASURES
from services.executor.adapters.holds import LATER_SCHEMA as RELEASED_HOLDS
from services.executor.adapters.holds import SCHEMA as HOLDS
from services.executor.adapters.optimizations import SCHEMA as OPTIMIZATIONS
from services.executor.adapters.points import LATER_SCHEMA as READERS
from services.executor.adapters.points import LATEST_SCHEMA as LATEST
from services.executor.adapters.points import SCHEMA as POINTS
from services.executor.adapters.repairs import REPAIRS
from services.executor.adapters.runs import RUNS
from services.executor.adapters.trials import TRIALS

STATEMENTS: tuple[LiteralString, ...] = (
    """CREATE TABLE configuration_replicas (
        configuration_id text PRIMARY KEY,
        organisation text NOT NULL,
        version integer NOT NULL,
        body bytea NOT NULL
    )""",
    """CREATE TABLE run_claims (
        run_id text PRIMARY KEY,
        organisation text NOT NULL,
        correlation_id text NOT NULL,
        traceparent text,
        state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done')),
        fence integer NOT NULL DEFAULT 0,
        worker text,
        asked_at timestamptz NOT NULL DEFAULT now(),
        heartbeat_at timestamptz
    )""",
    "CREATE INDEX run_claims_open ON run_claims (asked_at) WHERE state <> 'done'",
    """CREATE TABLE run_reports (
        run_id text PRIMARY KEY,
        organisation text NOT NULL,
        digest text NOT NULL,
        body bytea NOT NULL,
        kept_at timestamptz NOT NULL DEFAULT now()
    )""",
    # How often a worker has given the run back by itself: no fault of the run.
    "ALTER TABLE run_claims ADD COLUMN given_back integer NOT NULL DEFAULT 0",
    "ALTER TABLE run_claims ADD COLUMN configuration_id text, ADD COLUMN configuration_version integer,"
    " ADD COLUMN configuration bytea, ADD COLUMN opening boolean NOT NULL DEFAULT false",
    # What no decider and no worker may break, however many there are.
    "CREATE UNIQUE INDEX run_claims_one_per_configuration ON run_claims (configuration_id) WHERE state <> 'done'",
    "CREATE UNIQUE INDEX run_claims_one_opens ON run_claims (organisation) WHERE state <> 'done' AND opening",
    "CREATE TABLE organisation_turns (organisation text PRIMARY KEY, served_at timestamptz NOT NULL)",
    # Memory that lies apart from the keys and from the tiers; see `adapters/begun.py`.
    """CREATE TABLE begun_repositories (
        organisation text NOT NULL,
        location text NOT NULL,
        repository_id text NOT NULL,
        begun_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (organisation, location)
    )""",
    "CREATE INDEX begun_repositories_at ON begun_repositories (location, begun_at)",
    # What runs of older builds had uploaded, from the record: else an upgrade would take a tier that has vanished for
    # one that was never begun. Which repository it was, the record does not say: the next run that finds it notes it.
    """INSERT INTO begun_repositories (organisation, location, repository_id, begun_at)
        SELECT replica.organisation, destination.location, '', min((destination.fact ->> 'time')::timestamptz)
        FROM stored_events uploaded
        JOIN stored_events accepted
            ON accepted.originator_id = uploaded.originator_id AND accepted.topic = 'executor.backup-accepted.v1'
        JOIN configuration_replicas replica ON replica.configuration_id
            = convert_from(accepted.state, 'UTF8')::jsonb #>> '{data,configurationId}'
        CROSS JOIN LATERAL (
            SELECT fact, convert_from(replica.body, 'UTF8')::jsonb
                #>> ARRAY['storageDestinations', fact #>> '{data,tier}', 'location'] AS location
            FROM (SELECT convert_from(uploaded.state, 'UTF8')::jsonb AS fact) AS decoded
        ) AS destination
        WHERE uploaded.topic = 'executor.tier-uploaded.v1' AND destination.location IS NOT NULL
        GROUP BY replica.organisation, destination.location
        ON CONFLICT (organisation, location) DO NOTHING""",
    # Of a run that its worker is to leave, though it may hold what it has opened.
    "ALTER TABLE run_claims ADD COLUMN cancelled boolean NOT NULL DEFAULT false",
    # The head of the tier's log as it was last seen: a tier that is put back as a whole shows by nothing else.
    "ALTER TABLE begun_repositories ADD COLUMN tier_id bytea, ADD COLUMN head_number bigint,"
    " ADD COLUMN head_digest bytea",
    # Ids of packs, one after the other, that were found damaged when the tier was read back last.
    "ALTER TABLE begun_repositories ADD COLUMN damaged_packs bytea NOT NULL DEFAULT ''",
    # Where a repository is about to be begun; what is begun there since, `begun_repositories` says.
    """CREATE TABLE intended_repositories (
        organisation text NOT NULL,
        location text NOT NULL,
        PRIMARY KEY (organisation, location)
    )""",
    "ALTER TABLE configuration_replicas ADD COLUMN retired boolean NOT NULL DEFAULT false",
    # Who begins with nothing though there is a key: somebody has said that nothing is left of what was kept.
    "CREATE TABLE new_beginnings (organisation text PRIMARY KEY, said_at timestamptz NOT NULL DEFAULT now())",
    "ALTER TABLE configuration_replicas ADD COLUMN state text NOT NULL DEFAULT 'active'",
    "UPDATE configuration_replicas SET state = 'retired' WHERE retired",
    "ALTER TABLE configuration_replicas DROP COLUMN retired",
    # Too early: builds that know nothing else run beside this one for a while. It is written beside `state`.
    "ALTER TABLE configuration_replicas ADD COLUMN retired boolean NOT NULL DEFAULT false",
    "UPDATE configuration_replicas SET retired = true WHERE state = 'retired'",
    # How often something kept a worker from doing the run; `given_back` counts workers that stopped as well.
    "ALTER TABLE run_claims ADD COLUMN troubles integer NOT NULL DEFAULT 0",
    # Which workers look for runs, and what keeps them from that; what was told of a run that none of them can take.
    "CREATE TABLE run_workers (worker text PRIMARY KEY, looked_at timestamptz NOT NULL DEFAULT now(), code text)",
    "ALTER TABLE run_claims ADD COLUMN told_code text, ADD COLUMN told_at timestamptz",
    # The code of what the organisation's last run met there, where it stays until somebody mends it.
    "ALTER TABLE begun_repositories ADD COLUMN trouble text",
    "ALTER TABLE run_claims ADD COLUMN is_urgent boolean NOT NULL DEFAULT false",
    "ALTER TABLE run_claims ADD COLUMN place text",
    # Tests of configurations, which wait for no run.
    *TRIALS.schema(),
    # Cleanups, and what they plan with.
    *POINTS,
    *CLEANUPS.schema(),
    *READERS,
    # What the latest run of each configuration that completed has read: by it the next one is estimated.
    "CREATE TABLE last_runs (configuration_id text PRIMARY KEY, source_bytes bigint NOT NULL)",
    # When what was not whole is done again, see `adapters/follow_ups.py`.
    *timers.STATEMENTS,
    # Points that nobody asked for, which no counting rule counts.
    *LATEST,
    # Holds, which no cleanup passes.
    *HOLDS,
    *RELEASED_HOLDS,
    # Which run of a configuration is its latest, whichever build has taken it on.
    "CREATE INDEX run_claims_latest ON run_claims (configuration_id, asked_at)",
    # At which locations work is: there are bounds for them.
    *RUNS.later_schema(),
    *TRIALS.later_schema(),
    *CLEANUPS.later_schema(),
    # Repairs of tiers.
    *REPAIRS.schema(),
    *REPAIRS.later_schema(),
    # Optimisations, and what they store again in a day.
    *OPTIMIZATIONS,
    # Erasures of data subjects, and whose keys were destroyed.
    *ERASURES,
)
