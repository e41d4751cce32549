"""`python -m deploy.elsewhere` refuses what cannot be, before it reaches for a server."""

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import AsyncMock, Mock

import pytest

from chassis.outbox.tables import RefillPermission
from contracts.errors import INVALID_SETTING, STREAM_OF_ANOTHER_LOG, UNAVAILABLE, PlatformError
from deploy import elsewhere
from deploy.nats.permissions import generate_keys
from tests.support.stack import ROOT


def _elsewhere(**settings: str) -> tuple[int, str]:
    """Its exit code, and what it says."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("WEDSYNC_")},
        **{f"WEDSYNC_{name.upper()}": value for name, value in settings.items()},
    }
    done = subprocess.run(
        [sys.executable, "-m", "deploy.elsewhere"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_connection_string_that_is_none_is_named() -> None:
    """Exit code 78 with the variable and how it is written; a password that stands in it is not repeated."""
    code, said = _elsewhere(
        postgres_admin_dsn="host=db.example pasword=hunter2", nats_url="nats://127.0.0.1:1", nats_seed_file="/nowhere"
    )
    assert (code, "hunter2" in said) == (78, False), said
    assert "WEDSYNC_POSTGRES_ADMIN_DSN is no connection string of libpq" in said
    assert "Write WEDSYNC_POSTGRES_ADMIN_DSN as" in said


@pytest.mark.parametrize(
    ("dsn", "nats_url", "variable"),
    [
        ("host=127.0.0.1 port=1 password=hunter2 sslmode=banana", "nats://127.0.0.1:1", "POSTGRES_ADMIN_DSN"),
        ("host=127.0.0.1 port=1", "nats://127.0.0.1:1?tls=true", "NATS_URL"),
        ("host=127.0.0.1 port=1", "wss://127.0.0.1:1", "NATS_URL"),
    ],
)
def test_value_that_can_never_be_right_is_refused_before_anything_is_made(
    tmp_path: Path, dsn: str, nats_url: str, variable: str
) -> None:
    """It is no server that does not answer: exit code 78 and the variable, also of NATS, which comes after Postgres."""
    seed = tmp_path / "topology.seed"
    seed.write_text(generate_keys().seed)
    code, said = _elsewhere(postgres_admin_dsn=dsn, nats_url=nats_url, nats_seed_file=str(seed))
    assert (code, "hunter2" in said) == (78, False), said
    assert f"WEDSYNC_{variable}" in said


@pytest.fixture
def accounts(tmp_path: Path) -> tuple[Path, Path]:
    """The folder of the seeds and the file of the accounts, made."""
    folder, file = tmp_path / "seeds", tmp_path / "accounts.conf"
    made = elsewhere._nats_accounts(folder, file)
    assert {f"{name}.seed" for name in made} == {each.name for each in folder.iterdir()}
    return folder, file


def _folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def test_seed_that_is_made_anew_is_named_and_the_others_stay(accounts: tuple[Path, Path]) -> None:
    """Whoever has the older one is refused from then on, and nothing else would say so."""
    folder, file = accounts
    before = file.read_bytes(), (folder / "config.seed").read_bytes()
    assert elsewhere._nats_accounts(folder, file) == []
    assert file.read_bytes() == before[0]
    (folder / "gateway.seed").unlink()
    assert elsewhere._nats_accounts(folder, file) == ["gateway"]
    assert ((folder / "config.seed").read_bytes(), file.read_bytes() == before[0]) == (before[1], False)


def test_seeds_that_are_all_others_than_have_accounts_are_refused(accounts: tuple[Path, Path]) -> None:
    """The folder of another installation, or one that was begun anew on an empty mount point."""
    folder, file = accounts
    other, before = folder.with_name("others"), file.read_bytes()
    elsewhere._nats_accounts(other, folder.with_name("others.conf"))
    for wrong in (other, folder.with_name("empty")):
        with pytest.raises(PlatformError, match="none of their seeds"):
            elsewhere._nats_accounts(wrong, file)
    assert (file.read_bytes(), folder.with_name("empty").exists()) == (before, False)


def test_one_seed_of_two_identities_is_refused(accounts: tuple[Path, Path]) -> None:
    """One of the two would be missing from the accounts."""
    folder, file = accounts
    before = file.read_bytes()
    (folder / "config.seed").write_bytes((folder / "gateway.seed").read_bytes())
    with pytest.raises(
        PlatformError, match=r"gateway\.seed and .*config\.seed|config\.seed and .*gateway\.seed"
    ) as twice:
        elsewhere._nats_accounts(folder, file)
    assert (twice.value.code.code, file.read_bytes()) == ("keys-unusable", before)


def test_what_is_of_the_wrong_kind_or_not_there_is_told_and_nothing_is_made(accounts: tuple[Path, Path]) -> None:
    """By a sentence that names it, each."""
    folder, file = accounts
    top, before = folder.parent, file.read_bytes()
    (top / "other.conf").write_text("jetstream {}\n")
    for seeds, where, words in (
        (top / "not" / "seeds", top / "new.conf", "not is not there"),
        (folder, top / "not" / "accounts.conf", "not is not there"),
        (file, top / "new.conf", "is no folder"),
        (folder, folder, "is a directory"),
        (folder, top / "other.conf", "something else than accounts"),
    ):
        with pytest.raises(PlatformError, match=words) as refused:
            elsewhere._nats_accounts(seeds, where)
        assert (refused.value.code.code, bool(refused.value.hint)) == ("invalid-field", True)
    _folder(folder / "gateway.seed")
    with pytest.raises(PlatformError, match=r"gateway\.seed cannot be read: is a directory"):
        elsewhere._nats_accounts(folder, file)
    assert file.read_bytes() == before
    assert sorted(each.name for each in top.iterdir()) == ["accounts.conf", "other.conf", "seeds"]


async def test_folder_of_keys_with_another_mark_is_not_called_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else of it is damaged nobody has looked at."""
    (tmp_path / "SEALING-KEYS").touch()
    monkeypatch.setenv("WEDSYNC_POSTGRES_ADMIN_DSN", "host=127.0.0.1 port=1")
    with pytest.raises(PlatformError, match="SEALING-KEYS is not what was written there"):
        await elsewhere._keys(tmp_path)


