"""Where credentials of an S3 tier are read from."""

import json
import os
from pathlib import Path

import pytest

from repository.errors import AccessDenied, LocationInvalid
from repository.tiers.s3.credentials import credentials_from, credentials_from_file, credentials_from_profile

KEY, SECRET = "AKIA-OF-A-TEST", "hush-hush-hush"


def _file(folder: Path, body: str, mode: int = 0o600) -> Path:
    path = folder / "credentials"
    path.write_text(body)
    path.chmod(mode)
    return path


def test_file_of_its_owner_is_read_anew_each_time(tmp_path: Path) -> None:
    """What was rotated is taken by whoever asks next, without a new provider."""
    path = _file(tmp_path, json.dumps({"accessKeyId": KEY, "secretAccessKey": SECRET}))
    provide = credentials_from(f"file:{path}")
    assert (provide().access_key_id, provide().secret_access_key, provide().session_token) == (KEY, SECRET, None)
    _file(tmp_path, json.dumps({"accessKeyId": "NEW", "secretAccessKey": SECRET, "sessionToken": "t"}))
    assert (provide().access_key_id, provide().session_token) == ("NEW", "t")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """A secret that others can read is none; the hint says how to take the rights away."""
    path = _file(tmp_path, json.dumps({"accessKeyId": KEY, "secretAccessKey": SECRET}), mode)
    with pytest.raises(AccessDenied, match="open to others") as refusal:
        credentials_from_file(path)()
    assert "chmod 600" in (refusal.value.hint or "")


@pytest.mark.parametrize(
    "body",
    [
        f'{{"accessKeyId": "{KEY}", "secretAccessKey": "{SECRET}"',
        f'{{"accessKeyId": "{KEY}", "secret": "{SECRET}"}}',
        SECRET,
    ],
)
def test_what_a_damaged_file_holds_is_never_told(tmp_path: Path, body: str) -> None:
    """A decoder quotes what it cannot read; the refusal does not, nor does its cause."""
    with pytest.raises(AccessDenied) as refusal:
        credentials_from_file(_file(tmp_path, body))()
    told = f"{refusal.value} {refusal.value.hint} {refusal.value.__cause__}"
    assert SECRET not in told
    assert KEY not in told


def test_profile_is_read_from_the_file_that_the_environment_names(tmp_path: Path) -> None:
    """A section of the file of profiles; another section, or none, decides nothing."""
    path = _file(
        tmp_path,
        f"[default]\naws_access_key_id = OTHER\naws_secret_access_key = x\n"
        f"[tier]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}%\n[half]\naws_access_key_id = {KEY}\n",
    )
    variables = {"AWS_SHARED_CREDENTIALS_FILE": str(path)}
    found = credentials_from_profile("tier", variables)()
    assert (found.access_key_id, found.secret_access_key) == (KEY, SECRET + "%")
    for name in ("half", "absent"):
        with pytest.raises(AccessDenied, match="no such profile"):
            credentials_from_profile(name, variables)()
    path.chmod(0o644)
    with pytest.raises(AccessDenied, match="open to others"):
        credentials_from_profile("tier", variables)()


def test_environment_may_have_a_set_for_each_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiers of two providers: each has a prefix of its own, and none falls back to another's."""
    monkeypatch.setenv("OFFSITE_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("OFFSITE_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another's")
    assert credentials_from("env:OFFSITE")().access_key_id == KEY
    with pytest.raises(AccessDenied, match="CLOUD_ACCESS_KEY_ID"):
        credentials_from("env:CLOUD")()


@pytest.mark.parametrize("reference", ["", "env:", "env:A-B", "file:", "profile:", SECRET, f"key:{SECRET}"])
def test_unknown_form_is_refused_without_being_told(reference: str) -> None:
    """A secret that was put in the place of a reference is not repeated."""
    with pytest.raises(LocationInvalid) as refusal:
        credentials_from(reference)
    assert SECRET not in f"{refusal.value} {refusal.value.hint}"


def test_pipe_in_the_place_of_a_file_holds_nobody_up(tmp_path: Path) -> None:
    """It is refused at once, rather than waited for."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(AccessDenied, match="not a regular file"):
        credentials_from_file(tmp_path / "pipe")()
