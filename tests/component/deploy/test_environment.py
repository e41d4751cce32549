"""The setup of `make`: what it refuses before it begins, and that it never keeps what was half made."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli import patience, progress
from deploy import environment
from tests.support.stack import ROOT

pytestmark = [pytest.mark.stack, pytest.mark.timeout(200)]

# By its path: one test gives the setup a search path that holds next to nothing.
ENV = shutil.which("env") or "/usr/bin/env"


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

    @contextmanager
    def begun(
        self, *words: str, python: str | None = sys.executable, **environment: str
    ) -> Iterator["subprocess.Popen[str]"]:
        """The setup while it runs, without uv, whose presence the tests cannot count on."""
        base = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8", "PIP_NO_INDEX": "1"}
        named = {} if python is None else {"PYTHON": python}
        with subprocess.Popen(
            # Whoever runs the tests in the background has signals ignored, which a program would inherit.
            [ENV, "--default-signal", "sh", str(self.folder / "deploy" / "environment.sh"), *words],
            env={**base, **named, **environment},
            cwd="/",
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)

    def setup(self, *words: str, python: str | None = sys.executable, **environment: str) -> tuple[int, str]:
        """Run the setup to its end; its exit code and all it said."""
        with self.begun(*words, python=python, **environment) as process:
            said, _ = process.communicate()
        return process.returncode, said


def _blind(folder: Path) -> Path:
    """What makes a Python find no module ensurepip, in PYTHONPATH."""
    blind = folder / "blind"
    blind.mkdir()
    (blind / "sitecustomize.py").write_text("import sys; sys.modules['ensurepip'] = None\n")
    return blind


def heard(process: "subprocess.Popen[str]", words: str) -> str:
    """All that is said up to the line with these words."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if words in line:
            return said
    raise AssertionError(f"never said {words!r}: {said}")


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
    assert "the same command begins anew" in said

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
    code, said = clone.setup(python=None, PATH=str(programs), PYTHONPATH=str(_blind(tmp_path)))
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


def test_setup_says_again_and_again_what_it_waits_for(clone: Clone, tmp_path: Path) -> None:
    """A second setup beside the first names the process that it waits for, and what goes on when it is given up."""
    holder = os.open(clone.folder, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    for number in (None, signal.SIGINT, signal.SIGTERM):
        with clone.begun() as process:
            heard(process, f"Another setup works in this folder, process {os.getpid()}, which began ")
            if number is None:
                for _ in range(2):
                    heard(process, f"s  waiting for the other setup, process {os.getpid()}, which began ")
                continue
            process.send_signal(number)
            said, _ = process.communicate()
        assert process.returncode == 130
        assert said.splitlines()[-1] == "setup: interrupted; the other setup goes on."
    with clone.begun(PYTHONPATH=str(_blind(tmp_path))) as process:
        heard(process, "Another setup works")
        os.close(holder)
        said, _ = process.communicate()
    assert "python3-venv" in said, "its turn has come, and it looks for what it needs"
    assert not clone.venv.exists()


@pytest.mark.parametrize("reaches_all", [True, False], ids=["the terminal's Ctrl-C", "a signal to it alone"])
def test_setup_that_is_interrupted_ends_its_installer_and_says_what_is_left(
    clone: Clone, tmp_path: Path, reaches_all: bool
) -> None:
    """What is said of the half-made environment is true, no installer goes on writing into it, and none left a file."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (clone.folder / "requirements.lock").write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    with socket.create_server(("127.0.0.1", 0)) as registry:
        # It takes the connection, and never answers.
        index = f"http://127.0.0.1:{registry.getsockname()[1]}/simple"
        with clone.begun(PIP_NO_INDEX="0", PIP_INDEX_URL=index, NO_PROXY="127.0.0.1", TMPDIR=str(temporary)) as process:
            heard(process, "packages are installed from requirements.lock")
            connection, _ = registry.accept()
            if reaches_all:
                os.killpg(process.pid, signal.SIGINT)
            else:
                process.send_signal(signal.SIGINT)
            said, _ = process.communicate()
        assert process.returncode == 130
        assert "Traceback" not in said
        assert said.splitlines()[-1] == (
            "setup: interrupted; .venv is half made and is not used: the same command removes it and begins anew."
        )
        # An end of the stream: nobody holds the installer's connection any more.
        connection.settimeout(60)
        while connection.recv(1 << 16):
            pass
        connection.close()
    assert clone.venv.exists()
    assert list(temporary.iterdir()) == []


def test_no_silence_is_long_also_where_many_short_stages_add_up(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that is shorter than a silence may be says nothing itself: the silence goes on from the last word."""
    monkeypatch.setattr(environment, "SAY_SECONDS", 0.3)
    voice = environment.Voice()
    said, deadline = "", time.monotonic() + 60
    with voice.never_silent():
        while not said and time.monotonic() < deadline:
            with voice.during(lambda: "a short stage"):
                time.sleep(0.02)
            said = capsys.readouterr().out
    assert said.startswith("    0 s  ")
    # Whoever speaks in this process afterwards is alone.
    assert "voice" not in {thread.name for thread in threading.enumerate()}


def test_words_come_well_within_the_five_seconds_that_are_promised() -> None:
    """A busy machine is late by a second or two: that must not be a silence."""
    assert max(environment.SAY_SECONDS, patience.SAY_SECONDS, progress.LINE_SECONDS) <= 3.0
