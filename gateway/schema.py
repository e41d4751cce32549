"""The gateway's own tables beside its record, as statements that the administrator's role installs.

Two kinds: what the gateway has decided (idempotency keys, tickets), and read models, which may be dropped at any
time and are made again by replay. Statements are executed once, ever; a change is a new statement at the end, which
is that of `gateway.later_steps`: this page is full.
"""

from typing import LiteralString

from gateway import later_steps

STATEMENTS: tuple[LiteralString, ...] = (
    # Decided here.
    """
    CREATE TABLE idempotency_keys (
        organisation text NOT NULL,
        actor        text NOT NULL,
        route        text NOT NULL,
        key          text NOT NULL,
        body_digest  text NOT NULL,
        request_id   text NOT NULL,
        resource_id  text NOT NULL,
        created_at   timestamptz NOT NULL,
        PRIMARY KEY (organisation, actor, route, key)
    )
    """,
    "CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at)",
    """
    CREATE TABLE monitoring_tickets (
        digest     bytea PRIMARY KEY,
        principal  bytea NOT NULL,
        expires_at timestamptz NOT NULL
    )
    """,
    # Read models: where they stand.
    """
    CREATE TABLE projection_state (
        only_one bool PRIMARY KEY DEFAULT true CHECK (only_one),
        epoch    text NOT NULL,
        sequence bigint NOT NULL,
        places   json NOT NULL DEFAULT '{}',
        server_started_at timestamptz NOT NULL
    )
    """,
    """
    INSERT INTO projection_state (epoch, sequence, server_started_at)
    VALUES (gen_random_uuid()::text, 0, pg_postmaster_start_time())
    """,
    """
    CREATE TABLE projection_skipped (
        stream   text NOT NULL,
        position bigint NOT NULL,
        type     text NOT NULL,
        PRIMARY KEY (stream, position)
    )
    """,
    # Read models: what they show.
    """
    CREATE TABLE requests (
        request_id   text PRIMARY KEY,
        organisation text NOT NULL,
        kind         text NOT NULL,
        resource_id  text NOT NULL,
        actor        text,
        submitted_at timestamptz,
        state        text NOT NULL DEFAULT 'pending',
        code         text,
        field        text,
        hint         text,
        answered_at  timestamptz
    )
    """,
    """
    CREATE TABLE configurations (
        configuration_id    text PRIMARY KEY,
        organisation        text NOT NULL,
        version             bigint NOT NULL,
        is_wedding_critical bool NOT NULL,
        request_id          text NOT NULL,
        created_by          text NOT NULL,
        created_at          timestamptz NOT NULL,
        body                json NOT NULL
    )
    """,
    """
    CREATE INDEX configurations_by_organisation
        ON configurations (organisation, created_at DESC, configuration_id DESC)
    """,
    """
    CREATE TABLE configuration_runs (
        configuration_id text PRIMARY KEY,
        organisation     text NOT NULL,
        last_state       text NOT NULL,
        view             json NOT NULL
    )
    """,
    """
    CREATE TABLE executions (
        execution_id     text PRIMARY KEY,
        organisation     text NOT NULL,
        configuration_id text NOT NULL,
        request_id       text NOT NULL,
        state            text NOT NULL,
        degraded         bool NOT NULL,
        accepted_at      timestamptz NOT NULL,
        finished_at      timestamptz,
        files            bigint,
        source_bytes     bigint,
        new_bytes        bigint,
        stored_bytes     bigint,
        view             json NOT NULL
    )
    """,
    "CREATE INDEX executions_by_organisation ON executions (organisation, accepted_at DESC, execution_id DESC)",
    """
    CREATE INDEX executions_by_configuration
        ON executions (organisation, configuration_id, accepted_at DESC, execution_id DESC)
    """,
    "CREATE INDEX executions_running ON executions (organisation, accepted_at) WHERE finished_at IS NULL",
    """
    CREATE INDEX executions_finished ON executions (organisation, finished_at)
        INCLUDE (state, degraded, files, source_bytes, new_bytes, stored_bytes) WHERE finished_at IS NOT NULL
    """,
    """
    CREATE TABLE execution_counts (
        organisation text NOT NULL,
        state        text NOT NULL,
        runs         bigint NOT NULL,
        PRIMARY KEY (organisation, state)
    )
    """,
    """
    CREATE TABLE facts (
        sequence         bigint PRIMARY KEY,
        organisation     text NOT NULL,
        execution_id     text,
        configuration_id text,
        request_id       text,
        type             text NOT NULL,
        event_id         text NOT NULL,
        time             timestamptz NOT NULL,
        fields           json NOT NULL
    )
    """,
    "CREATE INDEX facts_by_organisation ON facts (organisation, sequence)",
    # What the status counts, beside the views (`gateway.runs.standing`).
    """
    ALTER TABLE configurations ADD COLUMN plan text COLLATE "C" NOT NULL
        GENERATED ALWAYS AS ((body ->> 'sourceType') || ' ' || (body ->> 'storageDestinations')) STORED
    """,
    """
    ALTER TABLE configuration_runs
        ADD COLUMN standing     text COLLATE "C",
        ADD COLUMN protected_at timestamptz,
        ADD COLUMN uploaded     text[] COLLATE "C",
        ADD COLUMN failures     text[] COLLATE "C"
    """,
    # Rare among many: what is looked for first.
    """
    CREATE INDEX executions_failed ON executions (organisation, accepted_at DESC, execution_id DESC)
        WHERE state = 'failed'
    """,
    "CREATE INDEX executions_degraded ON executions (organisation, accepted_at DESC, execution_id DESC) WHERE degraded",
    "CREATE INDEX configuration_runs_by_age ON configuration_runs (organisation, protected_at)",
    # Each read model twice: the tables that answer, and their shadows, in which a projection is made anew. A change of
    # the one is a change of the other.
    *(
        f"CREATE TABLE {table}_shadow (LIKE {table} INCLUDING ALL)"
        for table in ("requests", "configurations", "configuration_runs", "executions", "execution_counts", "facts")
    ),
    """
    CREATE TABLE projections (
        name     text PRIMARY KEY,
        version  integer NOT NULL DEFAULT 0,
        wanted   text,
        building integer,
        places   json NOT NULL DEFAULT '{}',
        sequence bigint NOT NULL DEFAULT 0
    )
    """,
    # What is there was made by the first versions of them.
    """
    INSERT INTO projections (name, version)
    SELECT name, 1 FROM unnest(ARRAY['requests', 'configurations', 'executions', 'facts']) AS name
    WHERE EXISTS (SELECT 1 FROM projection_state WHERE places::text <> '{}')
    """,
    "ALTER TABLE projection_state ADD COLUMN past_epoch text",
    "ALTER TABLE projection_state ADD COLUMN skip_to bigint NOT NULL DEFAULT 0",
    "ALTER TABLE projection_state ADD COLUMN swaps bigint NOT NULL DEFAULT 0",
    """
    CREATE TABLE passed_over (
        side          text NOT NULL,
        stream        text NOT NULL,
        reason        text NOT NULL,
        type          text NOT NULL,
        number        bigint NOT NULL,
        last_sequence bigint NOT NULL,
        PRIMARY KEY (side, stream, reason, type)
    )
    """,
    """
    INSERT INTO passed_over (side, stream, reason, type, number, last_sequence)
    SELECT 'live', stream, 'unknown', type, count(*), max(position) FROM projection_skipped GROUP BY stream, type
    """,
    "DROP TABLE projection_skipped",
    # The gateway's role has no right to rename or truncate: these do it, for a read model and its shadow alone.
    """
    CREATE FUNCTION swap_tables(names text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DECLARE name text;
    BEGIN
        FOREACH name IN ARRAY names LOOP
            EXECUTE format('ALTER TABLE %I RENAME TO %I', name || '_shadow', name || '_next');
            EXECUTE format('ALTER TABLE %I RENAME TO %I', name, name || '_shadow');
            EXECUTE format('ALTER TABLE %I RENAME TO %I', name || '_next', name);
        END LOOP;
    END $$
    """,
    """
    CREATE FUNCTION empty_shadows(names text[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
    DECLARE name text;
    BEGIN
        FOREACH name IN ARRAY names LOOP
            EXECUTE format('TRUNCATE %I', name || '_shadow');
        END LOOP;
    END $$
    """,
    # Of each tier a column of its own: an array is copied for every element that is looked at.
    *(
        statement
        for table in ("configuration_runs", "configuration_runs_shadow")
        for statement in (
            f"""
            ALTER TABLE {table}
                ADD COLUMN uploaded_local timestamptz,
                ADD COLUMN uploaded_cloud_primary timestamptz,
                ADD COLUMN uploaded_cloud_secondary timestamptz,
                ADD COLUMN uploaded_offsite timestamptz,
                ADD COLUMN failure_local text COLLATE "C",
                ADD COLUMN failure_cloud_primary text COLLATE "C",
                ADD COLUMN failure_cloud_secondary text COLLATE "C",
                ADD COLUMN failure_offsite text COLLATE "C"
            """,
            f"""
            UPDATE {table} SET
                uploaded_local = uploaded[1]::timestamptz,
                uploaded_cloud_primary = uploaded[2]::timestamptz,
                uploaded_cloud_secondary = uploaded[3]::timestamptz,
                uploaded_offsite = uploaded[4]::timestamptz,
                failure_local = failures[1],
                failure_cloud_primary = failures[2],
                failure_cloud_secondary = failures[3],
                failure_offsite = failures[4]
            """,  # noqa: S608  # of the names above
            f"ALTER TABLE {table} DROP COLUMN uploaded, DROP COLUMN failures",
        )
    ),
    # Which log of each stream an operator has said to be the record.
    "ALTER TABLE projection_state ADD COLUMN records jsonb NOT NULL DEFAULT '{}'",
    # Which projections, in which version, were applied up to `places`.
    "ALTER TABLE projection_state ADD COLUMN applied text[] NOT NULL DEFAULT '{}'",
    """
    UPDATE projection_state
    SET applied = ARRAY(SELECT name || '/' || version FROM projections WHERE version > 0 ORDER BY name)
    """,
    *(
        f"CREATE INDEX {table}_cancelled ON {table} (organisation, accepted_at DESC, execution_id DESC)"
        " WHERE state = 'cancelled'"
        for table in ("executions", "executions_shadow")
    ),
    *(
        f"ALTER TABLE {table} ADD COLUMN state text NOT NULL DEFAULT 'active'"
        for table in ("configurations", "configurations_shadow")
    ),
    # What a recovery point was made with: the version, and since which one each thing is as it is.
    *(
        f"ALTER TABLE {table} ADD COLUMN since jsonb NOT NULL DEFAULT '{{}}'"
        for table in ("configurations", "configurations_shadow")
    ),
    *(
        f"ALTER TABLE {table} ADD COLUMN made_version bigint"
        for table in ("configuration_runs", "configuration_runs_shadow")
    ),
    # What schedules say: the next instant, and the latest one that nobody could start a run for.
    *(
        f"ALTER TABLE {table} ADD COLUMN next_run timestamptz, ADD COLUMN missed json"
        for table in ("configurations", "configurations_shadow")
    ),
    # Every version of a configuration, as it was put in force.
    *(
        f"""
        CREATE TABLE {table} (
            configuration_id text NOT NULL,
            version          bigint NOT NULL,
            organisation     text NOT NULL,
            request_id       text NOT NULL,
            actor            text NOT NULL,
            change           text NOT NULL,
            changed_at       timestamptz NOT NULL,
            state            text NOT NULL,
            body             json NOT NULL,
            PRIMARY KEY (configuration_id, version)
        )
        """
        for table in ("configuration_history", "configuration_history_shadow")
    ),
    # Every wrong field that a refusal names.
    *(f"ALTER TABLE {table} ADD COLUMN wrong json" for table in ("requests", "requests_shadow")),
    # Retention policies, each as it is in force.
    *(
        f"""
        CREATE TABLE {table} (
            retention_policy_id text PRIMARY KEY,
            organisation        text NOT NULL,
            version             bigint NOT NULL,
            request_id          text NOT NULL,
            created_by          text NOT NULL,
            created_at          timestamptz NOT NULL,
            changed_at          timestamptz NOT NULL,
            body                json NOT NULL
        )
        """
        for table in ("retention_policies", "retention_policies_shadow")
    ),
    *(
        f"CREATE INDEX {table}_latest ON {table} (organisation, created_at DESC, retention_policy_id DESC)"
        for table in ("retention_policies", "retention_policies_shadow")
    ),
    # What can be restored, and what is being restored.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""
            CREATE TABLE recovery_points{suffix} (
                recovery_point_id text PRIMARY KEY,
                organisation      text NOT NULL,
                configuration_id  text NOT NULL,
                completed_at      timestamptz NOT NULL,
                fact              json NOT NULL
            )
            """,
            f"""
            CREATE INDEX recovery_points{suffix}_by_time
                ON recovery_points{suffix} (organisation, completed_at DESC, recovery_point_id DESC)
            """,
            f"""
            CREATE INDEX recovery_points{suffix}_by_configuration ON recovery_points{suffix}
                (organisation, configuration_id, completed_at DESC, recovery_point_id DESC)
            """,
            f"""
            CREATE TABLE recovery_operations{suffix} (
                operation_id      text PRIMARY KEY,
                organisation      text NOT NULL,
                configuration_id  text NOT NULL,
                recovery_point_id text NOT NULL,
                request_id        text NOT NULL,
                state             text NOT NULL,
                accepted_at       timestamptz NOT NULL,
                view              json NOT NULL
            )
            """,
            f"""
            CREATE INDEX recovery_operations{suffix}_by_time
                ON recovery_operations{suffix} (organisation, accepted_at DESC, operation_id DESC)
            """,
        )
    ),
    # What each version changed, and how long its schedule lets pass between two runs: by these a backup is overdue.
    *(
        f"ALTER TABLE {table} ADD COLUMN changed text[] NOT NULL DEFAULT '{{}}'"
        for table in ("configuration_history", "configuration_history_shadow")
    ),
    *(
        f"ALTER TABLE {table} ADD COLUMN wait_seconds bigint NOT NULL DEFAULT 86400"
        for table in ("configurations", "configurations_shadow")
    ),
    # Requests for one of several things that were asked for at once: of which request, and at which place.
    *(
        statement
        for table in ("requests", "requests_shadow")
        for statement in (
            f"ALTER TABLE {table} ADD COLUMN bulk_id text, ADD COLUMN position integer",
            f"CREATE INDEX {table}_of_bulk ON {table} (bulk_id, position) WHERE bulk_id IS NOT NULL",
        )
    ),
    *later_steps.STATEMENTS,
)
