"""`repo`, as a command of its own: what it promises of tiers, keys and histories holds for the platform, too."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from deploy.stack.interpreter import python_path

_DOCUMENT = msgspec.json.Decoder(dict[str, Any])


class Said(NamedTuple):
    """How it ended, what it printed for machines, and what it said of what was not well."""

    code: int
    document: dict[str, Any]
    words: str


def repo(*words: str, seconds: float | None = None) -> Said:
    """Run a sub-command of `repo`. No secret may be among the words."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli", "repo", *words, "--json"],
        env={**os.environ, "PYTHONPATH": python_path()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    return Said(done.returncode, _document(done.stdout), _in_words(done.stderr.decode("utf-8", "replace")))


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = _DOCUMENT.decode(body)
    except (msgspec.MsgspecError, ValueError):
        return {}
    return found


def _in_words(said: str) -> str:
    """An error is one JSON document on a line of its own, among lines for people."""
    lines = []
    for line in said.splitlines():
        error = _document(line.encode()).get("error")
        if isinstance(error, dict):
            lines.append(f"{error.get('message')} [{error.get('code')}] {error.get('hint') or ''}".strip())
        elif line.strip():
            lines.append(line.strip())
    return "; ".join(lines)


def told(said: Said, *, ok: Sequence[int] = (0,)) -> str | None:
    """What went wrong; None where the exit code is one of those that are well."""
    return None if said.code in ok else said.words or f"it ended with exit code {said.code}"
