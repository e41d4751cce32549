"""What a command on a repository says while a tier keeps it waiting: which one, and why, again and again."""

import argparse
import sys
import threading
import time
from collections.abc import Sequence

from cli.output import note_spoken
from repository.errors import RepositoryError

FIRST_SECONDS = 1.0
"""What passes by itself within a moment is not told."""
AGAIN_SECONDS = 8.0
"""Opening asks to have it said every ten seconds, and a tier that fails every few: in between no tier is told again."""
_SILENT = "no answer yet"


class Waiting:
    """Says it on standard error; nothing with `--json`, where each tier's state is in the document. Thread-safe."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._is_mute: bool = arguments.json
        self._lock = threading.Lock()
        self._said: dict[str, tuple[float, str]] = {}
        self._reasons: dict[str, str] = {}

    def silent(self, names: Sequence[str]) -> None:
        """These tiers have not answered yet."""
        with self._lock:
            reasons = {name: self._reasons.get(name, _SILENT) for name in names}
            unsaid = {name: reason for name, reason in reasons.items() if self._is_due(name, reason)}
            for reason in dict.fromkeys(unsaid.values()):
                self._say([name for name in unsaid if unsaid[name] == reason], reason)

    def failed(self, name: str, error: RepositoryError, seconds: float) -> None:
        """A tier has failed for so long, and is tried again."""
        with self._lock:
            self._reasons[name] = error.message
            if seconds >= FIRST_SECONDS and self._is_due(name, error.message):
                self._say([name], error.message, f"; it is tried again, for {seconds:.0f} s so far")

    def _is_due(self, name: str, reason: str) -> bool:
        """Whether that was not said just now; or a reason is known since."""
        at, before = self._said.get(name, (float("-inf"), _SILENT))
        return time.monotonic() - at >= AGAIN_SECONDS or (before == _SILENT != reason)

    def _say(self, names: Sequence[str], reason: str, more: str = "") -> None:
        self._said.update(dict.fromkeys(names, (time.monotonic(), reason)))
        if not self._is_mute:
            print(f"waiting for {', '.join(names)}: {reason}{more}", file=sys.stderr, flush=True)
            note_spoken()
