"""What `repo` refuses before anything is done, and what it says of what went wrong."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from repository.backup.backup import BackupOptions
from repository.errors import KeyFileInvalid, TextInvalid
from repository.keys.key_file import KeyFile


def repo(key: Path, *words: str, tiers: list[str]) -> int:
    """One command's exit code."""
    given = [word for tier in tiers for word in ("--tier", tier)]
    return main(["repo", words[0], "--key-file", str(key), *given, *words[1:]])


def test_one_place_is_not_two_tiers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither by two paths nor as a copy of the other is it a second copy, and nothing is made."""
    key, here = tmp_path / "key", f"file://{tmp_path}"
    os.symlink(".", tmp_path / "link")
    assert repo(key, "init", tiers=[f"{here}/a", f"b={here}/link/a"]) == 2
    assert not key.exists()
    assert not (tmp_path / "a").exists()
    assert "one and the same place" in capsys.readouterr().err
    assert repo(key, "init", tiers=[f"{here}/a"]) == 0
    copied = tmp_path / "copy"
    shutil.copytree(tmp_path / "a", copied)
    (tmp_path / "src").mkdir()
    assert repo(key, "backup", str(tmp_path / "src"), tiers=[f"{here}/a", f"{here}/copy"]) == 2
    # Made on purpose: whoever says so has two.
    both = [f"{here}/a", f"{here}/copy"]
    assert repo(key, "repair", "--accept-history", "copy", tiers=both) == 0
    assert repo(key, "backup", str(tmp_path / "src"), tiers=both) == 0


def test_tier_is_not_made_among_other_files_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`init` and `catch-up` want an empty place, or to be told; a key is not made in vain."""
    key, here = tmp_path / "key", f"file://{tmp_path}"
    for name in ("b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "photo of us.jpg").write_bytes(b"x")
    assert repo(key, "init", tiers=[f"{here}/a", f"{here}/b"]) == 9
    assert not key.exists()
    assert "place-in-use" in capsys.readouterr().err
    assert repo(key, "init", "--beside-other-files", tiers=[f"{here}/a", f"{here}/b"]) == 0
    for words in (["init"], ["init", "--beside-other-files"]):
        assert repo(tmp_path / "other key", *words, tiers=[f"{here}/a/packs/inside"]) == 9
    assert not (tmp_path / "other key").exists()
    both = [f"{here}/a", f"{here}/c"]
    assert repo(key, "catch-up", "--only", "c", tiers=both) != 0
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["photo of us.jpg"]
    assert repo(key, "catch-up", "--only", "c", "--beside-other-files", tiers=both) == 0
    assert (tmp_path / "c" / "config").exists()


def test_source_may_have_any_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is not UTF-8 is backed up under a label that is; a label that is given is text or is refused."""
    key, tiers = tmp_path / "key", [f"file://{tmp_path}/a"]
    source = os.fsencode(tmp_path) + b"/s\xff"
    Path(os.fsdecode(source)).mkdir()
    assert repo(key, "init", tiers=tiers) == 0
    assert repo(key, "backup", os.fsdecode(source), tiers=tiers) == 0
    capsys.readouterr()
    assert repo(key, "snapshots", "--json", tiers=tiers) == 0
    (snapshot,) = json.loads(capsys.readouterr().out)["snapshots"]
    assert snapshot["label"] == f"{tmp_path}/s\\xff"
    for option in ("--label", "--tag"):
        assert repo(key, "backup", option, "\udcff", str(tmp_path), tiers=tiers) == 2
    with pytest.raises(TextInvalid):
        BackupOptions(run_token="\udcff", label="photos")


def test_why_no_tier_takes_a_backup_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine reads each tier's reason too, and the hint is the one of what is wrong there."""
    key, tiers = tmp_path / "key", [f"file://{tmp_path}/a"]
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "file").write_bytes(os.urandom(100_000))
    assert repo(key, "init", tiers=tiers) == 0
    capsys.readouterr()
    real = os.writev

    def full(descriptor: int, buffers: Any) -> int:
        if sum(map(len, buffers)) > 50_000:
            raise OSError(errno.ENOSPC, "no space")
        return real(descriptor, buffers)

    monkeypatch.setattr(os, "writev", full)
    monkeypatch.setattr("repository.tiers.folder.disk.write_directly", lambda *_: 0)
    assert repo(key, "backup", "--json", str(tmp_path / "src"), tiers=tiers) != 0
    error = json.loads(capsys.readouterr().err.splitlines()[-1])["error"]
    assert "no space left" in error["tiers"]["a"]
    assert "MiB" in error["hint"]


def test_key_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a key would be in the way of the next one, and is no key."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileInvalid, match="No space left"):
        KeyFile.create(tmp_path / "key")
    assert not (tmp_path / "key").exists()
