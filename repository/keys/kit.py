"""The recovery kit: a key-encryption key in shares (SLIP-39), of which some bring it back, on paper.

Promise: fewer shares than the threshold tell nothing of the key; what comes back is proven by the key's id and check
digits, which each share bears, since other words, or another passphrase, give another key in silence. A share is
printable text; its `seal` shows a slip of whoever copied it. Layout, one field a line:

    WedSync Backup: share 2 of 5 of a recovery kit; any 3 of them give back the key.
    repository <32 hex>   root <32 hex: key id of the root in force>   key <32 hex: KEK id>   check <8 hex>
    made <date>   tier <address> …
    words                 followed by lines of numbered words
    seal <8 hex: SHA-256 of the fields and words before, joined by single spaces, first 4 bytes>
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from repository.errors import KitInvalid, KitNotMade, KitNotPossible, ShareNotFound
from repository.keys import crypto
from repository.keys.key_file import check_digits, kek_id
from repository.regular_file import open_regular

SHARES_MAX: Final = 16
SHARE_LENGTH_MAX: Final = 64 << 10
_WORDS_A_LINE: Final = 6
_TITLE = re.compile(r"WedSync Backup: share (\d+) of (\d+) of a recovery kit; any (\d+) ")
_FIELDS: Final = ("repository", "root", "key", "check", "made", "tier")


class Share(NamedTuple):
    """One share as its text says. `key` (hex) and `check`: of the key that the kit gives back.

    `root` (hex): the key id of the root that was in force; empty in one that does not say it.
    """

    number: int
    shares: int
    threshold: int
    repository: str
    key: str
    check: str
    mnemonic: str
    root: str = ""


def make_shares(
    kek: bytes,
    repository_id: bytes,
    *,
    threshold: int,
    count: int,
    made: str,
    tiers: Sequence[str],
    root: bytes = b"",
    passphrase: str = "",
) -> list[str]:
    """The texts of `count` shares, of which any `threshold` give the key back. `made`: a date.

    `root`: key id of the one in force. `tiers`: their addresses, without credentials. Raises `KitNotPossible`.
    """
    from shamir_mnemonic import generate_mnemonics

    if not 2 <= threshold <= count <= SHARES_MAX:
        hint = f"At least 2, at most as many as there are shares, and at most {SHARES_MAX} of these."
        raise KitNotPossible("so many of so many shares make no kit", hint=hint)
    (words,) = generate_mnemonics(1, [(threshold, count)], kek, _kit_passphrase(passphrase))
    head = [f"repository {repository_id.hex()}", *([f"root {root.hex()}"] if root else [])]
    head += [f"key {kek_id(kek).hex()}", f"check {check_digits(kek)}"]
    head += [f"made {made}", *(f"tier {address}" for address in tiers)]
    texts = []
    for number, mnemonic in enumerate(words, start=1):
        title = (
            f"WedSync Backup: share {number} of {count} of a recovery kit; any {threshold} of them give back the key."
        )
        lines = [title, *head, "words", *_numbered(mnemonic.split())]
        lines.append(f"seal {_seal(lines[: -_lines_of(mnemonic)], mnemonic)}")
        lines.append("# With a passphrase of its own." if passphrase else "# Whoever has enough shares has the key.")
        lines.append("# Keep each apart from the others and from the tiers. `repo kit check` tries them,")
        lines.append("# `repo kit restore` makes a key file of them.")
        texts.append("\n".join(lines) + "\n")
    return texts


def write_shares(folder: str | os.PathLike[str], texts: Sequence[str]) -> list[Path]:
    """Each share as a file of mode 0600 in a new folder (0700). Nothing is overwritten. Raises `KitNotMade`."""
    place = Path(folder)
    try:
        place.mkdir(mode=0o700)
    except FileExistsError:
        hint = "Name a folder that is not there."
        raise KitNotMade("the folder of the kit exists already", hint=hint, folder=str(place)) from None
    except OSError as error:
        raise KitNotMade("the folder of the kit cannot be made", reason=error.strerror, folder=str(place)) from None
    paths: list[Path] = []
    try:
        for number, text in enumerate(texts, start=1):
            paths.append(place / f"share-{number}-of-{len(texts)}.txt")
            descriptor = os.open(paths[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        for path in paths:  # half a kit is none
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            place.rmdir()
        raise KitNotMade("the kit cannot be written", reason=error.strerror, folder=str(place)) from None
    return paths


def read_share(path: str | os.PathLike[str]) -> Share:
    """A share's file, as it was printed or typed. Raises `ShareNotFound`, `KitInvalid`; shows none of its words."""
    name = os.fspath(path)
    try:
        with open_regular(path) as file:
            body = file.read(SHARE_LENGTH_MAX + 1)
    except FileNotFoundError:
        raise ShareNotFound("there is no such share", file=name) from None
    except OSError as error:
        raise KitInvalid("share cannot be read", reason=error.strerror, file=name) from None
    lines = [" ".join(line.split()) for line in body.decode("utf-8", "replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    title = _TITLE.match(lines[0]) if lines else None
    if title is None or "words" not in lines or len(body) > SHARE_LENGTH_MAX:
        raise KitInvalid("file is no share of a recovery kit", file=name)
    place = lines.index("words")
    fields = dict(line.partition(" ")[::2] for line in lines[1:place])
    end = next((number for number, line in enumerate(lines) if line.startswith("seal ")), len(lines))
    mnemonic = " ".join(word.lower() for line in lines[place + 1 : end] for word in line.split() if word.isalpha())
    if end == len(lines) or lines[end].split()[1:] != [_seal(lines[: place + 1], mnemonic)]:
        hint = "Compare its words, letter by letter, with the print it was copied from."
        raise KitInvalid("share was not copied as it was: its seal does not fit", hint=hint, file=name)
    if not fields.keys() >= {"repository", "key", "check"}:
        raise KitInvalid("share does not say which key it is of", file=name)
    number, count, threshold = map(int, title.groups())
    kit = fields["repository"], fields["key"], fields["check"]
    return Share(number, count, threshold, *kit, mnemonic, fields.get("root", ""))


def key_of(shares: Sequence[Share], passphrase: str = "") -> bytes:
    """The key-encryption key that these shares give back, proven. Raises `KitInvalid`."""
    from shamir_mnemonic import MnemonicError, combine_mnemonics

    by_number = {share.number: share for share in shares}
    if len({share[1:6] for share in shares}) != 1:
        hint = "Take shares of one export: the repository, key and counts on them are the same."
        raise KitInvalid("these shares are of different kits", hint=hint)
    first = shares[0]
    if len(by_number) < first.threshold:
        hint = f"{first.threshold} different ones are needed."
        raise KitInvalid("too few shares", hint=hint, shares=len(by_number), needed=first.threshold)
    try:
        words = [share.mnemonic for share in list(by_number.values())[: first.threshold]]
        kek: bytes = combine_mnemonics(words, _kit_passphrase(passphrase))
    except (MnemonicError, ValueError, IndexError):
        # What it says may quote the words.
        hint = "Look at the words again: a share may be mistyped, or of another kit."
        raise KitInvalid("the shares do not fit together", hint=hint) from None
    if kek_id(kek).hex() != first.key or check_digits(kek) != first.check:
        hint = "The kit's passphrase is another one (or there is one), or a share was changed."
        raise KitInvalid("the shares give another key than the kit's", hint=hint)
    return kek


def _kit_passphrase(text: str) -> bytes:
    if not text.isascii() or not text.isprintable():
        raise KitInvalid("a kit's passphrase has printable ASCII characters only", hint="SLIP-39 has no others.")
    return text.encode()


def _numbered(words: Sequence[str]) -> list[str]:
    rows = range(0, len(words), _WORDS_A_LINE)
    return [" ".join([f"{row + 1:2}", *words[row : row + _WORDS_A_LINE]]) for row in rows]


def _lines_of(mnemonic: str) -> int:
    return -(-len(mnemonic.split()) // _WORDS_A_LINE)


def _seal(head: Sequence[str], mnemonic: str) -> str:
    text = " ".join([*head, mnemonic]).split()
    return crypto.sha256(" ".join(text).encode())[:4].hex()
