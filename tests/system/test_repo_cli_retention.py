"""`repo forget`, `hold`, `release` and `holds`, as somebody types them."""

import os
from pathlib import Path

import pytest

from tests.support.repo_command import RepoCommand


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RepoCommand:
    """Three snapshots of two sources on two tiers."""
    made = RepoCommand(tmp_path, capsys)
    made.json("init")
    source = tmp_path / "source"
    source.mkdir()
    for number, label in enumerate(("photos", "photos", "contracts")):
        (source / f"{number}").write_text(f"{number}")
        made.json("backup", source, "--label", label)
    return made


def _ids(repo: RepoCommand) -> list[str]:
    return [each["id"] for each in repo.json("snapshots")["snapshots"]]


def test_rules_let_go_what_nothing_keeps_and_say_why(repo: RepoCommand) -> None:
    first, second, third = _ids(repo)
    dry = repo.run("forget", "--keep-last", "1", "--dry-run")
    assert dry.code == 0
    assert "GO" in dry.out
    assert "1 would go, 2 kept" in dry.out
    assert _ids(repo) == [first, second, third]
    done = repo.json("forget", "--keep-last", "1", "--reason", "tidy")
    assert [each["id"] for each in done["forgotten"]] == [first]
    assert {each["id"]: each["kept_by"] for each in done["kept"]} == {
        second: ["last", "newest of its label"],
        third: ["last", "newest of its label"],
    }
    assert done["tiers"] == ["a", "b"]
    assert _ids(repo) == [second, third]
    assert repo.run("restore", first, "--target", repo.folder / "out").code == 7
    assert repo.run("check").code == 0


def test_named_ones_go_even_the_newest_of_a_label(repo: RepoCommand) -> None:
    *_, third = _ids(repo)
    assert "1 forgotten" in repo.run("forget", third[:10]).out
    assert third not in _ids(repo)


@pytest.mark.parametrize("by", ["rules", "id"])
def test_forget_said_again_tells_the_tier_that_was_not_told(repo: RepoCommand, by: str) -> None:
    """As after a kill between the two tiers: until then that one shows and restores what was forgotten."""
    first, *others = _ids(repo)
    one, two = repo.tiers
    words = ["forget", first] if by == "id" else ["forget", "--keep-last", "1"]
    assert repo.json(*words, tiers=[one])["tiers"] == ["a"]
    looked = repo.run(*words, "--dry-run")
    assert (looked.code, "b was not told 1 orders" in looked.err) == (0, True), looked
    again = repo.run(*words)
    assert (again.code, "b: told 1 orders" in again.out) == (0, True), again
    assert [each["id"] for each in repo.json("snapshots", tiers=[two])["snapshots"]] == others
    assert repo.run("check").code == 0
    assert repo.run("forget", first).code == 7


def test_a_hold_keeps_until_it_is_released(repo: RepoCommand) -> None:
    first, *_ = _ids(repo)
    assert repo.run("holds").out == "nothing is held\n"
    placed = repo.json("hold", "court", first[:12], "--reason", "matter 7")
    assert placed["stores"] == {name: {"objects": 0, "code": "no-object-lock"} for name in placed["tiers"]}
    assert repo.json("holds") == {"holds": [{"name": "court", "snapshots": [first]}]}
    refused = repo.run("forget", first)
    assert refused.code == 9
    assert "snapshot-held" in refused.err
    kept = repo.json("forget", "--keep-last", "1")
    assert kept["forgotten"] == []
    assert ["hold court"] in [each["kept_by"] for each in kept["kept"]]
    assert repo.run("release", "court").code == 0
    assert repo.run("forget", first).code == 0
    assert repo.run("hold", "court", "latest").code == 9


def _stored(repo: RepoCommand, tier: str) -> int:
    return sum(path.stat().st_size for path in (repo.tier(tier) / "packs").rglob("*") if path.is_file())


def test_prune_frees_what_was_forgotten_and_the_rest_restores(repo: RepoCommand) -> None:
    source = repo.folder / "film"
    source.mkdir()
    (source / "film").write_bytes(os.urandom(3_000_000))
    film = repo.json("backup", source, "--label", "film")["snapshot"]["id"]
    (source / "film").write_bytes(b"another one")
    kept = repo.json("backup", source, "--label", "film")["snapshot"]["id"]
    assert _stored(repo, "a") > 3_000_000
    repo.json("forget", film)
    dry = repo.run("prune", "--dry-run")
    assert dry.code == 0
    assert "would go" in dry.out
    assert _stored(repo, "a") > 3_000_000
    done = repo.json("prune")
    assert all(tier["going_bytes"] > 3_000_000 for tier in done["tiers"].values())
    assert max(_stored(repo, tier) for tier in "ab") < 100_000
    assert repo.run("check", "--read-data").code == 0
    for number, tier in enumerate(repo.tiers):
        out = repo.folder / f"out{number}"
        assert repo.run("restore", kept, "--target", out, tiers=[tier]).code == 0
        assert (out / "film").read_bytes() == b"another one"


