"""The commands of the embedded stack on a home where nothing runs, or only seems to."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import msgspec
import pytest

from chassis.clock import SystemClock
from chassis.outbox.tables import RefillPermission
from cli import logs, refill, status, up
from cli.exit_codes import ExitCode
from cli.home import home_option
from cli.main import main
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from deploy.nats.permissions import generate_keys
from deploy.stack import places
from deploy.stack.identity_provider import AUDIENCE, ISSUER, install_identity_provider
from deploy.stack.layout import Layout
from deploy.stack.process_identity import ProcessIdentity
from deploy.stack.state import Condition, HomeLock, PartState, StackState, write_state


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home that was started once."""
    layout = Layout.create(tmp_path / "a home")
    install_identity_provider(layout)
    return layout


def _state(layout: Layout, *parts: PartState, condition: Condition = Condition.READY) -> StackState:
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    return StackState(
        home=str(layout.home), supervisor=own, condition=condition, started=SystemClock().now(), parts=list(parts)
    )


@pytest.fixture
def lock(layout: Layout) -> Iterator[HomeLock]:
    """The home's lock, held by this process as if it were the supervisor."""
    lock = HomeLock(layout.lock_file)
    assert lock.acquire()
    yield lock
    lock.release()


@pytest.mark.parametrize(
    "words",
    [
        ["deadletters", "list"],
        ["deadletters", "show", "1"],
        ["deadletters", "replay", "1"],
        ["deadletters", "dismiss", "1", "--reason", "x"],
        ["topology", "compare"],
        ["topology", "apply"],
        ["refill", "all"],
    ],
)
def test_command_that_needs_nats_says_that_nothing_runs(
    layout: Layout, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits for a server that nobody has started."""
    (layout.nats_seeds / "topology.seed").touch()
    assert main([*words, "--home", str(layout.home)]) == ExitCode.UNAVAILABLE
    assert "stack-not-running" in capsys.readouterr().err


def test_nats_that_does_not_listen_is_not_waited_for(
    layout: Layout, lock: HomeLock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A supervisor is there, and its NATS is not."""
    layout.remembered.ports["nats"] = 1
    layout.remember()
    (layout.nats_seeds / "topology.seed").write_text(generate_keys().seed)
    assert main(["deadletters", "list", "--home", str(layout.home)]) == ExitCode.UNAVAILABLE
    assert "does not answer" in capsys.readouterr().err


def test_refill_names_what_does_not_answer_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """NATS that makes a stream may not answer for seconds. What is refused is refused."""
    monkeypatch.setattr(refill, "POLL_SECONDS", 0.0)
    asked: list[ErrorCode] = [errors.UNAVAILABLE, errors.UNAVAILABLE]

    async def ask() -> str:
        if asked:
            raise PlatformError(asked.pop(), "nats did not answer")
        return "answered"

    assert asyncio.run(refill._answered(ask, "the streams", 60.0)) == "answered"
    assert capsys.readouterr().out == "the streams: still waiting: nats did not answer\n"
    for code, seconds in ((errors.TOPOLOGY_DRIFT, 60.0), (errors.UNAVAILABLE, -1.0)):
        asked.append(code)
        with pytest.raises(PlatformError) as raised:
            asyncio.run(refill._answered(ask, "the streams", seconds))
        assert raised.value.code is code


def test_refill_waits_for_a_record_that_does_not_answer(layout: Layout) -> None:
    """How far a stream is, is not known meanwhile, and is no error."""
    nobody = "host=127.0.0.1 port=1 connect_timeout=1"
    owed = asyncio.run(refill._owed_by(layout, nobody, "config", RefillPermission(1, 1, "x"), frozenset()))
    assert owed is not None
    assert "cannot be known" in owed.reason


def test_status_says_that_nothing_runs(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 8, with the command that starts it; for machines a document."""
    assert main(["status", "--home", str(layout.home)]) == ExitCode.UNAVAILABLE
    assert f"wedsync-backup up --home '{layout.home}'" in capsys.readouterr().err
    assert main(["status", "--json", "--home", str(layout.home)]) == ExitCode.UNAVAILABLE
    assert json.loads(capsys.readouterr().out)["condition"] == "not-running"


@pytest.mark.usefixtures("lock")
def test_status_shows_every_part(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Name, condition, process, age, restarts and ports in a table; exit code 0 where all are ready."""
    own = ProcessIdentity.of(os.getpid())
    part = PartState(
        name="gateway",
        condition=Condition.READY,
        process=own,
        since=SystemClock().now() - timedelta(hours=5),
        restarts=3,
        ports={"http": 20_001, "health": 20_002},
    )
    write_state(layout.state_file, _state(layout, part))
    assert main(["status", "--home", str(layout.home)]) == ExitCode.OK
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("gateway"))
    assert row.split() == ["gateway", "ready", str(os.getpid()), "5", "h", "3", "http=20001", "health=20002"]


@pytest.mark.usefixtures("lock")
def test_status_does_not_believe_in_a_process_that_is_gone(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """A report may be older than a part's death: the kernel is asked."""
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    gone = msgspec.structs.replace(own, started=own.started - 1)
    part = PartState(name="nats", condition=Condition.READY, process=gone, log="/logs/nats.log")
    write_state(layout.state_file, _state(layout, part))
    assert main(["status", "--home", str(layout.home)]) == ExitCode.DEGRADED
    assert "nats: its process is gone (log: /logs/nats.log)" in capsys.readouterr().out


@pytest.mark.usefixtures("lock")
def test_status_of_a_platform_that_is_starting_is_not_well_yet(layout: Layout) -> None:
    """Scripts that wait for 0 wait until all is ready."""
    write_state(layout.state_file, _state(layout, condition=Condition.STARTING))
    assert main(["status", "--home", str(layout.home)]) == ExitCode.DEGRADED


@pytest.mark.usefixtures("lock")
def test_status_does_not_believe_in_an_old_report(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A supervisor that hangs, or cannot write, leaves a report that says *ready* for ever: its age is told."""
    state = _state(layout)
    state.written = SystemClock().now() - timedelta(seconds=3)
    write_state(layout.state_file, state)
    assert main(["status", "--home", str(layout.home)]) == ExitCode.OK
    assert "seen 3 s ago" in capsys.readouterr().out
    state.written = SystemClock().now() - timedelta(seconds=90)
    write_state(layout.state_file, state)
    assert main(["status", "--home", str(layout.home)]) == ExitCode.DEGRADED
    assert "report: the report below is 90 s old" in capsys.readouterr().out
    assert main(["status", "--json", "--home", str(layout.home)]) == ExitCode.DEGRADED
    shown = json.loads(capsys.readouterr().out)
    assert shown["ageSeconds"] >= 90
    assert shown["condition"] == "degraded"
    # On a full disk none is written any more.
    state.written = SystemClock().now() - timedelta(seconds=12)
    write_state(layout.state_file, state)
    assert main(["status", "--home", str(layout.home)]) == ExitCode.OK
    capsys.readouterr()
    monkeypatch.setattr(places, "FREE_BYTES_MIN", 1 << 62)
    assert main(["status", "--home", str(layout.home)]) == ExitCode.DEGRADED
    assert "What the parts are like now is unknown" in capsys.readouterr().out


@pytest.mark.usefixtures("lock")
def test_status_shows_a_disk_that_is_full(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Free space is looked at by the command itself: on a full disk nobody writes a report of it."""
    write_state(layout.state_file, _state(layout))
    assert main(["status", "--home", str(layout.home)]) == ExitCode.OK
    assert "GiB free" in capsys.readouterr().out
    monkeypatch.setattr("deploy.stack.places.FREE_BYTES_MIN", 1 << 62)
    assert main(["status", "--home", str(layout.home)]) == ExitCode.DEGRADED
    assert f"home: the disk of {layout.home} is full" in capsys.readouterr().out


_SUPERVISOR = """
import signal, sys, time
import msgspec
from pathlib import Path
from chassis.clock import SystemClock
from chassis.outbox.tables import RefillPermission
from deploy.stack.layout import Layout
from deploy.stack.process_identity import ProcessIdentity
from deploy.stack.state import *
layout = Layout.find(Path(sys.argv[1]))
lock = HomeLock(layout.lock_file)
assert lock.acquire()
state = StackState(home=str(layout.home), supervisor=ProcessIdentity.of(os.getpid()), condition=Condition.READY,
                   started=SystemClock().now())
def end(*_):
    if sys.argv[2] != "crash":
        state.condition = Condition.STOPPED
        state.killed = ["nats"] if sys.argv[2] == "kill" else []
        write_state(layout.state_file, state)
    os._exit(0)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN if sys.argv[2] == "hang" else end)
write_state(layout.state_file, state)
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ("stop", ExitCode.OK, "The platform has stopped after"),
        ("kill", ExitCode.DEGRADED, "nats had to be killed"),
        ("crash", ExitCode.DEGRADED, "but not in order"),
    ],
)
def test_down_tells_how_the_platform_has_ended(
    layout: Layout, capsys: pytest.CaptureFixture[str], end: str, code: ExitCode, words: str
) -> None:
    """That processes are gone does not say that they stopped in order: the supervisor's last report does."""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR, str(layout.home), end], stdout=subprocess.PIPE, text=True
    )
    with supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "up\n"
        assert main(["down", "--home", str(layout.home)]) == code
        assert supervisor.wait(60) == 0
    told = capsys.readouterr()
    assert words in told.out + told.err


def test_kill_after_a_down_that_has_waited_does_not_wait_again(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """What had its time is ended at once: nobody waits a second minute for what is known to hang."""
    supervisor = subprocess.Popen(
        [sys.executable, "-c", _SUPERVISOR, str(layout.home), "hang"], stdout=subprocess.PIPE, text=True
    )
    with supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "up\n"
        assert main(["down", "--timeout", "0.1", "--home", str(layout.home)]) == ExitCode.FAILED
        assert "have not ended after" in capsys.readouterr().err
        # A minute later, say.
        asked = json.loads(layout.stop_file.read_bytes())
        layout.stop_file.write_text(json.dumps({**asked, "monotonic": asked["monotonic"] - 60}))
        begun = time.monotonic()
        assert main(["down", "--kill", "--home", str(layout.home)]) == ExitCode.DEGRADED
        assert time.monotonic() - begun < 30
        assert supervisor.wait(60) == -signal.SIGKILL
    assert "The platform was killed" in capsys.readouterr().out


@pytest.mark.usefixtures("lock")
def test_report_of_an_earlier_supervisor_is_not_believed(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A process number that was given out again names somebody else; a held home is never called stopped."""
    monkeypatch.setattr("deploy.stack.state.REPORT_SECONDS", 0.1)
    state = _state(layout)
    state.supervisor = msgspec.structs.replace(state.supervisor, started=state.supervisor.started - 1)
    write_state(layout.state_file, state)
    for command in ("status", "down"):
        assert main([command, "--home", str(layout.home)]) == ExitCode.UNAVAILABLE
        assert f"has written no report to {layout.state_file}" in capsys.readouterr().err


def test_what_is_not_well_is_told_to_who_waits_as_status_tells_it(layout: Layout, lock: HomeLock) -> None:
    """A report alone proves nothing: it may be old, another supervisor's, or of processes that are gone."""
    own = ProcessIdentity.of(os.getpid())
    assert own is not None
    assert "no report that can be read" in status.troubles_now(layout)
    state = _state(layout, PartState(name="gateway", condition=Condition.READY, process=own))
    state.written = SystemClock().now()
    write_state(layout.state_file, state)
    assert status.troubles_now(layout) == ""
    state.parts[0].process = msgspec.structs.replace(own, started=own.started - 1)
    state.written -= timedelta(seconds=600)
    write_state(layout.state_file, state)
    told = status.troubles_now(layout)
    assert "gateway: its process is gone" in told
    assert "report: the report below is 600 s old" in told
    state.supervisor = msgspec.structs.replace(own, started=own.started - 1)
    write_state(layout.state_file, state)
    assert "no report that can be read" in status.troubles_now(layout)
    lock.release()
    assert "none runs" in status.troubles_now(layout)
    lock.acquire()


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (7_199, "1 h"), (90_000, "1 d"), (-5, "0 s")]
)
def test_age_is_told_in_its_largest_unit(seconds: int, words: str) -> None:
    """A part's age fits into a column; a clock that jumped back gives no negative one."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert status._ago(now - timedelta(seconds=seconds), now) == words


def test_down_is_well_where_nothing_runs(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """`down` states a wish that is fulfilled already."""
    write_state(layout.state_file, _state(layout))
    assert main(["down", "--home", str(layout.home)]) == ExitCode.OK
    assert capsys.readouterr().out == f"No platform runs in {layout.home}.\n"


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["status", "--json"],
        ["down"],
        ["down", "--kill"],
        ["logs", "gateway"],
        ["token", "--role", "viewer"],
        ["refill", "all"],
        ["location", "list"],
        ["location", "remove", "photos"],
        ["organisation", "list"],
        ["organisation", "add", "acme"],
        ["tiers", "list"],
        ["show", "failed"],
        ["run-report", "x", "--organisation", "acme"],
        ["topology", "compare"],
        ["deadletters", "list"],
    ],
)
@pytest.mark.parametrize("folder", ["nowhere", "holds files", "holds files/photo.jpg"])
def test_folder_that_is_no_home_is_refused(
    words: list[str], folder: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of the home that was meant nothing is known, neither that it is well nor that it has stopped; nothing is made."""
    (tmp_path / "holds files").mkdir()
    (tmp_path / "holds files/photo.jpg").touch()
    home = tmp_path / folder
    assert main([*words, "--home", str(home)]) == ExitCode.NOT_FOUND
    said = capsys.readouterr()
    new = "NEW-FOLDER" if home.exists() else str(home)
    assert (said.out, "home-not-found" in said.err, f"wedsync-backup up --home {new}" in said.err) == ("", True, True)
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["holds files", "photo.jpg"]


def test_token_is_for_the_home_s_organisation_unless_told_otherwise(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only the token is printed, and it says what was asked for."""

    def claims(*words: str) -> dict[str, object]:
        assert main(["token", "--home", str(layout.home), *words]) == ExitCode.OK
        token = capsys.readouterr().out
        assert token.count("\n") == 1
        keys = jwt.PyJWKSet.from_json(layout.jwks_file.read_text())
        said: dict[str, object] = jwt.decode(
            token.strip(), keys.keys[0], algorithms=["ES256"], audience=AUDIENCE, issuer=ISSUER
        )
        return said

    (layout.platform_keys / "organisations" / "org-1").mkdir(parents=True)
    plain = claims("--role", "viewer")
    assert plain["app_metadata"] == {
        "organisation_id": layout.remembered.organisation,
        "backup_roles": ["viewer"],
    }
    assert plain["aal"] == "aal1"
    assert int(str(plain["exp"])) - int(str(plain["iat"])) == 3600
    other = claims(
        *("--role", "owner", "--role", "auditor", "--organisation", "org-1", "--subject", "me"),
        *("--minutes", "5", "--second-factor"),
    )
    assert other["app_metadata"] == {"organisation_id": "org-1", "backup_roles": ["owner", "auditor"]}
    assert (other["sub"], other["aal"]) == ("me", "aal2")
    assert int(str(other["exp"])) - int(str(other["iat"])) == 300


@pytest.mark.parametrize(
    "words",
    [
        ["--role", "root"],
        [],
        ["--role", "viewer", "--minutes", "0"],
        *(["--role", "owner", "--organisation", text] for text in ("", "..", "a/b", "*", "-a", "a" * 129)),
        *(["--role", "owner", "--subject", text] for text in ("", "two words", "ü", "a" * 201)),
    ],
)
def test_token_refuses_what_makes_no_sense(layout: Layout, words: list[str]) -> None:
    """An unknown role, none, a token without a life, or for whom no gateway lets in, is a usage error."""
    with pytest.raises(SystemExit) as refusal:
        main(["token", "--home", str(layout.home), *words])
    assert refusal.value.code == ExitCode.USAGE


def test_token_for_an_organisation_that_nobody_added_is_refused(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip of the pen would be a new tenant. The home's own, the demo's and one that has keys need no word."""
    words = ["token", "--role", "owner", "--home", str(layout.home)]
    assert main([*words, "--organisation", "nobody-there"]) == ExitCode.NOT_FOUND
    said = capsys.readouterr()
    assert (said.out, "[unknown-organisation]" in said.err) == ("", True)
    assert f"wedsync-backup organisation add nobody-there --home '{layout.home}'" in said.err
    (layout.platform_keys / "organisations" / "by-request").mkdir(parents=True)
    own, demo = layout.remembered.organisation, layout.remembered.demo_organisation
    for each in ([], *(["--organisation", identity] for identity in (own, demo, "by-request"))):
        assert main([*words, *each]) == ExitCode.OK
        said = capsys.readouterr()
        assert (len(said.out.split()), said.err) == (1, "")


@pytest.mark.parametrize(
    "words",
    [
        ["status", "--home", ""],
        ["demo", "--directory", ""],
        ["demo", "--json", ""],
        ["tiers", "begin-anew", ""],
        ["tiers", "begin-anew", "offsite", "--organisation", ""],
        ["tiers", "accept-history", ""],
        ["tiers", "accept-history", "offsite", "--organisation", ""],
        ["down", "--timeout", "nan"],
        ["refill", "all", "--timeout", "-1"],
    ],
)
def test_value_of_a_variable_that_was_not_set_is_never_a_default(words: list[str]) -> None:
    """An option that is there and empty is a usage error: it would mean another home, folder or organisation."""
    with pytest.raises(SystemExit) as refusal:
        main(words)
    assert refusal.value.code == ExitCode.USAGE


def test_logs_show_the_end_of_one_part_or_of_all(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """One part as it is; several with their names; an unknown one is an error that lists the known."""
    layout.log("nats").write_text("one\ntwo\n")
    layout.log("gateway").write_text("three\n")
    assert main(["logs", "nats", "-n", "1", "--home", str(layout.home)]) == ExitCode.OK
    assert capsys.readouterr().out == "two\n"
    assert main(["logs", "--home", str(layout.home)]) == ExitCode.OK
    out = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert out == [["gateway", "|", "three"], ["nats", "|", "one"], ["nats", "|", "two"]]
    assert main(["logs", "natz", "--home", str(layout.home)]) == ExitCode.NOT_FOUND
    assert "there are gateway, nats" in capsys.readouterr().err


def test_logs_follow_whole_lines_through_a_rotation(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half a line waits for its other half; a log that was cut is read from its beginning."""
    log = layout.log("nats")
    log.write_text("old\n")
    steps = iter(["old\nnew ha", "old\nnew half\n", "cut\n"])

    def write_next(_seconds: float) -> None:
        text = next(steps, None)
        if text is None:
            raise KeyboardInterrupt
        log.write_text(text)

    monkeypatch.setattr(logs.time, "sleep", write_next)
    assert main(["logs", "nats", "--follow", "--home", str(layout.home)]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().out.splitlines() == ["old", "new half", "cut"]


def test_home_option_is_named_only_where_it_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The commands that are printed for copying work as they stand."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WEDSYNC_HOME", raising=False)
    assert home_option(tmp_path / ".wedsync") == ""
    assert home_option(tmp_path / "an other") == f" --home '{tmp_path / 'an other'}'"
    monkeypatch.setenv("WEDSYNC_HOME", str(tmp_path / "an other"))
    assert home_option(tmp_path / "an other") == ""


def test_up_says_that_what_is_begun_anew_is_still_there(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is deleted; whoever says that it is gone hears that it is not."""
    layout.postgres_data.mkdir(parents=True)
    (layout.postgres_data / "PG_VERSION").touch()
    layout.local_tier.mkdir(parents=True)
    up._say_what_is_there(layout.home, ["data/postgres", "data/tiers/local", "data/s3/offsite", "layout.json"])
    said = capsys.readouterr().err.splitlines()
    named = [layout.postgres_data, layout.home / "layout.json"]
    assert [line.split(" is there")[0] for line in said] == [str(each) for each in named]


def test_up_refuses_a_folder_of_somebody_else_s(tmp_path: Path) -> None:
    """The error is one sentence with its code and a hint, and no traceback."""
    (tmp_path / "photo.jpg").touch()
    done = subprocess.run(
        [sys.executable, "-m", "cli", "up", "--home", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == ExitCode.FAILED
    assert "[home-unusable]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words", [["status"], ["down"], ["up", "--detach"], ["location", "list"], ["token", "--role", "viewer"]]
)
@pytest.mark.usefixtures("lock")
def test_home_that_has_lost_its_layout_is_not_said_to_be_none(
    layout: Layout, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """A platform may run in it: neither *nothing runs* nor *stopped* is true, and no other home is what is needed."""
    (layout.home / "layout.json").unlink()
    assert main([*words, "--home", str(layout.home)]) == ExitCode.FAILED
    said = capsys.readouterr().err
    assert "layout.json is gone [home-unusable]" in said
    assert "Put layout.json back" in said


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount is made by root alone")
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status"], ExitCode.UNAVAILABLE),
        (["down"], ExitCode.OK),
        (["tiers", "list"], ExitCode.UNAVAILABLE),
        (["token", "--role", "viewer"], ExitCode.OK),
        (["organisation", "add", "beta"], ExitCode.REFUSED),
        (["up", "--detach"], ExitCode.REFUSED),
    ],
)
def test_home_on_a_disk_that_can_only_be_read(
    layout: Layout, words: list[str], code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    """A disk that has failed is remounted so: what only looks works, what changes says which folder, and why."""
    layout.lock_file.touch(mode=0o600)
    home = str(layout.home)
    if subprocess.run(["mount", "--bind", home, home], check=False, capture_output=True).returncode:
        pytest.skip("root may not mount here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", home], check=True)
        assert main([*words, "--home", home]) == code
    finally:
        subprocess.run(["umount", "-l", home], check=True)
    said = capsys.readouterr().err
    assert code != ExitCode.REFUSED or ("can only be read [read-only]" in said and home in said and ".room" not in said)
