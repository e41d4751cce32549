"""Commands that meet a full disk, or another refusal of the system: the code, the folder, what is missing, no half."""

import argparse
import errno
import json
import os
from pathlib import Path
from types import ModuleType

import pytest

from chassis.sealing import prepare_keys_folder
from cli.exit_codes import ExitCode
from cli.main import main
from deploy.locations.organisations import known
from deploy.stack import s3
from deploy.stack.identity_provider import install_identity_provider
from deploy.stack.layout import Layout
from deploy.stack.locations import directory_url, register, source_location, write_registry
from deploy.stack.secrets import open_secrets
from tests.support.file_trees import seen
from tests.support.full_disk import no_room
from tests.support.mounted import mounted
from tests.unit.cli.test_main import command, failing

__all__ = ["command"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home that was started once, with a source and its tiers."""
    layout = Layout.create(tmp_path / "a home")
    prepare_keys_folder(layout.platform_keys)
    install_identity_provider(layout)
    layout.remembered.ports = {name: 20_000 + number for number, name in enumerate(s3.port_names())}
    write_registry(layout, open_secrets(layout, roles=[], regions=s3.credential_names()))
    (tmp_path / "photos").mkdir()
    register(layout, source_location("photos", tmp_path / "photos", organisation="acme"))
    layout.log("nats").write_text("a line\n")
    return layout


def _content(folder: Path) -> dict[bytes, bytes]:
    return {path: each.content for path, each in seen(folder).items()}


def _refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    with no_room():
        code = main(words)
    said = capsys.readouterr()
    assert said.out == ""
    return code, said.err


@pytest.mark.parametrize(
    "words",
    [
        ["up", "--detach"],
        ["up"],
        ["up", "--detach", "--begin-anew", "data/s3/offsite"],
        ["organisation", "add", "beta"],
        ["location", "add", "more", "--role", "source", "--url", "MORE"],
        ["location", "add", "cloud", "--role", "tier", "--untested", "--credentials", "env", "--url", "BUCKET"],
        ["location", "remove", "photos", "--anyway"],
        ["location", "rotate", "photos", "--credentials", "env"],
    ],
    ids=" ".join,
)
def test_full_disk_is_told_and_nothing_is_half_made(
    words: list[str],
    layout: Layout,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its code, with the folder and what is missing there; the home is as it was, to the byte."""
    (tmp_path / "more").mkdir()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    values = {
        "MORE": directory_url(tmp_path / "more"),
        "BUCKET": "s3://album/tier?endpoint=https://s3.example&region=eu",
    }
    before = _content(layout.home)
    organisations = known(layout)
    code, said = _refused([*(values.get(word, word) for word in words), "--home", str(layout.home)], capsys)
    assert (code, "[no-space]" in said, str(layout.home) in said) == (ExitCode.FAILED, True, True), said
    assert _content(layout.home) == before
    assert known(layout) == organisations


def test_home_is_not_begun_on_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No folder is left that the next start would take for somebody's files."""
    code, said = _refused(["up", "--detach", "--home", str(tmp_path / "new")], capsys)
    assert (code, "[no-space]" in said) == (ExitCode.FAILED, True), said
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("words", [["token", "--role", "viewer"], ["logs"], ["location", "list"], ["status"]])
def test_command_that_writes_nothing_needs_no_room(
    words: list[str], layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    """What helps to find out why works while the disk is full."""
    with no_room():
        code = main([*words, "--home", str(layout.home)])
    assert code == (ExitCode.UNAVAILABLE if words == ["status"] else ExitCode.OK), capsys.readouterr().err


def test_full_disk_is_told_with_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The missing amount, which the operator frees; with room the same command succeeds."""
    with mounted(tmp_path, "size=4m"):
        layout = Layout.create(tmp_path / "home")
        prepare_keys_folder(layout.platform_keys)
        hog = tmp_path / "hog"
        hog.write_bytes(bytes(os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize))
        words = ["organisation", "add", "beta", "--home", str(layout.home)]
        assert main(words) == ExitCode.FAILED
        said = capsys.readouterr().err
        assert f"0 of 4 MiB are free on the disk of {layout.config}" in said
        assert "free 256 MiB there" in said
        hog.unlink()
        assert main(words) == ExitCode.OK


@pytest.mark.parametrize(
    ("number", "code", "exit_code"),
    [
        (errno.ENOSPC, "no-space", ExitCode.FAILED),
        (errno.EDQUOT, "no-space", ExitCode.FAILED),
        (errno.EROFS, "read-only", ExitCode.REFUSED),
        (errno.EACCES, "access-denied", ExitCode.REFUSED),
        (errno.EPERM, "access-denied", ExitCode.REFUSED),
        (errno.EIO, "disk-failing", ExitCode.FAILED),
        (errno.EMFILE, "too-few-descriptors", ExitCode.FAILED),
        (errno.ETIMEDOUT, "disk-silent", ExitCode.UNAVAILABLE),
    ],
)
def test_refusal_of_the_system_has_a_code_whatever_command_met_it(
    command: ModuleType,
    number: int,
    code: str,
    exit_code: ExitCode,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """With the file that it names, or else the folder that the command works on; for machines as a document."""

    def configure(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true")
        parser.add_argument("--key-file")

    command.configure = configure  # type: ignore[attr-defined]
    command.run = failing(OSError(number, os.strerror(number)))  # type: ignore[attr-defined]
    assert main(["probe", "--json", "--key-file", str(tmp_path / "key")]) == exit_code
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], bool(error["hint"])) == (code, True)
    assert code == "too-few-descriptors" or str(tmp_path) in error["message"]
    command.run = failing(OSError(number, os.strerror(number), "/some/\nfile"))  # type: ignore[attr-defined]
    assert main(["probe"]) == exit_code
    said = capsys.readouterr().err
    assert code == "too-few-descriptors" or "/some/\\x0afile" in said
    assert f"[{code}]" in said
