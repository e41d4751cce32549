"""The embedded stack as a person meets it: up, status, token, logs, down, and what happens when parts die."""

import asyncio
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.exit_codes import ExitCode
from contracts.errors import STACK_RUNNING
from deploy.stack.account import Account, database_account
from deploy.stack.platform import run_platform
from deploy.stack.ports import choose_ports
from deploy.stack.process_identity import ProcessIdentity
from tests.support.eventually import eventually
from tests.support.stack import ROOT, Platform

pytestmark = [pytest.mark.stack, pytest.mark.timeout(240)]

PARTS = [
    "postgres",
    "nats",
    "s3-cloud-primary",
    "s3-cloud-secondary",
    "s3-offsite",
    "config",
    "executor",
    "executor-worker",
    "recovery",
    "recovery-worker",
    "compliance",
    "gateway",
]


async def test_platform_comes_up_serves_and_goes_down(unstarted_platform: Platform) -> None:
    """From nothing to a served request with a token of the CLI, and down again without a trace of a process.

    Meanwhile, a second supervisor is refused with the first one's process and what to do.
    """
    platform = unstarted_platform
    state = await platform.start()
    assert state.ready_seconds is not None
    assert [part.name for part in state.parts] == PARTS

    code, status = platform.status()
    assert (code, status["condition"]) == (0, "ready")
    assert {part["condition"] for part in status["parts"]} == {"ready"}
    assert "executor-worker" in platform.command("status").stdout

    token = platform.command("token", "--role", "viewer").stdout.strip()
    async with platform.client() as client:
        answer = await client.get("/api/backup/status", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200
        assert (await client.get("/health/ready", headers={})).status_code == 200
    assert "wedsync-backup token --role operator" in platform.output()
    assert "started" in platform.command("logs", "executor", "--lines", "5").stdout

    assert platform.process is not None
    for words in (("up",), ("up", "--detach")):
        refused = platform.command(*words)
        assert refused.returncode != 0
        assert STACK_RUNNING.code in refused.stderr
        assert "wedsync-backup down" in refused.stderr
    assert str(platform.process.pid) in platform.command("up").stderr
    assert platform.status()[0] == 0

    done = platform.command("down")
    assert done.returncode == 0
    assert "has stopped" in done.stdout
    assert platform.process.wait(60) == 0
    assert not any(part.process is not None and part.process.is_alive() for part in state.parts)
    assert platform.status()[0] == 8
    assert platform.command("down").stdout == f"No platform runs in {platform.home}.\n"


async def test_second_start_finds_everything_and_a_new_port_where_one_was_taken(unstarted_platform: Platform) -> None:
    """A port that somebody else has taken meanwhile is chosen anew; all others, all keys and all data stay."""
    platform = unstarted_platform
    await platform.start()
    before = dict(platform.layout.remembered.ports)
    secrets = platform.layout.secrets_file.read_bytes()
    token = platform.token("viewer")
    assert platform.stop() == 0

    taken = {name: before[name] for name in ("gateway", "postgres", "s3.offsite.s3", "s3.offsite.master", "nats")}
    listeners = [socket.create_server(("127.0.0.1", port)) for port in taken.values()]
    try:
        await platform.start()
    finally:
        for listener in listeners:
            listener.close()
    after = platform.layout.remembered.ports
    assert {name for name in before if before[name] != after[name]} == set(taken)
    assert platform.layout.secrets_file.read_bytes() == secrets
    async with platform.client() as client:
        answer = await client.get("/api/backup/status", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 200


async def test_part_that_is_killed_comes_back_and_the_platform_with_it(own_platform: Platform) -> None:
    """Kill -9 of each part in turn: it is started anew, and the API serves again without anybody's help."""

    async def serves() -> bool:
        state = own_platform.state()
        async with own_platform.client("viewer") as client:
            answer = await client.get("/api/backup/status")
        return answer.status_code == 200 and state is not None and state.condition == "ready"

    for part in PARTS:
        before = own_platform.kill(part)
        await own_platform.restarted(part, before)
        await eventually(serves, every=0.1)
        assert own_platform.part(part).restarts == 1, part


async def test_parts_die_with_the_supervisor_and_the_next_start_works(own_platform: Platform) -> None:
    """Kill -9 of the supervisor: no part is left, status says so, and the next start takes over the home."""
    state = own_platform.state()
    assert state is not None
    assert own_platform.process is not None
    own_platform.process.kill()
    own_platform.process.wait()
    # At once, while the servers are still closing their files: it waits for them instead of running beside them.
    await own_platform.start()
    assert not any(part.process is not None and part.process.is_alive() for part in state.parts)
    assert own_platform.status()[0] == 0


async def test_everything_listens_on_loopback_alone(shared_platform: Platform) -> None:
    """No part can be reached from another machine."""
    state = shared_platform.state()
    assert state is not None
    inodes: set[str] = set()
    for part in state.parts:
        assert part.process is not None
        for descriptor in os.scandir(f"/proc/{part.process.pid}/fd"):
            try:
                target = str(Path(descriptor.path).readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    listening = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as lines:
            next(lines)
            listening += [line.split() for line in lines]
    own = [row for row in listening if row[3] == "0A" and row[9] in inodes]
    assert len(own) > 30
    assert {row[1].partition(":")[0] for row in own} == {"0100007F"}


async def test_secrets_are_nobody_else_s_to_read(shared_platform: Platform) -> None:
    """Keys, configuration, logs and data lie below a home that others cannot enter, and no secret is in a log."""
    layout = shared_platform.layout
    assert stat.S_IMODE(layout.home.stat().st_mode) == 0o700
    for folder in (layout.keys, layout.config, layout.run, layout.logs):
        for path in [folder, *folder.rglob("*")]:
            assert stat.S_IMODE(path.lstat().st_mode) & 0o077 == 0, path
    from deploy.stack.secrets import read_secrets

    secrets = read_secrets(layout)
    hidden = [secrets.postgres_admin, *secrets.postgres_roles.values()]
    hidden += [credentials.secret_access_key for credentials in secrets.s3.values()]
    hidden += [path.read_text() for path in layout.nats_seeds.iterdir()]
    written = "".join(path.read_text(errors="replace") for path in layout.logs.iterdir()) + shared_platform.output()
    for part in PARTS:
        with open(f"/proc/{shared_platform.pid(part)}/cmdline", errors="replace") as line:
            written += line.read()
    assert not [secret[:4] for secret in hidden if secret.strip() in written]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give Postgres another user")
async def test_database_does_not_run_as_root(shared_platform: Platform) -> None:
    """Postgres runs as the unprivileged account, below a home that this account cannot enter."""
    account = database_account(os.environ)
    assert isinstance(account, Account)
    assert shared_platform.home.stat().st_mode & 0o077 == 0
    assert os.stat(f"/proc/{shared_platform.pid('postgres')}").st_uid == account.uid


async def test_supervisor_that_is_asked_twice_kills(own_platform: Platform) -> None:
    """A second Ctrl-C does not wait for anybody."""
    stuck = own_platform.part("executor").process
    assert stuck is not None
    assert stuck.send(signal.SIGSTOP)
    assert own_platform.process is not None
    supervisor = ProcessIdentity.of(own_platform.process.pid)
    assert supervisor is not None
    assert supervisor.send(signal.SIGINT)
    await eventually(lambda: "stopping; once more to kill" in own_platform.output())
    assert supervisor.send(signal.SIGINT)
    assert own_platform.process.wait(60) == ExitCode.DEGRADED
    assert not stuck.is_alive()
    assert "executor" in own_platform.output().splitlines()[-1]
    assert "had to be killed" in own_platform.output().splitlines()[-1]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_start_that_is_interrupted_says_so(
    unstarted_platform: Platform, number: signal.Signals, code: ExitCode
) -> None:
    """What was not up when the signal came was not done, and a script must not take it for an orderly stop."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "up", "--home", str(unstarted_platform.home)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert "is ready" not in first
            process.send_signal(number)
            said, _ = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == code, first + said
    assert "was interrupted before it was up, and has stopped" in said


async def test_stop_does_not_wait_for_parts_that_hang(own_platform: Platform) -> None:
    """A service and a server that hang are killed when their time is over, and the exit status says so."""
    state = own_platform.state()
    assert state is not None
    for name in ("executor-worker", "postgres"):
        own_platform.kill(name, signal.SIGSTOP)
    assert own_platform.stop() == ExitCode.DEGRADED
    ended = own_platform.state()
    assert ended is not None
    assert ended.condition == "stopped"
    assert {"executor-worker", "postgres"} <= set(ended.killed)
    assert "stopping; once more to kill" in own_platform.output()
    assert "still stopping" in own_platform.output()
    assert not any(part.process is not None and part.process.is_alive() for part in state.parts)


async def test_start_that_is_stopped_leaves_nothing(unstarted_platform: Platform) -> None:
    """A stop while the first parts come up is answered, says that nothing was up yet, and leaves no process."""
    platform = unstarted_platform
    platform.launch()

    def is_under_way() -> bool:
        state = platform.state()
        return state is not None and any(part.process is not None for part in state.parts)

    await eventually(is_under_way)
    assert platform.stop() == ExitCode.TERMINATED
    state = platform.state()
    assert state is not None
    assert state.condition == "stopped"
    assert not any(part.process is not None and part.process.is_alive() for part in state.parts)


async def test_port_that_is_taken_between_choice_and_use_costs_another_attempt(
    unstarted_platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's server on a port that was free a moment ago: the start goes on with another one."""
    said: list[str] = []
    with contextlib.ExitStack() as strangers:
        taken: list[int] = []

        def choose_and_lose(*names: Any, **more: Any) -> dict[str, int]:
            chosen = choose_ports(*names, **more)
            if not taken:
                taken.append(chosen["nats"])
                strangers.enter_context(socket.create_server(("127.0.0.1", chosen["nats"])))
            return chosen

        monkeypatch.setattr("deploy.stack.platform.choose_ports", choose_and_lose)
        stop = asyncio.Event()
        await run_platform(
            unstarted_platform.home, say=said.append, started=lambda _layout, _seconds: stop.set(), stop=stop
        )
    assert any("took the port of nats meanwhile" in line for line in said)
    assert unstarted_platform.layout.port("nats") != taken[0]
