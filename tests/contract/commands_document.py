"""docs/commands.md, from the parsers: `python -m tests.contract.commands_document` (`--check` only compares)."""

import argparse
import sys
from pathlib import Path

from cli.exit_codes import _BY_CODE, ExitCode
from cli.main import COMMANDS
from cli.parsers import all_parsers, options_of, positionals_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
_HEAD = """\
# Every command and option
Written from the parsers by `make golden`; a test compares the two. What the commands of `repo` do, and what they
promise, is in [repository-cli.md](repository-cli.md); what the platform's commands are for, in
[operations.md](operations.md). Options and arguments stand in any order; `…` may be given more than once. Of options
that every `repo` command takes, the first table of [repository-cli.md](repository-cli.md#what-every-sub-command-takes)
tells.
"""
_CODES = """
## Exit codes by error
A number means the same in every command ([the table](repository-cli.md#exit-codes)). An error that is not here ends
with 8 where the same command may succeed later, else with 1.

| exit code | errors |
|---|---|
"""


def document() -> str:
    """The whole text."""
    parsers = all_parsers()
    common = {each.dest for each in options_of(parsers["repo ls"])} & {
        each.dest for each in options_of(parsers["repo init"])
    }
    parts = [_HEAD]
    for name, parser in parsers.items():
        if not name:
            continue
        summary = COMMANDS[name].summary if name in COMMANDS else parser.description or ""
        parts.append(f"\n## `{name}`\n{summary[:1].upper()}{summary[1:]}.\n")
        left_out = common if name.startswith("repo ") else set()
        rows = [_row(each) for each in (*positionals_of(parser), *options_of(parser)) if each.dest not in left_out]
        if rows:
            parts.append("\n| | |\n|---|---|\n" + "".join(rows))
    parts.append(_CODES)
    for code in ExitCode:
        named = sorted(f"`{error}`" for error, number in _BY_CODE.items() if number is code)
        parts += [f"| {code.value} `{code.name}` | {', '.join(named)} |\n"] if named else []
    return "".join(parts)


def _row(action: argparse.Action) -> str:
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    value = value if isinstance(value, str) else " ".join(value)
    if action.nargs == 0:
        value = ""
    elif action.nargs in ("?", "*"):
        value = f"[{value}]"
    names = ", ".join(f"{word} {value}".strip() for word in action.option_strings) or value
    often = "…" if action.nargs in ("*", "+") or type(action).__name__ == "_AppendAction" else ""
    text = " ".join((action.help or "").replace("%%", "%").split())
    needed = " (needed)" if action.required and action.option_strings else ""
    return f"| `{_cell(names)}`{often} | {_cell(text + needed)} |\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        sys.exit(
            0 if DOCUMENT.read_text(encoding="utf-8") == document() else f"{DOCUMENT.name} is not what the parsers say"
        )
    DOCUMENT.write_text(document(), encoding="utf-8")
