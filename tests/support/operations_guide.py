"""The guide for operators, block by block.

A block of docs/operations.md is named by a comment above it, `<!-- run: NAME -->`, and what is expected by
`<!-- expect: NAME -->`. In what is expected figures, times and paths stand for any, and `…` for whatever is there.
"""

import re

from tests.support.stack import ROOT

GUIDE = (ROOT / "docs/operations.md").read_text()
OF_ANOTHER_FILE = GUIDE[GUIDE.index("\n## 9.") : GUIDE.index("\n## 10.")]
"""Registering is tried out with its commands."""
BLOCK = re.compile(
    r"(?:<!-- (?P<kind>run|expect): (?P<name>[\w-]+) -->\n)?^```\w*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


def block(kind: str, name: str, *changes: tuple[str, str]) -> str:
    """A block of the guide, with what stands for something replaced by it."""
    (found,) = [each["text"] for each in BLOCK.finditer(GUIDE) if (each["kind"], each["name"]) == (kind, name)]
    text = str(found)
    for placeholder, given in changes:
        assert placeholder in text, placeholder
        text = text.replace(placeholder, given)
    return text


def assert_shows(expected: str, said: str) -> None:
    """Each line of what is expected is there, in this order."""
    lines = iter(said.splitlines())
    for line in expected.splitlines():
        if line.strip("… "):
            pattern = _pattern(line)
            assert any(pattern.fullmatch(" ".join(each.split())) for each in lines), f"{line}\nis not in\n{said}"


def _pattern(line: str) -> "re.Pattern[str]":
    text = re.escape(" ".join(line.split()))
    text = re.sub(r"/srv/wedsync", ".*", text)
    text = re.sub(r"\d+(?:\\\.\d+)?(\\ (?:s|min|h|d)\b)", r"\\d[\\d.]*\\ (?:s|min|h|d)", text)
    text = re.sub(r"(?<![\w\\-])\d+(?:\\\.\d+)?", r"\\d[\\d.]*", text)
    return re.compile(text.replace("…", ".*"))
