"""The whole life of a repository through the command line, on real folders."""

import os
import shutil
import stat
from pathlib import Path

import pytest

from cli.exit_codes import ExitCode
from deploy.stack.layout import Layout
from tests.support.file_trees import differences, make_everything, seen
from tests.support.repo_command import RepoCommand
from tests.support.s3_server import S3Server


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> RepoCommand:
    """An initialised repository on two tiers."""
    command = RepoCommand(tmp_path, capsys)
    assert command.run("init").code == ExitCode.OK
    return command


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with one of everything."""
    folder = tmp_path / "source"
    make_everything(folder)
    return folder


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """A small folder of ordinary files."""
    folder = tmp_path / "album"
    (folder / "day one").mkdir(parents=True)
    (folder / "day one" / "IMG_1.JPG").write_bytes(b"first")
    (folder / "day one" / "IMG_2.JPG").write_bytes(b"second")
    (folder / "contract.txt").write_text("I do.\n" * 100)
    (folder / "contract.txt").chmod(0o644)
    return folder


def test_init_makes_a_key_that_only_its_owner_can_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The key file is made where it is absent, with mode 0600, and the user is told what losing it means."""
    command = RepoCommand(tmp_path, capsys)
    done = command.run("init")
    assert done.code == ExitCode.OK
    assert stat.S_IMODE(command.key_file.stat().st_mode) == 0o600
    assert "keep copies" in done.out


def test_init_uses_the_key_file_that_is_there(repo: RepoCommand, tmp_path: Path) -> None:
    """A second repository under the same key does not touch the key file."""
    before = repo.key_file.read_bytes()
    made = repo.json("init", tiers=[(tmp_path / "other").as_uri()])
    assert made["key_file_created"] is False
    assert repo.key_file.read_bytes() == before


def test_init_makes_no_key_beside_a_repository(repo: RepoCommand) -> None:
    """Whoever has mislaid the key file gets no new one under its name, which would open nothing."""
    repo.key_file.rename(repo.key_file.with_suffix(".away"))
    done = repo.run("init")
    assert done.code == ExitCode.REFUSED
    assert "from its copy" in done.err
    assert not repo.key_file.exists()


def test_init_is_refused_when_there_is_a_repository(repo: RepoCommand) -> None:
    """An address that is used already is never initialised over."""
    assert repo.run("init").code == ExitCode.REFUSED


def test_restore_gives_back_every_byte_and_attribute(repo: RepoCommand, source: Path, tmp_path: Path) -> None:
    """What `repo backup` kept, `repo restore` gives back from each tier alone, equal in everything."""
    assert repo.run("backup", source).code == ExitCode.OK
    for url in repo.tiers:
        target = tmp_path / f"restored-{Path(url).name}"
        assert repo.run("restore", "latest", "--target", target, tiers=[url]).code == ExitCode.OK
        assert not differences(seen(source), seen(target))


def test_backup_says_what_it_did_per_tier_and_class(repo: RepoCommand, album: Path) -> None:
    """A machine learns the snapshot's id, what each tier got, and each class's bytes."""
    document = repo.json("backup", album, "--label", "album", "--tag", "summer")
    snapshot = document["snapshot"]
    assert (snapshot["label"], snapshot["tags"], snapshot["parent"]) == ("album", ["summer"], None)
    assert snapshot["totals"]["files"] == 3
    assert snapshot["tiers"] == ["a", "b"]
    assert {name: tier["state"] for name, tier in document["tiers"].items()} == {"a": "committed", "b": "committed"}
    assert {"text", "photo", "tree"} <= snapshot["by_class"].keys()
    assert document["file_errors"] == []


def test_backup_reads_nothing_again_that_did_not_change(repo: RepoCommand, album: Path) -> None:
    """The second backup of the same label recognises all files; with --paranoid it reads them all."""
    for path in album.rglob("*"):
        # A change time of just now is not to be trusted; an hour ago is.
        os.utime(path, ns=(10**18, 10**18))
    first = repo.json("backup", album)["snapshot"]
    again = repo.json("backup", album)["snapshot"]
    assert again["parent"] == first["id"]
    paranoid = repo.json("backup", album, "--paranoid")["snapshot"]
    assert paranoid["totals"]["unchanged_files"] == 0
    assert paranoid["totals"]["new_chunks"] == 0
    assert again["totals"]["source_bytes"] == paranoid["totals"]["source_bytes"] == 611


