#!/usr/bin/env python3
"""Verifies an export of an audit log, with the platform off. Needs Python 3.9 and `cryptography`, and nothing of ours.

    verify_audit_log.py --key 'NAME+ID+KEY' [--checkpoint FILE ...] EXPORT

EXPORT: the pages of GET /api/backup/security/audit-log/entries, in order, one JSON document a line. --key: the verifier
key as you were given it (each, where it was begun anew); the one in the export proves nothing, since whoever forges the
one forges the other. --checkpoint: signed notes that you have kept: the log must have been what they say.

What is checked: that no entry is missing or told twice; that the entries, in this order and byte for byte, have the
root of every checkpoint (RFC 6962, 2.1); that each is signed by the key (C2SP signed-note); that of the history of each
thing no event is missing or told again. A log whose record was put back goes on under a name with /since/WHEN: what was
signed before holds up to there. Ends with 0 where all holds, with 3 where a checkpoint of yours counts entries that
were lost when the record was put back, as far as whoever has the key says; with 1 where anything does not hold.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Wrong(Exception):
    """What does not hold."""


def read_key(text):
    """A verifier key: the log's name, since when it signs, the key."""
    try:
        name, told, raw = text.split("+", 2)
        raw = base64.b64decode(raw, validate=True)
        if len(raw) != 33 or raw[0] != 1 or id_of(name, raw[1:]).hex() != told:
            raise ValueError
        return *name.partition("/since/")[::2], raw[1:]
    except ValueError:
        raise Wrong("the verifier key is none: it is NAME+ID+KEY, and the id has to be the key's") from None


def id_of(name, public):
    """The four bytes by which a signature names its key."""
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


def read_checkpoint(note, keys):
    """Of a note: since when the log has its name, its size and root, once the signature is that of the key of then."""
    text, mark, signatures = note.partition("\n\n")
    lines = text.split("\n")
    if not mark or len(lines) < 3 or not lines[1].isascii() or not lines[1].isdigit():
        raise Wrong("a checkpoint is no note of three lines")
    origin, since = lines[0].partition("/since/")[::2]
    of_then = [(begun, public) for name, begun, public in keys if name == origin and begun <= since]
    if not of_then:
        raise Wrong(f"a checkpoint is of the log {lines[0]}, and the key is of {keys[0][0]}")
    for line in (each for each in signatures.splitlines() if each.startswith(f"\N{EM DASH} {lines[0]} ")):
        given = base64.b64decode(line.rpartition(" ")[2])
        if given[:4] != id_of(lines[0], max(of_then)[1]):
            continue
        try:
            Ed25519PublicKey.from_public_bytes(max(of_then)[1]).verify(given[4:], (text + "\n").encode())
        except InvalidSignature:
            raise Wrong(f"the checkpoint of {lines[1]} entries is not signed by this key") from None
        return since, int(lines[1]), base64.b64decode(lines[2])
    raise Wrong(f"the checkpoint of {lines[1]} entries has no signature of this key")


class Tree:
    """The root of the leaves so far: the roots of the perfect subtrees, the largest first, each with its height."""

    def __init__(self):
        self.size, self.parts = 0, []

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
        self.reached, self.findings = {}, []

    def note(self, index, leaf):
        """Look at an entry."""
        try:
            event = json.loads(leaf)
            thing, sequence = (event["source"], event["subject"]), int(event["sequence"])
        except (ValueError, KeyError, TypeError):
            self.findings.append(f"entry {index} is no event")
            return
        before, self.reached[thing] = self.reached.get(thing, 0), sequence
        if sequence > before + 1:
            self.findings.append(f"entry {index}: {thing[1]} goes on with its event {sequence} behind {before}")
        elif sequence <= before:
            self.findings.append(f"entry {index}: event {sequence} of {thing[1]} is told again, behind {before}")


def read_pages(path):
    """The pages of an export."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    page = json.loads(line)
                    entries = [(int(each["index"]), base64.b64decode(each["leaf"])) for each in page["items"]]
                    later = [each["checkpoint"] for each in page.get("generations", [])]
                    yield number, entries, page["checkpoint"], page["next"], later
                except (ValueError, KeyError, TypeError):
                    raise Wrong(f"line {number} is no page of an export") from None


def verify(path, keys, kept):
    """The tree of all entries, what histories lack, what is lost, when the record was put back to which size."""
    roots, begun, tree, histories, last = {}, {}, Tree(), Histories(), None
    reached = {0: tree.root()}

    def say(note):
        since, size, root = read_checkpoint(note, keys)
        if roots.setdefault((since, size), root) != root:
            raise Wrong(f"two checkpoints contradict each other, both of {size} entries")
        return since, size

    list(map(say, kept))
    for number, entries, note, following, later in read_pages(path):
        begun.update(map(say, later))
        looked_at = {size for _, size in roots}
        for index, leaf in entries:
            if index != tree.size:
                raise Wrong(f"line {number}: entry {index} follows where {tree.size} belongs")
            tree.append(leaf)
            histories.note(index, leaf)
            if tree.size in looked_at:
                reached[tree.size] = tree.root()
        if note is None or (last := say(note)[1]) < tree.size:
            raise Wrong(f"line {number}: its checkpoint counts fewer entries than the {tree.size} that are there")
        reached[tree.size] = tree.root()
        if following is not None and following != tree.size:
            raise Wrong(f"line {number} ends before {tree.size}, and says that {following} follows")
    if last != tree.size:
        raise Wrong(f"the last checkpoint counts {last} entries, and the export has {tree.size}")
    return tree, histories.findings, list(compare(roots, reached, begun)), begun


def compare(roots, reached, begun):
    """What was lost when the record was put back. Raises Wrong where entries do not have the root of a checkpoint."""
    for (since, size), root in sorted(roots.items()):
        start, when = min(((start, when) for when, start in begun.items() if when > since), default=(size, None))
        if when is not None and (size > start or since not in ("", *begun)):
            of = f"what was signed since {since}" if since else "what was signed at first"
            yield f"entries after {start} of {of} are not in this log (a checkpoint counts {size}): put back on {when}"
        elif size not in reached:
            raise Wrong(f"a checkpoint counts {size} entries, and the export has {max(reached)}")
        elif reached[size] != root:
            raise Wrong(f"the first {size} entries are not those that were signed: their root is another one")


def main():
    """Verify; the exit code."""
    parser = argparse.ArgumentParser(description="Verify an export of an audit log.")
    parser.add_argument("--key", action="append", required=True, help="the verifier key, NAME+ID+KEY")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE", help="a note kept from earlier")
    parser.add_argument("export", help="the pages, one JSON document a line")
    arguments = parser.parse_args()
    try:
        kept = [Path(each).read_text(encoding="utf-8") for each in arguments.checkpoint]
        tree, findings, lost, begun = verify(arguments.export, [read_key(each) for each in arguments.key], kept)
    except (Wrong, OSError) as error:
        print(f"NOT VERIFIED: {error}", file=sys.stderr)
        return 1
    for said in [f"NOT VERIFIED: {each}" for each in findings] + [f"LOST: {each}" for each in lost]:
        print(said, file=sys.stderr)
    if not findings:
        print(f"verified: {tree.size} entries, root {base64.b64encode(tree.root()).decode()}")
    for when, start in sorted(begun.items()):
        print(f"put back, or another key: since {when} it goes on behind {start} entries")
    return 1 if findings else 3 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
