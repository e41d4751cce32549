"""`repo erase` and `repo kit`: a person's data ended in two steps with a receipt; a key in shares, and back."""

import json
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.support.repo_command import RepoCommand


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RepoCommand:
    """A repository on two tiers, with a file in the default domain and one of a person's."""
    made = RepoCommand(tmp_path, capsys)
    made.json("init")
    for name, domain in (("contract", "default"), ("letters", "person")):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(name.encode() * 1000)
        assert domain == "default" or made.run("key", "domain", domain).code == 0
        made.json("backup", tmp_path / name, "--domain", domain)
    return made


def _say(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = main(["repo", *words])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_tier_that_is_known_and_not_given_is_named(repo: RepoCommand) -> None:
    """It has the wrapped key still: whoever asked for the end of the data did not get it."""
    one, two = repo.tiers
    looked = repo.run("erase", "person", "--json", tiers=[one])
    planned = looked.document
    assert (looked.code, planned["not_given"]) == (4, [two])
    done = repo.run("erase", "person", "--confirm", planned["confirm"], "--json", tiers=[one])
    assert (done.code, f"seen at {two} was not given" in done.err) == (4, True), done
    assert done.document["complete"] is False, "as the exit code"
    signed = done.document["receipt"]
    assert (signed["isComplete"], [each["state"] for each in signed["tiers"]]) == (False, ["erased", "not-given"])
    again = repo.run("erase", "person", "--confirm", planned["confirm"])
    assert (again.code, "was not given" in again.err) == (0, False), again


def test_domain_is_erased_in_two_steps_and_the_receipt_is_proven_offline(
    repo: RepoCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    public_key: Any = repo.json("key", "list")["public_key"]
    receipt = repo.folder / "receipt"
    planned = repo.run("erase", "person")
    assert (planned.code, "nothing was erased" in planned.out, "database dumps" in planned.out) == (0, True, True)
    assert len(repo.json("snapshots")["snapshots"]) == 2
    word = repo.json("erase", "person")["confirm"]
    assert f"--confirm {word}" in planned.out
    assert repo.run("erase", "person", "--confirm", "00000000", "--receipt", receipt).code == 9
    assert not receipt.exists()
    assert repo.run("hold", "court", "--all").code == 0
    held = repo.run("erase", "person", "--confirm", word)
    assert (held.code, "snapshot-held" in held.err) == (9, True)
    assert repo.run("release", "court").code == 0
    done = repo.run("erase", "person", "--confirm", word, "--receipt", receipt)
    assert (done.code, receipt.stat().st_mode & 0o777) == (0, 0o600), done
    assert len(repo.json("snapshots")["snapshots"]) == 1
    assert repo.run("restore", "latest", "--target", repo.folder / "out").code == 0
    assert (repo.folder / "out" / "contract").read_bytes() == b"contract" * 1000
    assert repo.run("check", "--read-data").code == 0
    assert repo.run("backup", repo.folder / "letters", "--domain", "person").code == 7
    for tier in ("a", "b"):
        for path in (repo.tier(tier).rename(repo.folder / f"{tier} is off")).rglob("*"):
            assert not path.is_file() or b"letters" not in path.read_bytes()
    # Nothing runs, and no tier is there.
    code, said = _say(capsys, "verify-receipt", str(receipt), "--public-key", public_key)
    assert (code, "genuine" in said, "complete" in said) == (0, True, True)
    document = json.loads(receipt.read_text())
    document["receipt"]["domain"] = "nobody"
    receipt.write_text(json.dumps(document))
    assert _say(capsys, "verify-receipt", str(receipt), "--public-key", public_key)[0] == 5
    assert _say(capsys, "verify-receipt", str(receipt), "--public-key", "ab")[0] == 2
    code, said = _say(capsys, "verify-receipt", str(receipt.with_name("none")), "--public-key", public_key)
    assert (code, "receipt-not-found" in said, str(receipt.with_name("none")) in said) == (7, True, True)
    code, said = _say(capsys, "verify-receipt", str(receipt.parent), "--public-key", public_key)
    assert (code, "receipt-unreadable" in said, "repo check" in said) == (9, True, False)


def test_erasure_that_a_tier_misses_is_told_and_goes_on(repo: RepoCommand, capsys: pytest.CaptureFixture[str]) -> None:
    public_key, receipt = repo.json("key", "list")["public_key"], repo.folder / "receipt"
    away = repo.tier("b").rename(repo.folder / "away")
    word = repo.json("erase", "person")["confirm"]
    told = repo.run("erase", "person", "--confirm", word, "--receipt", receipt)
    assert (told.code, "b is away" in told.out, "NOT complete" in told.err) == (4, True, True)
    assert _say(capsys, "verify-receipt", str(receipt), "--public-key", public_key)[0] == 4
    again = repo.run("erase", "person", "--confirm", word, "--receipt", receipt)
    assert (again.code, "exists already" in again.err) == (9, True)
    away.rename(repo.tier("b"))
    assert len(repo.json("snapshots")["snapshots"]) == 1
    caught = repo.json("catch-up")["tiers"]["b"]
    assert (len(caught["erased_keys"]), caught["erased_keys_left"]) == (1, {})
    (key_id,) = [each["key_id"] for each in repo.json("key", "list")["keys"] if each["is_destroyed"]]
    assert not [path for tier in ("a", "b") for path in (repo.tier(tier) / "keys").iterdir() if key_id in path.name]
    done: Any = repo.json("erase", key_id, "--confirm", repo.json("erase", key_id)["confirm"])
    assert done["complete"]


def test_kit_is_exported_checked_and_made_a_key_file_again(
    repo: RepoCommand, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kit, key = repo.folder / "kit", repo.folder / "restored"
    monkeypatch.setenv("WEDSYNC_KIT_PASSPHRASE", "of the kit")
    files: Any = repo.json("kit", "export", "--out", kit, "--kit-passphrase")["files"]
    assert len(files) == 5
    done = repo.run("kit", "export", "--out", kit)
    assert (done.code, "kit-not-made" in done.err) == (9, True)
    done = repo.run("kit", "export", "--out", repo.folder / "none", "--shares", "3", "--threshold", "5")
    assert (done.code, "kit-not-possible" in done.err) == (2, True)
    done = repo.run("kit", "check", repo.folder / "nothing")
    assert (done.code, "share-not-found" in done.err) == (7, True)
    tiers = [word for tier in repo.tiers for word in ("--tier", tier)]
    stored = {path: path.stat().st_mtime_ns for path in repo.folder.rglob("*")}
    assert _say(capsys, "kit", "check", *tiers, "--kit-passphrase", *files[1:4])[0] == 0
    assert {path: path.stat().st_mtime_ns for path in repo.folder.rglob("*")} == stored
    for words in (files[:2], files[1:4]):  # too few, and without the passphrase
        code, said = _say(capsys, "kit", "check", *tiers, *words)
        assert (code, "kit-invalid" in said) == (6, True)
    assert _say(capsys, "kit", "restore", "--out", str(key), "--kit-passphrase", *files[:3])[0] == 0
    assert key.stat().st_mode & 0o777 == 0o600
    assert _say(capsys, "kit", "restore", "--out", str(key), "--kit-passphrase", *files[:3])[0] == 9
    repo.key_file = key
    assert repo.run("check").code == 0
    # A key that came later, and that it does not open, is told.
    other = repo.folder / "other"
    repo.run("key", "add", "--new-key-file", other)
    repo.key_file = other
    repo.run("key", "rotate", "--data")
    code, said = _say(capsys, "kit", "check", *tiers, "--kit-passphrase", *files[:3])
    assert (code, "NOT 1 of its keys" in said) == (6, True)


def test_an_erasure_that_a_tier_missed_is_said_again_with_the_same_word(repo: RepoCommand) -> None:
    """The receipt of the whole erasure names the domain and its snapshots."""
    away = repo.tier("b").rename(repo.folder / "away")
    planned = repo.json("erase", "person")
    assert repo.run("erase", "person", "--confirm", planned["confirm"]).code == 4
    away.rename(repo.tier("b"))
    done = repo.run("erase", "person", "--confirm", planned["confirm"], "--json")
    assert done.code == 0, done
    receipt = json.loads(done.out)
    assert receipt["complete"]
    assert (receipt["receipt"]["domain"], receipt["receipt"]["snapshots"]) == ("person", planned["snapshots"])
    assert planned["snapshots"]
