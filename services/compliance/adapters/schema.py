"""The compliance service's own tables, beside the event store's. Installed by the administrator's role; append only.

The audit log. Of the platform, whose `organisation` is the empty text, and of each organisation there is one Merkle
log (`chassis.auditlog`). `audit_entries`: every event that was published, its bytes as they were, sealed fields as
well, in the order of `number`, its place in the platform's log; `place` is the one in its organisation's.
`audit_tiles`: the hashes. `audit_checkpoints`: what was signed. `audit_streams`: how far each service's stream was
taken in, and which log an operator has said to be its record.

`audit_generations`: under which names it was signed, one after the other, and by whose key. A log that was put back
to an earlier time goes on under another name, `since` the instant when that was said; `earlier` is the last that is
known to have been signed of the platform's before (`audit_signer`, for builds that know one generation alone, names the
first one's key). `audit_openings`: what each log was when a later generation began,
signed under its name. `audit_restarts`: that an operator has said that the record, as it is now, is the record.

Entries, checkpoints, generations and openings are never changed nor deleted, by the service's own role neither: a
trigger refuses it.
"""

from typing import LiteralString

READ_BY = {
    "gateway": (
        "audit_entries",
        "audit_logs",
        "audit_tiles",
        "audit_checkpoints",
        "audit_signer",
        "audit_generations",
        "audit_openings",
    )
}
"""What the roles of other services may read of these tables, and no more."""

STATEMENTS: tuple[LiteralString, ...] = (
    """CREATE TABLE audit_entries (
        number bigint PRIMARY KEY,
        organisation text NOT NULL,
        place bigint,
        service text NOT NULL,
        log text NOT NULL,
        position bigint NOT NULL,
        event_id text NOT NULL,
        type text NOT NULL,
        happened_at timestamptz NOT NULL,
        actor text NOT NULL,
        access text,
        leaf bytea NOT NULL,
        body bytea NOT NULL,
        appended_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        UNIQUE (organisation, place)
    )""",
    "CREATE INDEX audit_entries_of_streams ON audit_entries (service, position)",
    "CREATE INDEX audit_entries_by_type ON audit_entries (organisation, type, place)",
    """CREATE INDEX audit_entries_of_people ON audit_entries (organisation, happened_at, event_id)
        WHERE access IS NOT NULL""",
    "CREATE TABLE audit_logs (organisation text PRIMARY KEY, size bigint NOT NULL)",
    "INSERT INTO audit_logs VALUES ('', 0)",
    """CREATE TABLE audit_tiles (
        organisation text NOT NULL,
        level smallint NOT NULL,
        number bigint NOT NULL,
        hashes bytea NOT NULL,
        PRIMARY KEY (organisation, level, number)
    )""",
    """CREATE TABLE audit_checkpoints (
        organisation text NOT NULL,
        size bigint NOT NULL,
        root bytea NOT NULL,
        note text NOT NULL,
        signed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (organisation, size)
    )""",
    """CREATE TABLE audit_streams (
        service text PRIMARY KEY,
        log text NOT NULL DEFAULT '',
        position bigint NOT NULL DEFAULT 0,
        sequence bigint NOT NULL DEFAULT 0,
        digest text NOT NULL DEFAULT '',
        record_log text NOT NULL DEFAULT ''
    )""",
    "CREATE TABLE audit_signer (is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one), public_key bytea NOT NULL)",
    """CREATE FUNCTION keep_as_it_is() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'what is in % stays as it is', TG_TABLE_NAME
                USING ERRCODE = 'integrity_constraint_violation';
        END
    $$""",
    """CREATE TRIGGER entries_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries
        FOR EACH STATEMENT EXECUTE FUNCTION keep_as_it_is()""",
    """CREATE TRIGGER checkpoints_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_checkpoints
        FOR EACH STATEMENT EXECUTE FUNCTION keep_as_it_is()""",
    """CREATE TABLE audit_generations (
        number integer PRIMARY KEY,
        since text NOT NULL UNIQUE,
        began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        size bigint NOT NULL,
        public_key bytea NOT NULL,
        earlier text,
        restart bigint NOT NULL DEFAULT 0
    )""",
    "INSERT INTO audit_generations (number, since, size, public_key) SELECT 1, '', 0, public_key FROM audit_signer",
    "ALTER TABLE audit_checkpoints ADD COLUMN generation integer NOT NULL DEFAULT 1",
    """CREATE TABLE audit_openings (
        generation integer NOT NULL,
        organisation text NOT NULL,
        size bigint NOT NULL,
        note text NOT NULL,
        PRIMARY KEY (organisation, generation)
    )""",
    """CREATE TABLE audit_restarts (
        number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        said_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )""",
    """CREATE TRIGGER generations_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_generations
        FOR EACH STATEMENT EXECUTE FUNCTION keep_as_it_is()""",
    """CREATE TRIGGER openings_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_openings
        FOR EACH STATEMENT EXECUTE FUNCTION keep_as_it_is()""",
    "CREATE INDEX audit_entries_of_accesses ON audit_entries (organisation, place) WHERE access IS NOT NULL",
)
