"""The guide for operators is followed, word by word, on a platform of its own: what it says is what one sees.

A block of docs/operations.md has a name (`tests.support.operations_guide`); section 11 is followed in
tests/component/chassis/test_trust.py.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psycopg
import pytest

from chassis.location import Location
from contracts.configuration import Tier
from deploy.stack import postgres
from deploy.stack.own_backup.memory import read_memory
from deploy.stack.own_backup.positions import behind
from deploy.stack.secrets import read_secrets
from tests.support.audit_export import PUT_BACK, Auditor
from tests.support.eventually import eventually
from tests.support.file_trees import seen
from tests.support.guide import Shell
from tests.support.operations_guide import BLOCK, GUIDE, OF_ANOTHER_FILE, assert_shows, block
from tests.support.saved_source import SavedSource
from tests.support.stack import ROOT, Platform, platform_home

pytestmark = [pytest.mark.stack, pytest.mark.timeout(290)]


@dataclass
class Operator:
    """Somebody with a shell, the guide, and a home of his own."""

    platform: Platform
    shell: Shell

    def types(self, script: str) -> "subprocess.CompletedProcess[str]":
        """What the shell says."""
        return self.shell.type(script)

    def follows(self, name: str, *changes: tuple[str, str]) -> "subprocess.CompletedProcess[str]":
        """Type a block of the guide, with what stands for something replaced by it."""
        return self.shell.follow(name, instead=dict(changes))

    async def is_well(self) -> None:
        """Wait until `status` says that all is ready."""
        await eventually(lambda: self.types("wedsync-backup status").returncode == 0, every=0.5)


@pytest.fixture(scope="module")
def operator() -> Iterator[Operator]:
    """A platform that was started as the guide says, for all tests here: each leaves it well."""
    with platform_home() as platform:
        folder = platform.home.parent
        home = {"WEDSYNC_HOME": str(platform.home)}
        operator = Operator(platform, Shell("docs/operations.md", folder / "bin", folder, home))
        started = operator.types(block("run", "up").strip() + " --detach")
        try:
            assert started.returncode == 0, started.stdout + started.stderr
            assert_shows("The platform is ready after … s.", started.stdout)
            yield operator
        finally:
            if operator.types("wedsync-backup down").returncode not in (0, 4):
                operator.types("wedsync-backup down --kill")


@pytest.fixture(scope="module")
def source(operator: Operator) -> SavedSource:
    """A source with one good backup on two tiers."""
    source = SavedSource.make(operator.platform, files=3)

    async def back_up() -> None:
        await source.configure((Tier.LOCAL, Tier.OFFSITE))
        assert (await source.ended(await source.execute()))["state"] == "completed"

    asyncio.run(back_up())
    return source


def _at_tier(operator: Operator, name: str) -> tuple[str, dict[str, str]]:
    """An organisation's repository on a tier, as `repo` is told of it, and the credentials for it."""
    layout = operator.platform.layout
    registered = msgspec.json.decode(layout.locations_file.read_bytes(), type=dict[str, list[Location]])["locations"]
    url = next(each.url for each in registered if each.name == name)
    path, mark, query = url.partition("?")
    keys = read_secrets(layout).s3.get(name)
    credentials = {} if keys is None else {"id": keys.access_key_id, "secret": keys.secret_access_key}
    return f"{path}/{operator.platform.organisation}{mark}{query}", credentials


def _for_repository(operator: Operator) -> tuple[tuple[str, str], ...]:
    """What stands for what in the block that looks at a repository and restores it."""
    url, credentials = _at_tier(operator, "offsite")
    key = operator.platform.layout.platform_keys / "repositories" / f"{operator.platform.organisation}.key"
    text = block("run", "restore")
    return (
        ("AWS_ACCESS_KEY_ID=…", f"AWS_ACCESS_KEY_ID={credentials['id']}"),
        ("AWS_SECRET_ACCESS_KEY=…", f"AWS_SECRET_ACCESS_KEY={credentials['secret']}"),
        ("KEY=…/keys/platform/repositories/ORGANISATION.key", f'KEY="{_escaped(key)}"'),
        (re.findall(r"^TIER='(.*)'$", text, flags=re.MULTILINE)[0], url),
    )


def _escaped(path: Path) -> str:
    return re.sub(r'([$"\\`])', r"\\\1", str(path))


