"""`wedsync-backup repo` as a test calls it: in this process, with its output and its exit code."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cli.main import main


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """What it printed with --json: exactly one line."""
        assert self.out.count("\n") == 1, (self.out, self.err)
        return json.loads(self.out)


class RepoCommand:
    """A repository below `folder`: a key file and tiers in folders (paths below it), used through the command line."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], tiers: tuple[str, ...] = ("a", "b")) -> None:
        self.folder = folder
        self.key_file = folder / "key"
        self.key_options: list[str] | None = None
        """In place of the key file."""
        self._folders = {Path(name).name: folder / name for name in tiers}
        self.tiers = [path.as_uri() for path in self._folders.values()]
        self._capsys = capsys

    def tier(self, name: str) -> Path:
        """The folder of a tier, by the tier's name."""
        return self._folders[name]

    def run(self, *words: str | Path, tiers: list[str] | None = None) -> Done:
        """One command on all tiers (or these)."""
        first, *others = map(str, words)
        group = [first, others.pop(0)] if first in ("key", "kit", "pins") else [first]
        key = ["--key-file", str(self.key_file)] if self.key_options is None else self.key_options
        if group in (["kit", "check"], ["kit", "restore"], ["verify-receipt"]):
            key, tiers = [], self.tiers if group == ["kit", "check"] else []
        addresses = [word for url in (self.tiers if tiers is None else tiers) for word in ("--tier", url)]
        self._capsys.readouterr()
        code = main(["repo", *group, *key, *addresses, *others])
        said = self._capsys.readouterr()
        return Done(code, said.out, said.err)

    def json(self, *words: str | Path, tiers: list[str] | None = None) -> Any:
        """One command with --json, which has to succeed; its document."""
        done = self.run(*words, "--json", tiers=tiers)
        assert done.code == 0, done
        return done.document

    def damage_a_pack(self, tier: str) -> Path:
        """Flip a byte in the middle of the largest pack of a tier; returns its path."""
        pack = max((self.tier(tier) / "packs").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
        body = bytearray(pack.read_bytes())
        body[len(body) // 2] ^= 0x40
        pack.chmod(0o600)
        pack.write_bytes(body)
        return pack
