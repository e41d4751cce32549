"""`wedsync-backup secret` on a home where nothing runs."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from chassis.sealing import prepare_keys_folder
from cli.exit_codes import ExitCode
from cli.main import main
from deploy.stack.layout import Layout
from services.config.adapters.receivers import secret_file
from services.config.adapters.webhook import signing_keys


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home that was started once."""
    layout = Layout.create(tmp_path / "a home")
    prepare_keys_folder(layout.platform_keys)
    return layout


def _run(layout: Layout, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["secret", *words, "--json", "--home", str(layout.home)])
    said = capsys.readouterr()
    document: dict[str, Any] = json.loads(said.out or said.err)
    return code, document


def _text(layout: Layout, name: str) -> str:
    return secret_file(layout.platform_keys, layout.remembered.organisation, name).read_text()


def test_key_for_webhooks_is_made_rotated_and_removed(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Told once; after a rotation the one before signs as well; nothing of it is another's to read."""
    code, made = _run(layout, capsys, "add", "alarms")
    assert (code, made["secret"]["name"]) == (ExitCode.OK, "alarms")
    path = secret_file(layout.platform_keys, layout.remembered.organisation, "alarms")
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert path.read_text().split() == [made["secret"]["key"]]
    assert _run(layout, capsys, "list")[1] == {"secrets": ["alarms"]}

    keys = [made["secret"]["key"]]
    for _ in range(2):
        code, rotated = _run(layout, capsys, "rotate", "alarms")
        keys.insert(0, rotated["secret"]["key"])
    assert _text(layout, "alarms").split() == keys[:2]
    assert len(signing_keys(_text(layout, "alarms"))) == 2

    assert _run(layout, capsys, "remove", "alarms")[0] == ExitCode.OK
    assert _run(layout, capsys, "list")[1] == {"secrets": []}
    assert _run(layout, capsys, "remove", "alarms")[0] == ExitCode.NOT_FOUND
    assert _run(layout, capsys, "rotate", "alarms")[0] == ExitCode.NOT_FOUND


def test_what_no_channel_can_use_is_refused_and_nothing_is_overwritten(
    layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without telling it: an error names where it was read from."""
    _run(layout, capsys, "add", "alarms")
    kept = _text(layout, "alarms")
    assert _run(layout, capsys, "add", "alarms")[0] == ExitCode.REFUSED
    monkeypatch.setenv("STUDIO", "p4ssw0rd")
    file = tmp_path / "key"
    file.write_text(kept)
    file.chmod(0o644)
    for words, expected in (
        (["--from", "env:STUDIO"], ExitCode.REFUSED),
        (["--from", "env:NOTHING"], ExitCode.REFUSED),
        (["--from", f"file:{file}"], ExitCode.REFUSED),
        (["--from", f"file:{tmp_path}/nothing"], ExitCode.REFUSED),
        (["--from", "p4ssw0rd"], ExitCode.REFUSED),
        (["--organisation", "stranger"], ExitCode.NOT_FOUND),
    ):
        code, document = _run(layout, capsys, "add", "alarms", "--replace", *words)
        assert code == expected, document
        assert "p4ssw0rd" not in json.dumps(document)
    assert _run(layout, capsys, "add", "../alarms")[0] == ExitCode.USAGE
    assert _text(layout, "alarms") == kept
    file.chmod(0o600)
    file.write_text("\n" + _run(layout, capsys, "add", "other")[1]["secret"]["key"] + "\n")
    assert _run(layout, capsys, "add", "alarms", "--replace", "--from", f"file:{file}")[0] == ExitCode.OK
    assert _text(layout, "alarms") == _text(layout, "other")
