"""`wedsync-backup organisation` on a home where nothing runs."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from chassis.sealing import Sealer, prepare_keys_folder
from cli.exit_codes import ExitCode
from cli.main import main
from deploy.locations.organisations import add, added
from deploy.stack.layout import Layout
from vault.key_files import note_made


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A home that was started once."""
    layout = Layout.create(tmp_path / "a home")
    prepare_keys_folder(layout.platform_keys)
    return layout


def _run(layout: Layout, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = main(["organisation", *words, "--json", "--home", str(layout.home)])
    said = capsys.readouterr()
    document: dict[str, Any] = json.loads(said.out or said.err)
    return code, document


def test_organisation_gets_a_folder_of_secrets_and_no_keys(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """It may have been here before, and its list be lost with its keys: who has asked the record makes new ones."""
    layout.credentials.rmdir()  # As where an older copy of the keys was put back.
    code, document = _run(layout, capsys, "add", "acme-weddings")
    assert (code, document["organisation"]["id"]) == (ExitCode.OK, "acme-weddings")
    assert not document["organisation"]["hasKeys"]
    assert [each.name for each in layout.platform_keys.iterdir() if each.is_file()] == ["SEALING-KEYS"]
    assert not (layout.platform_keys / "organisations").exists()
    assert stat.S_IMODE(layout.credentials.stat().st_mode) == 0o700
    assert stat.S_IMODE((layout.credentials / "acme-weddings").stat().st_mode) == 0o700
    assert stat.S_IMODE((layout.config / "organisations.json").stat().st_mode) == 0o600
    assert main(["organisation", "add", "beta", "--home", str(layout.home)]) == ExitCode.OK
    assert "wedsync-backup token --role owner --organisation beta --home" in capsys.readouterr().out


def test_name_that_is_no_id_gets_a_new_one(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """People's names stay theirs; in the list, with those that have keys and those of the home."""
    code, document = _run(layout, capsys, "add", "Søren & Zoë's Weddings")
    assert code == ExitCode.OK
    identity = document["organisation"]["id"]
    assert len(identity) == 36
    assert _run(layout, capsys, "add", "Acme", "--id", "acme-1")[1]["organisation"]["id"] == "acme-1"
    Sealer(layout.platform_keys).make_keys("by-request")
    listed = {each["id"]: each for each in _run(layout, capsys, "list")[1]["organisations"]}
    assert listed[identity]["name"] == "Søren & Zoë's Weddings"
    assert {identity, "acme-1", "by-request", layout.remembered.organisation} <= listed.keys()
    assert listed["by-request"]["hasKeys"]
    assert not listed[layout.remembered.organisation]["hasKeys"]
    assert main(["organisation", "list", "--home", str(layout.home)]) == ExitCode.OK


def test_list_says_which_organisation_is_the_home_s_own(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside tenants stand two ids that nobody has added."""
    assert _run(layout, capsys, "add", "acme")[0] == ExitCode.OK
    own, demo = layout.remembered.organisation, layout.remembered.demo_organisation
    listed = {each["id"]: each["use"] for each in _run(layout, capsys, "list")[1]["organisations"]}
    assert listed == {own: "home", demo: "demo", "acme": None}
    assert main(["organisation", "list", "--home", str(layout.home)]) == ExitCode.OK
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert ["this home" in lines[own], "the demo" in lines[demo], "the demo" in lines["acme"]] == [True, True, False]


def test_list_says_which_keys_are_not_made_yet(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever copies keys knows whether the one that backups are read with is among them."""
    assert _run(layout, capsys, "add", "acme")[0] == ExitCode.OK
    Sealer(layout.platform_keys).make_keys("acme")
    assert main(["organisation", "list", "--home", str(layout.home)]) == ExitCode.OK
    assert "no backup yet" in next(line for line in capsys.readouterr().out.splitlines() if line.startswith("acme"))
    (layout.platform_keys / "repositories").mkdir()
    (layout.platform_keys / "repositories" / "acme.key").touch()
    assert main(["organisation", "list", "--home", str(layout.home)]) == ExitCode.OK
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("acme"))
    assert ("yes" in line, "no backup yet" in line) == (True, False)


def test_list_says_that_a_key_is_lost(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """A key that was made, and is not there, is no key that is still to come."""
    assert _run(layout, capsys, "add", "acme")[0] == ExitCode.OK
    (layout.platform_keys / "repositories").mkdir()
    note_made(layout.platform_keys, "acme")
    listed = {each["id"]: each for each in _run(layout, capsys, "list")[1]["organisations"]}
    assert (listed["acme"]["hasRepositoryKey"], listed["acme"]["repositoryKeyLost"]) == (False, True)
    assert main(["organisation", "list", "--home", str(layout.home)]) == ExitCode.OK
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("acme"))
    assert ("lost" in line, "no backup yet" in line) == (True, False)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("a\u202eb",), "name"),
        (("  ",), "name"),
        (("x" * 201,), "name"),
        (("Acme", "--id", "a.b"), "id"),
        (("Acme", "--id", "../x"), "id"),
    ],
)
def test_what_cannot_be_an_organisation_is_refused(
    layout: Layout, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], field: str
) -> None:
    """By field, and nothing is made."""
    code, document = _run(layout, capsys, "add", *words)
    error = document["error"]
    assert (code, error["code"], error["field"]) == (ExitCode.USAGE, "invalid-field", field)
    assert not added(layout)
    assert not list(layout.credentials.iterdir())


def test_organisation_is_added_once(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither its id nor its name stands for two."""
    add(layout, "Acme", "acme-1")
    for words in (("acme-1",), ("Acme",), ("Other", "--id", "acme-1")):
        code, document = _run(layout, capsys, "add", *words)
        assert (code, document["error"]["code"]) == (ExitCode.REFUSED, "organisation-taken")
    assert [each.id for each in added(layout)] == ["acme-1"]
