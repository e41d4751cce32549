"""The console as it is served: what is committed is what its source is built to, and it keeps its promises.

That its types are right and its build is current is a part of `make static`; that it works, of
`tests/system/test_console.py`.
"""

import gzip
import re
from pathlib import Path

import pytest

from gateway.groups.console.open_routes import ASSETS, MEDIA_TYPES, PAGE, POLICY
from gateway.wire.sparing import LEVEL
from tests.contract import console

TRANSFERRED_BYTES_MAX = 300_000


def test_page_names_files_of_the_build_and_nothing_else() -> None:
    """Each file that the page names is there and each that is there is named; nothing is inline or from elsewhere."""
    page = (ASSETS / PAGE).read_text()
    named = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sorted(named) == sorted(f"/console/{entry.name}" for entry in ASSETS.iterdir() if entry.name != PAGE)
    assert {Path(name).suffix for name in named} <= set(MEDIA_TYPES)
    assert re.search(r"<style|style=|<script(?! type=\"module\" src=)|\son\w+=", page) is None
    assert "unsafe" not in POLICY
    sheet = next(ASSETS.glob("*.css")).read_text()
    assert "url(" not in sheet
    assert "@import" not in sheet


def test_console_is_small() -> None:
    """What a browser fetches before it shows something, as it is compressed for it."""
    files = [entry.read_bytes() for entry in ASSETS.iterdir()]
    assert sum(len(gzip.compress(content, LEVEL)) for content in files) <= TRANSFERRED_BYTES_MAX


def test_changed_source_fails_the_check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A build that is another is named; writing takes away what it has no more."""
    (tmp_path / "console-0.js").write_bytes(b"old")
    monkeypatch.setattr(console, "built", lambda: {"console-1.js": b"new"})
    assert console.main(check=True, folder=tmp_path) == 1
    assert "make golden" in capsys.readouterr().err
    assert console.main(check=False, folder=tmp_path) == 0
    assert console.main(check=True, folder=tmp_path) == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["console-1.js"]