def test_backup_leaves_out_tiers_below_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A tier inside the folder that is backed up does not swallow itself, and that it is left out is told."""
    command = RepoCommand(tmp_path / "home", capsys)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "note").write_text("x")
    command.run("init")
    done = command.run("backup", tmp_path / "home")
    assert done.code == ExitCode.OK
    assert "2 excluded:\n" in done.err
    assert "  a: excluded" in done.err
    paths = {entry["path"] for entry in command.json("ls", "latest", "--recursive")["entries"]}
    assert paths == {"note", "key"}


def test_backup_is_degraded_when_a_tier_is_away(repo: RepoCommand, album: Path) -> None:
    """The tiers that answer get the snapshot; the other is named and owed a catch-up."""
    away = repo.folder / "file in the way"
    away.write_text("no folder")
    done = repo.run("backup", album, tiers=[*repo.tiers, f"{away.as_uri()}/tier"])
    assert done.code == ExitCode.DEGRADED
    assert "tier is unreachable" in done.err
    assert "owed a catch-up: tier" in done.out


def test_backup_says_of_a_damaged_tier_what_to_do_first(repo: RepoCommand, album: Path) -> None:
    """A catch-up alone does not make it whole."""
    packs = repo.folder / "b" / "packs"
    shutil.rmtree(packs, ignore_errors=True)
    packs.write_text("in the way")
    done = repo.run("backup", album)
    assert done.code == ExitCode.DEGRADED
    assert "damaged, and to be made whole before that: b (`repo repair`)" in done.out


def test_backup_names_the_tiers_there_are_when_a_required_one_is_unknown(repo: RepoCommand, album: Path) -> None:
    """A misspelt --require must not pass for done."""
    done = repo.run("backup", album, "--require", "c")
    assert done.code == ExitCode.USAGE
    assert "There are: a, b." in done.err


def test_ls_shows_folders_files_and_long_lines(repo: RepoCommand, album: Path) -> None:
    """Like `ls`: names alone, everything below, or every attribute."""
    repo.json("backup", album)
    assert repo.run("ls", "latest").out.splitlines() == ["contract.txt", "day one/"]
    assert repo.run("ls", "latest", "day one").out.splitlines() == ["day one/IMG_1.JPG", "day one/IMG_2.JPG"]
    recursive = repo.run("ls", "latest", "-r").out.splitlines()
    assert recursive == ["contract.txt", "day one/", "day one/IMG_1.JPG", "day one/IMG_2.JPG"]
    assert repo.run("ls", "latest", "contract.txt", "-l").out.startswith("-rw-")
    assert repo.run("ls", "latest", "nowhere").code == ExitCode.NOT_FOUND


def test_ls_gives_the_bytes_of_names_that_are_no_text(repo: RepoCommand, source: Path) -> None:
    """Names that are not UTF-8 are shown with escapes, and exactly in JSON."""
    repo.run("backup", source)
    entries = repo.json("ls", "latest")["entries"]
    odd = next(entry for entry in entries if "path_bytes" in entry)
    assert odd["path"] == "not utf-8 \\xff\\xfe\\x80"
    assert {entry["kind"] for entry in entries} == {"file", "folder", "symlink", "fifo"}


def test_find_looks_through_all_snapshots(repo: RepoCommand, album: Path) -> None:
    """A file that was deleted since is found in the snapshot that has it."""
    first = repo.json("backup", album)["snapshot"]["id"]
    (album / "day one" / "IMG_2.JPG").unlink()
    repo.json("backup", album)
    found = repo.json("find", "IMG_2.*")["matches"]
    assert [(match["snapshot"], match["path"]) for match in found] == [(first, "day one/IMG_2.JPG")]
    assert len(repo.json("find", "day one/IMG_*")["matches"]) == 3
    assert len(repo.json("find", "day*/IMG_*", "--snapshot", "latest")["matches"]) == 1
    assert repo.run("find", "nothing").code == ExitCode.NOT_FOUND


def test_diff_tells_content_from_metadata(repo: RepoCommand, album: Path) -> None:
    """Added, removed, changed in bytes, changed in attributes: each once, in order, and exit code 10."""
    before = repo.json("backup", album)["snapshot"]["id"]
    (album / "day one" / "IMG_1.JPG").write_bytes(b"FIRST")
    (album / "day one" / "IMG_2.JPG").unlink()
    (album / "day two").mkdir()
    (album / "day two" / "IMG_3.JPG").write_bytes(b"third")
    (album / "contract.txt").chmod(0o600)
    after = repo.json("backup", album)["snapshot"]["id"]
    done = repo.run("diff", before[:8], "latest", "--json")
    assert done.code == ExitCode.DIFFERENT
    kinds = {change["path"]: change["change"] for change in done.document["changes"] if change["path"]}
    assert kinds == {
        "contract.txt": "metadata",
        "day one": "metadata",
        "day one/IMG_1.JPG": "content",
        "day one/IMG_2.JPG": "removed",
        "day two": "added",
        "day two/IMG_3.JPG": "added",
    }
    assert "- day one/IMG_2.JPG" in repo.run("diff", before, after).out.splitlines()
    assert repo.run("diff", after, after).code == ExitCode.OK


def test_snapshots_lists_what_each_tier_has(repo: RepoCommand, album: Path) -> None:
    """One line a snapshot, oldest first, with its tiers and its label."""
    repo.json("backup", album, "--label", "one")
    repo.json("backup", album, "--label", "two", tiers=repo.tiers[:1])
    listed = repo.json("snapshots")["snapshots"]
    assert [(each["label"], each["tiers"]) for each in listed] == [("one", ["a", "b"]), ("two", ["a"])]
    assert [each["label"] for each in repo.json("snapshots", "--label", "two")["snapshots"]] == ["two"]
    lines = repo.run("snapshots").out.splitlines()
    assert lines[0].split() == [
        "ID",
        "TIME",
        "(UTC)",
        "FILES",
        "MISSING",
        "SIZE",
        "NEW",
        "STORED",
        "TIERS",
        "TAGS",
        "LABEL",
    ]
    assert len(lines) == 3


def test_stats_gives_each_class_and_each_tier(repo: RepoCommand, album: Path) -> None:
    """Compression is told per class, never as one number."""
    repo.json("backup", album)
    document = repo.json("stats")
    text = document["classes"]["text"]
    assert text["new_bytes"] == 600
    assert text["stored_bytes"] < 300
    assert text["saved"] == pytest.approx(1 - text["stored_bytes"] / 600)
    assert document["tiers"]["a"]["packs_objects"] == document["tiers"]["b"]["packs_objects"] > 0
    said = repo.run("stats").out
    assert "CLASS" in said
    assert "TIER" in said


def test_restore_takes_what_matches_alone(repo: RepoCommand, album: Path, tmp_path: Path) -> None:
    """--path restores a part, with the folders that lead to it."""
    repo.json("backup", album)
    assert repo.run("restore", "latest", "--target", tmp_path / "part", "--path", "*_1.JPG").code == ExitCode.OK
    assert [path.name for path in (tmp_path / "part").rglob("*.*")] == ["IMG_1.JPG"]
    nothing = repo.run("restore", "latest", "--target", tmp_path / "none", "--path", "*.png")
    assert nothing.code == ExitCode.NOT_FOUND
    # What the first one takes as a whole may be what the second means; what matches nothing is told all the same.
    paths = ["--path", "*", "--path", "*_1.JPG", "--path", "*.png"]
    some = repo.run("restore", "latest", "--target", tmp_path / "some", *paths)
    assert some.code == ExitCode.NOT_FOUND
    assert "matched nothing: *.png" in some.err
    assert repo.json("restore", "latest", "--target", tmp_path / "all", *paths[:4])["paths_unmatched"] == []


def test_restore_is_refused_when_something_is_in_the_way(repo: RepoCommand, album: Path, tmp_path: Path) -> None:
    """Nothing is overwritten unless the user says so."""
    repo.json("backup", album)
    target = tmp_path / "target"
    target.mkdir()
    (target / "contract.txt").write_text("mine")
    assert repo.run("restore", "latest", "--target", target).code == ExitCode.REFUSED
    assert [path.name for path in target.iterdir()] == ["contract.txt"]
    assert repo.run("restore", "latest", "--target", target, "--on-conflict", "skip").code == ExitCode.OK
    assert (target / "contract.txt").read_text() == "mine"
    assert repo.run("restore", "latest", "--target", target, "--on-conflict", "overwrite").code == ExitCode.OK
    assert (target / "contract.txt").read_text() == "I do.\n" * 100


def test_restore_takes_a_damaged_chunk_from_another_tier(repo: RepoCommand, source: Path, tmp_path: Path) -> None:
    """With two tiers a flipped byte costs nothing but a word about it; with one the damage is named."""
    repo.run("backup", source)
    repo.damage_a_pack("a")
    document = repo.json("restore", "latest", "--target", tmp_path / "whole")
    assert document["chunks_from_other_tiers"] > 0
    assert not differences(seen(source), seen(tmp_path / "whole"))
    alone = repo.run("restore", "latest", "--target", tmp_path / "alone", tiers=repo.tiers[:1])
    assert alone.code == ExitCode.INCOMPLETE
    assert "damaged" in alone.err


def test_check_and_repair_make_a_tier_whole(repo: RepoCommand, source: Path) -> None:
    """Damage is found by reading, named with where it is whole, repaired, and gone."""
    repo.run("backup", source)
    assert repo.run("check", "--read-data").code == ExitCode.OK
    pack = repo.damage_a_pack("a")
    assert repo.run("check").code == ExitCode.OK
    found = repo.run("check", "--read-data", "--json")
    assert found.code == ExitCode.DAMAGED
    assert [(each["tier"], each["repairable_from"]) for each in found.document["findings"]] == [("a", ["b"])]
    assert f"DAMAGE on a: pack-damaged packs/{pack.parent.name}/{pack.name}" in repo.run("check", "--read-data").out
    repaired = repo.run("repair", "--read-data")
    assert repaired.code == ExitCode.OK
    assert f"{pack.name} made whole (b)" in repaired.out
    assert repo.run("check", "--read-data").code == ExitCode.OK
    told = repo.json("repair")["tiers"]["a"]
    assert (told["actions"], told["unrepaired"], told["packs_read"]) == ([], [], 0)
    assert told["packs"] > 0


def test_repair_says_what_it_could_not_repair(repo: RepoCommand, source: Path) -> None:
    """With no whole copy left the damage stays, is named, and the exit code says so."""
    repo.run("backup", source, tiers=repo.tiers[:1])
    repo.damage_a_pack("a")
    done = repo.run("repair", "--read-data", tiers=repo.tiers[:1])
    assert done.code == ExitCode.DAMAGED
    assert "NOT repaired: pack-damaged" in done.out


def test_catch_up_fills_a_tier_that_was_away_and_a_new_one(repo: RepoCommand, source: Path, tmp_path: Path) -> None:
    """A tier that is added later, or missed a backup, restores alone after a catch-up."""
    repo.run("backup", source, tiers=repo.tiers[:1])
    behind = repo.run("check")
    assert behind.code == ExitCode.DEGRADED
    assert "b is behind" in behind.out
    every = [*repo.tiers, f"new={(tmp_path / 'c').as_uri()}"]
    assert repo.run("catch-up", tiers=every).code == ExitCode.OK
    assert repo.run("check", tiers=every).code == ExitCode.OK
    assert "a: has everything" in repo.run("catch-up", tiers=every).out
    assert repo.run("restore", "latest", "--target", tmp_path / "out", tiers=every[2:]).code == ExitCode.OK
    assert not differences(seen(source), seen(tmp_path / "out"))


def test_rebuild_index_needs_the_packs_alone(repo: RepoCommand, source: Path, tmp_path: Path) -> None:
    """A tier whose index is lost restores again after its index was made anew."""
    repo.run("backup", source)
    shutil.rmtree(repo.tier("a") / "index")
    assert repo.run("rebuild-index", "--only", "a", tiers=repo.tiers[:1]).code in (ExitCode.OK, ExitCode.DAMAGED)
    assert repo.run("check", tiers=repo.tiers[:1]).code == ExitCode.OK
    assert repo.run("restore", "latest", "--target", tmp_path / "out", tiers=repo.tiers[:1]).code == ExitCode.OK
    assert not differences(seen(source), seen(tmp_path / "out"))


def test_wrong_key_is_told_apart_from_damage(repo: RepoCommand, album: Path, tmp_path: Path) -> None:
    """Another repository's key, no key and a key file that everybody may read: 6, never 5."""
    repo.json("backup", album)
    right = repo.key_file.read_bytes()
    repo.key_file.unlink()
    assert repo.run("snapshots").code == ExitCode.WRONG_KEY
    assert repo.run("init", tiers=[(tmp_path / "other").as_uri()]).code == ExitCode.OK
    assert repo.run("snapshots").code == ExitCode.WRONG_KEY
    repo.key_file.write_bytes(right)
    assert repo.run("snapshots").code == ExitCode.OK
    repo.key_file.chmod(0o604)
    assert repo.run("snapshots").code == ExitCode.WRONG_KEY


