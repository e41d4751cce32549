"""What an auditor keeps of an organisation's log, and what the stand-alone verifier says of its export later."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.guide import Shell

SCRIPT = Path(__file__).parents[2] / "docs/examples/verify_audit_log.py"
PUT_BACK = 3
"""Its exit code where entries that a checkpoint counts were lost."""


class Auditor:
    """Somebody who has kept a checkpoint and the verifier key, by the commands of docs/api.md."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        kept = self._get("security/audit-log")
        self._key, self._note = kept["verifierKey"], kept["checkpoint"]

    def verifies(self, folder: Path) -> tuple[int, str]:
        """Export the log as it is now, and compare it with what was kept: the exit code and what was said."""
        export, note = folder / "export.jsonl", folder / "kept.note"
        note.write_text(self._note)
        start: int | None = 0
        with export.open("w") as file:
            while start is not None:
                page = self._get(f"security/audit-log/entries?limit=200&start={start}")
                file.write(json.dumps(page) + "\n")
                start = page["next"]
        command = [sys.executable, "-I", str(SCRIPT), "--key", self._key, "--checkpoint", str(note), str(export)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def _get(self, path: str) -> dict[str, Any]:
        done = self._shell.type(f"wedsync-backup call GET '{path}' --role auditor")
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found
