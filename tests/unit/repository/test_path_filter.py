"""Which paths a restore wants."""

import pytest

from repository.restore.path_filter import Match, PathFilter

NOTHING, BELOW, WANTED = Match.NOTHING, Match.BELOW, Match.WANTED


def test_no_glob_wants_everything() -> None:
    """Without globs the whole snapshot is wanted, the root included."""
    wanted = PathFilter()
    assert wanted.match(b"") is WANTED
    assert wanted.match(b"any/thing") is WANTED


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("*.jpg", b"", BELOW),
        ("*.jpg", b"a", BELOW),
        ("*.jpg", b"a/b.jpg", WANTED),
        ("*.jpg", b"a/b.jpg/inside", WANTED),
        ("*.jpg", b"a/b.JPG", BELOW),
        ("smith/", b"weddings/smith", WANTED),
        ("/smith", b"weddings/smith", NOTHING),
        ("/smith", b"smith", WANTED),
        ("weddings/smith", b"weddings", BELOW),
        ("weddings/smith", b"weddings/smith/1.jpg", WANTED),
        ("weddings/smith", b"weddings/jones", NOTHING),
        ("weddings/smith", b"elsewhere", NOTHING),
        ("weddings/*/raw", b"weddings/smith", BELOW),
        ("weddings/*/raw", b"weddings/smith/raw/1", WANTED),
        ("weddings/*/raw", b"weddings/smith/jpg", NOTHING),
        ("weddings/*.jpg", b"weddings/smith/1.jpg", NOTHING),
        ("weddings/**/1.jpg", b"weddings/1.jpg", WANTED),
        ("weddings/**/1.jpg", b"weddings/a/b/1.jpg", WANTED),
        ("weddings/**/1.jpg", b"weddings/a/b/2.jpg", BELOW),
        ("**", b"x", WANTED),
        ("./a/b", b"a/b", WANTED),
        ("img_[0-4]?.raw", b"d/img_37.raw", WANTED),
        ("img_[!0-4]?.raw", b"d/img_37.raw", BELOW),
        (b"\xff*", b"\xff\xfe", WANTED),
        ("a\nb", b"a\nb", WANTED),
        ("", b"x", WANTED),
    ],
)
def test_glob_matches_as_the_shell_does(glob: str | bytes, path: bytes, expected: Match) -> None:
    """Names at any depth without a slash, paths with one; what is below a match is wanted, what leads there entered."""
    assert PathFilter([glob]).match(path) is expected


def test_any_of_several_globs_is_enough() -> None:
    """Several globs want what any of them wants."""
    wanted = PathFilter(["a/x", "b"])
    assert [wanted.match(path) for path in (b"a", b"a/x", b"c/b", b"a/y")] == [BELOW, WANTED, WANTED, BELOW]
