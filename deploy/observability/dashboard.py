"""The Grafana dashboard, as `python -m deploy.observability.dashboard` writes it: one row of panels for each question.

The expressions are those that the tests' evaluator understands, so that each panel is known to show something.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DASHBOARD_FILE = "deploy/observability/grafana-dashboard.json"
COLUMNS = 24
HEIGHT = 7

Panel = tuple[str, str, Sequence[tuple[str, str]]]
"""Its title, the unit, and expressions with the legend of each."""

ROWS: tuple[tuple[Panel, ...], ...] = (
    (
        ("Processes that answer", "short", [("up", "{{instance}}")]),
        ("Ready", "short", [("wedsync_ready", "{{service}}")]),
        ("Findings", "short", [("sum by (service, code) (wedsync_findings)", "{{service}} {{code}}")]),
        ("Figures that were read", "short", [("wedsync_figures_read", "{{instance}} {{figures}}")]),
    ),
    (
        (
            "Runs that ended in the last hour",
            "short",
            [("max by (outcome) (increase(wedsync_runs_ended_total[1h]))", "{{outcome}}")],
        ),
        (
            "Longest without a good backup",
            "s",
            [
                (
                    "time() - min by (configuration) (wedsync_configuration_protected_timestamp_seconds)",
                    "{{configuration}}",
                )
            ],
        ),
        (
            "Beyond the time when a good backup was due",
            "s",
            [
                (
                    "time() - max by (configuration) (wedsync_configuration_backup_due_timestamp_seconds)",
                    "{{configuration}}",
                )
            ],
        ),
        (
            "Next run due in",
            "s",
            [
                (
                    "min by (configuration) (wedsync_configuration_next_run_timestamp_seconds) - time()",
                    "{{configuration}}",
                )
            ],
        ),
        (
            "Runs missed since",
            "s",
            [
                (
                    "time() - max by (configuration) (wedsync_configuration_missed_timestamp_seconds)",
                    "{{configuration}}",
                )
            ],
        ),
        ("Configurations", "short", [("max by (job) (wedsync_configurations)", "all")]),
    ),
    (
        ("Configurations owed a catch-up", "short", [("max by (tier) (wedsync_tier_owed_configurations)", "{{tier}}")]),
        (
            "Configurations whose copy is away",
            "short",
            [("max by (tier) (wedsync_tier_gone_configurations)", "{{tier}}")],
        ),
        (
            "Tier behind since",
            "s",
            [("time() - min by (tier) (wedsync_tier_behind_since_timestamp_seconds)", "{{tier}}")],
        ),
        (
            "Age of the latest upload",
            "s",
            [("time() - max by (tier) (wedsync_tier_uploaded_timestamp_seconds)", "{{tier}}")],
        ),
        ("Configurations per tier", "short", [("max by (tier) (wedsync_tier_configurations)", "{{tier}}")]),
    ),
    (
        (
            "Queue",
            "short",
            [
                ("max by (job) (wedsync_queue_waiting_runs)", "waiting"),
                ("max by (job) (wedsync_queue_claimed_runs)", "claimed"),
                ("max by (job) (wedsync_queue_limit_runs)", "bound"),
            ],
        ),
        (
            "Oldest wait",
            "s",
            [
                ("time() - min by (job) (wedsync_queue_oldest_timestamp_seconds)", "run"),
                ("time() - min by (job) (wedsync_queue_oldest_recoveries_timestamp_seconds)", "recovery"),
            ],
        ),
        (
            "Recoveries",
            "short",
            [
                ("max by (outcome) (increase(wedsync_recoveries_ended_total[1h]))", "{{outcome}} in the last hour"),
                ("max by (job) (wedsync_queue_waiting_recoveries)", "waiting"),
                ("max by (job) (wedsync_queue_claimed_recoveries)", "claimed"),
            ],
        ),
        (
            "Free share of disks",
            "percentunit",
            [("wedsync_disk_free_bytes / wedsync_disk_size_bytes", "{{instance}} {{place}}")],
        ),
    ),
    (
        ("Sealing keys", "short", [("max by (job) (wedsync_sealing_keys)", "in use")]),
        (
            "Next erasure is due in",
            "s",
            [("min by (job) (wedsync_erasures_deadline_timestamp_seconds) - time()", "the next one")],
        ),
        (
            "Recovery points beyond their maximum",
            "short",
            [("max by (job) (wedsync_recovery_points_overdue)", "older than their policy's maximumDays")],
        ),
        (
            "Recovery points are beyond their maximum since",
            "s",
            [("time() - min by (job) (wedsync_recovery_points_overdue_since_timestamp_seconds)", "the oldest")],
        ),
        ("Sealing keys unusable", "short", [("wedsync_sealing_keys_unusable", "{{instance}}")]),
        (
            "Age of the oldest sealing key",
            "s",
            [("time() - min by (job) (wedsync_sealing_key_oldest_timestamp_seconds)", "oldest")],
        ),
        (
            "Certificates end in",
            "s",
            [("wedsync_certificate_expires_timestamp_seconds - time()", "{{instance}} {{certificate}}")],
        ),
    ),
    (
        ("Events not yet published", "short", [("wedsync_relay_lag_events", "{{instance}}")]),
        ("Relay refuses", "short", [("wedsync_relay_refused", "{{instance}}")]),
        ("Read models behind", "s", [("max by (job) (wedsync_projector_behind_seconds)", "behind")]),
        ("Messages that wait", "short", [("max by (consumer) (wedsync_consumer_waiting)", "{{consumer}}")]),
    ),
    (
        (
            "Answers with 5xx in 5 minutes",
            "short",
            [("increase(wedsync_gateway_http_failures_total[5m])", "{{instance}}")],
        ),
        ("Loops begun anew in 15 minutes", "short", [("increase(wedsync_loop_restarts_total[15m])", "{{loop}}")]),
        ("Open WebSockets", "short", [("wedsync_gateway_sockets", "{{instance}}")]),
    ),
    (
        (
            "Notifications that wait",
            "short",
            [("max by (job) (wedsync_notifications_waiting)", "waiting")],
        ),
        ("Notifications late by", "s", [("max by (job) (wedsync_notifications_late_seconds)", "latest")]),
        (
            "Channels that have given up",
            "short",
            [("max by (job) (wedsync_notification_channels_failing)", "channels")],
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The document that Grafana imports; it asks for the data source."""
    panels: list[dict[str, Any]] = []
    for row, across in enumerate(ROWS):
        width = COLUMNS // len(across)
        for column, (title, unit, asked) in enumerate(across):
            panels.append(
                {
                    "id": len(panels) + 1,
                    "type": "timeseries",
                    "title": title,
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    "gridPos": {"x": column * width, "y": row * HEIGHT, "w": width, "h": HEIGHT},
                    "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
                    "targets": [
                        {"refId": chr(ord("A") + number), "expr": expression, "legendFormat": legend}
                        for number, (expression, legend) in enumerate(asked)
                    ],
                }
            )
    return {
        "uid": "wedsync-backup",
        "title": "WedSync Backup",
        "schemaVersion": 39,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}]},
        "panels": panels,
    }


if __name__ == "__main__":
    Path(DASHBOARD_FILE).write_text(json.dumps(dashboard(), indent=2) + "\n")