def test_every_block_is_followed_here() -> None:
    """A new block gets a name and a test; those of section 9 are tried out with its commands."""
    text = GUIDE.replace(OF_ANOTHER_FILE, "")
    elsewhere = [
        ROOT / "tests/component/chassis/test_trust.py",
        ROOT / "tests/component/chassis/test_processes_elsewhere.py",
        Path(__file__).with_name("test_upgrade.py"),
    ]
    text_of_tests = "".join(path.read_text() for path in (Path(__file__), *elsewhere))
    named = [(each["kind"], each["name"]) for each in BLOCK.finditer(text)]
    assert (None, None) not in named
    used = re.findall(r"(?:follows\(|block\(\"\w+\", |block\('\w+', )[\"']([\w-]+)", text_of_tests)
    assert {name for _, name in named} <= set(used)


def test_status_is_as_shown(operator: Operator) -> None:
    """Section 0: the table, the figures, the exit code."""
    done = operator.follows("status")
    assert done.returncode == 0
    assert_shows(block("expect", "status"), done.stdout)


def test_logs_are_shown(operator: Operator) -> None:
    """Section 2, and the exit code of a part that is none."""
    assert "started" in operator.follows("logs", ("PART", "gateway")).stdout
    assert operator.types("wedsync-backup logs nobody").returncode == 7


def test_exit_codes_are_as_promised(operator: Operator, tmp_path: Path) -> None:
    """Section 8, as far as no other test here sees them."""
    for command, code in (
        ("wedsync-backup up", 9),
        ("wedsync-backup topology compare", 0),
        ("wedsync-backup status --nonsense", 2),
        (f"wedsync-backup status --home {tmp_path}/none", 7),
        (f"wedsync-backup down --home {tmp_path}/none", 7),
        (f"wedsync-backup logs gateway --home {tmp_path}/none", 7),
    ):
        done = operator.types(command)
        assert done.returncode == code, (command, done.stdout, done.stderr)


def test_failed_runs_are_asked_for(operator: Operator, source: SavedSource) -> None:
    """Section 4: the token, the address and the question work as they are written; here nothing has failed."""
    done = operator.follows("failed-runs")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"] == []


def test_repository_restores_without_the_platform(operator: Operator, source: SavedSource, tmp_path: Path) -> None:
    """Section 6: with the key file and one tier alone; another key is told by its exit code."""
    target = tmp_path / "restored"
    changes = (*_for_repository(operator), ("/srv/restored", str(target)))
    done = operator.follows("restore", *changes)
    assert done.returncode == 0, done.stderr
    assert seen(target) == seen(source.folder)
    made = operator.types(
        f"wedsync-backup repo --help; wedsync-backup repo init --key-file {tmp_path}/other.key --tier file://{tmp_path}/other"
    )
    assert made.returncode == 0, made.stderr
    other = operator.types(
        f"wedsync-backup repo snapshots --key-file {tmp_path}/other.key --tier '{_at_tier(operator, 'local')[0]}'"
    )
    assert other.returncode == 6, other.stderr


def _repair(operator: Operator, *, first: str = "") -> "subprocess.CompletedProcess[str]":
    """The block that checks and repairs, after the variables of the one before it, and after `first`."""
    head = block("run", "restore").split("wedsync-backup")[0]
    for placeholder, text in _for_repository(operator):
        head = head.replace(placeholder, text)
    return operator.types(
        f"set -e\n{head}\nOTHER='{_at_tier(operator, 'local')[0]}'\n{first}\n{block('run', 'repair')}"
    )


def _assert_failed_run_is_told(operator: Operator) -> None:
    """By code, tier, hint and time, beside the ids."""
    layout = operator.platform.layout
    view = '{"error": {"code": "tier-vanished", "tier": "local", "hint": "Bring it back."}, "tiers": {}}'
    with psycopg.connect(postgres.admin_dsn(layout, read_secrets(layout)), autocommit=True) as admin:
        admin.execute(
            "INSERT INTO gateway.executions (execution_id, organisation, configuration_id, request_id, state, degraded,"
            " accepted_at, finished_at, view) VALUES ('a-run', 'somebody', '', '', 'failed', false, now(), now(), %s)",
            (view,),
        )
        try:
            listed = operator.types("wedsync-backup show failed").stdout
            shown = operator.types("wedsync-backup show a-run").stdout
        finally:
            admin.execute("DELETE FROM gateway.executions WHERE execution_id = 'a-run'")
    assert "a-run of somebody [tier-vanished] at 20" in listed
    for word in ("tier-vanished", "local", "Bring it back."):
        assert word in shown


