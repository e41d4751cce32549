"""`repo key`: other key files, new keys, and the end of old ones."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from repository.errors import Locked
from repository.tiers.folder.store import DirectoryObjectStore
from tests.support.repo_command import RepoCommand


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RepoCommand:
    """A repository on two tiers with a backup of one file."""
    made = RepoCommand(tmp_path, capsys)
    made.json("init")
    source = tmp_path / "source"
    source.mkdir()
    (source / "contract").write_bytes(b"signed " * 10_000)
    made.json("backup", source)
    return made


def _with(repo: RepoCommand, key_file: Path) -> RepoCommand:
    other = RepoCommand(repo.folder, repo._capsys)
    other.key_file = key_file
    return other


def _keks(repo: RepoCommand) -> set[str]:
    listed: Any = repo.json("key", "list")
    return {kek for each in listed["keys"] for kek in each["wrapped_under"]}


def test_another_key_file_opens_the_repository_until_it_is_ended(repo: RepoCommand) -> None:
    second = repo.folder / "second"
    assert "was made" in repo.run("key", "add", "--new-key-file", second).out
    assert second.stat().st_mode & 0o777 == 0o600
    assert len(_keks(repo)) == 2
    other = _with(repo, second)
    assert len(other.json("snapshots")["snapshots"]) == 1
    first_kek = repo.json("key", "list")["opened_by"]
    assert other.run("key", "remove", first_kek).code == 0
    assert repo.run("snapshots").code == 6
    assert other.run("check", "--read-data").code == 0
    assert _keks(other) == {other.json("key", "list")["opened_by"]}


def test_the_key_of_the_key_file_is_rotated(repo: RepoCommand) -> None:
    new, out = repo.folder / "new", repo.folder / "out"
    told = repo.run("key", "rotate", "--new-key-file", new)
    assert told.code == 0
    old_kek = repo.json("key", "list")["opened_by"]
    assert f"repo key remove {old_kek}" in told.out
    rotated = _with(repo, new)
    assert rotated.run("key", "remove", old_kek).code == 0
    assert repo.run("snapshots").code == 6
    assert rotated.run("restore", "latest", "--target", out).code == 0
    assert (out / "contract").read_bytes() == b"signed " * 10_000


@pytest.mark.parametrize("command", ["add", "rotate"])
def test_a_new_key_file_remembers_what_was_seen_of_the_tiers(repo: RepoCommand, command: str) -> None:
    """A tier that is put back is noticed with it, too: who has the old file may be the one who puts it back."""
    new = repo.folder / "new"
    repo.run("key", command, "--new-key-file", new)
    kept = repo.folder / "kept"
    shutil.copytree(repo.tier("a"), kept)
    shutil.copytree(repo.tier("b"), repo.folder / "kept b")
    (repo.folder / "source" / "later").write_bytes(b"later")
    repo.json("backup", repo.folder / "source")
    repo.run("key", "add", "--new-key-file", new)  # with what was seen since
    for name, copy in (("a", kept), ("b", repo.folder / "kept b")):
        shutil.rmtree(repo.tier(name))
        shutil.copytree(copy, repo.tier(name))
    done = _with(repo, new).run("snapshots")
    assert "replayed" in done.err
    assert done.code != 0


def test_the_datas_key_is_rotated_and_what_is_stored_is_recognised(repo: RepoCommand) -> None:
    assert repo.run("key", "rotate", "--data").code == 0
    listed = repo.json("key", "list")["keys"]
    assert [(each["generation"], each["is_active"]) for each in listed] == [(1, False), (2, True)]
    again = repo.json("backup", repo.folder / "source", "--paranoid", "--label", "another")
    assert again["snapshot"]["totals"]["new_bytes"] < 2_000
    assert repo.run("check", "--read-data").code == 0


def test_who_does_not_open_the_newest_key_is_not_told_which_is_active(repo: RepoCommand) -> None:
    """The newest that he opens is none that anything is written under: unknown, and said so."""
    second = repo.folder / "second"
    assert repo.run("key", "add", "--new-key-file", second).code == 0
    assert repo.run("key", "rotate", "--data").code == 4
    told = _with(repo, second).run("key", "list", "--json")
    assert told.code == 4
    assert "[keys-not-opened]" in told.err
    assert [each["is_active"] for each in json.loads(told.out)["keys"]] == [None, None]
    assert [each["is_active"] for each in repo.json("key", "list")["keys"]] == [False, True]
    # What was written under it is not damaged: the key file is the wrong one.
    (repo.folder / "source" / "later").write_bytes(b"written under the new key")
    repo.json("backup", repo.folder / "source")
    done = _with(repo, second).run("restore", "latest", "--target", repo.folder / "out")
    assert (done.code, "[keys-not-opened]" in done.err) == (6, True)


def test_what_still_opens_something_is_not_ended(repo: RepoCommand) -> None:
    own = repo.json("key", "list")["opened_by"]
    assert repo.run("key", "remove", own).code == 9
    second = repo.folder / "second"
    repo.run("key", "add", "--new-key-file", second)
    repo.run("key", "rotate", "--data")  # wrapped under the first alone
    refused = _with(repo, second).run("key", "remove", own)
    assert (refused.code, "keys-not-opened" in refused.err) == (6, True)
    assert len(repo.json("snapshots")["snapshots"]) == 1
    assert repo.run("key", "remove", "00" * 8).code == 7


def test_key_files_that_do_not_open_the_new_key_are_told_and_harm_nothing(repo: RepoCommand) -> None:
    second = repo.folder / "second"
    repo.run("key", "add", "--new-key-file", second)
    other = _with(repo, second)
    kek = other.json("key", "list")["opened_by"]
    told = repo.run("key", "rotate", "--data")
    assert (told.code, kek in told.err) == (4, True)
    (repo.folder / "source" / "new").write_bytes(b"under the new key " * 1000)
    assert repo.run("backup", repo.folder / "source").code == 0
    for words in (["check", "--read-data"], ["repair", "--read-data"], ["rebuild-index"], ["prune"], ["catch-up"]):
        refused = other.run(*words)
        assert (refused.code, "keys-not-opened" in refused.err) == (6, True), words
    assert other.run("backup", repo.folder / "source").code == 6
    assert other.run("forget", "--keep-last", "1").code == 6
    assert other.run("snapshots").code == 0
    assert repo.run("check", "--read-data").code == 0
    assert repo.run("key", "add", "--new-key-file", second).code == 0
    assert other.run("check", "--read-data").code == 0
    assert repo.run("key", "rotate", "--data", "--domain", "nobody's").code == 7


def test_a_tier_that_is_away_is_owed_new_keys_and_keeps_old_ones_from_ending(repo: RepoCommand) -> None:
    away = repo.tier("b").rename(repo.folder / "away")
    second = repo.folder / "second"
    told = repo.run("key", "add", "--new-key-file", second)
    assert told.code == 4
    assert "b is away" in told.out
    other, own = _with(repo, second), repo.json("key", "list", tiers=repo.tiers[:1])["opened_by"]
    assert other.run("key", "remove", own).code != 0
    away.rename(repo.tier("b"))
    assert repo.run("catch-up").code == 0
    assert other.run("key", "remove", own).code == 0
    assert other.run("check").code == 0


def test_what_a_lock_keeps_of_a_removed_key_is_told_and_goes_later(
    repo: RepoCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the tiers behind it as well: what is left is said, with the exit code of something that is not whole."""
    new, kept = repo.folder / "new", repo.tier("a")
    repo.run("key", "rotate", "--new-key-file", new)
    old = repo.json("key", "list")["opened_by"]
    delete = DirectoryObjectStore.delete

    def locked(store: DirectoryObjectStore, key: str) -> None:
        if key.startswith("keys/") and store.name == "a":
            raise Locked("a lock keeps it", tier="a", key=key)
        delete(store, key)

    monkeypatch.setattr(DirectoryObjectStore, "delete", locked)
    rotated = _with(repo, new)
    (left,) = [f"keys/{path.name}" for path in (kept / "keys").iterdir() if old in path.name]
    told = rotated.run("key", "remove", old)
    assert (told.code, f"repo key remove {old}" in told.err) == (4, True)
    assert ("a: 0 wrapped keys removed" in told.out, f"LEFT {left}: " in told.out) == (True, True)
    assert "b: 1 wrapped keys removed" in told.out
    again = rotated.run("key", "remove", old, "--json")
    assert again.code == 4
    assert json.loads(again.out)["left"]["a"].keys() == {left}
    assert rotated.json("key", "list")["removed"] == {old: {"a": {left: None}}}
    assert f"{old} was removed, and still opens what lies on a" in rotated.run("key", "list").out
    refused = rotated.run("key", "add", "--new-key-file", repo.key_file)
    assert (refused.code, "key-not-given" in refused.err) == (6, True)
    monkeypatch.undo()
    assert rotated.run("key", "remove", old).code == 0
    assert rotated.json("key", "list")["removed"] == {old: {}}


