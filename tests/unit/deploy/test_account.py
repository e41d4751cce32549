"""Whom Postgres runs as."""

import os

import pytest

from contracts.errors import INVALID_SETTING, PlatformError
from deploy.stack.account import database_account


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
