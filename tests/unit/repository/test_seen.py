"""What was seen of tiers is remembered apart from them, and only ever raised."""

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from repository.log.state import Head, LogState
from repository.opened import seen as seen_module
from repository.opened.seen import HeadsFile, SeenTier
from repository.upkeep.root_change import change_root
from tests.support.repositories import Scene, photos, write_snapshot

ID = b"R" * 16
A, B = b"a" * 16, b"b" * 16


def _state(tier_id: bytes | None, number: int, digest: bytes) -> LogState:
    return LogState(ID, b"g" * 32, base=number, digests=[digest], tier_id=tier_id)


def _file(path: Path) -> tuple[HeadsFile, list[str]]:
    told: list[str] = []
    return HeadsFile(path / "key.heads", told.append), told


def test_heads_are_raised_and_lowered_only_where_somebody_says_so(tmp_path: Path) -> None:
    """By place and by tier id; a second repository has its own."""
    heads, told = _file(tmp_path)
    assert heads.seen(ID, {"a": "file:///a"}) == {"a": [], "": []}
    heads.note(ID, {"file:///a": _state(A, 5, b"5" * 32), "file:///b": _state(None, 0, b"g" * 32)})
    seen = SeenTier(A, Head(5, b"5" * 32))
    assert heads.seen(ID, {"a": "file:///a", "b": "file:///b"}) == {"a": [seen], "b": [], "": [seen]}
    heads.note(ID, {"file:///a": _state(A, 3, b"3" * 32)})
    assert heads.seen(ID, {"a": "file:///a"})["a"] == [seen]
    heads.note(ID, {"file:///a": _state(A, 3, b"3" * 32)}, accepted="file:///a")
    assert heads.seen(ID, {"a": "file:///a"})["a"] == [SeenTier(A, Head(3, b"3" * 32))]
    assert heads.seen(b"S" * 16, {"a": "file:///a"}) == {"a": [], "": []}
    assert (tmp_path / "key.heads").stat().st_mode & 0o777 == 0o600
    assert told == []


def test_another_tier_at_a_place_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    """And one that moved is still known by its id."""
    heads, _ = _file(tmp_path)
    heads.note(ID, {"file:///a": _state(A, 5, b"5" * 32)})
    heads.note(ID, {"file:///moved": _state(A, 6, b"6" * 32)})
    assert heads.seen(ID, {"x": "file:///a"}) == {"x": [], "": [SeenTier(A, Head(6, b"6" * 32))]}
    heads.note(ID, {"file:///moved": _state(B, 1, b"1" * 32)})
    assert heads.seen(ID, {"x": "file:///moved"})["x"] == [SeenTier(B, Head(1, b"1" * 32))]


def test_file_that_cannot_be_read_is_set_aside_and_told(tmp_path: Path) -> None:
    """Nothing is known then, and nobody is kept from reading his files."""
    heads, told = _file(tmp_path)
    (tmp_path / "key.heads").write_bytes(b"{broken")
    assert heads.seen(ID, {"a": "x"}) == {"a": [], "": []}
    assert "cannot be read" in told[0]
    assert (tmp_path / "key.heads.damaged").read_bytes() == b"{broken"
    (tmp_path / "key.heads").mkdir()
    assert heads.seen(ID, {"a": "x"}) == {"a": [], "": []}
    heads.note(ID, {"x": _state(A, 5, b"5" * 32)})
    assert "is not known" in told[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key.heads", "key.heads.damaged"]


def test_what_the_system_does_not_give_for_once_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user's file, or a disk's error: what it says of tiers that were rolled back is not to be lost by it."""
    heads, told = _file(tmp_path)
    heads.note(ID, {"file:///a": _state(A, 5, b"5" * 32)})
    body = (tmp_path / "key.heads").read_bytes()
    other = HeadsFile(tmp_path / "other.heads")
    other.note(ID, {"file:///b": _state(B, 2, b"2" * 32)})
    with monkeypatch.context() as patch:
        patch.setattr(seen_module, "open_regular", _refused)
        assert heads.seen(ID, {"a": "file:///a"}) == {"a": [], "": []}
        assert not heads.knows("file:///a")
        heads.note(ID, {"file:///a": _state(A, 3, b"3" * 32)})
        heads.take_over(other, ID)
    assert (tmp_path / "key.heads").read_bytes() == body
    assert len(told) == 4
    assert all("is not known" in words for words in told)
    assert heads.seen(ID, {"a": "file:///a"})["a"] == [SeenTier(A, Head(5, b"5" * 32))]


def _refused(_path: Path) -> NoReturn:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize(
    ("seen", "is_contradicted"),
    [
        (SeenTier(A, Head(5, b"5" * 32)), False),
        (SeenTier(None, Head(5, b"5" * 32)), False),
        (SeenTier(A, Head(6, b"6" * 32)), True),
        (SeenTier(None, Head(5, b"x" * 32)), True),
        (SeenTier(B, Head(5, b"5" * 32)), False),  # the log was given another id, and holds what was seen
        (SeenTier(B, Head(4, b"4" * 32)), True),  # another log, as far as anybody knows
        (SeenTier(B, Head(0, b"")), False),
    ],
)
def test_log_at_a_place_is_compared_with_what_was_seen_there(seen: SeenTier, is_contradicted: bool) -> None:
    """Shorter, other, or of another tier."""
    state = _state(A, 5, b"5" * 32)
    assert seen.contradicts(state, state.contradicts) == is_contradicted


def test_pipe_in_the_files_place_is_told_and_not_waited_for(tmp_path: Path) -> None:
    heads, told = _file(tmp_path)
    os.mkfifo(tmp_path / "key.heads")
    assert heads.seen(ID, {"a": "x"}) == {"a": [], "": []}
    assert "it is not a regular file" in told[0]


@pytest.mark.parametrize("what", ["commits", "changes the root"])
def test_what_another_process_notes_while_the_logs_are_read_is_no_older_history(what: str) -> None:
    """It wrote to the tiers and remembered them before this one, which had read the logs, asked what was remembered."""
    scene = Scene(("a", "b"))
    scene.backup(photos(1), "first")
    other = scene.repository

    def noted(_: bytes) -> dict[str, list[SeenTier]]:
        if what == "commits":
            write_snapshot(other, other.ready_tiers(), photos(1, 2), "beside", scene.randomness)
        else:
            change_root(other, scene.provider)
        states = {tier.name: tier.log.state for tier in other.tiers}
        seen = {name: [SeenTier(state.tier_id, state.head, state.root)] for name, state in states.items()}
        return {**seen, "": [each for found in seen.values() for each in found]}

    assert scene.reopen(known=noted).states() == {"a": "ready", "b": "ready"}
