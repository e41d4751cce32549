"""Ctrl-C and SIGTERM in every command, also while a server or a tier accepts a connection and never says a word."""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from chassis.clock import SystemClock
from chassis.location import Location
from chassis.sealing import prepare_keys_folder
from cli.exit_codes import ExitCode
from deploy.stack import nats, postgres, s3, services
from deploy.stack.identity_provider import install_identity_provider
from deploy.stack.layout import Layout
from deploy.stack.locations import register, write_registry
from deploy.stack.process_identity import ProcessIdentity
from deploy.stack.secrets import open_secrets
from deploy.stack.state import Condition, HomeLock, StackState, write_state
from repository.keys.key_file import KeyFile
from tests.support.command_line import leaves, needed_words
from tests.support.stack import ROOT

FROM_FILES_ALONE = {
    *("down", "status", "token", "location list", "location remove", "organisation add", "organisation list"),
    *("topology show", "completion", "repo verify-receipt", "repo kit restore"),
    *("secret add", "secret list", "secret rotate", "secret remove"),
    *("self-backup kit", "self-backup show"),
    "repo kit check",  # the shares come before the tiers, and here are none; what opens the tiers is that of all others
}
"""Commands that ask nobody who may hang. A new command is no such unless it is named here."""
STARTS_A_PLATFORM = {"up", "demo"}
"""Interrupted in `tests/component/deploy/test_supervisor.py` and `tests/system/test_demo.py`."""
_HUNG = """
import signal, sys, threading, time, types
import cli.main as m
probe = types.ModuleType("cli.probe")
probe.configure = lambda parser: None
def run(arguments):
    threading.Thread(target=time.sleep, args=(600,)).start()
    print("up", flush=True)
    while True:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            pass
probe.run = run
sys.modules["cli.probe"] = probe
m.COMMANDS["probe"] = m.Command("cli.probe", "")
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler)
sys.exit(m.main(["probe"]))
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_command_that_hangs_is_cut_off(number: signal.Signals, code: ExitCode) -> None:
    """Whatever it waits for, and whatever takes the interrupt for its own: the process ends, with the signal's code."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HUNG], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == code
    assert "interrupted: what does not end by itself is cut off" in said


class _Hole:
    """A server that accepts whoever comes and says nothing. `came`: somebody did."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port: int = self._server.getsockname()[1]
        self._held: list[socket.socket] = []
        self.came = threading.Event()
        threading.Thread(target=self._hold, daemon=True).start()

    def _hold(self) -> None:
        while True:
            try:
                self._held.append(self._server.accept()[0])
            except OSError:
                return
            self.came.set()

    def close(self) -> None:
        self._server.close()
        for each in self._held:
            each.close()


def _home(folder: Path, hole: _Hole) -> Layout:
    """A home in which a platform seems to run, all of whose servers hang."""
    layout = Layout.create(folder)
    prepare_keys_folder(layout.platform_keys)
    install_identity_provider(layout)
    nats.make_seeds(layout)
    names = (postgres.NAME, *nats.PORT_NAMES, *services.port_names(), *s3.port_names())
    layout.remembered.ports = dict.fromkeys(names, hole.port)
    layout.remember()
    write_registry(layout, open_secrets(layout, roles=[], regions=s3.credential_names()))
    layout.log("nats").touch()
    return layout


@pytest.fixture
def bucket_of_an_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """The credentials of a bucket, in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def _until(came: threading.Event, process: "subprocess.Popen[str]") -> bool:
    """Whether somebody came before the process ended."""
    while process.poll() is None:
        if came.wait(0.05):
            return True
    return came.is_set()


def _interrupted(words: tuple[str, ...], parser: argparse.ArgumentParser, folder: Path) -> str | None:
    """What is wrong with how a command ends at Ctrl-C while what it asks hangs; None where nothing is."""
    hole = _Hole()
    folder.mkdir()
    layout = _home(folder / "home", hole)
    lock = HomeLock(layout.lock_file)
    assert lock.acquire()
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    write_state(
        layout.state_file,
        StackState(home=str(layout.home), supervisor=own, condition=Condition.READY, started=SystemClock().now()),
    )
    url = f"s3://album/tier?endpoint=http://127.0.0.1:{hole.port}&region=eu"
    location = Location(
        name="cloud", kind="s3", roles=("tier",), organisations=("*",), url=url, credentials="cloud-primary"
    )
    register(layout, location)
    KeyFile.create(folder / "key")
    values = {
        "key_file": str(folder / ("new-key" if words[-1] == "init" else "key")),
        "tiers": url,
        "url": url.replace("album", "other"),
        "role": "tier",
        "credentials": "env",
        "path": str(folder),
        "database": "postgres://somebody@127.0.0.1/shop",
        "parts": "nats",
        "name": "more" if words[-1] == "add" else "cloud",
        "target": str(folder / "target"),
        "service": "all",
    }
    if words in (("self-backup", "rehearse"), ("rebuild",)):
        command = [sys.executable, "-m", "cli", "self-backup", "kit", "--home", str(layout.home)]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        values |= {"kit": f"{layout.home}-kit", "tier": "cloud"}
    more = {
        "location add": ["--credentials", "env"],
        "logs": ["nats", "--follow"],
        "repo tag": ["--add", "album"],
        "self-backup rehearse": ["--tier", "cloud"],
    }.get(" ".join(words), [])
    home = ["--home", str(folder / "rebuilt" if words == ("rebuild",) else layout.home)] if words[0] != "repo" else []
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", *words, *needed_words(parser, values), *more, *home],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        if words == ("logs",):
            with layout.log("nats").open("a") as log:
                log.write("a line\n")
            assert process.stdout is not None
            came = bool(process.stdout.readline())
        else:
            came = _until(hole.came, process)
        if came:
            process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        return f"{' '.join(words)} goes on after Ctrl-C"
    finally:
        process.kill()
        process.wait()
        lock.release()
        hole.close()
    if not came or process.returncode != ExitCode.INTERRUPTED:
        return f"{' '.join(words)} asked: {came}, exit code {process.returncode}: {said}"
    return None


@pytest.mark.usefixtures("bucket_of_an_operator")
@pytest.mark.timeout(600)
def test_every_command_ends_at_ctrl_c_while_what_it_asks_hangs(tmp_path: Path) -> None:
    """With 130, whether it waits for Postgres, NATS, a service or a bucket."""
    asking = [
        (words, parser) for words, parser in leaves() if " ".join(words) not in FROM_FILES_ALONE | STARTS_A_PLATFORM
    ]
    assert len(asking) > 20
    with ThreadPoolExecutor(4) as pool:
        wrong = pool.map(lambda each: _interrupted(*each[1], tmp_path / f"home-{each[0]}"), enumerate(asking))
    assert [each for each in wrong if each is not None] == []