def _assert_waiting_run_is_told(operator: Operator) -> None:
    """With what the last attempt met, since when, and when it is tried again."""
    layout = operator.platform.layout
    view = (
        '{"waiting": {"code": "keys-unusable", "hint": "Put it back.", "since": "2026-11-27T08:00:00Z",'
        ' "next_attempt_at": "2026-11-27T08:01:00Z"}, "tiers": {}}'
    )
    with psycopg.connect(postgres.admin_dsn(layout, read_secrets(layout)), autocommit=True) as admin:
        admin.execute(
            "INSERT INTO gateway.executions (execution_id, organisation, configuration_id, request_id, state, degraded,"
            " accepted_at, view) VALUES ('b-run', 'somebody', '', '', 'initializing', false, now(), %s)",
            (view,),
        )
        # As if a worker had not let go of the repository yet; then locked, so that none takes it while it is shown.
        admin.execute(
            "INSERT INTO executor.run_claims (run_id, organisation, correlation_id, configuration_id, state, opening,"
            " heartbeat_at) VALUES ('b-run', 'somebody', '', 'b', 'waiting', true, now())"
        )
        try:
            with admin.transaction():
                admin.execute("SELECT FROM executor.run_claims WHERE run_id = 'b-run' FOR UPDATE")
                listed = operator.types("wedsync-backup show waiting").stdout
                shown = operator.types("wedsync-backup show b-run").stdout
        finally:
            admin.execute("DELETE FROM gateway.executions WHERE execution_id = 'b-run'")
            admin.execute("DELETE FROM executor.run_claims WHERE run_id = 'b-run'")
    assert "b-run of somebody [keys-unusable] since 2026-11-27T08:00:00Z, again at 2026-11-27T08:01:00Z" in listed
    for word in ("keys-unusable", "Put it back.", "08:01:00"):
        assert word in shown


def test_report_of_a_run_is_opened_by_its_organisations_key(operator: Operator, source: SavedSource) -> None:
    """What a run left out is named to the operator; of another organisation, or of no run, there is no report."""
    pipe = source.folder / "a pipe"
    os.mkfifo(pipe)
    try:

        async def back_up() -> str:
            run = await source.execute()
            assert (await source.ended(run))["completionDetails"]["reportDigest"]
            return run

        run = asyncio.run(back_up())
    finally:
        pipe.unlink()
    command = f"wedsync-backup run-report {run} --organisation"
    told = operator.types(f"{command} {operator.platform.organisation}")
    assert told.returncode == 0, told.stderr
    assert [each["path"] for each in json.loads(told.stdout)["files"]] == ["a pipe"]
    # What an alert, a log or a figure names by its id alone.
    configuration = source.configuration_id
    for identity, what in ((run, "run"), (configuration, "configuration")):
        shown = operator.types(f"wedsync-backup show {identity}")
        assert shown.returncode == 0, shown.stderr
        assert f"{identity} is a {what} of the organisation {operator.platform.organisation}" in shown.stdout
    assert configuration in operator.types(f"wedsync-backup show {run}").stdout
    (shown_run,) = json.loads(operator.types(f"wedsync-backup show {run} --json").stdout)["found"]
    assert {"code", "tier", "hint", "tiers"} <= shown_run.keys()
    _assert_failed_run_is_told(operator)
    _assert_waiting_run_is_told(operator)
    document = json.loads(operator.types("wedsync-backup show local --json").stdout)
    assert [each["kind"] for each in document["found"]] == ["last uploads to the tier local failed", "place"]
    assert operator.platform.organisation in document["found"][1]["repositories"]
    for word in (
        "failed",
        "degraded",
        "waiting",
        "cloudPrimary",
        "offsite",
        "cloudSecondary",
        operator.platform.organisation,
    ):
        assert operator.types(f"wedsync-backup show {word}").returncode == 0
    assert operator.types("wedsync-backup show nothing-of-this-id").returncode == 7
    other = operator.types(f"{command} somebody-else")
    assert (other.returncode, other.stdout) == (7, "")
    assert "has no report" in other.stderr


