"""What patterns leave out: as git does, by the entry's own path, and told where one means nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from repository.backup.source import SourceExcluded
from repository.errors import PatternInvalid
from sources.patterns import Patterns, lines_of
from tests.support.stack import ROOT

TREE = (
    b"a/b/c.o",
    b"a/b/d",
    b"a/c.o",
    b"a/x y",
    b"b/a/c.o",
    b"b\n",
    b"c.o",
    b"c.o\n",
    b"#x",
    b"!y",
    "voilà".encode(),
    b"voil\xc3",
    b"z/1",
)
"""Files; the folders follow from them."""


def _kept(patterns: Patterns) -> set[bytes]:
    """The files that a walk meets."""
    kept = set()
    for path in TREE:
        parts = path.split(b"/")
        folders = [b"/".join(parts[:count]) for count in range(1, len(parts))]
        if not any(patterns.leave_out(each, is_folder=True) for each in folders):
            kept |= set() if patterns.leave_out(path, is_folder=False) else {path}
    return kept


@pytest.mark.parametrize(
    ("patterns", "left_out"),
    [
        # As `git ls-files --others --exclude-standard` says of this tree.
        ([b"*.o"], {b"a/b/c.o", b"a/c.o", b"b/a/c.o", b"c.o"}),
        ([b"/*.o"], {b"c.o"}),
        ([b"a"], {b"a/b/c.o", b"a/b/d", b"a/c.o", b"a/x y", b"b/a/c.o"}),
        ([b"/a"], {b"a/b/c.o", b"a/b/d", b"a/c.o", b"a/x y"}),
        ([b"a/b"], {b"a/b/c.o", b"a/b/d"}),
        ([b"b/"], {b"a/b/c.o", b"a/b/d", b"b/a/c.o"}),
        ([b"a/**"], {b"a/b/c.o", b"a/b/d", b"a/c.o", b"a/x y"}),
        ([b"a/**/"], {b"a/b/c.o", b"a/b/d"}),
        ([b"**/b/d"], {b"a/b/d"}),
        ([b"a/**/c.o"], {b"a/b/c.o", b"a/c.o"}),
        ([b"c.[!a-n]"], {b"a/b/c.o", b"a/c.o", b"b/a/c.o", b"c.o"}),
        ([b"*.o", b"!/a/c.o"], {b"a/b/c.o", b"b/a/c.o", b"c.o"}),
        ([b"/a", b"!/a/c.o"], {b"a/b/c.o", b"a/b/d", b"a/c.o", b"a/x y"}),
        ([b"!/a/c.o", b"*.o"], {b"a/b/c.o", b"a/c.o", b"b/a/c.o", b"c.o"}),
        ([b"*", b"!/z"], set(TREE) - {b"z/1"} | {b"z/1"}),
        ([b"/*", b"!/z"], set(TREE) - {b"z/1"}),
        ([b"\\#x", b"\\!y"], {b"#x", b"!y"}),
        ([b"x y  "], {b"a/x y"}),
        (["voilà".encode()], {"voilà".encode()}),
        ([b"z/?"], {b"z/1"}),
    ],
)
def test_patterns_leave_out_what_git_leaves_out(patterns: list[bytes], left_out: set[bytes]) -> None:
    """No more, also where a name ends with a line feed or with half of another character."""
    assert set(TREE) - _kept(Patterns(patterns)) == left_out


@pytest.mark.parametrize("text", [b"", b"#x", b"/", b"[a-", b"[[:alpha:]]", b"x\\", b"a\0b", b"!", b"   "])
def test_pattern_that_can_match_nothing_is_refused(text: bytes) -> None:
    """Whoever wrote it counts on it."""
    with pytest.raises(PatternInvalid):
        Patterns([text])


def test_each_pattern_tells_what_it_did() -> None:
    """The last that matches decides and counts; one that matched and was overruled did match; counting begins anew."""
    patterns = Patterns([b"*.o", b"c.o", b"!/a/c.o", b"nowhere"])
    _kept(patterns)
    assert patterns.counts == {b"*.o": 0, b"c.o": 3, b"!/a/c.o": 1, b"nowhere": 0}
    assert patterns.unmatched == [b"nowhere"]
    patterns.begin()
    assert (sum(patterns.counts.values()), len(patterns.unmatched)) == (0, 4)


def test_pattern_may_begin_with_the_path_that_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In full, as it was typed, or from the folder that one is in; what begins with none of them is a path below it."""
    monkeypatch.chdir(tmp_path)
    root = os.fsencode(tmp_path / "src")
    for text in (root + b"/a/b", b"src/a/b", b"./src/a/b/", b"../%s/src/a/b" % os.fsencode(tmp_path.name), b"/a/b"):
        assert not _kept(Patterns([text], roots=[root, b"src"])) & {b"a/b/c.o", b"a/b/d"}, text
    assert _kept(Patterns([b"other/a/b"], roots=[root, b"src"])) == set(TREE)
    for text in (root, b"src/", b"./src"):
        with pytest.raises(SourceExcluded):
            Patterns([text], roots=[root, b"src"])


def test_a_source_without_patterns_does_not_load_the_library() -> None:
    """It takes longer to load than all the rest of a source."""
    script = "import sys, sources.directory; from sources.patterns import Patterns; Patterns([])\n"
    subprocess.run([sys.executable, "-c", script + "assert 'pathspec' not in sys.modules"], cwd=ROOT, check=True)


def test_lines_of_a_file_are_patterns_but_for_comments() -> None:
    """A mark at its beginning and carriage returns come from another system."""
    assert lines_of(b"\xef\xbb\xbf*.o\r\n\n# no\n   \n/a b\\ \n") == [b"*.o", b"/a b\\ "]
