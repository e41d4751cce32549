"""`repo` with credentials of its own for each tier, on a real S3 server."""

import json
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from tests.support.repo_command import Done, RepoCommand
from tests.support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    """The server's credentials in a file that is its owner's alone."""
    path = tmp_path / "credentials.json"
    path.write_text(json.dumps({"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}))
    path.chmod(0o600)
    return path


@pytest.fixture
def repo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> RepoCommand:
    """A folder and two buckets' prefixes, not initialised; the environment has nobody's credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    command = RepoCommand(tmp_path, capsys, tiers=("disk",))
    bucket = s3_server.shared_bucket()
    for name in ("one", "two"):
        command.tiers.append(f"{name}={s3_server.url(bucket, f'credentials-{tmp_path.name}/{name}')}")
    return command


def _says_nothing_secret(done: Done) -> None:
    assert SECRET_KEY not in done.out + done.err


def test_each_tier_has_credentials_of_its_own(
    repo: RepoCommand, secret_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One tier's come from a file, the other's from a profile; without them both are refused."""
    profiles = tmp_path / "profiles"
    profiles.write_text(f"[two]\naws_access_key_id={ACCESS_KEY}\naws_secret_access_key={SECRET_KEY}\n")
    profiles.chmod(0o600)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    source = tmp_path / "album"
    source.mkdir()
    (source / "contract.txt").write_text("I do.\n")
    own = ("--credentials", f"one=file:{secret_file}", "--credentials", "two=profile:two")
    assert repo.run("init", *own).code == ExitCode.OK
    assert repo.run("backup", source, *own).code == ExitCode.OK
    for tier in repo.tiers[1:]:
        target = tmp_path / f"restored-{tier.partition('=')[0]}"
        words = ("restore", "latest", "--target", target)
        refused = repo.run(*words, tiers=[tier])
        assert (refused.code, "AWS_ACCESS_KEY_ID" in refused.err) == (ExitCode.REFUSED, True)
        assert repo.run(*words, "--credentials", f"file:{secret_file}", tiers=[tier]).code == ExitCode.OK
        assert (target / "contract.txt").read_text() == "I do.\n"


def test_environment_of_another_prefix_is_taken(repo: RepoCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """`env:PREFIX` is for all S3 tiers where no tier is named."""
    monkeypatch.setenv("CELLAR_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("CELLAR_SECRET_ACCESS_KEY", SECRET_KEY)
    assert repo.run("init", "--credentials", "env:CELLAR").code == ExitCode.OK


def test_credentials_that_cannot_be_meant_are_refused(repo: RepoCommand, secret_file: Path) -> None:
    """A folder takes none, a tier of that name is there, the form is known, and the file is its owner's alone."""
    for words, code in (
        (f"disk=file:{secret_file}", ExitCode.USAGE),
        (f"three=file:{secret_file}", ExitCode.USAGE),
        (f"one={SECRET_KEY}", ExitCode.USAGE),
        ("env:NOBODY", ExitCode.REFUSED),
        (f"one=file:{secret_file}.absent", ExitCode.REFUSED),
    ):
        done = repo.run("init", "--credentials", words)
        assert (done.code, words) == (code, words), done
        _says_nothing_secret(done)
    secret_file.chmod(0o644)
    done = repo.run("init", "--credentials", f"file:{secret_file}")
    assert (done.code, "chmod 600" in done.err) == (ExitCode.REFUSED, True)
    _says_nothing_secret(done)
