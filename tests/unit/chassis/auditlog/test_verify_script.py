"""`docs/examples/verify_audit_log.py`: an export verifies with the platform off, and nothing else does."""

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chassis.auditlog.note import Checkpoint, public_bytes, signed, verifier_key
from chassis.auditlog.tree import Edge, leaf_hash

SCRIPT = Path(__file__).parents[4] / "docs/examples/verify_audit_log.py"
ORIGIN = "wedsync-backup.audit/organisation/a"
KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"a key for tests").digest())
OTHER = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"another key").digest())
VERIFIER = verifier_key(ORIGIN, public_bytes(KEY.public_key()))


def leaf(thing: str, sequence: int) -> bytes:
    """An event, as far as the script looks."""
    return json.dumps({"source": "/x", "subject": thing, "sequence": sequence}).encode()


LEAVES = [leaf("run/1", 1), leaf("run/2", 1), leaf("run/1", 2), leaf("run/1", 3), leaf("run/2", 2)]


def note(leaves: Sequence[bytes], key: Ed25519PrivateKey = KEY) -> str:
    """A checkpoint of all of them."""
    edge = Edge()
    edge.append(map(leaf_hash, leaves))
    return signed(Checkpoint(ORIGIN, edge.size, edge.root()), key)


def pages(leaves: Sequence[bytes] = LEAVES, key: Ed25519PrivateKey = KEY) -> list[dict[str, Any]]:
    """An export in two pages; the log has grown by one between them."""
    items = [{"index": index, "leaf": base64.b64encode(each).decode()} for index, each in enumerate(leaves)]
    return [
        {"items": items[:3], "next": 3, "checkpoint": note(leaves[:-1], key), "verifierKey": VERIFIER},
        {"items": items[3:], "next": None, "checkpoint": note(leaves, key), "verifierKey": VERIFIER},
    ]


def verify(folder: Path, export: Sequence[object], *kept: str, key: str = VERIFIER) -> tuple[int, str]:
    """Exit code and all that was said, without any module of ours."""
    path = folder / "export.jsonl"
    path.write_text("".join(f"{json.dumps(page)}\n" for page in export), encoding="utf-8")
    options = ["--key", key]
    for number, each in enumerate(kept):
        (folder / f"{number}.note").write_text(each, encoding="utf-8")
        options += ["--checkpoint", str(folder / f"{number}.note")]
    command = [sys.executable, "-I", str(SCRIPT), *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout + done.stderr


def test_script_is_read_in_one_sitting() -> None:
    """Less than 200 lines, and nothing of ours."""
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 200
    assert not any(name in text for name in ("chassis", "contracts", "gateway.", "services"))


def test_export_verifies(tmp_path: Path) -> None:
    """Its checkpoints, and one that was kept from an earlier day."""
    code, said = verify(tmp_path, pages(), note(LEAVES[:2]))
    assert (code, "verified: 5 entries" in said) == (0, True), said


def _without(index: int) -> Callable[[list[dict[str, Any]]], None]:
    def change(export: list[dict[str, Any]]) -> None:
        del export[0]["items"][index]

    return change


def _renumbered(export: list[dict[str, Any]]) -> None:
    first = export[0]["items"]
    first[0]["leaf"], first[1]["leaf"] = first[1]["leaf"], first[0]["leaf"]


def _rewritten(export: list[dict[str, Any]]) -> None:
    export[1]["items"][0]["leaf"] = base64.b64encode(leaf("run/1", 3) + b" ").decode()


def _cut_off(export: list[dict[str, Any]]) -> None:
    del export[1]


def _older(export: list[dict[str, Any]]) -> None:
    export[1]["items"].pop()


def _exchanged(export: list[dict[str, Any]]) -> None:
    export[1]["checkpoint"] = note(LEAVES, OTHER)


def _unsigned(export: list[dict[str, Any]]) -> None:
    export[1]["checkpoint"] = export[1]["checkpoint"].replace("\n5\n", "\n6\n")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_without(1), "entry 2 follows where 1 belongs"),
        (_renumbered, "first 4 entries are not those"),
        (_rewritten, "first 4 entries are not those"),
        (_cut_off, "counts 4 entries, and the export has 3"),
        (_older, "counts 5 entries, and the export has 4"),
        (_exchanged, "no signature of this key"),
        (_unsigned, "not signed by this key"),
    ],
    ids=["gap", "order", "rewritten", "cut off", "older", "another key", "another size"],
)
def test_what_was_changed_shows(tmp_path: Path, change: Callable[[list[dict[str, Any]]], None], told: str) -> None:
    """A missing entry, another order, another byte, an end that is gone, a checkpoint of somebody else."""
    export = pages()
    change(export)
    code, said = verify(tmp_path, export)
    assert (code, told in said) == (1, True), said


def test_history_that_was_made_anew_shows_by_a_checkpoint_that_was_kept(tmp_path: Path) -> None:
    """Whoever has the key signs another history: of itself it is whole, and not what was seen before."""
    other = [leaf("run/1", 1), leaf("run/1", 2), leaf("run/1", 3), leaf("run/1", 4), leaf("run/1", 5)]
    assert verify(tmp_path, pages(other))[0] == 0
    code, said = verify(tmp_path, pages(other), note(LEAVES[:3]))
    assert (code, "first 3 entries are not those" in said) == (1, True), said


