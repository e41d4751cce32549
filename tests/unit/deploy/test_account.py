"""Whom Postgres runs as."""

import os
from pathlib import Path

import pytest

from contracts.errors import INVALID_SETTING, PlatformError
from deploy.stack.account import Account, database_account


def test_ordinary_user_runs_postgres_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root has to give the server another user."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert database_account({"WEDSYNC_DATABASE_USER": "whoever"}) is None


def test_root_runs_postgres_as_an_unprivileged_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nobody`, or the account that is named; never without a change of groups."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    account = database_account({})
    assert account is not None
    assert account.name == "nobody"
    assert account.uid != 0
    assert account.popen_options() == {"user": account.uid, "group": account.gid, "extra_groups": []}
    named = database_account({"WEDSYNC_DATABASE_USER": "daemon"})
    assert named is not None
    assert named.name == "daemon"


@pytest.mark.parametrize("name", ["no-such-account", "root"])
def test_account_that_postgres_cannot_run_as_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The error names the setting."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(PlatformError) as refusal:
        database_account({"WEDSYNC_DATABASE_USER": name})
    assert refusal.value.code is INVALID_SETTING
    assert refusal.value.field == "WEDSYNC_DATABASE_USER"


@pytest.mark.parametrize(
    ("mode", "uid_offset", "gid_offset", "may_pass"),
    [
        (0o700, 1, 1, False),
        (0o701, 1, 1, True),
        (0o100, 0, 1, True),
        (0o077, 0, 0, False),
        (0o710, 1, 0, True),
        (0o707, 1, 0, False),
    ],
)
def test_account_passes_a_folder_by_the_rights_of_its_own_class(
    tmp_path: Path, mode: int, uid_offset: int, gid_offset: int, may_pass: bool
) -> None:
    """Owner, group and others are told apart as the kernel does: the first class that fits decides."""
    folder = tmp_path / "folder"
    folder.mkdir()
    status = folder.stat()
    folder.chmod(mode)
    account = Account("somebody", status.st_uid + uid_offset, status.st_gid + gid_offset)
    try:
        assert account._may_pass(folder) is may_pass
    finally:
        folder.chmod(0o700)


def test_one_closed_folder_above_is_enough_to_be_kept_out(tmp_path: Path) -> None:
    """Every folder on the way counts, not only the last."""
    inner = tmp_path / "closed" / "open"
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    stranger = Account("somebody", 54_321, 54_321)
    (tmp_path / "closed").chmod(0o700)
    assert not stranger.can_execute_below(inner)
    assert stranger.can_execute_below(Path("/usr"))
