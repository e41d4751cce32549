"""A history is what it says it is: its versions, how many stay, and what those need."""

from pathlib import Path

from benchmarks.retention import History


def test_what_the_versions_that_stay_need_is_the_sum_of_their_contents(tmp_path: Path) -> None:
    history = History(tmp_path / "source", 200_000, 9)
    contents, stay, total = set[bytes](), list[bool](), set[bytes]()
    for stays in history.write():
        found = {path.read_bytes() for path in history.folder.rglob("*.bin")}
        total |= found
        stay.append(stays)
        if stays:
            contents |= found
    assert stay == [True, False] * 4 + [True]
    assert history.kept == 5
    assert history.needed_bytes == sum(map(len, contents))
    assert 0.9 < sum(map(len, total)) / history.size < 1.1