def test_prune_of_unreferenced_packs_does_not_advise_itself(repo: RepoCommand) -> None:
    """What it leaves is no whole pack; without the option it is told how such packs go."""
    name = "ab" * 32
    junk = repo.tier("a") / "packs" / name[:2] / name
    junk.parent.mkdir(parents=True, exist_ok=True)
    junk.write_bytes(b"junk")
    assert "If nobody backs up: --unreferenced" in repo.run("prune").out
    done = repo.run("prune", "--unreferenced")
    assert (done.code, "--unreferenced" in done.out) == (0, False)
    assert "a: 1 packs (4 B) stay: they are in no index and cannot be read whole" in done.out
    assert junk.exists()


def test_prune_tells_of_a_tier_that_was_left_out(repo: RepoCommand) -> None:
    repo.tier("b").rename(repo.folder / "away")
    told = repo.run("prune")
    assert told.code == 4
    assert "b: left out" in told.out
    assert repo.run("prune", "--only", "b").code != 0


def test_a_tier_that_is_away_is_owed_it_and_shows_nobody_what_is_gone(repo: RepoCommand) -> None:
    first, second, third = _ids(repo)
    away = repo.tier("b").rename(repo.folder / "away")
    told = repo.run("forget", first)
    assert told.code == 4
    assert "b was not told" in told.err
    away.rename(repo.tier("b"))
    assert _ids(repo) == [second, third]
    behind = repo.run("check")
    assert behind.code == 4
    assert "1 orders" in behind.out
    assert "orders taken over" in repo.run("catch-up").out
    assert repo.run("check").code == 0
    assert [each["id"] for each in repo.json("snapshots", tiers=[repo.tiers[1]])["snapshots"]] == [second, third]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["forget"], 2),
        (["forget", "--keep-within", "1 day"], 2),
        (["forget", "--keep-last", "1", "--time-zone", "Berlin/Europe"], 2),
        (["forget", "latest", "--keep-last", "1"], 2),
        (["forget", "ffff"], 7),
        (["forget", "--keep-last", "1", "--label", "nobody's"], 7),
        (["hold", "court"], 2),
        (["hold", "court", "latest", "--all"], 2),
        (["hold", "court", "ffff"], 7),
        (["release", "court"], 7),
    ],
)
def test_what_is_asked_wrongly_is_refused_and_changes_nothing(repo: RepoCommand, words: list[str], code: int) -> None:
    before = _ids(repo)
    assert repo.run(*words).code == code
    assert _ids(repo) == before
    assert repo.json("holds") == {"holds": []}


def test_a_tier_that_has_none_of_what_is_kept_is_told(repo: RepoCommand) -> None:
    """It missed the newest, and all that it had goes: never without a word."""
    source = repo.folder / "source"
    (source / "more").write_bytes(os.urandom(50_000))
    repo.json("forget", *_ids(repo)[1:])
    repo.json("backup", source, "--label", "photos", tiers=repo.tiers[:1])
    for words in (("forget", "--keep-last", "1", "--dry-run"), ("forget", "--keep-last", "1")):
        told = repo.run(*words)
        assert told.code == 4
        assert "b: has none of what is kept" in told.err
    told = repo.run("prune", "--json")
    assert (told.code, told.document["bare"]) == (4, ["b"])
    assert repo.run("catch-up").code == 0
    assert repo.run("prune").code == 0


def test_what_is_pinned_is_told_and_let_go(repo: RepoCommand) -> None:
    """A reader that is not known to have ended: who, since when, and what a prune leaves for it."""
    first, *_ = _ids(repo)
    assert repo.run("pins", "list").out == "nothing is pinned\n"
    for tier in "ab":
        (repo.tier(tier) / "pins").mkdir()
        (repo.tier(tier) / "pins" / ("7" * 32)).write_bytes(b"of nobody")
    repo.json("forget", first)
    listed = repo.run("pins", "list", "--json")
    assert listed.code == 4
    told = listed.document["pins"]
    checked = repo.run("check")
    assert checked.code == 4
    assert "b: pin 777777777777 cannot be read" in checked.out
    assert [(each["tier"], each["everything"], each["code"]) for each in told] == [
        ("a", True, "damaged"),
        ("b", True, "damaged"),
    ]
    assert "keeps everything until `repo pins release 777777777777`" in repo.run("pins", "list").out
    pruned = repo.run("prune")
    assert pruned.code == 4
    assert "stay, since they are pinned [pinned]" in pruned.out
    assert repo.run("prune", "--dry-run").code == 0
    assert repo.run("pins", "release", "8").code == 7
    assert repo.run("pins", "release", "7777", "--only", "a").code == 0
    assert repo.run("pins", "list", "--json").document["pins"][0]["tier"] == "b"
    assert repo.json("pins", "release", "7777") == {"released": ["b"], "failed": {}, "left_out": {}}
    freed = repo.json("prune")["tiers"]
    assert all(each["going"] > 0 and each["pinned"] == 0 for each in freed.values())


def test_a_check_of_all_data_pins_and_leaves_nothing(repo: RepoCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prune beside it deletes nothing: what it took would be called lost."""
    from cli import repo_upkeep

    first, *_ = _ids(repo)
    repo.json("forget", first)
    original, codes = repo_upkeep.check_repository, list[int]()

    def check(*words: object, **options: object) -> object:
        codes.append(repo.run("prune").code)
        return original(*words, **options)  # type: ignore[arg-type]  # as it was called

    monkeypatch.setattr(repo_upkeep, "check_repository", check)
    assert repo.run("check", "--read-data").code == 0
    assert codes == [4]
    assert not [path for tier in "ab" for path in (repo.tier(tier) / "pins").iterdir()]