@pytest.mark.parametrize(
    ("leaves", "told"),
    [
        ([leaf("run/1", 1), leaf("run/1", 3), leaf("run/2", 1), leaf("run/2", 2)], "goes on with its event 3 behind 1"),
        ([leaf("run/1", 1), leaf("run/1", 2), leaf("run/1", 2), leaf("run/1", 3)], "is told again"),
        ([leaf("run/1", 1), b"\xff", leaf("run/1", 2), leaf("run/1", 3)], "entry 1 is no event"),
    ],
    ids=["never appended", "restored record", "no event"],
)
def test_history_with_a_hole_shows_though_it_is_signed(tmp_path: Path, leaves: list[bytes], told: str) -> None:
    """An event that was never appended; a record that was restored and went on otherwise; what is none."""
    code, said = verify(tmp_path, pages(leaves))
    assert (code, told in said) == (1, True), said


@pytest.mark.parametrize("key", ["", "a+b", VERIFIER.replace("+", "+0", 1), VERIFIER[:-4]])
def test_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    """Whatever was copied wrongly."""
    code, said = verify(tmp_path, pages(), key=key)
    assert (code, "verifier key is none" in said) == (1, True), said


LATER, LATEST = "2026-11-28T08:00:00Z", "2026-11-29T08:00:00Z"
NEW = verifier_key(f"{ORIGIN}/since/{LATEST}", public_bytes(OTHER.public_key()))


def note_of(leaves: Sequence[bytes], since: str, key: Ed25519PrivateKey = KEY) -> str:
    """A checkpoint under a later name."""
    edge = Edge()
    edge.append(map(leaf_hash, leaves))
    return signed(Checkpoint(f"{ORIGIN}/since/{since}" if since else ORIGIN, edge.size, edge.root()), key)


BEFORE = [*LEAVES[:3], leaf("run/3", 1), leaf("run/3", 2), leaf("run/3", 3)]
"""What was signed at first: it was put back to three entries, and went on as `LEAVES`."""


def put_back(*later: tuple[str, int, Ed25519PrivateKey], key: Ed25519PrivateKey = KEY) -> list[dict[str, Any]]:
    """An export of a log that was put back to so many entries: its last checkpoint is of the latest generation."""
    export = pages()
    for page in export:
        page["generations"] = [{"checkpoint": note_of(LEAVES[:start], since, by)} for since, start, by in later]
    export[0]["checkpoint"], export[1]["checkpoint"] = (
        note_of(leaves, later[-1][0], later[-1][2]) for leaves in (LEAVES[:4], LEAVES)
    )
    return export


@pytest.mark.parametrize(
    ("kept", "code", "told"),
    [
        ((), 0, "since 2026-11-28T08:00:00Z it goes on behind 3 entries"),
        ((note(BEFORE[:2]), note(BEFORE[:3])), 0, "verified: 5 entries"),
        ((note(BEFORE[:4]), note(BEFORE)), 3, "entries after 3 of what was signed at first are not in this log"),
        ((note(BEFORE[:5]),), 3, "put back on 2026-11-28T08:00:00Z"),
        ((note_of(LEAVES[:4], LATER),), 0, "verified: 5 entries"),
        ((note(LEAVES[1:3]),), 1, "first 2 entries are not those that were signed"),
        ((note(BEFORE), note([*BEFORE[:5], LEAVES[4]])), 1, "contradict each other, both of 6 entries"),
        ((note_of(BEFORE[:4], LATER),), 1, "contradict each other, both of 4 entries"),
        ((note_of(BEFORE, LATER),), 1, "a checkpoint counts 6 entries, and the export has 5"),
        ((note_of(BEFORE[:2], "2026-11-27T08:00:00Z"),), 3, "what was signed since 2026-11-27T08:00:00Z"),
    ],
    ids=[
        "none kept",
        "of before",
        "of what is lost",
        "of the same size",
        "of after",
        "another beginning",
        "two of before",
        "two of after",
        "shorter than after",
        "put back twice",
    ],
)
def test_log_that_was_put_back_is_no_forgery(tmp_path: Path, kept: Sequence[str], code: int, told: str) -> None:
    """What was signed at first holds up to there, what is lost is told; a contradiction within one name stays one."""
    found, said = verify(tmp_path, put_back((LATER, 3, KEY)), *kept)
    assert (found, told in said) == (code, True), said


def test_generation_that_is_not_shown_helps_nobody(tmp_path: Path) -> None:
    """Without its opening what was signed at first is compared with all entries; a name that nobody signed is none."""
    export = put_back((LATER, 3, KEY))
    for page in export:
        del page["generations"]
    code, said = verify(tmp_path, export, note(BEFORE[:5]))
    assert (code, "first 5 entries are not those" in said) == (1, True), said
    code, said = verify(tmp_path, put_back((LATER, 3, OTHER)))
    assert (code, "no signature of this key" in said) == (1, True), said


def test_new_key_signs_from_its_beginning_on(tmp_path: Path) -> None:
    """It is given beside the old one, which signs nothing any more; without it nothing is believed."""
    export = put_back((LATER, 2, KEY), (LATEST, 3, OTHER))
    path, options = tmp_path / "both.jsonl", ["--key", VERIFIER, "--key", NEW]
    path.write_text("".join(f"{json.dumps(page)}\n" for page in export), encoding="utf-8")
    command = [sys.executable, "-I", str(SCRIPT), *options, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "verified: 5 entries" in done.stdout) == (0, True), done.stderr
    assert verify(tmp_path, export)[0] == 1
    code, said = verify(tmp_path, put_back((LATER, 2, KEY), (LATEST, 3, KEY)), key=NEW)
    assert (code, "and the key is of" in said) == (1, True), said
