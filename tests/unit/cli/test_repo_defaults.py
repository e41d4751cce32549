"""Where `repo` finds key and tiers: the command line, then the environment, then a profile, each as a whole."""

import argparse
import os
from pathlib import Path

import pytest

from cli import repo
from cli.options import Parser, UsageInvalid
from cli.repo_defaults import complete, tiers_of

PROFILES = """
[photos]
key-file = "photos.key"
tiers = ["disk=file:///p/disk", "cloud=s3://b/p?endpoint=http://x"]
credentials = ["cloud=profile:cloud"]
[keyless]
tiers = ["file:///p/disk"]
[wrong]
key-file = "x"
key-command = "rm -rf /"
"""


@pytest.fixture(autouse=True)
def _profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles.toml").write_text(PROFILES)
    monkeypatch.setenv("WEDSYNC_PROFILES", str(tmp_path / "profiles.toml"))
    for name in ("WEDSYNC_KEY_FILE", "WEDSYNC_TIERS"):
        monkeypatch.delenv(name, raising=False)


def _parsed(*words: str) -> argparse.Namespace:
    parser = Parser()
    repo.configure(parser)
    arguments = parser.parse_args(["snapshots", *words])
    complete(arguments)
    return arguments


def test_command_line_goes_before_the_environment_and_that_before_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiers of two places are never put together, and credentials go with their own."""
    found = _parsed("--profile", "photos")
    assert found.key_file == str(tmp_path / "photos.key")
    assert found.tiers == ["disk=file:///p/disk", "cloud=s3://b/p?endpoint=http://x"]
    assert found.credentials == [("cloud", "profile:cloud")]
    found = _parsed("--profile", "photos", "--tier", "file:///other")
    assert (found.tiers, found.credentials) == (["file:///other"], [])
    monkeypatch.setenv("WEDSYNC_KEY_FILE", "env.key")
    monkeypatch.setenv("WEDSYNC_TIERS", "file:///with a space/a two=file:///b\n s3://c/d?endpoint=http://x ")
    found = _parsed("--profile", "photos")
    assert (found.key_file, len(found.tiers), found.credentials) == ("env.key", 3, [])
    found = _parsed("--key-file", "typed.key")
    assert (found.key_file, found.tiers[0]) == ("typed.key", "file:///with a space/a")
    assert _parsed("--passphrase").key_file is None


@pytest.mark.parametrize(
    ("words", "variable"),
    [((), "WEDSYNC_KEY_FILE"), (("--key-file", "k"), "WEDSYNC_TIERS"), (("--tier", "file:///a"), "WEDSYNC_KEY_FILE")],
)
def test_what_nobody_names_is_asked_for(words: tuple[str, ...], variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the option, the variable and the profile. A variable that is empty counts as not set: there is no default."""
    monkeypatch.setenv("WEDSYNC_KEY_FILE", "")
    monkeypatch.setenv("WEDSYNC_TIERS", "")
    with pytest.raises(UsageInvalid) as refusal:
        _parsed(*words)
    assert variable in refusal.value.hint
    assert "profile" in refusal.value.hint


@pytest.mark.parametrize(
    "tiers", ["disk=file:///m/disk, cloud=file:///m/cloud", "file:///a,file:///b", "file:///a,b=s3://c/d", "file:///a,"]
)
def test_addresses_parted_by_commas_are_refused(tiers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the comma would be part of a place, where a whole copy would be made."""
    monkeypatch.setenv("WEDSYNC_TIERS", tiers)
    with pytest.raises(UsageInvalid, match="comma"):
        _parsed("--key-file", "k")
    with pytest.raises(UsageInvalid, match="comma"):
        _parsed("--key-file", "k", "--tier", tiers.partition(" ")[0])
    assert _parsed("--key-file", "k", "--tier", "file:///a,b%2C").tiers == ["file:///a,b%2C"]


@pytest.mark.parametrize(
    ("profile", "word"),
    [("absent", "keyless, photos, wrong"), ("wrong", "key-command"), ("keyless", "no key is named")],
)
def test_profile_that_says_too_little_or_too_much_is_refused(profile: str, word: str) -> None:
    """By what is wrong with it, before anything is opened."""
    with pytest.raises(UsageInvalid) as refusal:
        _parsed("--profile", profile)
    assert word in f"{refusal.value} {refusal.value.hint}"


def test_profiles_that_are_not_there_or_cannot_be_read_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the file's name."""
    (tmp_path / "profiles.toml").write_text("[photos")
    with pytest.raises(UsageInvalid, match="cannot be read"):
        _parsed("--profile", "photos")
    monkeypatch.setenv("WEDSYNC_PROFILES", str(tmp_path / "nowhere"))
    with pytest.raises(UsageInvalid, match="nowhere is not there"):
        _parsed("--profile", "photos")
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it, and nobody waits for that
    monkeypatch.setenv("WEDSYNC_PROFILES", str(tmp_path / "pipe"))
    with pytest.raises(UsageInvalid, match="pipe cannot be read: it is not a regular file"):
        _parsed("--profile", "photos")


def test_addresses_are_parted_by_white_space_before_an_address() -> None:
    """And by nothing else."""
    assert tiers_of("") == []
    assert tiers_of(" a=file:///x y\tb=s3://c/d?endpoint=http://e ") == [
        "a=file:///x y",
        "b=s3://c/d?endpoint=http://e",
    ]
