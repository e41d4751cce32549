"""What the command line says and does when something is wrong: with files, tiers, objects and histories."""

import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cli import repo_upkeep
from cli.exit_codes import ExitCode
from repository.errors import TierFull
from repository.opened.open_tier import OpenTier
from tests.support.file_trees import differences, make_everything, seen
from tests.support.repo_command import RepoCommand


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with one of everything."""
    folder = tmp_path / "source"
    make_everything(folder)
    return folder


@pytest.fixture
def repo(tmp_path: Path, capsys: pytest.CaptureFixture[str], source: Path) -> RepoCommand:
    """A repository on two tiers with one snapshot."""
    command = RepoCommand(tmp_path, capsys, tiers=("disk a/a", "disk b/b"))
    command.json("init")
    command.json("backup", source)
    return command


def out_of_the_way(repo: RepoCommand, tier: str) -> None:
    """Make a tier unreachable: where its disk was mounted there is a file."""
    disk = repo.tier(tier).parent
    disk.rename(disk.with_name(f"{disk.name} aside"))
    disk.write_text("no folder")


def packs_by_size(tier: Path) -> list[Path]:
    """The packs of a tier, the smallest (the tree's) first."""
    return sorted(
        (path for path in (tier / "packs").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size
    )


def damage(path: Path) -> None:
    """Flip a byte in the first frame."""
    body = bytearray(path.read_bytes())
    body[140] ^= 1
    path.chmod(0o600)
    path.write_bytes(body)


def test_backup_is_incomplete_when_a_file_cannot_be_read(repo: RepoCommand) -> None:
    """The snapshot is there, the file is named, the exit code says so, for people and for machines."""
    unreadable = "/proc/self/mem"  # a file that nobody can read from its start, not even root
    done = repo.run("backup", unreadable)
    assert done.code == ExitCode.INCOMPLETE
    assert "1 unreadable" in done.err
    assert "mem: unreadable EIO" in done.err
    told = repo.run("backup", unreadable, "--json")
    assert told.code == ExitCode.INCOMPLETE
    (error,) = told.document["file_errors"]
    assert (error["path"], error["reason"], error["is_loss"]) == ("mem", "unreadable", True)


@pytest.mark.parametrize("is_gone", [True, False])
def test_backup_is_no_success_where_what_it_leans_on_is_gone(repo: RepoCommand, source: Path, is_gone: bool) -> None:
    """Nothing has changed, so nothing is sent: the tier's packs are asked for all the same, gone or cut off."""
    for pack in packs_by_size(repo.tier("a")):
        if is_gone:
            pack.unlink()
        else:
            damage(pack)
    done = repo.run("backup", source)
    assert done.code == ExitCode.DAMAGED
    assert "tier a does not give back" in done.err
    assert "tier b" not in done.err
    told = repo.run("backup", source, "--json")
    assert (told.code, list(told.document["not_read_back"])) == (ExitCode.DAMAGED, ["a"])


def test_backup_is_no_success_where_one_pack_of_many_was_emptied(repo: RepoCommand, source: Path) -> None:
    """Found by its size, whichever pack it is; what was in it is sent again where everything is read."""
    for number in range(20):
        (source / "changing").write_bytes(os.urandom(2000))
        assert repo.run("backup", source).code == ExitCode.OK, number
    pack = packs_by_size(repo.tier("a"))[-1]
    pack.chmod(0o600)
    pack.write_bytes(b"")
    done = repo.run("backup", source)
    assert done.code == ExitCode.DAMAGED
    assert "a pack has 0 bytes, too few" in done.err
    assert repo.run("backup", source, "--paranoid").code == ExitCode.OK


def test_backup_says_that_the_previous_snapshot_cannot_be_read(repo: RepoCommand, source: Path) -> None:
    """That nothing is unchanged would pass for a source that has changed."""
    for tier in "ab":
        for pack in packs_by_size(repo.tier(tier)):
            pack.chmod(0o600)
            pack.write_bytes(bytes(pack.stat().st_size))
    done = repo.run("backup", source)
    assert done.code == ExitCode.DAMAGED
    assert "the files of the previous snapshot could not all be compared" in done.err
    assert repo.run("backup", source, "--json").document["parent_error"]


def test_snapshot_that_lacks_something_says_so_when_it_is_listed_and_restored(
    repo: RepoCommand, tmp_path: Path
) -> None:
    """Whoever comes for the files months later has not seen what the backup said."""
    identity = repo.run("backup", "/proc/self/mem", "--json").document["snapshot"]["id"]
    listed = repo.run("snapshots")
    assert listed.code == ExitCode.OK
    header, *rows = listed.out.splitlines()
    at = header.index("MISSING")
    assert [row[at : at + 7].strip() for row in rows if row.startswith(("ID", identity[:12]))] == ["1"]
    assert "MISSING: entries of the source" in listed.out
    for number, words in enumerate(((), ("--json",), ("--path", "**"))):
        done = repo.run("restore", identity, "--target", tmp_path / f"back {number}", *words)
        assert done.code == ExitCode.INCOMPLETE
        if "--json" in words:
            assert done.document["missing_in_snapshot"] == 1
        else:
            assert "the snapshot is incomplete: 1 entries of its source" in done.err


def test_backup_is_judged_by_the_count_of_what_was_lost_and_not_by_the_list(
    repo: RepoCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of problems is bounded: a loss that has no place in it is one all the same."""
    monkeypatch.setattr("repository.backup.problems.KEPT_MAX", 0)
    done = repo.run("backup", "/proc/self/mem", "--json")
    assert done.document["file_errors"] == []
    assert done.document["file_error_counts"] == {"unreadable": 1}
    assert done.code == ExitCode.INCOMPLETE


def test_backup_says_that_a_required_tier_lacks_the_snapshot(repo: RepoCommand, source: Path) -> None:
    """A required tier that cannot be written to is named; the exit code is not 0."""
    out_of_the_way(repo, "b")
    done = repo.run("backup", source, "--require", "b")
    assert done.code == ExitCode.DEGRADED
    assert "required, and without this snapshot: b" in done.out
    assert repo.run("backup", source, "--require", "b", "--json").document["required_missing"] == ["b"]


def test_backup_of_a_source_that_is_not_there_makes_no_snapshot(repo: RepoCommand, tmp_path: Path) -> None:
    """A mistyped path is an error, not an empty backup."""
    assert repo.run("backup", tmp_path / "nowhere").code == ExitCode.NOT_FOUND
    assert len(repo.json("snapshots")["snapshots"]) == 1


def test_commands_work_with_the_tiers_that_answer(repo: RepoCommand, source: Path, tmp_path: Path) -> None:
    """One dead tier is named on standard error and stops nothing; what it may have more is not known."""
    out_of_the_way(repo, "a")
    done = repo.run("restore", "latest", "--target", tmp_path / "out")
    assert done.code == ExitCode.DEGRADED
    assert "tier a is unreachable" in done.err
    assert not differences(seen(source), seen(tmp_path / "out"))
    checked = repo.run("check")
    assert checked.code == ExitCode.DEGRADED
    assert "UNKNOWN on a: tier" in checked.out
    assert "DAMAGE" not in checked.out
    repo.damage_a_pack("b")
    checked = repo.run("check", "--read-data")
    assert (checked.code, "UNKNOWN on a: tier" in checked.out) == (ExitCode.DAMAGED, True)
    assert "DAMAGE on b: pack-damaged" in checked.out


def test_nothing_answers(repo: RepoCommand) -> None:
    """With no tier left the exit code says: later, perhaps."""
    out_of_the_way(repo, "a")
    out_of_the_way(repo, "b")
    done = repo.run("snapshots")
    assert done.code == ExitCode.UNAVAILABLE
    assert "  a: unreachable" in done.err
    assert "  b: unreachable" in done.err


def test_listing_goes_on_where_a_page_is_damaged(repo: RepoCommand) -> None:
    """`ls`, `find` and `diff` show what can be read, name what cannot, and end with 5."""
    for url, tier in zip(repo.tiers, ("a", "b"), strict=True):
        assert repo.run("ls", "latest", tiers=[url]).code == ExitCode.OK
        damage(packs_by_size(repo.tier(tier))[0])
        done = repo.run("ls", "latest", "-r", tiers=[url])
        assert done.code == ExitCode.DAMAGED, done
    assert repo.run("ls", "latest", "-r").code == ExitCode.DAMAGED


def test_catch_up_helps_the_others_when_one_tier_is_away(repo: RepoCommand, source: Path, tmp_path: Path) -> None:
    """A new tier is filled although another one does not answer, and the exit code tells."""
    out_of_the_way(repo, "b")
    every = [*repo.tiers, (tmp_path / "c").as_uri()]
    done = repo.run("catch-up", tiers=every)
    assert done.code == ExitCode.DEGRADED
    assert "b: not caught up" in done.out
    assert "c: " in done.out
    document = repo.run("catch-up", "--json", tiers=every).document
    assert document["failed"].keys() == {"b"}
    assert document["tiers"]["c"]["lost_packs"] == []


@pytest.mark.parametrize("is_first", [True, False])
def test_catch_up_does_not_depend_on_the_order_of_the_tiers(repo: RepoCommand, tmp_path: Path, is_first: bool) -> None:
    """A tier that has nothing to copy from until another one is filled is asked again, and all is well at the end."""
    tiers = [repo.tiers[0], (tmp_path / "c").as_uri()]
    done = repo.run("catch-up", tiers=tiers if is_first else tiers[::-1])
    assert done.code == ExitCode.OK, done.out
    assert "not caught up" not in done.out
    assert "a: has everything" in done.out


@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (404, "NoSuchBucket")])
def test_server_that_refuses_is_not_said_to_be_away(
    repo: RepoCommand, monkeypatch: pytest.MonkeyPatch, status: int, code: str
) -> None:
    """That credentials or a bucket are wrong does not pass: 9, whether or not another tier answers."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    with _answering(status, f"<Error><Code>{code}</Code></Error>") as port:
        refusing = f"refusing=s3://bucket/tier?endpoint=http://127.0.0.1:{port}&region=eu"
        assert repo.run("snapshots", tiers=[refusing]).code == ExitCode.REFUSED
        for words in (["catch-up"], ["rebuild-index"]):
            done = repo.run(*words, "--only", "refusing", tiers=[repo.tiers[0], refusing])
            assert done.code == ExitCode.REFUSED, done.out + done.err


@contextmanager
def _answering(status: int, body: str) -> Iterator[int]:
    """A server that gives one answer to everything; its port."""

    class Handler(BaseHTTPRequestHandler):
        def __getattr__(self, name: str) -> Callable[[], None]:
            if not name.startswith("do_"):
                raise AttributeError(name)
            return self.answer

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "application/xml")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


@pytest.mark.parametrize("words", [["catch-up"], ["check"], ["repair"], ["rebuild-index"]])
def test_tier_that_is_not_given_is_a_usage_error(repo: RepoCommand, words: list[str]) -> None:
    """No later time makes a name that was mistyped right."""
    done = repo.run(*words, "--only", "nowhere")
    assert done.code == ExitCode.USAGE
    assert "no tier is called nowhere" in done.err


def test_catch_up_names_what_nobody_has_any_more(repo: RepoCommand, tmp_path: Path) -> None:
    """A pack that no tier has whole is named, the snapshot that needs it is left out, exit code 5."""
    lost = packs_by_size(repo.tier("a"))[-1]
    damage(lost)
    tiers = [repo.tiers[0], (tmp_path / "c").as_uri()]
    done = repo.run("catch-up", tiers=tiers)
    assert done.code == ExitCode.DAMAGED
    assert f"no tier has pack {lost.name} whole" in done.out
    assert "was left out" in done.out


def test_catch_up_of_a_single_tier_has_nothing_to_copy_from(repo: RepoCommand) -> None:
    """One tier alone cannot catch up, and is told why."""
    done = repo.run("catch-up", tiers=repo.tiers[:1])
    assert done.code == ExitCode.UNAVAILABLE
    assert "no other tier to copy from" in done.out


def test_rebuild_index_names_packs_that_cannot_be_read(repo: RepoCommand) -> None:
    """The index lists what can be read; what cannot is named, exit code 5."""
    pack = packs_by_size(repo.tier("a"))[-1]
    pack.chmod(0o600)
    os.truncate(pack, pack.stat().st_size - 10)
    done = repo.run("rebuild-index", "--only", "a")
    assert done.code == ExitCode.DAMAGED
    assert f"cannot be read: {pack.name}" in done.out
    document = repo.run("rebuild-index", "--only", "a", "--json").document
    assert document["tiers"]["a"]["damaged_packs"] == [pack.name]


def test_rolled_back_tier_is_not_written_until_an_operator_accepts_it(repo: RepoCommand, source: Path) -> None:
    """A tier that went back to yesterday's state is told apart; with --accept-history it catches up."""
    yesterday = shutil.copytree(repo.tier("b"), repo.folder / "b yesterday")
    (source / "new").write_text("today")
    repo.json("backup", source)
    repo.json("backup", source)
    shutil.rmtree(repo.tier("b"))
    yesterday.rename(repo.tier("b"))
    checked = repo.run("check")
    assert checked.code == ExitCode.DAMAGED
    assert "replayed" in checked.out
    assert "b: " in checked.out
    assert "repo repair --accept-history b" in checked.out
    left_out = repo.run("repair")
    assert left_out.code == ExitCode.DEGRADED
    assert "b: left out, replayed" in left_out.out
    accepted = repo.run("repair", "--accept-history", "b")
    assert accepted.code == ExitCode.DEGRADED
    assert "b: what it shows counts from now on, up to log entry 3\n" in accepted.out
    assert "b: log entries 4 to 5, which were seen, GIVEN UP, and those before them" in accepted.out
    assert repo.run("catch-up").code == ExitCode.OK
    assert repo.run("check", "--read-data").code == ExitCode.OK


def damaged_entry(repo: RepoCommand, tier: str) -> Path:
    """The last entry of a tier's log, damaged."""
    entry = max(path for path in (repo.tier(tier) / "log").rglob("*") if path.is_file())
    body = bytearray(entry.read_bytes())
    body[90] ^= 1
    entry.chmod(0o600)
    entry.write_bytes(body)
    return entry


def test_repair_gives_a_log_entry_up_only_when_it_is_told_to(repo: RepoCommand) -> None:
    """Unasked nothing changes and the code is 5; with --bridge it is 4, the text says what is lost and what is kept."""
    alone = repo.tiers[:1]
    entry = damaged_entry(repo, "a")
    shutil.rmtree(repo.tier("a") / "snapshots")  # else the manifest would bring back what the entry held
    before = entry.read_bytes()
    refused = repo.run("repair", tiers=alone)
    assert refused.code == ExitCode.DAMAGED
    assert f"NOT repaired: log-entry log/{entry.parent.name}/{entry.name}" in refused.out
    assert "--bridge gives up" in refused.out
    assert entry.read_bytes() == before
    given_up = repo.run("repair", "--bridge", tiers=alone)
    assert given_up.code == ExitCode.DEGRADED
    assert f"log/{entry.parent.name}/{entry.name} GIVEN UP" in given_up.out
    kept = given_up.out.split("is kept as ")[1].split()[0]
    assert (repo.tier("a") / kept).read_bytes() == before
    assert repo.run("repair", tiers=alone).code == ExitCode.OK
    told = repo.run("repair", "--json", tiers=alone).document["tiers"]["a"]
    assert (told["given_up"], told["interrupted"]) == ([], False)


@pytest.mark.parametrize("words", [("snapshots",), ("snapshots", "--json"), ("find", "*")])
def test_listing_that_may_lack_a_snapshot_says_so(repo: RepoCommand, words: tuple[str, ...]) -> None:
    """Where entries of a log are lost the code is 4; a whole log beside it does not have what its tier never got."""
    assert repo.run(*words).code == ExitCode.OK
    damaged_entry(repo, "a")
    for tiers in (repo.tiers, repo.tiers[:1]):
        done = repo.run(*words, tiers=tiers)
        assert done.code == ExitCode.DEGRADED
        assert "snapshots may be missing" in done.err
    assert repo.run(*words, tiers=repo.tiers[1:]).code == ExitCode.OK


@pytest.mark.parametrize("is_rolled_back", [False, True])
def test_latest_is_said_to_be_uncertain_where_the_end_of_a_log_is_not_known(
    repo: RepoCommand, source: Path, tmp_path: Path, is_rolled_back: bool
) -> None:
    """Who asks for the newest snapshot and may get an older one is told, by exit code 4; an id is what it is."""
    alone = repo.tiers[:1]
    copy = shutil.copytree(repo.tier("a"), tmp_path / "yesterday")
    oldest = repo.json("snapshots", tiers=alone)["snapshots"][0]["id"]
    (source / "newer").write_text("today")
    newest = repo.json("backup", source, tiers=alone)["snapshot"]["id"]
    for words in (("restore", "latest", "--target", tmp_path / "0"), ("ls", "latest"), ("stats",)):
        assert repo.run(*words, tiers=alone).code == ExitCode.OK
    if is_rolled_back:
        shutil.rmtree(repo.tier("a"))
        copy.rename(repo.tier("a"))
    else:
        damaged_entry(repo, "a")
    for words in (
        ("restore", "latest", "--target", tmp_path / "1"),
        ("ls", "latest"),
        ("ls", "latest", "--json"),
        ("find", "*", "--snapshot", "latest"),
        ("diff", oldest, "latest"),
    ):
        done = repo.run(*words, tiers=alone)
        assert done.code == ExitCode.DEGRADED, words
        assert "whether this is the newest snapshot is not known: a " in done.err
    assert repo.run("ls", "latest", "--json", tiers=alone).document["is_newest_known"] is False
    # The entry is lost and its second copy whole: what can be read is read, and said to be in no log.
    assert (tmp_path / "1" / "newer").exists() is not is_rolled_back
    if not is_rolled_back:
        by_id = repo.run("ls", newest, tiers=alone)
        assert (by_id.code, "newer" in by_id.out) == (ExitCode.DEGRADED, True)
        assert f"no log has the entry of snapshot {newest[:12]}" in by_id.err
    assert repo.run("restore", oldest, "--target", tmp_path / "2", tiers=alone).code == ExitCode.OK
    assert repo.run("ls", oldest, tiers=alone).code == ExitCode.OK
    assert repo.run("stats", tiers=alone).code == ExitCode.DEGRADED


def test_stats_says_that_a_tier_is_away(repo: RepoCommand) -> None:
    assert repo.run("stats").code == ExitCode.OK
    out_of_the_way(repo, "b")
    for words in (("stats",), ("stats", "--json")):
        assert repo.run(*words).code == ExitCode.DEGRADED


def test_backup_on_a_tier_that_has_to_be_mended_first_does_not_say_later(repo: RepoCommand, source: Path) -> None:
    """Damage does not pass by itself: 5, and not that the same command may succeed later."""
    damaged_entry(repo, "a")
    done = repo.run("backup", source, tiers=repo.tiers[:1])
    assert done.code == ExitCode.DAMAGED
    assert "a: damaged" in done.err


def test_repair_says_what_it_looked_at(repo: RepoCommand) -> None:
    """Damage that only reading finds is not called nothing: the text says that the packs were not read."""
    repo.damage_a_pack("a")
    looked = repo.run("repair", "--only", "a")
    assert "packs were not read: --read-data finds damage within them" in looked.out
    assert "nothing to repair" not in looked.out
    mended = repo.run("repair", "--only", "a", "--read-data")
    assert mended.code == ExitCode.OK
    assert "made whole (b)" in mended.out
    assert "nothing to repair; all" in repo.run("repair", "--only", "a", "--read-data").out


@pytest.mark.parametrize("words", [("repair",), ("check",), ("catch-up",), ("rebuild-index",)])
def test_upkeep_that_was_asked_to_stop_says_so(
    repo: RepoCommand, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """However little was left to do: 130, and not that all is well."""

    @contextmanager
    def stopped() -> Iterator[Callable[[], bool]]:
        yield lambda: True

    monkeypatch.setattr("cli.repo_session.interruptible", stopped)
    done = repo.run(*words)
    assert done.code == ExitCode.INTERRUPTED
    assert "stopped [backup-cancelled]" in done.err
    assert "nothing to repair" not in done.out
    assert "no damage" not in done.out


def test_rebuild_index_names_the_tier_that_it_left_out(repo: RepoCommand) -> None:
    """A tier that was asked for and is away is told, by the exit code too."""
    out_of_the_way(repo, "b")
    done = repo.run("rebuild-index")
    assert done.code == ExitCode.DEGRADED
    assert "b: not rebuilt" in done.out


def test_restore_goes_on_where_it_was_interrupted(repo: RepoCommand, source: Path, tmp_path: Path) -> None:
    """Files that an interrupted restore finished are not read again; restored beside others, they get other names."""
    document = repo.json("restore", "latest", "--target", tmp_path / "out")
    assert document["is_whole"]
    beside = repo.json("restore", "latest", "--target", tmp_path / "out", "--on-conflict", "rename")
    assert beside["renamed"] > 0
    assert repo.run("restore", "latest", "--target", tmp_path / "out", "--on-conflict", "overwrite").code == ExitCode.OK


def test_restore_reads_from_the_tier_that_is_asked_for(repo: RepoCommand, tmp_path: Path) -> None:
    """--from names the tier; an unknown one is refused."""
    document = repo.json("restore", "latest", "--target", tmp_path / "out", "--from", "b", "--verify", "--no-sparse")
    assert document["bytes_by_tier"].keys() == {"b"}
    assert repo.run("restore", "latest", "--target", tmp_path / "x", "--from", "c").code == ExitCode.USAGE


@pytest.mark.timeout(150)
def test_server_that_never_answers_holds_no_reader_up(
    repo: RepoCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a tier that answers, an S3 server that takes connections and says nothing is named, and given up before
    its first answer is due; what is asked for is answered, and restored, from the other.
    """
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    with socket.create_server(("127.0.0.1", 0)) as frozen:
        dead = f"dead=s3://bucket/tier?endpoint=http://127.0.0.1:{frozen.getsockname()[1]}&region=eu"
        tiers = [dead, repo.tiers[0]]
        listed = repo.run("snapshots", tiers=tiers)
        assert listed.code == ExitCode.DEGRADED
        assert "waiting for dead" in listed.err
        assert "tier dead is unreachable" in listed.err
        restored = repo.run("restore", "latest", "--target", tmp_path / "restored", tiers=tiers)
        assert restored.code == ExitCode.DEGRADED, restored.err
        assert restored.err.count("newest snapshot is not known") == 1


def test_server_that_is_off_is_told_with_the_reason_while_it_is_tried_again(
    repo: RepoCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every command that opens tiers says for whom it waits and why; with --json the document has it."""
    monkeypatch.setattr("cli.repo_waiting.FIRST_SECONDS", 0.0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    with socket.create_server(("127.0.0.1", 0)) as off:
        port = off.getsockname()[1]
    tiers = [f"off=s3://bucket/tier?endpoint=http://127.0.0.1:{port}&region=eu&retry-seconds=2"]
    for words in (("restore", "latest", "--target", "nowhere"), ("init",)):
        done = repo.run(*words, tiers=tiers)
        assert done.code not in (ExitCode.OK, ExitCode.DEGRADED)
        assert "waiting for off: the server cannot be connected to" in done.err


def test_message_names_the_very_thing(repo: RepoCommand, tmp_path: Path) -> None:
    """The path, id, key file, target or address that something is wrong with is in the sentence."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    key = repo.key_file.rename(tmp_path / "aside")
    assert f"file {repo.key_file}" in repo.run("snapshots").err
    key.rename(repo.key_file)
    said = {
        f"path {tmp_path}/nowhere": repo.run("backup", tmp_path / "nowhere"),
        "id abcdef": repo.run("restore", "abcdef", "--target", tmp_path / "new"),
        f"target {tmp_path}/full": repo.run("restore", "latest", "--target", tmp_path / "full"),
        "address ftp://host/x": repo.run("snapshots", tiers=["ftp://host/x"]),
        "path no/such": repo.run("ls", "latest", "no/such"),
    }
    for words, done in said.items():
        assert done.code != ExitCode.OK
        assert words in done.err, done.err


def test_lock_that_a_tier_cannot_set_is_refused_by_its_code(repo: RepoCommand, source: Path) -> None:
    """Folders lock nothing: one that is asked gets nothing; if all are, or a required one is, there is no backup."""
    packs = [len(packs_by_size(repo.tier(name))) for name in "ab"]
    (source / "new").write_bytes(os.urandom(50_000))
    for words in (("--lock-days", "30"), ("--lock-days", "a=30", "--require", "a")):
        refused = repo.run("backup", source, *words)
        assert refused.code == ExitCode.REFUSED
        assert "lock-not-proven" in refused.err
    assert [len(packs_by_size(repo.tier(name))) for name in "ab"] == packs
    done = repo.run("backup", source, "--lock-days", "a=30", "--json")
    assert done.code == ExitCode.DEGRADED
    assert {name: each["state"] for name, each in done.document["tiers"].items()} == {"a": "failed", "b": "committed"}
    assert "cannot lock" in done.document["tiers"]["a"]["error"]
    assert repo.run("catch-up", "--lock-days", "a=30").code == ExitCode.DEGRADED
    assert len(packs_by_size(repo.tier("a"))) == packs[0]
    assert repo.run("backup", source, "--lock-days", "nobody=1").code != ExitCode.OK
    assert repo.run("catch-up").code == ExitCode.OK


def test_only_tier_that_is_put_back_as_a_whole_shows_and_is_not_forked(repo: RepoCommand, source: Path) -> None:
    """What was seen is remembered beside the key: an older state of the only tier is written by nobody unasked."""
    alone = repo.tiers[:1]
    copy = repo.tier("a").with_name("yesterday")
    shutil.copytree(repo.tier("a"), copy)
    assert repo.run("backup", source, tiers=alone).code == ExitCode.OK
    shutil.rmtree(repo.tier("a"))
    copy.rename(repo.tier("a"))
    before = sorted(path for path in repo.tier("a").rglob("*"))
    refused = repo.run("backup", source, tiers=alone)
    assert refused.code not in (ExitCode.OK, ExitCode.DEGRADED)
    assert "replayed" in refused.err + refused.out
    assert sorted(path for path in repo.tier("a").rglob("*")) == before
    assert repo.run("snapshots", tiers=alone).code != ExitCode.OK
    assert repo.run("repair", "--accept-history", "a", tiers=alone).code == ExitCode.DEGRADED
    assert repo.run("backup", source, tiers=alone).code == ExitCode.OK


def test_tier_whose_log_is_a_link_to_anothers_is_damaged_and_it_alone(repo: RepoCommand, source: Path) -> None:
    """The other tier goes on; the tier itself gets a log of its own again by the command that is named."""
    shutil.rmtree(repo.tier("b") / "log")
    (repo.tier("b") / "log").symlink_to(repo.tier("a") / "log")
    checked = repo.run("check")
    assert checked.code == ExitCode.DAMAGED
    assert "place-blocked log" in checked.out
    (source / "new").write_text("today")
    assert repo.run("backup", source).code == ExitCode.DEGRADED
    repaired = repo.run("repair")
    assert repaired.code == ExitCode.DEGRADED
    assert "a: found nothing" in repaired.out
    assert "b: left out" in repaired.out, repaired.out
    assert not (repo.tier("b") / "log").is_symlink()
    assert repo.run("repair", "--accept-history", "b").code in (ExitCode.OK, ExitCode.DEGRADED)
    assert repo.run("catch-up").code == ExitCode.OK
    assert repo.run("check", "--read-data").code == ExitCode.OK


def test_history_that_was_accepted_stays_so_where_other_damage_is_left(repo: RepoCommand, source: Path) -> None:
    """The next command tells the damage, and no longer calls the tier replayed."""
    only = repo.tiers[:1]
    yesterday = shutil.copytree(repo.tier("a"), repo.folder / "yesterday")
    (source / "new").write_text("today")
    repo.run("backup", source, tiers=only)
    shutil.rmtree(repo.tier("a"))
    yesterday.rename(repo.tier("a"))
    shutil.rmtree(repo.tier("a") / "snapshots")
    for entry in sorted((repo.tier("a") / "log").rglob("*"))[2:]:
        damage(entry)
    assert "replayed" in repo.run("check", tiers=only).out
    assert repo.run("repair", "--accept-history", "a", tiers=only).code == ExitCode.DAMAGED
    checked = repo.run("check", tiers=only)
    assert checked.code == ExitCode.DAMAGED
    assert "replayed" not in checked.out


def test_where_it_is_not_known_whether_a_tier_went_back_nothing_is_a_plain_success(repo: RepoCommand) -> None:
    """The file beside the key that says it is not to be had: what lies there stays, and each command says so."""
    heads = repo.key_file.with_name("key.heads")
    kept = heads.rename(heads.with_name("kept"))
    heads.mkdir()
    listed = repo.run("snapshots")
    assert (listed.code, "what was seen of the tiers before is not known" in listed.err) == (ExitCode.DEGRADED, True)
    accepted = repo.run("repair", "--accept-history", "a")
    assert (accepted.code, "is not known, and nothing is accepted" in accepted.out) == (ExitCode.DEGRADED, True)
    heads.rmdir()
    kept.rename(heads)
    assert repo.run("snapshots").code == ExitCode.OK


def test_lone_tier_without_its_log_is_led_to_the_command_that_brings_all_of_it_back(
    repo: RepoCommand, source: Path
) -> None:
    """Its packs and the second copies are all there; each of the two options alone leads to the other one."""
    only = repo.tiers[:1]
    shutil.rmtree(repo.tier("a") / "log")
    checked = repo.run("check", tiers=only)
    assert "`repo repair --accept-history a --bridge`" in checked.out, checked
    half = repo.run("repair", "--accept-history", "a", tiers=only)
    assert (half.code, "--accept-history a --bridge gives up" in half.out) == (ExitCode.DAMAGED, True), half
    whole = repo.run("repair", "--accept-history", "a", "--bridge", tiers=only)
    assert whole.code == ExitCode.DEGRADED, whole
    assert repo.run("check", "--read-data", tiers=only).code == ExitCode.OK
    assert repo.run("restore", "latest", "--target", repo.folder / "t", tiers=only).code == ExitCode.OK


def test_tiers_whose_disks_are_all_away_are_called_vanished(repo: RepoCommand, source: Path) -> None:
    """Whoever was there before is not led to begin anew: nothing is begun in an empty mount point."""
    disks = [repo.tier(tier).parent for tier in ("a", "b")]
    for disk in disks:
        disk.rename(disk.with_name(f"{disk.name} aside"))
        disk.mkdir()
    for words in (("snapshots",), ("check",), ("backup", source), ("init",)):
        done = repo.run(*words)
        assert (done.code, "tier was in use" in done.err, "`repo init`" in done.err) == (8, True, False), done
    for disk in disks:
        assert not any(path.is_file() for path in disk.rglob("*"))
        shutil.rmtree(disk)
        disk.with_name(f"{disk.name} aside").rename(disk)
    assert repo.run("check").code == 0


@pytest.mark.parametrize("below", ["", "packs", "new"])
def test_nothing_is_restored_into_a_tier(repo: RepoCommand, below: str) -> None:
    """It would lie among what it is restored from, or over it."""
    config = (repo.tier("a") / "config").read_bytes()
    done = repo.run("restore", "latest", "--target", repo.tier("a") / below, "--on-conflict", "overwrite")
    assert (done.code, "restore-refused" in done.err) == (9, True)
    assert (repo.tier("a") / "config").read_bytes() == config
    assert not (repo.tier("a") / "new").exists()


def test_catch_up_beside_a_vanished_tier_says_what_to_do(repo: RepoCommand) -> None:
    """Mount its disk, or the very command that begins it anew."""
    shutil.rmtree(repo.tier("b"))
    repo.tier("b").mkdir()
    done = repo.run("catch-up")
    assert (done.code, "b: not caught up" in done.out) == (ExitCode.UNAVAILABLE, True)
    assert "`repo catch-up --begin-anew b`" in done.out
    assert "a: nothing to copy from is there" in done.out
    assert "a: not caught up" not in done.out
    assert repo.run("catch-up", "--begin-anew", "b").code == 0


def test_another_repository_in_a_tiers_place_is_told_with_the_way_out(
    repo: RepoCommand, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of it is written to, no catch-up is promised; with its place empty again the tier is begun anew."""
    other = RepoCommand(tmp_path / "other", capsys, tiers=("b",))
    (tmp_path / "other").mkdir()
    other.json("init")
    repo.tier("b").rename(tmp_path / "disk b" / "aside")
    other.tier("b").rename(repo.tier("b"))
    before = seen(repo.tier("b"))
    done = repo.run("backup", source)
    assert done.code == ExitCode.DEGRADED
    assert "another repository lies at b" in done.out
    assert "owed a catch-up" not in done.out
    assert "repo catch-up --begin-anew b" in repo.run("check").out
    begun = repo.run("catch-up", "--begin-anew", "b")
    assert (begun.code, "repository-exists" in begun.err, "own disk" in begun.err) == (ExitCode.REFUSED, True, True)
    assert differences(before, seen(repo.tier("b"))) == []
    shutil.rmtree(repo.tier("b"))
    assert repo.run("catch-up", "--begin-anew", "b").code == 0
    assert repo.run("check", "--read-data").code == 0


def test_damage_is_told_with_the_command_that_mends_it(repo: RepoCommand) -> None:
    """And what no other tier has is not called whole."""
    repo.damage_a_pack("a")
    found = repo.run("check", "--read-data")
    assert (found.code, "`repo repair --read-data` makes whole" in found.out) == (ExitCode.DAMAGED, True)
    alone = repo.run("check", "--read-data", tiers=repo.tiers[:1])
    assert (alone.code, "whole on" in alone.out) == (ExitCode.DAMAGED, False)


def test_path_in_place_of_an_address_is_told_how_to_write_it(repo: RepoCommand) -> None:
    """One from the working folder on; a whole one is taken as it is."""
    done = repo.run("snapshots", tiers=["some/tier"])
    assert (done.code, f"write file://{Path.cwd()}/some/tier." in done.err) == (ExitCode.USAGE, True)


def test_hint_of_a_tier_is_told_where_others_are_well(repo: RepoCommand, source: Path, tmp_path: Path) -> None:
    """The usual case: one of two is in trouble, and what to do stands below its line."""
    out_of_the_way(repo, "b")
    done = repo.run("backup", source)
    assert done.code == ExitCode.DEGRADED
    lines = (done.out + done.err).splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith("tier b")]
    assert lines[at + 1].startswith("    "), lines
    caught_up = repo.run("catch-up")
    assert "b: not caught up" in caught_up.out + caught_up.err


def test_tier_that_lacks_the_snapshot_is_told_from_one_that_is_away(repo: RepoCommand, source: Path) -> None:
    """Whoever asked for that very tier is told which have it."""
    (source / "later").write_text("only on a")
    repo.json("backup", source, tiers=repo.tiers[:1])
    done = repo.run("restore", "latest", "--from", "b", "--target", repo.folder / "out")
    assert (done.code, "take one of these: a" in done.err) == (ExitCode.NOT_FOUND, True), done


def test_folder_of_a_tier_may_be_named_by_its_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever characters it has, and beside a name."""
    (tmp_path / "100% #1 photos?").mkdir()
    repo = RepoCommand(tmp_path, capsys, tiers=("100% #1 photos?/tier",))
    by_path = [str(repo.tier("tier"))]
    assert repo.run("init", tiers=by_path).code == 0
    assert repo.run("snapshots").code == 0
    (checked,) = repo.json("check", tiers=[f"disk={by_path[0]}"])["tiers"]
    assert checked == "disk"


def test_latest_is_not_called_the_newest_while_a_tier_is_away(repo: RepoCommand, source: Path) -> None:
    """It may have a newer one, as here: whoever restores is told, by the exit code, too."""
    (source / "later").write_text("only on b")
    repo.json("backup", source, tiers=repo.tiers[1:])
    out_of_the_way(repo, "b")
    restored = repo.run("restore", "latest", "--target", repo.folder / "out", "--json")
    assert (restored.code, restored.document["is_newest_known"]) == (ExitCode.DEGRADED, False)
    assert "b cannot be read, and may have a newer one" in restored.err
    assert not (repo.folder / "out/later").exists()
    listed = repo.run("ls", "latest", "--json")
    assert (listed.code, listed.document["is_newest_known"]) == (ExitCode.DEGRADED, False)
    listed = repo.run("snapshots", "--json")
    assert (listed.code, "b cannot be read" in listed.err) == (ExitCode.DEGRADED, True)
    assert repo.run("ls", listed.document["snapshots"][0]["id"]).code == 0


def test_tier_that_was_begun_anew_is_gone_on_with_by_the_same_command(repo: RepoCommand) -> None:
    """As whoever was interrupted is told to do."""
    shutil.rmtree(repo.tier("b"))
    assert repo.run("catch-up", "--begin-anew", "b").code == 0
    again = repo.run("catch-up", "--begin-anew", "b")
    assert (again.code, "b is in use: it is caught up, and not begun anew" in again.err) == (0, True)


def test_tier_that_cannot_be_repaired_is_told_with_its_damage(
    repo: RepoCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk hides no damage: it is left, and the exit code says so."""
    repo.damage_a_pack("b")

    def is_full(_repository: object, tier: OpenTier, *_: object, **__: object) -> None:
        raise TierFull("no space left", tier=tier.name)

    monkeypatch.setattr(repo_upkeep, "repair_tier", is_full)
    done = repo.run("repair", "--read-data")
    assert (done.code, "b: NOT repaired: pack-damaged packs/" in done.out) == (ExitCode.DAMAGED, True), done
    assert "a: NOT repaired" not in done.out
    document = repo.run("repair", "--read-data", "--json")
    assert [each["tier"] for each in document.document["damage_left"]] == ["b"]


def test_repair_of_a_tier_that_is_behind_says_so(repo: RepoCommand, source: Path) -> None:
    """What a repair was asked for is done, and the tier lacks a snapshot all the same."""
    assert repo.run("repair").code == ExitCode.OK
    (source / "more").write_text("more")
    repo.json("backup", source, tiers=repo.tiers[:1])
    (repo.tier("b") / "config").unlink()
    done = repo.run("repair")
    assert done.code == ExitCode.DEGRADED, "as of a check"
    assert "b: config made whole" in done.out
    assert "b is behind by 2 packs and 1 snapshots (`repo catch-up`)" in done.out
    assert list(repo.run("repair", "--json").document["behind"]) == ["b"]
    assert repo.run("catch-up").code == ExitCode.OK
    assert repo.json("repair")["behind"] == {}


def test_folder_that_is_not_there_is_not_called_empty(repo: RepoCommand, tmp_path: Path) -> None:
    """A path that was mistyped, or a disk that is not mounted; of one that is there and empty nothing changes."""
    (tmp_path / "new").mkdir()
    for name, words in (("nosuch", f"its folder is not there (tier nosuch, path {tmp_path}/nosuch)"), ("new", "")):
        address = (tmp_path / name).as_uri()
        done = repo.run("snapshots", tiers=[address])
        assert done.code == ExitCode.NOT_FOUND
        assert f"{name}: {'absent: ' if words else 'empty'}{words}" in done.err
        done = repo.run("check", tiers=[repo.tiers[0], address])
        assert done.code == ExitCode.DEGRADED
        assert f"UNKNOWN on {name}: tier : empty: {words}" in done.out
    assert "is its disk mounted?" in repo.run("check", tiers=[repo.tiers[0], (tmp_path / "nosuch").as_uri()]).out
