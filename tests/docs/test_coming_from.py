"""docs/coming-from.md: twenty commands of each of the others, and each of ours does what it says there."""

import os
import re
import shlex
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from cli.main import main
from tests.support.stack import ROOT

TEXT = (ROOT / "docs/coming-from.md").read_text()
_ROW = re.compile(r"^\| `(?P<theirs>(?:[^`|]|\\\|)+)` \| `repo (?P<ours>[^`|]+)` \|", re.MULTILINE)


def _rows(name: str) -> list[str]:
    """Ours, in the order of the table."""
    table = TEXT.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert table.count("\n| `") == 20
    return [found["ours"] for found in _ROW.finditer(table)]


@pytest.mark.parametrize("name", ["restic", "borg", "kopia"])
def test_each_of_ours_does_what_it_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One after the other on one repository, with key and tiers from the environment."""
    for each in ("photos/a.jpg", "photos/IMG_1", "photos/raw/b.jpg", "photos/x.tmp", "docs/c.txt"):
        (tmp_path / each).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / each).write_text(each)
    (tmp_path / "rules").write_text("*.tmp\n")
    (tmp_path / "list").write_text("photos/a.jpg\ndocs\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WEDSYNC_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("WEDSYNC_TIERS", f"disk={(tmp_path / 'disk').as_uri()}\n {(tmp_path / 'second').as_uri()}")
    rows = _rows(name)
    assert len(rows) == 20
    is_of_photos = True
    for ours in rows:
        words = shlex.split(ours)
        if words[0] not in ("init", "backup") and not is_of_photos:
            # A list or a stream was the last thing that was backed up.
            assert _done(["backup", "photos", "--label", "again"], capsys)[0] == ExitCode.OK, ours
        is_of_photos = words[0] not in ("backup", "forget")
        first = _done(["snapshots"], capsys)[1].splitlines() if "FIRST" in words else []
        words = [first[1].split()[0] if word == "FIRST" else word for word in words]
        if "--stdin" in words:
            with (tmp_path / "rules").open("rb") as body:
                kept, _ = os.dup(0), os.dup2(body.fileno(), 0)
            code, said = _done(words, capsys)
            os.dup2(kept, 0)
            os.close(kept)
        else:
            code, said = _done(words, capsys)
        assert code in ((ExitCode.OK, ExitCode.DIFFERENT) if words[0] == "diff" else (ExitCode.OK,)), (ours, said)


def _done(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["repo", *words])
    said = capsys.readouterr()
    return code, said.out + (said.err if code else "")