def test_address_without_repository_is_not_found(repo: RepoCommand, tmp_path: Path) -> None:
    """An empty folder is no repository, and a mistyped scheme no address."""
    assert repo.run("snapshots", tiers=[(tmp_path / "empty").as_uri()]).code == ExitCode.NOT_FOUND
    assert repo.run("snapshots", tiers=["ftp://host/x"]).code == ExitCode.USAGE


def test_tiers_of_the_same_name_are_told_apart(repo: RepoCommand, album: Path, tmp_path: Path) -> None:
    """Two disks with a folder `backup` each get names of their own."""
    urls = [(tmp_path / disk / "backup").as_uri() for disk in ("one", "two", "three")]
    repo.run("init", tiers=urls)
    assert repo.json("backup", album, tiers=urls)["tiers"].keys() == {"backup", "backup-2", "backup-3"}


@pytest.fixture
def s3_tier(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of an empty prefix of a real S3 server, its credentials in the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server.url(s3_server.new_bucket(), "photos/tier")


@pytest.mark.stack
def test_s3_tier_takes_part_like_any_other(
    s3_tier: str, album: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bucket beside a folder: backed up to both at once, restored from the bucket alone."""
    command = RepoCommand(tmp_path, capsys)
    every = [*command.tiers[:1], f"cloud={s3_tier}"]
    assert command.run("init", tiers=every).code == ExitCode.OK
    assert command.run("backup", album, tiers=every).code == ExitCode.OK
    assert command.run("restore", "latest", "--target", tmp_path / "out", tiers=every[1:]).code == ExitCode.OK
    assert not differences(seen(album), seen(tmp_path / "out"))
    assert command.run("check", "--read-data", tiers=every).code == ExitCode.OK


@pytest.mark.parametrize("below", ["", "data", "data/tiers/local/new", "keys/platform", "by a link"])
@pytest.mark.parametrize("is_named", [True, False], ids=["by the setting", "recognised"])
def test_restore_into_the_platforms_own_folders_is_refused(
    repo: RepoCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, below: str, *, is_named: bool
) -> None:
    """Nothing is written among keys and data, whatever is said of conflicts; beside them it is."""
    home = Layout.create(tmp_path / "a home").home
    (home / "data").mkdir(exist_ok=True)
    (tmp_path / "link").symlink_to(home / "data")
    monkeypatch.delenv("WEDSYNC_HOME", raising=False)
    if is_named:
        monkeypatch.setenv("WEDSYNC_HOME", str(home))
        if below:
            (home / "layout.json").unlink()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.raw").write_bytes(b"a")
    assert repo.run("backup", tmp_path / "photos").code == ExitCode.OK
    before = sorted(home.rglob("*"))
    target = tmp_path / "link" / "new" if below == "by a link" else home / below
    done = repo.run("restore", "latest", "--target", target, "--on-conflict", "overwrite")
    assert done.code == ExitCode.REFUSED
    assert "platform's home" in done.err
    assert sorted(home.rglob("*")) == before
    assert repo.run("restore", "latest", "--target", home / "restored").code == ExitCode.OK
