"""`wedsync-backup show ID`: what has this id, and whose: a configuration, run, cleanup, repair, request, place.

Alerts, figures and logs name things by ids alone, since a label is seen by more people than a tenant's name may be.
Whoever follows one begins here. Names that tenants gave stay sealed: only ids, states and places are shown.
"""

import argparse
from typing import TYPE_CHECKING, Any

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of, home_option
from cli.options import given
from cli.output import columns, say, say_json

if TYPE_CHECKING:
    from deploy.stack.layout import Layout

_KINDS_OF_LISTS = {
    **{each: f"{each} runs, the latest" for each in ("failed", "degraded", "waiting")},
    "channels": "notification channels that have given up",
    "erasures": "erasures that are not complete, which is due next first",
}
LISTED_MAX = 20
"""So many of what uses a place are shown to a person; a machine gets all."""

# The gateway shows what it has read of the streams; what it lacks, the executor knows, who does the work.
_QUERIES = {
    "configuration": """
        SELECT coalesce(shown.organisation, copy.organisation) AS organisation,
            coalesce(shown.state, copy.state) AS state,
            coalesce(shown.body::jsonb, convert_from(copy.body, 'UTF8')::jsonb) ->> 'sourceLocation' AS source,
            (SELECT string_agg(value ->> 'location', ', ' ORDER BY key)
             FROM jsonb_each(coalesce(shown.body::jsonb, convert_from(copy.body, 'UTF8')::jsonb)
                             -> 'storageDestinations')
             WHERE jsonb_typeof(value) = 'object') AS tiers,
            runs.last_state AS "lastRun", runs.view -> 'ended' ->> 'error_code' AS "lastCode",
            runs.view -> 'ended' ->> 'execution_id' AS "lastEnded", runs.view -> 'ended' ->> 'finished_at' AS "endedAt"
        FROM (SELECT %(id)s::text AS id) asked
        LEFT JOIN gateway.configurations shown ON shown.configuration_id = asked.id
        LEFT JOIN executor.configuration_replicas copy ON copy.configuration_id = asked.id
        LEFT JOIN gateway.configuration_runs runs ON runs.configuration_id = asked.id
        WHERE shown.configuration_id IS NOT NULL OR copy.configuration_id IS NOT NULL
    """,
    "run": """
        SELECT coalesce(shown.organisation, claim.organisation) AS organisation,
            coalesce(shown.configuration_id, claim.configuration_id) AS configuration,
            coalesce(shown.state, claim.state) AS state, shown.degraded,
            coalesce(shown.view -> 'error' ->> 'code', shown.view ->> 'degraded_code') AS code,
            shown.view -> 'waiting' ->> 'code' AS "waitsFor", shown.view -> 'waiting' ->> 'since' AS "waitsSince",
            shown.view -> 'waiting' ->> 'next_attempt_at' AS "nextAttemptAt",
            shown.view -> 'error' ->> 'tier' AS tier,
            coalesce(shown.view -> 'error' ->> 'hint', shown.view -> 'waiting' ->> 'hint') AS hint,
            (SELECT string_agg(key || ' ' || (value ->> 'state') || coalesce(' [' || (value ->> 'code') || ']', '')
                 || coalesce(' ' || nullif(value ->> 'hint', ''), ''), '; ' ORDER BY key)
             FROM json_each(shown.view -> 'tiers')) AS tiers,
            coalesce(shown.accepted_at, claim.asked_at)::text AS accepted, shown.finished_at::text AS finished
        FROM (SELECT %(id)s::text AS id) asked
        LEFT JOIN gateway.executions shown ON shown.execution_id = asked.id
        LEFT JOIN executor.run_claims claim ON claim.run_id = asked.id
        WHERE shown.execution_id IS NOT NULL OR claim.run_id IS NOT NULL
    """,
    "recovery": """
        SELECT coalesce(shown.organisation, claim.organisation) AS organisation,
            shown.recovery_point_id AS point, shown.configuration_id AS configuration,
            coalesce(shown.state, claim.state) AS state, shown.view ->> 'target_location' AS target,
            coalesce(shown.view -> 'error' ->> 'code', shown.view ->> 'degraded_code') AS code,
            shown.view -> 'waiting' ->> 'code' AS "waitsFor", shown.view -> 'waiting' ->> 'since' AS "waitsSince",
            coalesce(shown.view -> 'error' ->> 'hint', shown.view -> 'waiting' ->> 'hint') AS hint,
            coalesce(shown.accepted_at, claim.asked_at)::text AS accepted, shown.view ->> 'finished_at' AS finished
        FROM (SELECT %(id)s::text AS id) asked
        LEFT JOIN gateway.recovery_operations shown ON shown.operation_id = asked.id
        LEFT JOIN recovery.recovery_claims claim ON claim.id = asked.id
        WHERE shown.operation_id IS NOT NULL OR claim.id IS NOT NULL
    """,
    "validation": """
        SELECT coalesce(shown.organisation, claim.organisation) AS organisation,
            shown.recovery_point_id AS point, shown.configuration_id AS configuration,
            coalesce(shown.state, claim.state) AS state, shown.view ->> 'depth' AS depth,
            shown.view -> 'corrupted' ->> 'damages' AS damages, shown.view -> 'error' ->> 'code' AS code,
            shown.view -> 'waiting' ->> 'code' AS "waitsFor", shown.view -> 'waiting' ->> 'since' AS "waitsSince",
            coalesce(shown.view -> 'error' ->> 'hint', shown.view -> 'waiting' ->> 'hint') AS hint,
            coalesce(shown.accepted_at, claim.asked_at)::text AS accepted, shown.view ->> 'finished_at' AS finished
        FROM (SELECT %(id)s::text AS id) asked
        LEFT JOIN gateway.recovery_validations shown ON shown.validation_id = asked.id
        LEFT JOIN recovery.validation_claims claim ON claim.id = asked.id
        WHERE shown.validation_id IS NOT NULL OR claim.id IS NOT NULL
    """,
    "cleanup": """
        SELECT coalesce(shown.organisation, claim.organisation) AS organisation,
            coalesce(shown.state, claim.state) AS state, shown.view ->> 'gone' AS gone,
            shown.view -> 'error' ->> 'code' AS code,
            shown.view -> 'waiting' ->> 'code' AS "waitsFor", shown.view -> 'waiting' ->> 'since' AS "waitsSince",
            coalesce(shown.view -> 'error' ->> 'hint', shown.view -> 'waiting' ->> 'hint') AS hint,
            coalesce(shown.accepted_at, claim.asked_at)::text AS accepted, shown.view ->> 'finished_at' AS finished
        FROM (SELECT %(id)s::text AS id) asked
        LEFT JOIN gateway.retention_cleanups shown ON shown.cleanup_id = asked.id
        LEFT JOIN executor.cleanup_claims claim ON claim.id = asked.id
        WHERE shown.cleanup_id IS NOT NULL OR claim.id IS NOT NULL
    """,
    "repair": """
        SELECT coalesce(shown.organisation, claim.organisation) AS organisation,
            coalesce(shown.state, claim.state) AS state, shown.view -> 'error' ->> 'code' AS code,
            shown.view -> 'waiting' ->> 'code' AS "waitsFor", shown.view -> 'waiting' ->> 'since' AS "waitsSince",
            coalesce(shown.view -> 'error' ->> 'hint', shown.view -> 'waiting' ->> 'hint') AS hint,
            coalesce(shown.accepted_at, claim.asked_at)::text AS accepted, shown.view ->> 'finished_at' AS finished
        FROM (SELECT %(id)s::text AS id) asked
        LEFT JOIN gateway.storage_repairs shown ON shown.repair_id = asked.id
        LEFT JOIN executor.repair_claims claim ON claim.id = asked.id
        WHERE shown.repair_id IS NOT NULL OR claim.id IS NOT NULL
    """,
    "optimisation": """
        SELECT coalesce(shown.organisation, claim.organisation) AS organisation,
            coalesce(shown.state, claim.state) AS state, shown.view -> 'error' ->> 'code' AS code,
            shown.view -> 'waiting' ->> 'code' AS "waitsFor", shown.view -> 'waiting' ->> 'since' AS "waitsSince",
            coalesce(shown.view -> 'error' ->> 'hint', shown.view -> 'waiting' ->> 'hint') AS hint,
            coalesce(shown.accepted_at, claim.asked_at)::text AS accepted, shown.view ->> 'finished_at' AS finished
        FROM (SELECT %(id)s::text AS id) asked
        LEFT JOIN gateway.storage_optimizations shown ON shown.optimization_id = asked.id
        LEFT JOIN executor.optimization_claims claim ON claim.id = asked.id
        WHERE shown.optimization_id IS NOT NULL OR claim.id IS NOT NULL
    """,
    "erasure": """
        SELECT coalesce(shown.organisation, kept.organisation) AS organisation, shown.state AS state,
            shown.view ->> 'law' AS law, kept.deadline_at::text AS due,
            (SELECT string_agg(concat(each ->> 'code', ' ', each ->> 'about', ' until ' || (each ->> 'until')), ', ')
                FROM json_array_elements(shown.view -> 'obstacles') each) AS against,
            (SELECT string_agg(concat(each ->> 'location', ' ', each ->> 'code'), ', ')
                FROM json_array_elements(shown.view -> 'places') each WHERE each ->> 'code' IS NOT NULL) AS "leftAt",
            shown.view -> 'error' ->> 'code' AS code,
            shown.view -> 'waiting' ->> 'code' AS "waitsFor", shown.view -> 'waiting' ->> 'since' AS "waitsSince",
            coalesce(shown.view -> 'error' ->> 'hint', shown.view -> 'waiting' ->> 'hint') AS hint,
            shown.accepted_at::text AS accepted, shown.view ->> 'completed_at' AS finished
        FROM (SELECT %(id)s::text AS id) asked
        LEFT JOIN gateway.subject_erasures shown ON shown.erasure_id = asked.id
        LEFT JOIN executor.subject_erasures kept ON kept.erasure_id = asked.id
        WHERE shown.erasure_id IS NOT NULL OR kept.erasure_id IS NOT NULL
    """,
    "retention policy": """
        SELECT organisation, version, changed_at::text AS changed FROM gateway.retention_policies
        WHERE retention_policy_id = %(id)s
    """,
    "notification channel": """
        SELECT organisation, is_active AS active, failing_since::text AS "givenUpSince", failing_code AS code
        FROM config.notification_channels WHERE channel_id = %(id)s
    """,
    # Also one that the lists here do not name, since an older copy of them was put back.
    "organisation of the record": """
        SELECT * FROM (
            SELECT (SELECT count(*) FROM gateway.configurations WHERE organisation = %(id)s) AS configurations,
                (SELECT count(*) FROM gateway.executions WHERE organisation = %(id)s) AS runs,
                (SELECT count(*) FROM gateway.retention_policies WHERE organisation = %(id)s) AS policies,
                (SELECT count(*) FROM gateway.notification_channels WHERE organisation = %(id)s) AS channels
        ) counted WHERE configurations + runs + policies + channels > 0
    """,
    "request": """
        SELECT organisation, kind AS "asksFor", resource_id AS resource, state, code, submitted_at::text AS submitted
        FROM gateway.requests WHERE request_id = %(id)s
    """,
}

