"""docs/commands.md is what the parsers say, and the exit codes of the manual are those of the code."""

import re

from cli.exit_codes import ExitCode
from tests.contract.commands_document import DOCUMENT, document


def test_reference_is_what_the_parsers_say() -> None:
    """Whoever adds an option writes it anew: `python -m tests.contract.commands_document`."""
    assert DOCUMENT.read_text(encoding="utf-8") == document()


def test_manual_has_each_exit_code_once() -> None:
    """By its number and its name."""
    manual = (DOCUMENT.parent / "repository-cli.md").read_text(encoding="utf-8").partition("\n## Exit codes\n")[2]
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", manual.partition("\n## ")[0], re.MULTILINE)
    assert rows == [(str(code.value), code.name) for code in ExitCode]
