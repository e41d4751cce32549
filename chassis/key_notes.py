"""What `MADE` notes of the sealing keys: which were made, and a check of each that tells it from any other.

    <folder of the key> <number> intended   it is about to be made, or lay there when the notes were begun anew; a key
                                            beside an older copy of the notes has none
    <folder of the key> <number>            the key was made; written before anything is sealed with it
    <folder of the key> <number> <check>    a keyed digest of its own name
    begun-anew                              the notes were begun anew, and no key was there

The check has its line to itself, which an older build passes over. A key may have several: whatever opens what was
sealed under its name is the right one. None is known of a key that was made before there were checks, and that has
opened nothing since.
"""

import contextlib
import hashlib
import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MARK = "SEALING-KEYS"
MARK_TEXT = b"The keys of sealed fields. Back this folder up apart from the databases.\n"
"""The file of a folder that was prepared for keys, and what is in it."""
INTENDED = "intended"
ANEW = "begun-anew"
_CHECK_HEX = 32


@dataclass(frozen=True)
class KeyNotes:
    """`made`: the newest number, by the folder of the key. `checks`, `intended`: by folder and number."""

    made: dict[str, int] = field(default_factory=dict)
    checks: dict[tuple[str, int], set[str]] = field(default_factory=dict)
    intended: set[tuple[str, int]] = field(default_factory=set)
    anew: bool = False

    def __bool__(self) -> bool:
        """Whether there is a line that somebody has written here."""
        return self.anew or bool(self.made or self.intended)

    def whose(self, key: bytes) -> tuple[str, int] | None:
        """Under which name a key is noted, if under any."""
        return next((name for name, noted in self.checks.items() if check_of(key, *name) in noted), None)


def parse(content: bytes) -> KeyNotes:
    """What the lines say. One that a crash has cut short is no key's: the next use of the key writes it again."""
    lines = content.decode("utf-8", "replace").splitlines()
    notes = KeyNotes(anew=ANEW in lines)
    for line in lines:
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
    for lineage, name in _keys_in(folder):
        stem = name.removesuffix(".key")
        if not stem.isdecimal() or notes.made.get(lineage, 0) >= int(stem) or (lineage, int(stem)) in notes.intended:
            continue
        path = folder / lineage / name
        with contextlib.suppress(FileNotFoundError):  # It is destroyed at this moment.
            if not path.with_suffix(".destroyed").exists() and path.stat().st_mtime <= before:
                found.append(path)
    return found


def _keys_in(top: Path) -> Iterator[tuple[str, str]]:
    """The folder of each key, below the top, and the file's name. By plain names: there are thousands of them."""
    for organisation in _names_in(top, "organisations"):
        own = f"organisations/{organisation}"
        subjects = [f"{own}/subjects/{each}" for each in _names_in(top, f"{own}/subjects")]
        for lineage in (f"{own}/organisation", f"{own}/digest", *subjects):
            yield from ((lineage, name) for name in _names_in(top, lineage) if name.endswith(".key"))


def _names_in(top: Path, folder: str) -> list[str]:
    try:
        return sorted(os.listdir(f"{top}/{folder}"))
    except (FileNotFoundError, NotADirectoryError):
        return []
