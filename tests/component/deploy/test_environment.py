"""The setup of `make`: what it refuses before it begins, and that it never keeps what was half made."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.stack import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(200)]


class Clone:
    """A folder with the setup in it and a lock of nothing, whose path is as difficult as a path can be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a \"clone\" of 'ours' $HOME 100% Süß\nand more"
        (self.folder / "deploy").mkdir(parents=True)
        for name in ("environment.sh", "environment.py"):
            shutil.copy(ROOT / "deploy" / name, self.folder / "deploy" / name)
        for lock in ("requirements.lock", "requirements-dev.lock", "requirements-build.lock"):
            (self.folder / lock).write_text("# nothing\n")
        (self.folder / "cli").mkdir()
        (self.folder / "cli" / "__main__.py").write_text("import sys; print('ran', sys.argv[1:])")
        self.venv = self.folder / ".venv"

    def setup(self, *words: str, python: str | None = sys.executable, **environment: str) -> tuple[int, str]:
        """Run the setup without uv, whose presence the tests cannot count on; its exit code and all it said."""
        base = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "PIP_NO_INDEX": "1"}
        named = {} if python is None else {"PYTHON": python}
        done = subprocess.run(
            ["sh", str(self.folder / "deploy" / "environment.sh"), *words],
            env={**base, **named, **environment},
            cwd="/",
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return done.returncode, done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A clone that was never set up."""
    return Clone(tmp_path)


def test_setup_makes_anew_what_was_left_half_made_and_keeps_what_is_whole(clone: Clone) -> None:
    """A failed first attempt hides nothing: once its cause is mended, the same command works, and works once."""
    clone.venv.mkdir()
    (clone.venv / "bin").mkdir()
    (clone.venv / "bin" / "python").symlink_to("/nowhere/python3.10")
    lock = clone.folder / "requirements.lock"
    lock.write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    code, said = clone.setup()
    assert code == 1
    assert "half made" in said
    assert "No matching distribution" in said
    assert "the same command again" in said

    lock.write_text("# mended\n")
    code, said = clone.setup()
    assert code == 0, said
    assert "half made" in said
    command = subprocess.run(
        [clone.venv / "bin" / "wedsync-backup", "a word", '"'], cwd="/", capture_output=True, text=True, check=True
    )
    assert command.stdout == "ran ['a word', '\"']\n"

    (clone.venv / "kept").touch()
    assert clone.setup() == (0, "")
    code, said = clone.setup("--dev")
    assert code == 0
    assert "requirements-dev.lock" in said
    assert clone.setup() == (0, "")
    assert (clone.venv / "kept").exists()

    # Moved as a whole, its programs still name the old place.
    (clone.folder / "deploy").rename(clone.folder.parent / "deploy")
    for name in (".venv", "requirements.lock", "requirements-dev.lock"):
        (clone.folder / name).rename(clone.folder.parent / name)
    clone.folder = clone.folder.parent
    lock = clone.folder / "requirements.lock"
    lock.write_text("no such line\n")
    code, said = clone.setup()
    assert code == 1
    assert "of another folder" in said
    assert not (clone.folder / ".venv" / "kept").exists()


def test_setup_names_every_python_that_is_too_old_and_takes_one_that_is_not(clone: Clone, tmp_path: Path) -> None:
    """What could only fail later, with a message that leads astray, is refused before anything is made."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("dirname", "sh"):
        found = shutil.which(name)
        assert found is not None
        (programs / name).symlink_to(found)
    old = programs / "python3"
    old.write_text('#!/bin/sh\ncase "$2" in *exit*) exit 1;; esac\necho 3.10\n')
    old.chmod(0o755)
    code, said = clone.setup(python=None, PATH=str(programs))
    assert code == 1
    assert f"python3: 3.10, {old};" in said
    assert "python3.11: not there" in said
    assert "make PYTHON=" in said
    assert not clone.venv.exists()

    code, said = clone.setup(python="python3.nowhere", PATH=str(programs))
    assert code == 1
    assert "python3.nowhere: not there" in said

    (programs / "python3.11").symlink_to(sys.executable)
    blind = tmp_path / "blind"
    blind.mkdir()
    (blind / "sitecustomize.py").write_text("import sys; sys.modules['ensurepip'] = None\n")
    code, said = clone.setup(python=None, PATH=str(programs), PYTHONPATH=str(blind))
    assert code == 1
    assert "apt install python3-venv" in said
    assert not clone.venv.exists()


def test_setup_refuses_a_path_that_no_search_path_can_name(tmp_path: Path) -> None:
    """A colon parts the folders of PYTHONPATH, so that nothing below such a folder could be found."""
    code, said = Clone(tmp_path / "a:b").setup()
    assert code == 1
    assert "colon" in said
    assert os.listdir(tmp_path / "a:b")


def test_lock_of_the_tests_has_all_that_the_platform_needs() -> None:
    """Who has installed for the tests has what the demo needs, in the same versions."""

    def pins(name: str) -> set[str]:
        return {line.split()[0] for line in (ROOT / name).read_text().splitlines() if "==" in line.split(" ")[0]}

    assert pins("requirements.lock") <= pins("requirements-dev.lock")