def _servers_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"POSTGRES_ADMIN_DSN": "host=h", "NATS_URL": "nats://h:1", "NATS_SEED_FILE": "/nowhere"}.items():
        monkeypatch.setenv(f"WEDSYNC_{name}", value)
    for name in ("check_trust", "apply", "stream_view"):
        monkeypatch.setattr(elsewhere, name, AsyncMock())
    monkeypatch.setattr(elsewhere, "_connection", lambda settings: Mock(start=AsyncMock(), stop=AsyncMock()))


@pytest.mark.parametrize(
    ("filled", "code", "told"),
    [
        ([None, 3, 7], 0, "its stream holds the record"),
        ([3, 3, 3, 3, 3], 4, "not yet: its relay goes on by itself"),
        ([None] * 5, 4, "not yet: its relay goes on by itself"),
    ],
    ids=["whole", "in-part", "no-relay"],
)
async def test_refill_is_done_once_the_stream_holds_the_whole_record(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], filled: list[int | None], code: int, told: str
) -> None:
    """A relay that has begun is not one that has ended; what is not so in time ends with 4, and says so."""
    _servers_answer(monkeypatch)
    given = RefillPermission(1, 7, "log")
    moments = iter(range(100))
    looks = AsyncMock(side_effect=filled)
    for name, stub in {
        "require_possible": AsyncMock(),
        "request_refill": AsyncMock(return_value=given),
        "announce": AsyncMock(),
        "refilled": looks,
        "time": Mock(monotonic=lambda: float(next(moments))),
        "_POLL_SECONDS": 0.0,
        "_REFILL_SECONDS": float(len(filled) + 1),
    }.items():
        monkeypatch.setattr(elsewhere, name, stub)
    assert await elsewhere._refill(("config",), new_incarnation=False) == code
    assert looks.await_count >= 3
    said = capsys.readouterr().out
    assert f"config: {told}" in said
    assert ("holds the record" in said) is (code == 0)


async def test_refill_that_time_does_not_help_ends_with_1_and_each_command_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in the embedded stack: nothing is permitted, and a line of a log would have no room for the ways on."""
    hint = "Look first. " + ", ".join(
        f"python3 -m deploy.elsewhere refill {name} --new-incarnation" for name in "abcdefg"
    )
    refusal = PlatformError(STREAM_OF_ANOTHER_LOG, "the stream is of another log", hint=hint)
    _servers_answer(monkeypatch)
    monkeypatch.setattr(elsewhere, "require_possible", AsyncMock(side_effect=refusal))
    permitted = AsyncMock()
    monkeypatch.setattr(elsewhere, "request_refill", permitted)
    assert await elsewhere._refill(("config",), new_incarnation=False) == 1
    assert hint in capsys.readouterr().err
    permitted.assert_not_awaited()


async def test_refill_by_another_identity_is_refused_by_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time helps: the seed is another one's; nor does a folder of keys that is not there."""
    _servers_answer(monkeypatch)
    denied = Mock(start=AsyncMock(), stop=AsyncMock(), denied="streams")
    monkeypatch.setattr(elsewhere, "_connection", lambda settings: denied)
    monkeypatch.setattr(elsewhere, "apply", AsyncMock(side_effect=PlatformError(UNAVAILABLE, "jetstream is silent")))
    for variable in ("WEDSYNC_NATS_SEED_FILE", "WEDSYNC_KEYS_DIR"):
        with pytest.raises(PlatformError) as refused:
            await elsewhere._refill(("config",), new_incarnation=False)
        assert (refused.value.code, refused.value.field) == (INVALID_SETTING, variable)
        monkeypatch.setenv("WEDSYNC_KEYS_DIR", "/no/such/folder")
