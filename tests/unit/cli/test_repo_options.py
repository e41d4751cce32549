"""What `repo` takes on its command line, and what it refuses."""

import argparse

import pytest

from cli import repo
from cli.repo_session import split_name

COMMON = ["--key-file", "k", "--tier", "file:///a"]


def parsed(*words: str) -> argparse.Namespace:
    """The options of one command line."""
    parser = argparse.ArgumentParser()
    repo.configure(parser)
    return parser.parse_args([words[0], *COMMON, *words[1:]])


@pytest.mark.parametrize(
    ("words", "percent"),
    [
        (["check"], 0.0),
        (["check", "--read-data"], 100.0),
        (["check", "--read-data", "5"], 5.0),
        (["repair", "--read-data", "2.5%"], 2.5),
    ],
)
def test_read_data_takes_a_share_or_all(words: list[str], percent: float) -> None:
    """Without the option nothing is read, without a number all."""
    assert parsed(*words).read_data == percent


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--read-data", "0"],
        ["check", "--read-data", "101"],
        ["check", "--read-data", "half"],
        ["check", "--read-data", "nan"],
        ["backup", "--memory", "0", "p"],
        ["backup", "--lock-days", "-1", "p"],
        ["backup", "--lock-days", "vault=", "p"],
        ["backup", "--lock-days", "=5", "p"],
        ["catch-up", "--lock-days", "0"],
        ["backup", "--memory", "²", "p"],
        ["backup", "--stdin", "--stdin-filename", "a/b"],
        ["restore", "latest"],
        ["restore", "latest", "--target", "t", "--on-conflict", "maybe"],
        ["restore", "latest", "--target", "t", "--at", "2026-05-01T12:00:00"],
        ["restore", "latest", "--target", "t", "--at", "noon"],
        ["follow", "/srv/photos"],
        ["follow", "postgres://h/d", "--every", "0"],
        ["diff", "latest"],
        ["erase"],
        ["erase", "person", "--confirm", ""],
        ["backup", "--par", "p"],
    ],
)
def test_option_that_makes_no_sense_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong value or a missing word ends with usage, before anything is opened; options are never guessed."""
    with pytest.raises(SystemExit) as exit_info:
        parsed(*words)
    assert exit_info.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_no_waste_at_all_may_be_asked_for_and_no_sample_of_nothing() -> None:
    """`prune --max-unused 0` writes every pack again that has some."""
    assert [parsed("prune", "--max-unused", text).max_unused for text in ("0", "0%", "100")] == [0.0, 0.0, 100.0]
    for words in (("check", "--read-data", "0"), ("prune", "--max-unused", "-1"), ("prune", "--max-unused", "101")):
        with pytest.raises(SystemExit):
            parsed(*words)


def test_prune_gives_way_and_a_backup_does_not() -> None:
    """Backups, restores and checks go on at full speed beside a prune."""
    assert parsed("prune").gives_way
    assert not hasattr(parsed("backup", "/etc"), "gives_way")


def test_lock_days_are_for_one_tier_or_for_each() -> None:
    """A folder beside a locked bucket is not asked for what it cannot do."""
    assert parsed("backup", "--lock-days", "vault=30", "--lock-days", "1", "p").lock_days == [("vault", 30), ("", 1)]
    assert parsed("catch-up").lock_days == []


def test_every_sub_command_of_the_manual_is_there() -> None:
    """All that are promised."""
    promised = "init backup follow snapshots ls find diff restore check repair catch-up rebuild-index"
    promised += " forget prune locks hold release holds stats tag dump cat"
    promised += " erase verify-receipt"
    keys = [
        "pins list",
        "pins release",
        "key list",
        "key add",
        "key rotate",
        "key remove",
        "key domain",
        "kit export",
        "kit check",
        "kit restore",
    ]
    assert sorted(repo._SUBCOMMANDS) == sorted([*promised.split(), *keys])


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("file:///a", (None, "file:///a")),
        ("local=file:///a=b", ("local", "file:///a=b")),
        ("s3://bucket/p?endpoint=http://x", (None, "s3://bucket/p?endpoint=http://x")),
        ("eu-1=s3://bucket/p?endpoint=http://x", ("eu-1", "s3://bucket/p?endpoint=http://x")),
        ("=file:///a", (None, "=file:///a")),
        ("a b=file:///a", (None, "a b=file:///a")),
    ],
)
def test_tier_can_be_given_a_name(address: str, parts: tuple[str | None, str]) -> None:
    """NAME=URL names a tier; an equals sign further on is part of the address."""
    assert split_name(address) == parts


@pytest.mark.parametrize(
    "words",
    [
        ["backup", ""],
        ["backup", "p", "--label", ""],
        ["backup", "p", "--tag", ""],
        ["backup", "p", "--exclude", ""],
        ["backup", "p", "--exclude-file", ""],
        ["backup", "p", "--host", ""],
        ["backup", "--files-from", ""],
        ["backup", "p", "--require", ""],
        ["restore", "", "--target", "t"],
        ["restore", "latest", "--target", ""],
        ["restore", "latest", "--target", "t", "--path", ""],
        ["restore", "latest", "--target", "t", "--from", ""],
        ["snapshots", "--label", ""],
        ["ls", ""],
        ["ls", "latest", ""],
        ["find", ""],
        ["find", "x", "--snapshot", ""],
        ["dump", "latest", ""],
        ["cat", "latest", ""],
        ["tag", "latest", "--add", ""],
        ["forget", "--host", ""],
        ["diff", "", "latest"],
        ["diff", "latest", ""],
        ["check", "--only", ""],
        ["repair", "--accept-history", ""],
        ["init", "--key-file", ""],
        ["init", "--tier", ""],
    ],
)
def test_empty_argument_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What is left of a variable that was not set stands for nothing: not for the current folder, not for all."""
    with pytest.raises(SystemExit) as exit_info:
        parsed(*words)
    assert exit_info.value.code == 2
    assert "is empty" in capsys.readouterr().err
