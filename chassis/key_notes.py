"""What `MADE` notes of the sealing keys: which were made, and a check of each that tells it from any other.

    <folder of the key> <number> intended   it is about to be made; a key beside an older copy of the notes has none
    <folder of the key> <number>            the key was made; written before anything is sealed with it
    <folder of the key> <number> <check>    a keyed digest of its own name

The check has its line to itself, which an older build passes over. A key may have several: whatever opens what was
sealed under its name is the right one. None is known of a key that was made before there were checks, and that has
opened nothing since.
"""

import contextlib
import hashlib
import hmac
from dataclasses import dataclass, field
from pathlib import Path

MARK = "SEALING-KEYS"
MARK_TEXT = b"The keys of sealed fields. Back this folder up apart from the databases.\n"
"""The file of a folder that was prepared for keys, and what is in it."""
INTENDED = "intended"
_CHECK_HEX = 32


@dataclass(frozen=True)
class KeyNotes:
    """`made`: the newest number, by the folder of the key. `checks`, `intended`: by folder and number."""

    made: dict[str, int] = field(default_factory=dict)
    checks: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    intended: set[tuple[str, int]] = field(default_factory=set)

    def whose(self, key: bytes) -> tuple[str, int] | None:
        """Under which name a key is noted, if under any."""
        return next((name for name, noted in self.checks.items() if check_of(key, *name) in noted), None)


def parse(content: bytes) -> KeyNotes:
    """What the lines say. One that a crash has cut short is no key's: the next use of the key writes it again."""
    notes = KeyNotes()
    for line in content.decode("utf-8", "replace").splitlines():
        lineage, _, rest = line.partition(" ")
        number, _, check = rest.partition(" ")
        if not (number.isascii() and number.isdecimal() and len(number) < 10):
            continue
        if not check:
            notes.made[lineage] = max(notes.made.get(lineage, 0), int(number))
        elif check == INTENDED:
            notes.intended.add((lineage, int(number)))
        elif len(check) == _CHECK_HEX:
            notes.checks.setdefault((lineage, int(number)), set()).add(check)
    return notes


def check_of(key: bytes, lineage: str, number: int) -> str:
    """What is noted of a key: bound to its organisation, its kind and its number, and tells nothing of its bytes."""
    return hmac.new(key, f"check of a sealing key\n{lineage}\n{number}".encode(), hashlib.sha256).hexdigest()[
        :_CHECK_HEX
    ]


def unnoted(folder: Path, notes: KeyNotes, *, before: float) -> list[Path]:
    """The files of keys below a folder, written before a moment, of which the notes know nothing.

    One that was intended is of who died before its line: it has sealed nothing, and gets its line with its first use.
    """
    found = []
    for pattern in ("*/organisation/*.key", "*/digest/*.key", "*/subjects/*/*.key"):
        for path in sorted((folder / "organisations").glob(pattern)):
            if not path.stem.isdecimal() or path.with_suffix(".destroyed").exists():
                continue
            lineage, number = str(path.parent.relative_to(folder)), int(path.stem)
            if notes.made.get(lineage, 0) >= number or (lineage, number) in notes.intended:
                continue
            with contextlib.suppress(FileNotFoundError):  # It is destroyed at this moment.
                if path.stat().st_mtime <= before:
                    found.append(path)
    return found
