"""All tests but the slow ones with coverage, in parallel; what fails is run once more, alone.

    python -m tests.suite [PYTEST-OPTION ...]

A test that fails alone as well is broken. One that fails beside others only is *unsteady*: it is named at the end, so
that somebody mends it, and does not hold up what has nothing to do with it. More than `FEW` failures are no mood of
the machine and get no second look. Ends as pytest does.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

FEW = 12
_FAILED, _MARK = 1, ("-m", "not slow")


def main() -> int:
    """Both rounds."""
    with tempfile.TemporaryDirectory(prefix="wedsync-tests-") as folder:
        code = _pytest(folder, *sys.argv[1:], "tests")
        failed = _failed(Path(folder))
        if code != _FAILED or not 0 < len(failed) <= FEW:
            return code
        print(f"\n== {len(failed)} failed, and each is run once more, alone:\n" + "\n".join(failed), flush=True)
        code = _pytest(folder, "-n", "0", "--last-failed", "--last-failed-no-failures", "none", "tests")
        broken = set(_failed(Path(folder))) if code else set()
    unsteady = [test for test in failed if test not in broken]
    if unsteady:
        print("\n== unsteady, failed beside others only: mend them\n" + "\n".join(unsteady), flush=True)
    return code


def _pytest(cache: str, *options: str) -> int:
    remembered = ("-o", "addopts=-ra --strict-markers --strict-config", "-o", f"cache_dir={cache}")
    command = (sys.executable, "-m", "coverage", "run", "-m", "pytest", *remembered, *_MARK, *options)
    return subprocess.run(command, check=False).returncode


def _failed(cache: Path) -> list[str]:
    remembered = cache / "v" / "cache" / "lastfailed"
    return sorted(json.loads(remembered.read_bytes())) if remembered.exists() else []


if __name__ == "__main__":
    sys.exit(main())
