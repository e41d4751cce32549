"""The demo, as a new user runs it: everything it claims is in its document and on the disk."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cli.demo_source import make_source
from cli.exit_codes import ExitCode
from tests.support.eventually import eventually
from tests.support.stack import ROOT, Platform, Tenant

pytestmark = [pytest.mark.stack, pytest.mark.timeout(280)]

TIERS = ["local", "cloudPrimary", "cloudSecondary", "offsite"]


def _demo(platform: Platform, *words: str) -> "subprocess.CompletedProcess[str]":
    return platform.command("demo", "--size", "4", *words, within=240)


def test_demo_in_an_empty_home_proves_itself_and_leaves_nothing_running(unstarted_platform: Platform) -> None:
    """One command from nothing: four verified tiers, one lost, everything restored and compared, all stopped.

    A proxy of the environment, here a dead one, has no part in it: nothing leaves this machine.
    """
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        unstarted_platform.environment |= {name: "http://127.0.0.1:9", name.lower(): "http://127.0.0.1:9"}
    del unstarted_platform.environment["WEDSYNC_RUN_RETRY_SECONDS"]
    figures = unstarted_platform.home.parent / "out.json"
    done = _demo(unstarted_platform, "--json", str(figures))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Equal, every byte and every attribute" in done.stdout

    told = json.loads(figures.read_text())
    assert told["equal"] is True
    assert told["platformReadySeconds"] > 0
    execution = told["execution"]
    assert execution["state"] == "completed"
    assert execution["verificationStatus"] == "verified"
    assert [tier["tier"] for tier in execution["tiers"]] == TIERS
    assert all(tier["state"] == "uploaded" and tier["verified"] for tier in execution["tiers"])
    assert len({tier["snapshotId"] for tier in execution["tiers"]}) == 1
    assert told["deletedTier"]["bytes"] > 1_000_000
    assert "executor.backup-completed.v1" in told["webSocket"]["facts"]
    assert told["webSocket"]["facts"].count("executor.tier-uploaded.v1") == 4
    notified = told["notification"]
    assert (notified["arrived"], notified["kinds"]) == (True, ["backup.started", "backup.completed"])
    assert notified["notification"]["data"]["executionId"] == execution["id"]
    alone = told["byItself"]
    assert (alone["scheduled"]["executionType"], alone["scheduled"]["state"]) == ("scheduled", "completed")
    assert alone["scheduled"]["startedAt"] >= alone["schedule"]["dueAt"]
    assert alone["cancelled"]["state"] == "cancelled"
    degraded, caught_up = alone["degraded"], alone["caughtUp"]
    assert (degraded["degraded"], caught_up["degraded"]) == (True, False)
    assert (caught_up["executionType"], caught_up["retryOf"]) == ("catch-up", degraded["id"])
    assert caught_up["startedBy"] == "service:executor"
    assert next(tier["uploadedBytes"] for tier in caught_up["tiers"] if tier["tier"] == "local") > 0
    classes = {each["contentClass"]: each for each in execution["completionDetails"]["byClass"]}
    assert classes["text"]["storedBytes"] < 0.3 * classes["text"]["newBytes"]
    assert classes["photo"]["storedBytes"] > 0.9 * classes["photo"]["newBytes"]
    seen = told["comparison"]
    assert seen["hardLinks"] == 2
    assert seen["links"] == 3
    assert seen["files"] == execution["files"]

    assert unstarted_platform.status()[0] == ExitCode.UNAVAILABLE
    assert not (unstarted_platform.home / "demo").exists()
    state = unstarted_platform.state()
    assert state is not None
    assert not any(part.process is not None and part.process.is_alive() for part in state.parts)


async def test_demo_on_a_running_platform_takes_a_folder_and_leaves_the_rest_alone(
    platform: Tenant, tmp_path: Path
) -> None:
    """With `--directory` the user's own folder is backed up and not changed; what ran before runs on."""
    source = tmp_path / "our photos"
    make_source(source, megabytes=1, seed=7)
    before = sorted((path, path.lstat().st_mtime_ns) for path in source.rglob("*"))
    figures = tmp_path / "out.json"
    done = _demo(platform.platform, "--directory", str(source), "--json", str(figures), "--keep")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(figures.read_text())
    assert told["equal"] is True
    assert told["platformReadySeconds"] is None
    # Here nothing follows by itself: then it is asked for.
    assert (told["byItself"]["caughtUp"]["executionType"], told["byItself"]["caughtUp"]["degraded"]) == (
        "manual",
        False,
    )
    assert told["source"] == {"path": str(source), "made": None}
    assert sorted((path, path.lstat().st_mtime_ns) for path in source.rglob("*")) == before
    assert (platform.platform.home / "demo" / "restored" / "photos").is_dir()
    # Workers look every quarter of a minute at disks: at one that was taken away a moment ago, too.
    await eventually(lambda: platform.platform.status()[0] == 0, within=60)


def test_demo_refuses_a_folder_that_holds_the_platform(platform: Tenant) -> None:
    """The platform never reads its own data and keys, so such a demo could only fail at the end: it says so at once."""
    home = platform.platform.home
    for folder in (home, home.parent):
        done = _demo(platform.platform, "--directory", str(folder))
        assert done.returncode not in (0, ExitCode.DIFFERENT)
        assert "home lies inside" in done.stderr
    missing = _demo(platform.platform, "--directory", os.devnull)
    assert "is no folder" in missing.stderr


async def test_demo_that_is_interrupted_answers_and_stops_what_it_started(unstarted_platform: Platform) -> None:
    """Ctrl-C is answered at once and leaves nothing running; until then a second demo in the same home is refused."""
    log = unstarted_platform.home.parent / "demo.log"
    words = [sys.executable, "-m", "cli", "demo", "--home", str(unstarted_platform.home)]
    with log.open("wb") as output:
        demo = subprocess.Popen(
            words,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=log.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        await eventually(lambda: "is accepted" in log.read_text())
        demo.send_signal(signal.SIGSTOP)  # It would be over before the second one has begun, on a busy machine.
        second = _demo(unstarted_platform)
        assert second.returncode == ExitCode.REFUSED
        assert "another demo works in" in second.stderr
        demo.send_signal(signal.SIGINT)
        demo.send_signal(signal.SIGCONT)
        await eventually(lambda: "Ctrl-C once more" in log.read_text())
        await eventually(lambda: demo.poll() is not None)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == ExitCode.INTERRUPTED, log.read_text()
    state = unstarted_platform.state()
    assert state is not None
    assert not any(part.process is not None and part.process.is_alive() for part in state.parts)
