"""The schema's statements from its second page on (`gateway.schema`): a change is a new one at the end."""

from typing import LiteralString

STATEMENTS: tuple[LiteralString, ...] = (
    # Who is told, and what became of each notification.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE notification_channels{suffix} (
                channel_id text PRIMARY KEY, organisation text NOT NULL, version bigint NOT NULL, state text NOT NULL,
                request_id text NOT NULL, created_by text NOT NULL, created_at timestamptz NOT NULL,
                changed_at timestamptz NOT NULL, body json NOT NULL)""",
            f"""CREATE INDEX notification_channels{suffix}_latest
                ON notification_channels{suffix} (organisation, created_at DESC, channel_id DESC)""",
            f"""CREATE TABLE notifications{suffix} (
                notification_id text PRIMARY KEY, organisation text NOT NULL, channel_id text NOT NULL,
                configuration_id text, planned_at timestamptz NOT NULL, fact json NOT NULL, state text NOT NULL,
                attempts bigint NOT NULL, code text, hint text, status bigint, next_attempt_at timestamptz,
                changed_at timestamptz NOT NULL)""",
            f"""CREATE INDEX notifications{suffix}_latest
                ON notifications{suffix} (organisation, planned_at DESC, notification_id DESC)""",
        )
    ),
    # What the latest test of each configuration has found.
    *(
        f"""CREATE TABLE configuration_tests{suffix} (
            configuration_id text PRIMARY KEY, organisation text NOT NULL, tested_at timestamptz NOT NULL,
            fact json NOT NULL)"""
        for suffix in ("", "_shadow")
    ),
    # Cleanups, and which recovery points have gone by one.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE retention_cleanups{suffix} (
                cleanup_id text PRIMARY KEY, organisation text NOT NULL, request_id text NOT NULL, state text NOT NULL,
                accepted_at timestamptz NOT NULL, view json NOT NULL)""",
            f"""CREATE INDEX retention_cleanups{suffix}_by_time
                ON retention_cleanups{suffix} (organisation, accepted_at DESC, cleanup_id DESC)""",
            f"ALTER TABLE recovery_points{suffix} ADD COLUMN gone_at timestamptz, ADD COLUMN gone json",
        )
    ),
    # Audits, and what was found of each control.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE compliance_audits{suffix} (
                audit_id text PRIMARY KEY, organisation text NOT NULL, request_id text NOT NULL,
                audited_at timestamptz NOT NULL, frameworks text[] NOT NULL, fact json NOT NULL)""",
            f"""CREATE INDEX compliance_audits{suffix}_by_time
                ON compliance_audits{suffix} (organisation, audited_at DESC, audit_id DESC)""",
        )
    ),
    # Holds, and what waits for a second person.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE retention_holds{suffix} (
                hold_id text PRIMARY KEY, organisation text NOT NULL, version bigint NOT NULL DEFAULT 1,
                request_id text NOT NULL, placed_by text NOT NULL, placed_at timestamptz NOT NULL, state text NOT NULL,
                configuration_ids text[] NOT NULL, recovery_point_ids text[] NOT NULL, tags text[] NOT NULL,
                tagged text[] NOT NULL, made_from timestamptz, made_before timestamptz, approval_id text,
                released_at timestamptz, fact json NOT NULL)""",
            f"""CREATE INDEX retention_holds{suffix}_latest
                ON retention_holds{suffix} (organisation, placed_at DESC, hold_id DESC)""",
            f"""CREATE TABLE approvals{suffix} (
                approval_id text PRIMARY KEY, organisation text NOT NULL, state text NOT NULL, operation text NOT NULL,
                subject_id text NOT NULL, asked_by text NOT NULL, asked_at timestamptz NOT NULL,
                expires_at timestamptz NOT NULL, decided_by text, decided_at timestamptz)""",
            f"""CREATE INDEX approvals{suffix}_latest
                ON approvals{suffix} (organisation, asked_at DESC, approval_id DESC)""",
        )
    ),
    # What is stored, as runs and cleanups have told: by configuration, class, tier, day and location.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE storage_runs{suffix} (
                execution_id text PRIMARY KEY, organisation text NOT NULL, configuration_id text NOT NULL,
                version bigint NOT NULL)""",
            f"""CREATE TABLE storage_configurations{suffix} (
                organisation text NOT NULL, configuration_id text NOT NULL, points bigint NOT NULL,
                new_bytes bigint NOT NULL, stored_bytes bigint NOT NULL, latest_bytes bigint NOT NULL,
                latest_at timestamptz NOT NULL, PRIMARY KEY (organisation, configuration_id))""",
            f"""CREATE TABLE storage_classes{suffix} (
                organisation text NOT NULL, content_class text NOT NULL, source_bytes bigint NOT NULL,
                new_bytes bigint NOT NULL, stored_bytes bigint NOT NULL, PRIMARY KEY (organisation, content_class))""",
            f"""CREATE TABLE storage_tiers{suffix} (
                organisation text NOT NULL, configuration_id text NOT NULL, version bigint NOT NULL, tier text NOT NULL,
                uploaded_bytes bigint NOT NULL, upload_seconds double precision NOT NULL, uploads bigint NOT NULL,
                failures bigint NOT NULL, uploaded_at timestamptz, failed_at timestamptz, code text,
                proven_at timestamptz, PRIMARY KEY (organisation, configuration_id, version, tier))""",
            f"""CREATE TABLE storage_days{suffix} (
                organisation text NOT NULL, day date NOT NULL, uploaded_bytes bigint NOT NULL,
                freed_bytes bigint NOT NULL, PRIMARY KEY (organisation, day))""",
            f"""CREATE TABLE storage_places{suffix} (
                organisation text NOT NULL, location text NOT NULL, freed_bytes bigint NOT NULL,
                again_bytes bigint NOT NULL, locked_bytes bigint NOT NULL, locked_until timestamptz,
                pinned_bytes bigint NOT NULL, cleaned_at timestamptz NOT NULL, PRIMARY KEY (organisation, location))""",
        )
    ),
    # Disaster recovery plans, each as it is in force.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE dr_plans{suffix} (
                plan_id text PRIMARY KEY, organisation text NOT NULL, version bigint NOT NULL, request_id text NOT NULL,
                created_by text NOT NULL, created_at timestamptz NOT NULL, changed_at timestamptz NOT NULL,
                body json NOT NULL)""",
            f"""CREATE INDEX dr_plans{suffix}_latest
                ON dr_plans{suffix} (organisation, created_at DESC, plan_id DESC)""",
        )
    ),
    # Executions and tests of disaster recovery plans, each folded from its facts.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE dr_executions{suffix} (
                execution_id text PRIMARY KEY, organisation text NOT NULL, plan_id text NOT NULL,
                is_test boolean NOT NULL, request_id text NOT NULL, state text NOT NULL,
                started_at timestamptz NOT NULL, finished_at timestamptz, view json NOT NULL)""",
            f"""CREATE INDEX dr_executions{suffix}_latest
                ON dr_executions{suffix} (organisation, started_at DESC, execution_id DESC)""",
            f"""CREATE INDEX dr_executions{suffix}_of_plan
                ON dr_executions{suffix} (organisation, plan_id, finished_at DESC)""",
        )
    ),
    # Repairs of tiers.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE storage_repairs{suffix} (
                repair_id text PRIMARY KEY, organisation text NOT NULL, request_id text NOT NULL, state text NOT NULL,
                accepted_at timestamptz NOT NULL, view json NOT NULL)""",
            f"""CREATE INDEX storage_repairs{suffix}_by_time
                ON storage_repairs{suffix} (organisation, accepted_at DESC, repair_id DESC)""",
        )
    ),
    # Optimisations of tiers.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE storage_optimizations{suffix} (
                optimization_id text PRIMARY KEY, organisation text NOT NULL, request_id text NOT NULL,
                state text NOT NULL, accepted_at timestamptz NOT NULL, view json NOT NULL)""",
            f"""CREATE INDEX storage_optimizations{suffix}_by_time
                ON storage_optimizations{suffix} (organisation, accepted_at DESC, optimization_id DESC)""",
        )
    ),
    # Validations of recovery points, and what was last proven of each point's tiers.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE recovery_validations{suffix} (
                validation_id text PRIMARY KEY, organisation text NOT NULL, configuration_id text NOT NULL,
                recovery_point_id text NOT NULL, request_id text NOT NULL, state text NOT NULL,
                accepted_at timestamptz NOT NULL, view json NOT NULL)""",
            f"""CREATE INDEX recovery_validations{suffix}_by_time
                ON recovery_validations{suffix} (organisation, accepted_at DESC, validation_id DESC)""",
            f"""CREATE TABLE recovery_proofs{suffix} (
                recovery_point_id text PRIMARY KEY, organisation text NOT NULL, view json NOT NULL)""",
        )
    ),
    # When the next test of a plan begins by itself, and the latest that did not.
    *(
        f"ALTER TABLE dr_plans{suffix} ADD COLUMN next_test timestamptz, ADD COLUMN missed_test json"
        for suffix in ("", "_shadow")
    ),
    # Erasures of data subjects.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE subject_erasures{suffix} (
                erasure_id text PRIMARY KEY, organisation text NOT NULL, request_id text NOT NULL, state text NOT NULL,
                accepted_at timestamptz NOT NULL, view json NOT NULL)""",
            f"""CREATE INDEX subject_erasures{suffix}_by_time
                ON subject_erasures{suffix} (organisation, accepted_at DESC, erasure_id DESC)""",
        )
    ),
    # What people have attested.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""CREATE TABLE compliance_attestations{suffix} (
                attestation_id text PRIMARY KEY, organisation text NOT NULL, request_id text NOT NULL,
                kind text NOT NULL, recorded_at timestamptz NOT NULL, fact json NOT NULL)""",
            f"""CREATE INDEX compliance_attestations{suffix}_by_time
                ON compliance_attestations{suffix} (organisation, recorded_at DESC, attestation_id DESC)""",
        )
    ),
    # What the last run found of each tier's room, and what each tier took on a day.
    *(
        statement
        for suffix in ("", "_shadow")
        for statement in (
            f"""ALTER TABLE storage_tiers{suffix} ADD COLUMN capacity_bytes bigint, ADD COLUMN free_bytes bigint,
                ADD COLUMN latency_seconds double precision, ADD COLUMN measured_at timestamptz""",
            f"""CREATE TABLE storage_tier_days{suffix} (
                organisation text NOT NULL, tier text NOT NULL, day date NOT NULL, uploaded_bytes bigint NOT NULL,
                PRIMARY KEY (organisation, tier, day))""",
        )
    ),
)
