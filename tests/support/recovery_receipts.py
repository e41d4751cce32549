"""What a test of a plan says from its beginning to its end, and the stand-alone verifier of its receipt."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from contracts.disaster import StepPoint
from contracts.dr_execution_events import DrExecutionCompleted, DrRecoveryAsked, DrTestStarted
from contracts.event import Event
from contracts.recovery_events import RecoveryAccepted, RecoveryCompleted, RecoveryTotals, RecoveryVerified
from contracts.sample_values import EXECUTION, OPERATION, PLAN_BODY
from contracts.samples import sample_event

SCRIPT = Path(__file__).parents[2] / "docs/examples/verify_recovery_receipt.py"

_RESTORE = next(step for step in PLAN_BODY.procedures if step.kind == "restore")
TOTALS = RecoveryTotals(files=12, folders=3, bytes=4096)


def of(cls: type[Event], **fields: Any) -> Event:
    """A sample event that says something else in these fields."""
    return msgspec.structs.replace(sample_event(cls), **fields)


STARTED = of(
    DrTestStarted,
    execution_id=EXECUTION,
    body=msgspec.structs.replace(PLAN_BODY, procedures=(_RESTORE,)),
    points=(StepPoint(step_id=_RESTORE.id, recovery_point_id="point", read_at=sample_event(DrTestStarted).started_at),),
)
ASKED = of(
    DrRecoveryAsked, execution_id=EXECUTION, step_id=_RESTORE.id, operation_id=OPERATION, recovery_point_id="point"
)
ACCEPTED = of(RecoveryAccepted, operation_id=OPERATION, recovery_point_id="point", snapshot_id="1234", scope=None)
VERIFIED = of(
    RecoveryVerified, operation_id=OPERATION, recovery_point_id="point", snapshot_id="1234", files=12, bytes=4096
)
WHOLE = RecoveryCompleted(
    operation_id=OPERATION, recovery_point_id="point", configuration_id="c", totals=TOTALS, seconds=2.5
)
ENDED = of(DrExecutionCompleted, execution_id=EXECUTION, is_test=True)
STORY = (STARTED, ASKED, ACCEPTED, VERIFIED, WHOLE, ENDED)


def subject_of(event: Event) -> str | None:
    """What an event of the story is about; None of others."""
    subjects = {"dr": f"dr-execution/{EXECUTION}", "recovery": f"recovery-operation/{OPERATION}"}
    return subjects.get(event.NAME.partition(".")[0])


def verify_receipt(folder: Path, given: object, key: str) -> tuple[int, str]:
    """Exit code and all that was said, without any module of ours."""
    path = folder / "receipt.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    command = [sys.executable, "-I", str(SCRIPT), "--key", key, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr
