"""Whom Postgres runs as."""

import os
import pwd
from pathlib import Path

import pytest

from contracts.errors import INVALID_SETTING, STACK_FAILED, PlatformError
from deploy.stack.account import database_account, with_a_name


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


NAMELESS = 54_321


def test_user_with_a_name_needs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands before the command, and no namespace is asked for."""
    monkeypatch.setattr(os, "geteuid", lambda: pwd.getpwnam("daemon").pw_uid)
    monkeypatch.setenv("PATH", "/nowhere")
    assert with_a_name() == ()


def test_user_without_a_name_borrows_one_or_is_told_the_cure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where namespaces are refused, the error names the user and what gives him a name, before anything is made."""
    monkeypatch.setattr(os, "geteuid", lambda: NAMELESS)
    monkeypatch.setenv("PATH", str(tmp_path))
    unshare = tmp_path / "unshare"
    unshare.write_text("#!/bin/sh\nexit 0\n")
    unshare.chmod(0o755)
    assert with_a_name()[:2] == ("unshare", "--user")

    for script in ("#!/bin/sh\necho unshare failed: Operation not permitted >&2; exit 1\n", None):
        unshare.unlink()
        if script is not None:
            unshare.write_text(script)
            unshare.chmod(0o755)
        with pytest.raises(PlatformError) as refusal:
            with_a_name()
        assert refusal.value.code is STACK_FAILED
        assert f"the user {NAMELESS} has no name" in str(refusal.value)
        assert ("Operation not permitted" if script else "unshare") in str(refusal.value)
        assert refusal.value.hint is not None
        assert f"wedsync:x:{NAMELESS}:" in refusal.value.hint
        unshare.touch()