def test_tiers_are_checked_and_repaired(operator: Operator, source: SavedSource) -> None:
    """Section 6: where nothing is damaged, all three say so."""
    done = _repair(operator)
    assert done.returncode == 0, done.stdout + done.stderr


def _stop(operator: Operator) -> None:
    """Section 7. What a busy machine does not let end in time is killed and named, by the exit code, too."""
    stopped = operator.types("wedsync-backup down")
    assert re.search(r"The platform has stopped after [\d.]+ s(\.|; .* had to be killed\.)$", stopped.stdout.strip())
    assert stopped.returncode == (4 if "had to be killed" in stopped.stdout else 0)


def _shown(operator: Operator, words: str) -> str | None:
    """What `status` shows, once it has some words."""
    text = operator.types("wedsync-backup status").stdout
    return text if words in text else None


async def test_lost_stores_are_begun_anew(operator: Operator, source: SavedSource) -> None:
    """Sections 3 and 6: a tier's and NATS's data are gone. The start says so; each is begun anew by its command."""
    layout = operator.platform.layout
    _stop(operator)
    for lost in ("s3/offsite", "nats/jetstream"):
        shutil.rmtree(layout.data / lost)
    refused = operator.types("wedsync-backup up --detach")
    assert refused.returncode not in (0, 4), refused.stdout
    assert "lacks data that was there before" in refused.stderr
    assert "wedsync-backup up --begin-anew data/nats/jetstream" in refused.stderr
    begun = operator.follows("begin-anew", ("data/s3/offsite", "data/s3/offsite --begin-anew data/nats/jetstream"))
    assert begun.returncode in (0, 4), begun.stdout + begun.stderr

    refilled = operator.types("wedsync-backup refill all")
    assert refilled.returncode == 0, refilled.stdout + refilled.stderr
    expected = "\n".join(line for line in block("expect", "refill").splitlines() if not line.startswith("created"))
    assert_shows(expected, refilled.stdout)
    # The start has made the stream of dead letters anew: nobody knows whether there were any.
    assert "dead-letters-lost" in await eventually(lambda: _shown(operator, "dead-letters-lost"), every=0.5)
    known = operator.types("wedsync-backup deadletters accept-loss --reason 'none in the logs'")
    assert known.returncode == 0, known.stderr
    gone = await source.ended(await source.execute())
    assert gone["degraded"], gone
    tried = operator.types("wedsync-backup location test offsite")
    assert (tried.returncode, "tier-vanished" in tried.stdout) == (8, True), tried.stdout + tried.stderr
    present = operator.types("wedsync-backup tiers begin-anew local")
    assert (present.returncode, "local is not gone: it answers" in present.stderr) == (9, True), present
    listed = [line.split()[:2] for line in operator.types("wedsync-backup tiers list").stdout.splitlines()]
    assert ["local", operator.platform.organisation] in listed
    nothing = operator.follows("tier-went-back", ("LOCATION", "offsite"))
    assert (nothing.returncode, "an older state is unknown" in nothing.stderr) == (8, True), nothing
    whole_one = operator.follows("tier-went-back", ("LOCATION", "local"))
    assert (whole_one.returncode, "no older state to accept" in whole_one.stderr) == (9, True), whole_one
    told = operator.follows("tier-gone", ("LOCATION", "offsite"))
    assert told.returncode == 0, told.stderr
    assert f"{operator.platform.organisation} is begun anew by its next run, from the other tiers (" in told.stdout
    whole = await source.ended(await source.execute())
    assert (whole["state"], whole["degraded"]) == ("completed", False)
    # `repo` remembers what it saw of the tier that is gone, beside its key; it may have seen nothing.
    accept = (
        'wedsync-backup repo repair --accept-history wedsync-offsite --key-file "$KEY" --tier "$TIER" --tier "$OTHER"'
    )
    done = _repair(operator, first=f"{accept} || true")
    assert done.returncode == 0, done.stdout + done.stderr
    await operator.is_well()


