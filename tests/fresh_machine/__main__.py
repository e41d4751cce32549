"""Makes each kind of machine, runs the commands in it, and says how it went.

    python3 -m tests.fresh_machine [--tests] [--beside COMMAND] [KIND ...]

`TOGETHER` kinds at a time: the installer of one uses one core. What fails beside another is run once more, alone, and
that decides. `--beside`: a command that takes the place of a kind, as the first; where it fails, all ends when the
others have. `--tests`: when all have ended the first kind's machine is started anew, and `make coverage` runs there,
alone. Ends with 0 where all went well, with 2 where no mount namespace can be made here. What a failed command said is
printed.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fresh_machine.kinds import KINDS, Kind

ROOT = Path(__file__).resolve().parents[2]
USER = 54_321
"""An ordinary user, whom this machine's list of users does not know."""
LAST_LINES = 60
TOGETHER = 2


def main() -> int:
    """All kinds, or those that are named."""
    parser = argparse.ArgumentParser(description="The README's commands on machines that never saw us.")
    parser.add_argument("--tests", action="store_true", help="run make coverage in the first kind")
    parser.add_argument("--beside", metavar="COMMAND", help="a command of one word that runs beside the kinds")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(kind.name for kind in KINDS))
    arguments = parser.parse_args()
    chosen = [kind for kind in KINDS if kind.name in arguments.kinds or not arguments.kinds]
    trouble = _cannot_isolate()
    if trouble:
        print(f"fresh machines: {trouble}", file=sys.stderr)
        print("  Run it as root where namespaces may be made; the rest of .ci/run needs none.", file=sys.stderr)
        return 2
    # Not below /tmp, which is empty in there. Open for all to pass, since the ordinary user's clone lies in it.
    stage = Path(tempfile.mkdtemp(prefix="wedsync-fresh-", dir="/var/tmp"))
    stage.chmod(0o711)
    for ordinary_user in (False, True):
        _cache(stage, ordinary_user).mkdir()
    _give(_cache(stage, True))
    try:
        tested = KINDS[0] if arguments.tests and KINDS[0] in chosen else None
        with ThreadPoolExecutor(TOGETHER) as pool:
            beside = pool.submit(_beside, arguments.beside, stage)
            ended = list(pool.map(lambda kind: _runs(kind, stage, tests_follow=kind is tested), chosen))
        if not beside.result():
            return 1
        again = [kind for kind, place in zip(chosen, ended, strict=True) if place is None]
        places = dict(zip(chosen, ended, strict=True))
        places |= {kind: _runs(kind, stage, tests_follow=kind is tested) for kind in again}
        well = [kind for kind, place in places.items() if place is not None]
        if tested in well and _tests(tested, stage, places[tested]) != 0:
            well.remove(tested)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    print(f"fresh machines: {len(well)} of {len(chosen)} well", flush=True)
    return 0 if len(well) == len(chosen) else 1


def _cannot_isolate() -> str:
    """Why no mount namespace can be made here; empty where one can."""
    if os.geteuid() != 0:
        return "only root can make them"
    missing = [name for name in ("unshare", "setpriv", "mount", "git", "make") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} is not installed"
    tried = subprocess.run([*_namespace(), "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"this system lets root make no namespace ({tried.stderr.strip()})"


def _namespace() -> list[str]:
    # Processes have one of their own as well: nothing that a command leaves running outlives it.
    return ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc"]


def _beside(command: str | None, stage: Path) -> bool:
    """Whether a command that is no kind ended well. What it says is printed at its end, as of a kind."""
    if command is None:
        return True
    begun, log = time.monotonic(), stage / "beside.log"
    with log.open("wb") as output:
        ran = subprocess.run(
            [command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        )
    end = f"\n-- {command}: {'well' if ran.returncode == 0 else 'FAILED'} after {time.monotonic() - begun:.0f} s"
    print("\n".join([log.read_text(errors="replace").rstrip(), end]), flush=True)
    return ran.returncode == 0


def _runs(kind: Kind, stage: Path, *, tests_follow: bool) -> Path | None:
    """A new machine on which the commands ended well, or None. It is kept where the tests follow."""
    print(f"\n-- {kind.name}: {kind.words()}", flush=True)
    begun = time.monotonic()
    place = Path(tempfile.mkdtemp(prefix=f"{kind.name}-", dir=stage))
    git = ["git", "-c", f"safe.directory={ROOT}", "-c", f"safe.directory={ROOT / '.git'}"]
    subprocess.run([*git, "clone", "-q", "--no-hardlinks", str(ROOT), str(_clone(kind, place))], check=True)
    if kind.ordinary_user:
        _give(place)
    log = stage / f"{kind.name}.log"
    with log.open("wb") as output:
        started = [*_started(kind, stage, place), *(["--tests-follow"] if tests_follow else [])]
        code = subprocess.run(
            started, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
        ).returncode
    lines = log.read_text(errors="replace").splitlines()
    shown = [line for line in lines if line.startswith("==")] if code == 0 else lines[-LAST_LINES:]
    end = f"\n-- {kind.name}: {'well' if code == 0 else 'FAILED'} after {time.monotonic() - begun:.0f} s"
    # In one piece, since another kind may speak as well.
    print("\n".join([end, *shown]), flush=True)
    if code != 0 or not tests_follow:
        # A fresh environment is half a gigabyte.
        shutil.rmtree(place, ignore_errors=True)
    return place if code == 0 else None


def _tests(kind: Kind, stage: Path, place: Path) -> int:
    """All tests, in a machine that has ended well; the exit code."""
    print(f"\n-- {kind.name}, started anew: all tests", flush=True)
    words = [*_started(kind, stage, place), "--tests"]
    return subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, check=False).returncode


def _started(kind: Kind, stage: Path, place: Path) -> list[str]:
    """What starts a machine, but for what is to be done there."""
    cache = _cache(stage, kind.ordinary_user)
    inside = [sys.executable, "-m", "tests.fresh_machine.inside", kind.name, str(_clone(kind, place)), str(cache)]
    return [*_namespace(), *inside]


def _clone(kind: Kind, place: Path) -> Path:
    return place / ("a \"clone\" of 'ours', 100% Süß & $1" if kind.odd_path else "clone")


def _cache(stage: Path, ordinary_user: bool) -> Path:
    """The installer's store: one for each user, since each must be able to read what another kind has put there."""
    return stage / ("cache-of-a-user" if ordinary_user else "cache-of-root")


def _give(folder: Path) -> None:
    """A folder and all that is in it to the ordinary user."""
    os.chown(folder, USER, USER)
    for parent, folders, names in os.walk(folder):
        for name in (*folders, *names):
            os.chown(Path(parent, name), USER, USER, follow_symlinks=False)


if __name__ == "__main__":
    sys.exit(main())
