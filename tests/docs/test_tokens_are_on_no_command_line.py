"""What the documents tell somebody to type, and what `up` prints, shows a token to nobody who lists the processes."""

import re
from pathlib import Path

import pytest

from cli.up import _how_to
from deploy.stack.layout import Layout
from tests.support.guide import Shell
from tests.support.stack import ROOT, Platform

DOCUMENTS = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("services/*/README.md")])
_SHOWN = re.compile(
    r"-H\s+[\"'][^\"']*(?:Authorization|\$AUTH|\$TOKEN)|(?<!printf 'Authorization: Bearer %s' )\"\$(?:TOKEN|AUTH)\""
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_give_no_token_as_an_argument(document: Path) -> None:
    """A header comes from standard input, and a program's token from its environment."""
    assert _SHOWN.findall(document.read_text()) == []


def test_api_by_example_sends_the_token_by_standard_input(tmp_path: Path) -> None:
    """The words that the document makes for its examples, with a program in curl's place."""
    shell = Shell("docs/api.md", tmp_path / "bin", tmp_path)
    curl = tmp_path / "bin" / "curl"
    curl.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/line; cat > {tmp_path}/input\n')
    curl.chmod(0o755)
    (words,) = re.findall(r"^api\(\) .*$", (ROOT / "docs/api.md").read_text(), flags=re.MULTILINE)
    done = shell.type(f"TOKEN=secret API=http://127.0.0.1:1/api/backup\n{words}\napi $API/status -d x=1")
    assert done.returncode == 0, done.stderr
    line = (tmp_path / "line").read_text()
    assert ("http://127.0.0.1:1/api/backup/status\n-d\nx=1" in line, "secret" in line) == (True, False)
    assert (tmp_path / "input").read_text() == "Authorization: Bearer secret"


@pytest.mark.stack
@pytest.mark.timeout(240)
def test_what_up_prints_works_as_it_stands(shared_platform: Platform, tmp_path: Path) -> None:
    """It shows the status, and the token is on no command line."""
    shell = Shell("README.md", tmp_path / "bin", tmp_path)
    (line,) = [each for each in _how_to(Layout.find(shared_platform.home)) if "try it" in each]
    assert "$(" not in line
    done = shell.type(f"set -o pipefail; {line.split('try it')[1]}")
    assert done.returncode == 0, done.stderr
    assert '"queue"' in done.stdout