# What an alert names without an id: of whose runs it speaks, or of whose configurations.
_CODE = """
    ' [' || coalesce(view -> 'error' ->> 'code', view ->> 'degraded_code',
        (SELECT string_agg(key || ' ' || (value ->> 'code'), ', ' ORDER BY key) FROM json_each(view -> 'tiers'))) || ']'
"""
_LISTS = {
    "channels": """
        SELECT concat(channel_id, ' of ', organisation, ' [', failing_code, '] since ', failing_since::text)
        FROM config.notification_channels WHERE failing_since IS NOT NULL ORDER BY failing_since LIMIT 200
    """,
    "erasures": """
        SELECT concat(erasure_id, ' of ', organisation, ', due ', deadline_at::text)
        FROM executor.subject_erasures WHERE NOT is_over ORDER BY deadline_at LIMIT 200
    """,
    "failed": f"""
        SELECT concat(execution_id, ' of ', organisation, {_CODE}, ' at ', finished_at::text)
        FROM gateway.executions WHERE state = 'failed'
        ORDER BY finished_at DESC NULLS LAST LIMIT 200
    """,  # noqa: S608  # of the expression above
    "degraded": f"""
        SELECT concat(execution_id, ' of ', organisation, {_CODE}, ' at ', finished_at::text)
        FROM gateway.executions WHERE degraded
        ORDER BY finished_at DESC NULLS LAST LIMIT 200
    """,  # noqa: S608  # of the expression above
    "waiting": """
        SELECT concat(claim.run_id, ' of ', claim.organisation,
            ' [' || (shown.view -> 'waiting' ->> 'code') || '] since ' || (shown.view -> 'waiting' ->> 'since')
            || coalesce(', again at ' || (shown.view -> 'waiting' ->> 'next_attempt_at'), ''))
        FROM executor.run_claims claim LEFT JOIN gateway.executions shown ON shown.execution_id = claim.run_id
        WHERE claim.state = 'waiting' ORDER BY claim.asked_at LIMIT 200
    """,
    **{
        tier: f"""
            SELECT configuration_id || ' of ' || organisation || ' [' || failure_{column} || ']'
            FROM gateway.configuration_runs WHERE failure_{column} IS NOT NULL
            ORDER BY uploaded_{column} NULLS FIRST LIMIT 200
        """  # noqa: S608  # of the names below
        for tier, column in (
            ("local", "local"),
            ("cloudPrimary", "cloud_primary"),
            ("cloudSecondary", "cloud_secondary"),
            ("offsite", "offsite"),
        )
    },
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "id",
        metavar="ID",
        type=given,
        help="of a configuration, run, recovery, cleanup, repair, optimisation, erasure, retention policy, request, "
        "organisation or place; a tier (cloudPrimary) for what its last upload failed of; failed, degraded or waiting "
        "for the latest such runs; "
        "channels for those that have given up, erasures for those that are not complete",
    )
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_home(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show all that the id is of. Raises NOT_FOUND, UNAVAILABLE."""
    from contracts import errors
    from contracts.errors import PlatformError
    from deploy.stack.layout import Layout
    from deploy.stack.state import running_state

    layout = Layout.find(home_of(arguments))
    running_state(layout.lock_file, layout.state_file)
    found = [*_recorded(layout, arguments.id), *_registered(layout, arguments.id)]
    if not found:
        raise PlatformError(
            errors.NOT_FOUND,
            f"nothing here has the id {arguments.id}",
            hint="An id is written whole, as the alert, the log or the API has it. What was just asked for may be a "
            "moment away; of another home: --home.",
        )
    if arguments.json:
        say_json({"id": arguments.id, "found": found})
        return ExitCode.OK
    option = home_option(layout.home)
    for each in found:
        if "listed" in each:
            rows = each["listed"]
            say(f"{each['kind']}: {'' if rows else 'none'}")
            for row in rows[:LISTED_MAX]:
                say(f"  {row}")
            if len(rows) > LISTED_MAX:
                say(f"  and {len(rows) - LISTED_MAX} more (--json)")
            continue
        whose = f" of the organisation {each['organisation']}" if "organisation" in each else ""
        is_whole = each["kind"].startswith("organisation")
        say(f"{arguments.id} is {'an' if is_whole else 'a'} {each['kind']}{whose}")
        shown = {name: value for name, value in each.items() if name not in ("kind", "organisation")}
        for line in columns([(f"  {name}", _text(value)) for name, value in shown.items()], right=()):
            say(line)
        owner = each.get("organisation", arguments.id if is_whole else None)
        if owner is not None:
            say(f"  the API shows it by: wedsync-backup token --role viewer --organisation {owner}{option}")
    return ExitCode.OK


def _text(value: Any) -> str:
    if isinstance(value, list):
        more = f" and {len(value) - LISTED_MAX} more (--json)" if len(value) > LISTED_MAX else ""
        return (", ".join(map(str, value[:LISTED_MAX])) or "none") + more
    if isinstance(value, bool):
        return "yes" if value else "no"  # Of a number 1 is no truth.
    return "-" if value is None else str(value)


def _recorded(layout: "Layout", identity: str) -> list[dict[str, Any]]:
    import psycopg
    from psycopg.rows import dict_row

    from chassis.postgres.database import translated
    from deploy.stack.postgres import admin_dsn
    from deploy.stack.secrets import read_secrets

    found: list[dict[str, Any]] = []
    with (
        translated(),
        psycopg.connect(admin_dsn(layout, read_secrets(layout)), connect_timeout=4, row_factory=dict_row) as connection,
    ):
        for kind, query in _QUERIES.items():
            rows = connection.execute(query.encode(), {"id": identity}).fetchall()
            found += [{"kind": kind, **row} for row in rows]
        if (listing := _LISTS.get(identity)) is not None:
            rows = connection.execute(listing.encode()).fetchall()
            kind = _KINDS_OF_LISTS.get(identity, f"last uploads to the tier {identity} failed")
            found.append({"kind": kind, "listed": [next(iter(row.values())) for row in rows]})
    return found


def _registered(layout: "Layout", identity: str) -> list[dict[str, Any]]:
    from deploy.locations.organisations import known
    from deploy.locations.usage import usage_of
    from deploy.stack.locations import registered

    found: list[dict[str, Any]] = []
    locations = registered(layout)
    for organisation in known(layout):
        if organisation.id == identity:
            open_to = sorted(each.name for each in locations if each.is_open_to(identity))
            found.append({"kind": "organisation", "name": organisation.name or None, "places": open_to})
    for location in locations:
        if location.name == identity:
            usage = usage_of(layout, identity)
            found.append(
                {
                    "kind": "place",
                    "url": location.url,
                    "roles": list(location.roles),
                    "configurations": [f"{each} of {owner}" for each, owner in usage.configurations],
                    "repositories": [each.organisation for each in usage.repositories],
                }
            )
    return found
