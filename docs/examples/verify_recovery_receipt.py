#!/usr/bin/env python3
"""Verifies the receipt of a test (or an execution) of a disaster recovery plan, with the platform off.

    verify_recovery_receipt.py --key 'NAME+ID+KEY' RECEIPT

Needs Python 3.9 and `cryptography`, and nothing of ours. RECEIPT: the answer of GET
/api/backup/security/recovery-receipts/ID. --key: as you were given it; the one in the receipt proves nothing.

What is checked: that the checkpoint is signed by the key (C2SP signed-note); that each event is in the log, byte for
byte (RFC 6962, 2.1.1); that of the execution and of each recovery none is left out, a failed attempt neither; that each
restore of the plan has ended with its recovery point whole, every byte read back and no attribute lost. Ends with 0
where all holds, with 2 where the receipt is genuine and does not prove that, with 1 where it is not genuine.
"""

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Forged(Exception):
    """Why it is no receipt of whoever has the key."""


class NotProven(Exception):
    """What a genuine receipt does not prove."""


def checkpoint_of(note, key):
    """The size and root that a note says, once it is signed by the key."""
    name, told, raw = key.split("+", 2)
    raw = base64.b64decode(raw, validate=True)
    text, mark, signatures = note.partition("\n\n")
    origin, size, root = text.split("\n")[:3]
    if raw[0] != 1 or hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() != told:
        raise Forged("the verifier key is none: it is NAME+ID+KEY, and the id has to be the key's")
    if origin != name:
        raise Forged(f"the checkpoint is of the log {origin}, and the key is of {name}")
    for line in signatures.splitlines() if mark else ():
        given = base64.b64decode(line.rpartition(" ")[2])
        if line.startswith(f"\N{EM DASH} {name} ") and given[:4].hex() == told:
            Ed25519PublicKey.from_public_bytes(raw[1:]).verify(given[4:], (text + "\n").encode())
            return int(size), base64.b64decode(root)
    raise Forged("the checkpoint has no signature of this key")


def root_by(index, size, leaf, hashes):
    """The root to which hashes lead from an entry (RFC 9162, 2.1.3.2)."""
    node, last, found = index, size - 1, hashlib.sha256(b"\0" + leaf).digest()
    if not 0 <= index < size:
        raise Forged(f"there is no entry {index} in a log of {size}")
    for each in hashes:
        if last == 0:
            raise Forged(f"the proof of entry {index} is too long")
        if node & 1 or node == last:
            found = hashlib.sha256(b"\1" + each + found).digest()
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + each).digest()
        node, last = node >> 1, last >> 1
    return found if last == 0 else b""


def histories_of(receipt, key):
    """The events by what they are about, in their order, each proven; the size of the log and the places in it."""
    size, root = checkpoint_of(receipt["checkpoint"], key)
    found, places = {}, []
    for each in receipt["entries"]:
        leaf = base64.b64decode(each["leaf"])
        if root_by(each["index"], size, leaf, [base64.b64decode(part) for part in each["hashes"]]) != root:
            raise Forged(f"entry {each['index']} is not what is in the log")
        event = json.loads(leaf)
        owner = event["type"].split(".")[0]
        if event["source"] != f"/wedsync-backup/{owner}":
            raise Forged(f"entry {each['index']} was not said by its owner")
        found.setdefault((owner, event["subject"]), []).append(event)
        places.append(each["index"])
    for (_, subject), events in found.items():
        if [each["sequence"] for each in events] != [*range(1, len(events) + 1)]:
            raise Forged(f"of {subject} an event is left out, or told twice")
    return found, size, places


def one(events, kind, of):
    """The data of the last event of a kind."""
    named = [each["data"] for each in events if each["type"].split(".")[1] == kind]
    if not named:
        raise NotProven(f"{of}: nothing says `{kind}`")
    return named[-1]


def proven(receipt, histories):
    """What the receipt proves, in lines."""
    execution = histories.get(("dr", f"dr-execution/{receipt['executionId']}"), [])
    if not execution or execution[0]["type"] not in ("dr.dr-test-started.v1", "dr.dr-execution-started.v1"):
        raise NotProven("nothing says that the execution was started")
    begun, ended = execution[0]["data"], one(execution, "dr-execution-completed", "the execution")
    points = {each["stepId"]: each["recoveryPointId"] for each in begun["points"]}
    restores = [step["id"] for step in begun["body"]["procedures"] if step["kind"] == "restore"]
    if not restores:
        raise NotProven("the plan restores nothing")
    yield f"execution {receipt['executionId']} of plan {begun['planId']}, version {begun['planVersion']}"
    yield f"from {begun['startedAt']} to {ended['endedAt']}, worked again after {ended['rtoSeconds']} s"
    for step in restores:
        asked = one([each for each in execution if each["data"].get("stepId") == step], "dr-recovery-asked", step)
        recovery = histories.get(("recovery", f"recovery-operation/{asked['operationId']}"), [])
        accepted, whole = one(recovery, "recovery-accepted", step), one(recovery, "recovery-verified", step)
        done = one(recovery, "recovery-completed", step)
        if {each["recoveryPointId"] for each in (asked, accepted, whole, done)} != {points.get(step)}:
            raise NotProven(f"{step}: another recovery point than the one that was chosen")
        totals = done["totals"]
        if done.get("degraded") or done.get("missingInPoint") or totals.get("troubles") or accepted.get("scope"):
            raise NotProven(f"{step}: not all of the point is as it was ({done.get('code') or 'a part was asked for'})")
        if whole["snapshotId"] != accepted["snapshotId"] or any(whole[n] != totals[n] for n in ("files", "bytes")):
            raise NotProven(f"{step}: what was verified is not what was restored")
        yield f"{step}: point {asked['recoveryPointId']}, snapshot {whole['snapshotId']}"
        yield f"{step}: {whole['files']} files, {whole['bytes']} bytes read back in {done.get('seconds', 0)} s"
    is_gone = any(each["type"] == "dr.dr-test-cleaned-up.v1" for each in execution)
    yield "cleaned up: " + ("yes" if is_gone else "not as far as this receipt says" if ended["isTest"] else "no test")


def main():
    """Verify; the exit code."""
    parser = argparse.ArgumentParser(description="Verify a receipt of disaster recovery.")
    parser.add_argument("--key", required=True, help="the verifier key, NAME+ID+KEY")
    parser.add_argument("receipt", help="the receipt, as JSON")
    given = parser.parse_args()
    try:
        receipt = json.loads(Path(given.receipt).read_text(encoding="utf-8"))
        histories, size, places = histories_of(receipt, given.key)
        said = list(proven(receipt, histories))
    except NotProven as error:
        print(f"NOT PROVEN: {error}", file=sys.stderr)
        return 2
    except (Forged, InvalidSignature, ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        print(f"NOT VERIFIED: {str(error) or 'not signed by this key'}", file=sys.stderr)
        return 1
    print("\n".join(["verified", *said, f"places {places} of the log, which has {size} entries"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
