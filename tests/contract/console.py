"""The console as the gateway serves it, built from `console/`: `python -m tests.contract.console [--check]`.

The build is committed, so that nobody needs Node, a network or a moment more to start the platform; this is what keeps
it the build of what is in `console/` ([ADR 0121](../../docs/adr/0121-a-console-of-the-public-api.md)).
"""

import sys
import tempfile
from pathlib import Path

from gateway.groups.console.open_routes import ASSETS
from tests.support import node


def built() -> dict[str, bytes]:
    """The files of the build by their names."""
    with tempfile.TemporaryDirectory() as folder:
        node.node("build.mjs", folder, folder=node.CONSOLE)
        return _files(Path(folder))


def _files(folder: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in folder.glob("*")}


def main(*, check: bool, folder: Path = ASSETS) -> int:
    """Write the build, or compare it with what is there; the exit code."""
    wanted = built()
    if _files(folder) == wanted:
        return 0
    if check:
        sys.stderr.write(f"{folder} is not what console/ is built to: run make golden\n")
        return 1
    folder.mkdir(exist_ok=True)
    for entry in folder.glob("*"):
        entry.unlink()
    for name, content in wanted.items():
        (folder / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
