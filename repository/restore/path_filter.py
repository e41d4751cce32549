"""Which entries of a snapshot a restore wants, by globs over paths.

A glob is matched as the shell does it, on bytes: `*`, `?`, `[…]`. Without a slash in it (but at its end) it is
matched against names at any depth (`*.jpg`), else against paths below the root, where `*` stays within one name
and `**` stands for any number of folders. Whatever lies below a folder that matches is wanted as well.
"""

import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from fnmatch import translate

_ANY_DEPTH = b"**"


class Match(IntEnum):
    """What a filter says of one directory or file."""

    NOTHING = 0  # neither it nor anything below it
    BELOW = 1  # something below it may match
    WANTED = 2  # it, and all that is below it


def _compiled(segment: bytes) -> re.Pattern[bytes] | None:
    if segment == _ANY_DEPTH:
        return None
    # Latin-1 maps every byte to one character and back.
    return re.compile(translate(segment.decode("latin-1")).encode("latin-1"), re.DOTALL)


class PathFilter:
    """Several globs; none at all wants everything."""

    def __init__(self, globs: Iterable[bytes | str] = ()) -> None:
        self._globs: list[list[re.Pattern[bytes] | None]] = []
        for glob in globs:
            raw = glob.encode("utf-8", "surrogateescape") if isinstance(glob, str) else glob
            segments = [segment for segment in raw.split(b"/") if segment not in (b"", b".")]
            if b"/" not in raw.rstrip(b"/"):
                segments.insert(0, _ANY_DEPTH)
            self._globs.append([_compiled(segment) for segment in segments])
        self.wants_all = not self._globs

    def match(self, path: bytes) -> Match:
        """What is wanted of the entry at this path; the root's path is empty."""
        if self.wants_all:
            return Match.WANTED
        names = path.split(b"/") if path else []
        return max((_match(glob, names) for glob in self._globs), default=Match.WANTED)


def _match(glob: Sequence[re.Pattern[bytes] | None], names: Sequence[bytes]) -> Match:
    """Match by the set of places in the glob that the names so far can have led to."""
    places = _with_skips({0}, glob)
    for name in names:
        if len(glob) in places:
            return Match.WANTED
        following: set[int] = set()
        for place in places:
            pattern = glob[place]
            if pattern is None:
                following.add(place)
            elif pattern.match(name):
                following.add(place + 1)
        places = _with_skips(following, glob)
    if len(glob) in places:
        return Match.WANTED
    return Match.BELOW if places else Match.NOTHING


def _with_skips(places: set[int], glob: Sequence[re.Pattern[bytes] | None]) -> set[int]:
    """`**` may also stand for no folder at all."""
    reached = set(places)
    for place in places:
        at = place
        while at < len(glob) and glob[at] is None:
            at += 1
            reached.add(at)
    return reached
