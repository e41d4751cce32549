"""The guide to disaster recovery is followed on a running platform: a plan, its test, and its execution."""

import json
import sys
from pathlib import Path

import pytest

from chassis.ids import new_id
from tests.support.file_trees import differences, seen
from tests.support.guide import Shell
from tests.support.stack import Platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[2]
BACK_UP = """
wedsync-backup location add dr-photos --role source --url "file://$FOLDER"
CONFIGURATION=$(wedsync-backup call POST configurations --field id -d '{"name": "Photos of a disaster",
  "sourceType": "directory", "sourceLocation": "dr-photos", "storageDestinations": {"local": {"location": "local"}}}')
wedsync-backup call POST execute -d "{\\"configurationId\\": \\"$CONFIGURATION\\"}" --until-ended --field state
"""
SAY = """
echo "$PLAN $TEST $EXECUTION"
wedsync-backup call GET "disaster-recovery/executions/$EXECUTION" >execution.json
wedsync-backup call GET disaster-recovery/status >status.json
"""


def test_plan_is_tested_and_executed_as_it_is_written(shared_platform: Platform, tmp_path: Path) -> None:
    """The test leaves its place empty and the target untouched; the execution brings back every byte."""
    source, target, tests = tmp_path / "photos", tmp_path / "restored", tmp_path / "rehearsals"
    for each in (source / "2027", target, tests):
        each.mkdir(parents=True)
    (source / "2027" / "IMG_1.JPG").write_bytes(bytes(range(256)) * 400)
    variables = {"WEDSYNC_HOME": str(shared_platform.home), "FOLDER": str(source)}
    shell = Shell("docs/disaster-recovery.md", tmp_path / "bin", tmp_path, variables)

    def block(name: str) -> str:
        places = {"file:///srv/restored": f"file://{target}", "file:///srv/rehearsals": f"file://{tests}"}
        text = shell.block("run", name)
        places["python3 docs"] = f"{sys.executable} {ROOT}/docs"
        for written, own in places.items():
            text = text.replace(written, own)
        return text

    names = ("dr-places", "dr-plan", "dr-runbook", "dr-test", "dr-approve", "dr-tested", "dr-receipt")
    tested = "".join(map(block, names)) + f'ls -A "{target}" "{tests}/dr-tests"\n'
    done = shell.type(f"set -eo pipefail\n{BACK_UP}{tested}{block('dr-execute')}{SAY}")
    assert done.returncode == 0, done.stderr
    assert "completed" in done.stdout
    assert "1 files, 102400 bytes read back" in done.stdout
    assert not list((tests / "dr-tests").iterdir())
    assert "photos" in (tmp_path / "runbook.md").read_text()
    assert not differences(seen(source), seen(target / "photos"))
    executed = json.loads((tmp_path / "execution.json").read_bytes())
    plan, test, execution = done.stdout.splitlines()[-1].split()
    assert (executed["id"], executed["state"], executed["rtoMet"], executed["rpoMet"]) == (
        *(execution, "completed"),
        *(True, True),
    )
    assert new_id() > execution > test > plan
    status = json.loads((tmp_path / "status.json").read_bytes())
    stands = next(each for each in status["items"] if each["planId"] == plan)
    assert stands["provenRtoMinutes"] == 1
    assert stands["lastTestAt"] is not None
    assert next(each for each in stands["findings"] if each["check"] == "tested")["verdict"] == "pass"
