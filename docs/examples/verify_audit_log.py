#!/usr/bin/env python3
"""Verifies an export of an audit log, with the platform off. Needs Python 3.9 and `cryptography`, and nothing of ours.

    verify_audit_log.py --key 'NAME+ID+KEY' [--checkpoint FILE ...] EXPORT

EXPORT: the pages of GET /api/backup/security/audit-log/entries, in order, one JSON document a line. --key: the verifier
key as you were given it; the one in the export proves nothing, since whoever forges the one forges the other.
--checkpoint: signed notes that you have kept from earlier days: the log must have been what they say.

What is checked: that no entry is missing or told twice; that the entries, in this order and byte for byte, have the
root of every checkpoint (RFC 6962, 2.1); that each is signed by the key (C2SP signed-note); that of the history of each
thing no event is missing or told again. Ends with 0 where all of it holds, else with 1, and says what does not.
"""

import argparse
import base64
import hashlib
import json
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Wrong(Exception):
    """What does not hold."""


def read_key(text):
    """A verifier key: its name, its four bytes of id, the key."""
    try:
        name, told, encoded = text.split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
        if len(raw) != 33 or raw[0] != 1:
            raise ValueError
        key_id = hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4]
        if key_id.hex() != told:
            raise ValueError
        return name, key_id, Ed25519PublicKey.from_public_bytes(raw[1:])
    except ValueError:
        raise Wrong("the verifier key is none: it is NAME+ID+KEY, and the id has to be the key's") from None


def read_checkpoint(note, key):
    """The size and root that a note says, once its signature is the key's."""
    name, key_id, public = key
    text, mark, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if not mark or len(lines) < 3 or not lines[1].isascii() or not lines[1].isdigit():
        raise Wrong("a checkpoint is no note of three lines")
    if lines[0] != name:
        raise Wrong(f"a checkpoint is of the log {lines[0]}, and the key is of {name}")
    for line in signatures.splitlines():
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\N{EM DASH}" or parts[1] != name:
            continue
        given = base64.b64decode(parts[2])
        if given[:4] != key_id:
            continue
        try:
            public.verify(given[4:], (text + "\n").encode())
        except InvalidSignature:
            raise Wrong(f"the checkpoint of {lines[1]} entries is not signed by this key") from None
        return int(lines[1]), base64.b64decode(lines[2])
    raise Wrong(f"the checkpoint of {lines[1]} entries has no signature of this key")


class Tree:
    """The root of the leaves so far: the roots of the perfect subtrees, the largest first, each with its height."""

    def __init__(self):
        self.size = 0
        self.parts = []

    def append(self, leaf):
        """Take one more entry."""
        height, found = 0, hashlib.sha256(b"\0" + leaf).digest()
        while self.parts and self.parts[-1][0] == height:
            found = hashlib.sha256(b"\1" + self.parts.pop()[1] + found).digest()
            height += 1
        self.parts.append((height, found))
        self.size += 1

    def root(self):
        """The root as it is now."""
        if not self.parts:
            return hashlib.sha256(b"").digest()
        found = self.parts[-1][1]
        for _, left in reversed(self.parts[:-1]):
            found = hashlib.sha256(b"\1" + left + found).digest()
        return found


class Histories:
    """Of each thing its events are counted from 1: which is missing, and which was told twice."""

    def __init__(self):
        self.reached = {}
        self.findings = []

    def note(self, index, leaf):
        """Look at an entry."""
        try:
            event = json.loads(leaf)
            thing, sequence = (event["source"], event["subject"]), int(event["sequence"])
        except (ValueError, KeyError, TypeError):
            self.findings.append(f"entry {index} is no event")
            return
        before = self.reached.get(thing, 0)
        if sequence > before + 1:
            self.findings.append(f"entry {index}: {thing[1]} goes on with its event {sequence} behind {before}")
        elif sequence <= before:
            self.findings.append(f"entry {index}: event {sequence} of {thing[1]} is told again, behind {before}")
        self.reached[thing] = sequence


def read_pages(path):
    """The pages of an export."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    page = json.loads(line)
                    entries = [(int(each["index"]), base64.b64decode(each["leaf"])) for each in page["items"]]
                    yield number, entries, page["checkpoint"], page["next"]
                except (ValueError, KeyError, TypeError):
                    raise Wrong(f"line {number} is no page of an export") from None


def verify(path, key, kept):
    """The tree of all entries, and what histories lack. Raises Wrong."""
    roots = {}

    def say(note):
        size, root = read_checkpoint(note, key)
        if roots.setdefault(size, root) != root:
            raise Wrong(f"two checkpoints contradict each other, both of {size} entries")
        return size

    for note in kept:
        say(note)
    tree, histories, last = Tree(), Histories(), None
    reached = {0: tree.root()}
    for number, entries, note, following in read_pages(path):
        for index, leaf in entries:
            if index != tree.size:
                raise Wrong(f"line {number}: entry {index} follows where {tree.size} belongs")
            tree.append(leaf)
            histories.note(index, leaf)
            if tree.size in roots:
                reached[tree.size] = tree.root()
        if note is None or (last := say(note)) < tree.size:
            raise Wrong(
                f"line {number}: its checkpoint counts fewer than the {tree.size} entries that are there by then"
            )
        if last == tree.size:
            reached[last] = tree.root()
        if following is not None and following != tree.size:
            raise Wrong(f"line {number} ends before {tree.size}, and says that {following} follows")
    if last != tree.size:
        raise Wrong(f"the last checkpoint counts {last} entries, and the export has {tree.size}")
    compare(roots, reached, tree.size)
    return tree, histories.findings


def compare(roots, reached, entries):
    """Raise Wrong where the entries do not have the root of a checkpoint."""
    for size, root in sorted(roots.items()):
        if size not in reached:
            raise Wrong(f"a checkpoint counts {size} entries, and the export has {entries}")
        if reached[size] != root:
            raise Wrong(f"the first {size} entries are not those that were signed: their root is another one")


def main():
    """Verify; the exit code."""
    parser = argparse.ArgumentParser(description="Verify an export of an audit log.")
    parser.add_argument("--key", required=True, help="the verifier key, NAME+ID+KEY")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="a note kept from earlier")
    parser.add_argument("export", help="the pages, one JSON document a line")
    arguments = parser.parse_args()
    try:
        kept = []
        for path in arguments.checkpoint:
            with open(path, encoding="utf-8") as file:
                kept.append(file.read())
        tree, findings = verify(arguments.export, read_key(arguments.key), kept)
    except (Wrong, OSError) as error:
        print(f"NOT VERIFIED: {error}", file=sys.stderr)  # noqa: T201
        return 1
    for finding in findings:
        print(f"NOT VERIFIED: {finding}", file=sys.stderr)  # noqa: T201
    if not findings:
        print(f"verified: {tree.size} entries, root {base64.b64encode(tree.root()).decode()}")  # noqa: T201
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
