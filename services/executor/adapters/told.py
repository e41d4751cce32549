"""What the repository says of a backup, in a run's words: its progress, and the report of what it left out."""

import msgspec

from contracts.configuration import Tier
from repository.backup.result import BackupResult
from repository.progress import Progress
from services.executor.ports import ProgressReport


def problem_report(result: BackupResult) -> bytes | None:
    """Entries that could not be kept as they are, as JSON; None where there are none."""
    if not result.error_counts:
        return None
    return msgspec.json.encode(
        {
            "counts": {reason.value: count for reason, count in sorted(result.error_counts.items())},
            "files": [
                {"path": each.path.decode("utf-8", "backslashreplace"), "reason": each.reason.value}
                for each in result.file_errors
            ],
        }
    )


def progress_report(progress: Progress) -> ProgressReport:
    """The repository's counters as a run's. Totals are known once the walk is complete."""
    return ProgressReport(
        files_done=progress.files_done,
        files_total=progress.files_found if progress.is_walk_complete else None,
        bytes_done=progress.bytes_done,
        bytes_total=progress.bytes_found if progress.is_walk_complete else None,
        tiers=tuple(
            (Tier(name), tier.state, tier.bytes_sent, tier.bytes_waiting) for name, tier in progress.tiers.items()
        ),
    )