@pytest.mark.parametrize("words", [["key", "rotate"], ["key", "rotate", "--data", "--new-key-file", "x"], ["key"]])
def test_what_is_asked_wrongly_is_refused(repo: RepoCommand, words: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        repo.run(*words) if len(words) > 1 else main(["repo", *words])
    assert refused.value.code == 2


def test_another_root_signs_and_the_kit_says_which_it_was_made_for(repo: RepoCommand) -> None:
    """Run again it makes another; the kit of before opens it all the same."""
    kit = repo.folder / "kit"
    assert repo.run("kit", "export", "--out", kit).code == 0
    shares = [kit / f"share-{number}-of-5.txt" for number in (1, 2, 3)]
    before = repo.json("key", "list")
    assert "which is in force" in repo.run("kit", "check", *shares).out
    told = repo.run("key", "rotate", "--root")
    assert (told.code, "the root was changed" in told.out) == (0, True)
    after = repo.json("key", "list")
    assert after["root"] != before["root"]
    assert after["public_key"] != before["public_key"]
    assert [each["domain"] for each in after["keys"] if each["key_id"] == after["root"]] == ["root"]
    checked = repo.json("kit", "check", *shares)
    assert (checked["root"], checked["root_in_force"]) == (before["root"], after["root"])
    assert "took its place" in repo.run("kit", "check", *shares).out
    assert repo.run("backup", repo.folder / "source").code == 0
    assert repo.run("check", "--read-data").code == 0
    assert repo.run("key", "domain", "root").code != 0


def test_a_tier_that_was_away_when_the_root_was_changed_is_caught_up(repo: RepoCommand) -> None:
    """What was seen of it before counts; what was not is told as replayed, with what to do."""
    tier, away = repo.folder / "b", repo.folder / "b.away"
    tier.rename(away)
    told = repo.run("key", "rotate", "--root")
    assert (told.code, "`repo catch-up`" in told.out) == (4, True)
    away.rename(tier)
    assert repo.run("catch-up").code == 0
    assert repo.run("check").code == 0
    heads = repo.key_file.with_name(f"{repo.key_file.name}.heads")
    tier.rename(away)
    heads.unlink()
    assert repo.run("key", "rotate", "--root").code == 4
    away.rename(tier)
    told = repo.run("catch-up")
    assert (told.code, "`repo repair --accept-history b`" in told.out) == (4, True)
