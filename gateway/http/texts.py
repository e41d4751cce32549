"""Text that people read: names and tags are shown in lists, in logs of other systems and on terminals.

Promise: what is shown is what was written. Characters that nobody sees or that change the order of others are refused
with their number and name: controls, line separators, bidirectional and zero-width marks, fillers, byte order marks,
private and unpaired ones. Text is kept in Unicode's form NFC, so that a name that two keyboards write differently is
one name; a path is kept as it is, since a file system knows it by its bytes.
"""

import unicodedata
from collections.abc import Iterator

from contracts import errors
from contracts.errors import PlatformError

# Invisible, though Unicode counts them among letters, marks and symbols (Default_Ignorable_Code_Point and the blanks).
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0") | frozenset(
    map(chr, (*range(0xFE00, 0xFE0F), *range(0xE0100, 0xE01F0)))
)
# U+FE0F is left: it makes an emoji of a sign, and every keyboard sends it.
_CATEGORIES = {
    "Cc": "control character",
    "Cf": "invisible mark",
    "Co": "private character",
    "Cs": "unpaired surrogate",
    "Zl": "line separator",
    "Zp": "paragraph separator",
}


def kept(text: str) -> str:
    """Text as it is kept: in NFC, without white space around it."""
    return unicodedata.normalize("NFC", text).strip()


def unreadable_character(text: str) -> str | None:
    """The first character that a reader would not see as it is, named for people; None where there is none."""
    if text.isascii() and text.isprintable():
        return None
    for place, character in enumerate(text, 1):
        kind = _CATEGORIES.get(unicodedata.category(character))
        if character in _INVISIBLE:
            kind = "invisible mark"
        elif ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
            kind = "noncharacter"
        if kind is not None:
            name = unicodedata.name(character, kind)
            return f"U+{ord(character):04X} ({name}), character {place}"
    return None


def unreadable(field: str, text: str) -> Iterator[PlatformError]:
    """What is wrong with the characters of a field, where anything is."""
    if (character := unreadable_character(text)) is not None:
        yield PlatformError(
            errors.INVALID_FIELD,
            f"the text has a character that nobody can read: {character}",
            field=field,
            hint="Take the character out: what is shown has to be what was written.",
        )


def wrong_texts(*named: tuple[str, str]) -> Iterator[PlatformError]:
    """What is wrong with texts that people read, each with its field."""
    for field, text in named:
        yield from unreadable(field, text)
        if not kept(text):
            yield PlatformError(errors.INVALID_FIELD, "the text is blank", field=field, hint="Write something.")
