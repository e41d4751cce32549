"""Commands of the documents, as they are written there, typed into a shell.

A block is named by a comment above it, `<!-- run: NAME -->`, and what is expected by `<!-- expect: NAME -->`, where `…`
stands for whatever is there.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.stack import ROOT

_BLOCK = re.compile(
    r"^<!-- (?P<kind>run|expect): (?P<name>[\w-]+) -->\n```\w*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass
class Shell:
    """Somebody who has a document open. `programs`: a folder of his own that comes first on the path."""

    document: str
    programs: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """`wedsync-backup` is the one of this source tree."""
        self.programs.mkdir()
        program = self.programs / "wedsync-backup"
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m cli "$@"\n')
        program.chmod(0o755)

    def block(self, kind: str, name: str) -> str:
        """A block as it stands in the document."""
        found = [each for each in _BLOCK.finditer((ROOT / self.document).read_text()) if each["name"] == name]
        (text,) = [each["text"] for each in found if each["kind"] == kind]
        return str(text)

    def follow(self, *names: str, instead: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
        """Type blocks into one shell, which ends at the first line that fails.

        `instead`: what somebody writes in the place of the document's own words, each of which has to be there.
        """
        script = "".join(self.block("run", name) for name in names)
        for words, own in (instead or {}).items():
            assert words in script, words
            script = script.replace(words, own)
        return self.type("set -eo pipefail\n" + script)

    def type(self, script: str) -> "subprocess.CompletedProcess[str]":
        """What a shell says to a script."""
        path = f"{self.programs}:{os.environ['PATH']}"
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env={**os.environ, "PATH": path, **self.variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )

    def expect(self, name: str, said: str) -> None:
        """Fail unless each line that the document expects was said, in its order."""
        lines = said.splitlines()
        for expected in self.block("expect", name).splitlines():
            pattern = re.compile(".*".join(map(re.escape, " ".join(expected.split()).split("…"))))
            while lines and not pattern.fullmatch(" ".join(lines[0].split())):
                lines.pop(0)
            assert lines, f"{expected!r} is not said by:\n{said}"
            lines.pop(0)