@pytest.fixture(scope="module")
def copies(operator: Operator, source: SavedSource, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The copies of section 13, of the keys and of the record, made as it says, when the source was backed up."""
    folder = tmp_path_factory.mktemp("copies")
    copied = operator.follows("copy-keys", ("/srv/copies-of-keys", str(folder / "keys")))
    assert copied.returncode == 0, copied.stderr
    (keys,) = (folder / "keys").iterdir()
    layout = operator.platform.layout
    for name in ("keys", "config"):
        assert seen(keys / name) == seen(layout.home / name)
    assert (keys / "layout.json").read_bytes() == (layout.home / "layout.json").read_bytes()
    copied = operator.follows("copy-record", ("/srv/copies-of-the-record", str(folder / "record")))
    assert copied.returncode in (0, 4), copied.stdout + copied.stderr
    (record,) = (folder / "record").iterdir()
    return keys, record


async def test_copy_of_the_record_is_put_back(
    operator: Operator, source: SavedSource, copies: tuple[Path, Path], tmp_path: Path
) -> None:
    """Section 13: what was recorded since the copy is lost, and told; the record goes on from there by its command.

    So does the audit log, under another name: a checkpoint of what is lost is contradicted by nothing.
    """
    layout, (_, record) = operator.platform.layout, copies
    assert (await source.ended(await source.execute()))["state"] == "completed"
    auditor = Auditor(operator.shell)

    _stop(operator)
    layout.postgres_data.rename(layout.home.parent / "aside")
    assert operator.types(f"cp -a '{record}' \"$WEDSYNC_HOME/data/postgres\"").returncode == 0
    assert operator.types("wedsync-backup up --detach").returncode == 4
    await eventually(lambda: "stream-of-another-log" in operator.types("wedsync-backup status").stdout, every=0.5)
    assert "audit-log-put-back" in operator.types("wedsync-backup status").stdout
    plain = operator.types("wedsync-backup refill all")
    assert plain.returncode == 1, plain.stdout + plain.stderr
    assert "permitted" not in plain.stdout
    assert "the audit log in the database is not the one that was signed last" in plain.stderr
    for service in ("gateway", "executor"):
        assert f"the stream BACKUP_{service.upper()}: " in plain.stderr
        assert f"wedsync-backup refill {service} --new-incarnation" in plain.stderr
    refilled = operator.follows("put-back")
    assert refilled.returncode == 0, refilled.stdout + refilled.stderr
    again = await source.ended(await source.execute())
    assert (again["state"], again["newBytes"]) == ("completed", 0), again
    await operator.is_well()
    code, said = auditor.verifies(tmp_path)
    assert (code, "are not in this log" in said, "put back on" in said) == (PUT_BACK, True, True), said


async def test_machine_is_made_again_from_the_copies(
    operator: Operator, source: SavedSource, copies: tuple[Path, Path], tmp_path: Path
) -> None:
    """Section 6: of all that was there, two copies and one tier are left. The registered source is known, too.

    Neither copy knows what was signed since; the command says so, and a checkpoint of that is contradicted by nothing.
    """
    layout, (keys, record) = operator.platform.layout, copies
    auditor = Auditor(operator.shell)
    _stop(operator)
    lost = layout.home.rename(layout.home.with_name("lost"))
    layout.local_tier.parent.mkdir(parents=True)
    (lost / "data/tiers/local").rename(layout.local_tier)
    lost_stores = ("nats/jetstream", "s3/cloud-primary", "s3/cloud-secondary", "s3/offsite")
    given = (
        ("/srv/copies-of-keys/LATEST", str(keys)),
        ("/srv/copies-of-the-record/LATEST", str(record)),
        ("data/nats/jetstream", " --begin-anew ".join(f"data/{name}" for name in lost_stores)),
    )
    up = operator.follows("machine-gone", *given)
    assert up.returncode in (0, 4), up.stdout + up.stderr
    assert operator.follows("tier-gone", ("LOCATION", "offsite")).returncode == 0
    refilled = operator.follows("machine-back")
    assert refilled.returncode == 0, refilled.stdout + refilled.stderr
    run = await source.ended(await source.execute())
    assert (run["state"], run["degraded"], run["newBytes"]) == ("completed", False, 0), run
    assert operator.types("wedsync-backup deadletters accept-loss --reason 'gone with the machine'").returncode == 0
    await operator.is_well()
    code, said = auditor.verifies(tmp_path)
    assert (code, "are not in this log" in said) == (PUT_BACK, True), said


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_platform_is_rebuilt_from_its_kit_and_one_tier(
    operator: Operator, source: SavedSource, tmp_path: Path
) -> None:
    """disaster-recovery.md, part 5: the data of Postgres and NATS are gone; what was saved is back, and backups go on.

    What was recorded since is named by where the record ends.
    """
    layout = operator.platform.layout
    variables = {"WEDSYNC_HOME": str(layout.home)}
    shell = Shell("docs/disaster-recovery.md", tmp_path / "bin", operator.shell.folder, variables)
    own = {"/srv/kit": str(tmp_path / "kit"), "/srv/off-the-machine": str(tmp_path / "tier")}
    (tmp_path / "tier").mkdir()

    def follow(*names: str) -> "subprocess.CompletedProcess[str]":
        text = "".join(shell.block("run", name) for name in names)
        return shell.follow(*names, instead={old: new for old, new in own.items() if old in text})

    saved = follow("dr-kit")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    tried = follow("dr-rehearse")
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert re.search(r"from off-the-machine in [\d.]+ s:\n  gateway: up to event [1-9]", tried.stdout), tried.stdout
    kept = read_memory(layout.home)
    assert kept.record is not None
    assert kept.rehearsal is not None
    assert not behind(kept.rehearsal.positions, kept.record.positions)
    _rest_of_the_kit_is_closed(tmp_path / "kit")
    lost = await source.ended(await source.execute())

    _stop(operator)
    shutil.rmtree(layout.postgres_data)
    shutil.rmtree(layout.nats_data)
    rebuilt = follow("dr-rebuild")
    assert rebuilt.returncode == 0, rebuilt.stdout + rebuilt.stderr
    for position in kept.record.positions:
        assert f"{position.service}: " in rebuilt.stdout
    assert "NOT WHOLE" not in rebuilt.stdout
    back = shell.type(
        f'set -e; THIS="$WEDSYNC_HOME"\n{shell.block("run", "dr-tiers-back")}{shell.block("run", "dr-back")}'
    )
    assert back.returncode == 0, back.stdout + back.stderr
    async with operator.platform.client() as client:
        assert (await client.get(f"/api/backup/executions/{lost['id']}")).status_code == 404
    run = await source.ended(await source.execute())
    assert (run["state"], run["degraded"], run["newBytes"]) == ("completed", False, 0), run
    await operator.is_well()


def _rest_of_the_kit_is_closed(kit: Path) -> None:
    assert kit.stat().st_mode & 0o077 == 0
    assert all(each.stat().st_mode & 0o077 == 0 for each in kit.rglob("*"))


async def test_lost_record_begins_anew_behind_the_old_events(
    operator: Operator, source: SavedSource, tmp_path: Path
) -> None:
    """Section 6: Postgres is gone. The configuration is entered again, and its next run uploads nothing anew."""
    layout = operator.platform.layout
    auditor = Auditor(operator.shell)
    _stop(operator)
    layout.postgres_data.rename(layout.data / "postgres-aside")
    begun = operator.types("wedsync-backup up --detach --begin-anew data/postgres")
    assert begun.returncode in (0, 4), begun.stdout + begun.stderr
    refused = operator.types("wedsync-backup refill all")
    assert (refused.returncode, "audit-log-put-back" in refused.stderr) == (1, True), refused.stderr
    assert "wedsync-backup refill all --new-incarnation" in refused.stderr
    refilled = operator.types("wedsync-backup refill all --new-incarnation")
    assert refilled.returncode == 0, refilled.stdout + refilled.stderr
    # Nothing is remembered of the organisation, and its tiers are whole: it begins with nothing by no order.
    anew = f"wedsync-backup tiers begin-anew cloud-primary --organisation {operator.platform.organisation}"
    refused = operator.types(anew)
    assert (refused.returncode, "is not gone: it answers" in refused.stderr) == (9, True), refused
    await source.configure((Tier.LOCAL, Tier.OFFSITE))
    run = await source.ended(await source.execute())
    assert (run["state"], run["degraded"]) == ("completed", False), run
    assert run["newBytes"] == 0, run
    await operator.is_well()
    code, said = auditor.verifies(tmp_path)
    assert (code, "entries after 0 of" in said) == (PUT_BACK, True), said
