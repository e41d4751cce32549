"""docs/repository-cli.md: its commands as they stand there, and its tables beside what the commands have and print."""

import argparse
import re
from pathlib import Path

import pytest

from cli.main import _load, _parser
from tests.support.guide import Shell
from tests.support.repo_command import RepoCommand
from tests.support.stack import ROOT

DOCUMENT = "docs/repository-cli.md"
TEXT = (ROOT / DOCUMENT).read_text()
COMMON = {"--help", "--key-file", "--passphrase", "--key-command", "--tier", "--credentials", "--profile", "--json"}
GROUPS = ("key ", "kit ", "pins ")
DISK, CLOUD = "file:///mnt/disk/backup", "s3://bucket/prefix?endpoint=https://s3.example"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A newcomer's, with a home and a cache of his own, and something to keep."""
    (tmp_path / "home").mkdir()
    album = tmp_path / "photos" / "2027"
    album.mkdir(parents=True)
    for number in range(3):
        (album / f"IMG_{number}.JPG").write_bytes(bytes([number]) * 70_000)
    return Shell(DOCUMENT, tmp_path / "bin", tmp_path, {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": ""})


def _typed(shell: Shell, name: str, target: str) -> tuple[int, str]:
    """A block, with two folders in the place of its disk and its bucket: the last line's exit code, what was said."""
    script = shell.block("run", name)
    own = {DISK: (shell.folder / "disk").as_uri(), CLOUD: (shell.folder / "cloud").as_uri()}
    for words, instead in {**own, "KEY": "my.key", "PATH": "photos", "DIR": target}.items():
        assert words in script or words == "PATH", words
        script = script.replace(words, instead)
    done = shell.type(script)
    return done.returncode, done.stdout + done.stderr


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_blocks_do_what_the_text_says(shell: Shell) -> None:
    """A backup by hand, given back; then a damaged tier, and all that the section on a total loss promises."""
    code, said = _typed(shell, "by-hand", "restored")
    assert code == 0, said
    assert "keep copies of it apart from the backups" in said
    before = _content(shell.folder / "photos")
    assert _content(shell.folder / "restored") == before
    pack = max((shell.folder / "disk/packs").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size)
    body = bytearray(pack.read_bytes())
    body[len(body) // 2] ^= 1
    pack.chmod(0o600)
    pack.write_bytes(body)
    code, said = _typed(shell, "all-is-lost", "found")
    assert code == 0, said
    assert "DAMAGE on disk" in said
    assert "made whole (cloud)" in said
    assert _content(shell.folder / "found") == before


def test_what_is_half_told_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A sample is no proof of the rest, too little memory is refused with the least, an empty place has no reason."""
    repo = RepoCommand(tmp_path, capsys)
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "one.jpg").write_bytes(b"one")
    repo.json("init")
    nowhere = repo.run("snapshots", tiers=[(tmp_path / "nowhere").as_uri()])
    assert "its folder is not there (tier nowhere" in nowhere.err, nowhere
    (tmp_path / "nowhere").mkdir()
    nowhere = repo.run("snapshots", tiers=[(tmp_path / "nowhere").as_uri()])
    assert nowhere.err.endswith("nowhere: empty\n"), nowhere
    too_little = repo.run("backup", tmp_path / "album", "--memory", "1")
    assert re.search(r"at least \d+ MiB of memory", too_little.err), too_little
    repo.json("backup", tmp_path / "album")
    assert repo.run("check", "--read-data").out.endswith("no damage found\n")
    assert "in the sample that was read" in repo.run("check", "--read-data", "1").out


def _table(heading: str) -> dict[str, str]:
    """The rows of the table of a section, by the commands that their first cell names."""
    part = TEXT[TEXT.index(f"\n## {heading}\n") :].split("\n## ", 2)[1]
    rows = [line.strip("| ").split(" | ", 1) for line in part.splitlines() if line.startswith("| `")]
    return {_command_of(name): f"{name} {text}" for first, text in rows for name in re.findall(r"`([^`]+)`", first)}


def _command_of(words: str) -> str:
    return " ".join(words.split()[: 2 if words.startswith(GROUPS) else 1])


def _sub_commands() -> dict[str, argparse.ArgumentParser]:
    parser = _parser("repo", _load("repo"))
    for name in ("repo", None):
        (action,) = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
        if name is None:
            commands = dict(action.choices)
            for group in GROUPS:
                owner = commands.pop(group.strip())
                (below,) = [each for each in owner._actions if isinstance(each, argparse._SubParsersAction)]
                commands |= {group + word: each for word, each in below.choices.items()}
            return commands
        parser = action.choices[name]
    raise AssertionError


def test_table_of_sub_commands_is_whole() -> None:
    """Every one has a row; every option stands in its row, and the row names no other."""
    rows, commands = _table("Sub-commands"), _sub_commands()
    missing: dict[str, set[str]] = {}
    assert rows.keys() | {"release"} == commands.keys() == _table("JSON").keys()
    every = {option for each in commands.values() for action in each._actions for option in action.option_strings}
    for name, parser in commands.items():
        own = {option for action in parser._actions for option in action.option_strings if option.startswith("--")}
        text = re.sub(r"`--keep-last`, (`-\w+`(?:, )?)+", _written_out, rows.get(name, rows["hold"]))
        text = re.sub(r"`(-\w+)(?: N)?`", r"`--keep\1`", text) if name == "forget" else text
        named = set(re.findall(r"--[a-z][a-z-]+", text))
        assert named <= every, name
        if own - COMMON - named:
            missing[name] = own - COMMON - named
    assert missing == {}


def _written_out(found: "re.Match[str]") -> str:
    return re.sub(r"`-(\w+)`", r"`--keep-\1`", found[0])


def test_documents_have_the_fields_that_the_table_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of each sub-command, no more and no fewer: a script relies on them."""
    repo = RepoCommand(tmp_path, capsys)
    album = tmp_path / "album"
    album.mkdir()
    (album / "one.txt").write_text("one")
    printed = {"init": repo.json("init"), "backup": repo.json("backup", album, "--label", "album")}
    (album / "two.txt").write_text("two")
    first, second = (
        printed["backup"]["snapshot"]["id"],
        repo.json("backup", album, "--label", "album")["snapshot"]["id"],
    )
    printed["diff"] = repo.run("diff", first, second, "--json").document
    for name, words in {
        "snapshots": (),
        "ls": ("latest",),
        "find": ("*.txt",),
        "restore": ("latest", "--target", tmp_path / "out"),
        "check": (),
        "repair": (),
        "hold": ("a-hold", "latest"),
        "holds": (),
        "release": ("a-hold",),
        "forget": ("--keep-last", "1"),
        "prune": (),
        "locks": (),
        "pins list": (),
        "tag": ("latest", "--add", "kept"),
        "key list": (),
        "key rotate": ("--data",),
        "key domain": ("person",),
        "kit export": ("--out", tmp_path / "kit"),
        "kit check": (shares := [tmp_path / "kit" / f"share-{number}-of-5.txt" for number in (1, 2, 3)]),
        "kit restore": ("--out", tmp_path / "restored", *shares),
        "erase": ("person",),
        "key add": ("--new-key-file", tmp_path / "second"),
        "catch-up": (),
        "rebuild-index": (),
        "stats": (),
    }.items():
        printed[name] = repo.json(*name.split(), *words)
    for tier in "ab":
        (repo.tier(tier) / "pins" / ("7" * 32)).parent.mkdir(exist_ok=True)
        (repo.tier(tier) / "pins" / ("7" * 32)).touch()
    printed["pins release"] = repo.json("pins", "release", "7")
    receipt, word = tmp_path / "receipt", printed["erase"]["confirm"]
    repo.json("erase", "person", "--confirm", word, "--receipt", receipt)
    public_key = printed["key list"]["public_key"]
    printed["verify-receipt"] = repo.json("verify-receipt", receipt, "--public-key", public_key)
    repo.json("key", "add", "--new-key-file", tmp_path / "second")
    old = printed["key list"]["opened_by"]
    repo.key_file = tmp_path / "second"
    printed["key remove"] = repo.json("key", "remove", old)
    # What `follow` prints takes a database: tests/component/sources/test_following.py.
    promised = {name: text for name, text in _table("JSON").items() if name not in ("dump", "cat", "follow")}
    assert printed.keys() == promised.keys()
    found, named = {}, {}
    for name, document in printed.items():
        text = promised[name]
        while (flat := re.sub(r" ?\([^()]*\)", "", text)) != text:
            text = flat
        general, _, own = text.partition(f"; `{name}`: ")
        named[name] = sorted(re.findall(r"`(\w+)`", general.partition(";")[0] + own))
        found[name] = sorted(document)
    assert found == named
