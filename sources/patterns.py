"""What is left out of a source by the names of its entries: patterns as in a `.gitignore`, by `pathspec`.

Promise: an entry is judged by its own path, in bytes, and by nothing else: neither where a symlink leads nor which
other names a file has plays a part. As in git the last pattern that matches decides, `!` takes back, and below a folder
that is left out nothing is taken back. Each pattern knows how many entries it left out, or took back, and which never
matched. A pattern that can match nothing is refused.
"""

import os
import re
import stat as stat_bits
from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from repository.backup.source import SourceExcluded
from repository.errors import PatternInvalid

CACHE_TAG: Final = b"CACHEDIR.TAG"
_CACHE_SIGNATURE: Final = b"Signature: 8a477f597d28d172789f06886806bc55"

# What `pathspec` puts at the end of an expression: the entry itself or what is below it, a folder or what is below it,
# what is below it. Here nobody asks about what is below an entry that matched, so that each is cut to what it says of
# the entry itself; and `$` would match before a line feed, which a name may end with.
_ENDS: Final = (("(?:(?P<ps_d>/)|$)", r"/?\Z"), ("(?P<ps_d>/)", r"/\Z"), ("/", r"/.+\Z"))
# White space beyond ASCII would be stripped from a pattern's end, where it is half of another character.
_HIDDEN: Final = {code: 0xE000 + code for code in (*range(0x09, 0x0E), *range(0x1C, 0x20), 0x85, 0xA0)}
# A class of characters by its name, which `pathspec` would take for other characters; and what no name holds.
_UNKNOWN: Final = re.compile(rb"\[[!^]?\[:|\0")
_SHOWN: Final = {hidden: code for code, hidden in _HIDDEN.items()}


class _Pattern(NamedTuple):
    text: bytes
    expression: re.Pattern[bytes]
    leaves_out: bool


class Patterns:
    """Patterns over the paths below a source's root. `with_caches`: folders that say that they are caches are emptied.

    `roots`: what a pattern may begin with where it means the root: the source's path, absolute and as it was typed.
    Raises `PatternInvalid`, and `SourceExcluded` where a pattern is the root itself. Only the walking thread asks.
    """

    def __init__(self, patterns: Iterable[bytes], *, with_caches: bool = False, roots: Collection[bytes] = ()) -> None:
        self.with_caches = with_caches
        self._patterns = [_compiled(text, _from_root(text, roots)) for text in patterns]
        self._any = _one_of(self._patterns)
        self.begin()

    def begin(self) -> None:
        """Count anew: the source is read from its beginning."""
        self.caches = 0
        """Folders of which only the tag was taken."""
        self.counts: dict[bytes, int] = {pattern.text: 0 for pattern in self._patterns}
        """By pattern: the entries that it decided."""
        self._unmatched = {pattern.text: pattern for pattern in self._patterns}

    @property
    def unmatched(self) -> list[bytes]:
        """The patterns that matched nothing that was looked at."""
        return list(self._unmatched)

    def leave_out(self, path: bytes, *, is_folder: bool) -> bool:
        """Whether the entry at this path is left out."""
        asked = path + b"/" if is_folder else path
        if self._any is None or self._any.match(asked) is None:
            return False
        for text in [text for text, each in self._unmatched.items() if each.expression.match(asked)]:
            del self._unmatched[text]
        for pattern in reversed(self._patterns):
            if pattern.expression.match(asked):
                self.counts[pattern.text] += 1
                return pattern.leaves_out
        return False

    def is_cache(self, folder: int, names: Sequence[bytes]) -> bool:
        """Whether an open folder with these names is to be emptied: its tag begins as the standard says. Counted."""
        if not self.with_caches or CACHE_TAG not in names:
            return False
        try:
            tag = os.open(CACHE_TAG, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        except OSError:
            return False
        try:
            is_file = stat_bits.S_ISREG(os.fstat(tag).st_mode)
            is_tagged = is_file and os.read(tag, len(_CACHE_SIGNATURE)) == _CACHE_SIGNATURE
        except OSError:
            return False
        finally:
            os.close(tag)
        self.caches += is_tagged
        return is_tagged


def lines_of(body: bytes) -> list[bytes]:
    """The patterns of a file: one a line, without those that are empty or begin with `#`."""
    lines = (line.removesuffix(b"\r") for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    return [line for line in lines if line.strip(b" ") and not line.startswith(b"#")]


def _from_root(text: bytes, roots: Collection[bytes]) -> bytes:
    """The pattern as seen from the root: somebody who has typed PATH goes on with `PATH/cache`, or with `./cache`."""
    mark, said = (b"!", text[1:]) if text.startswith(b"!") else (b"", text)
    if said.startswith((b"./", b"../")):
        said = os.path.abspath(said) + (b"/" if said.endswith(b"/") else b"")
    for root in roots:
        start = root.rstrip(b"/") + b"/"
        if said.rstrip(b"/") + b"/" == start and not mark:
            raise SourceExcluded("the source is what a pattern leaves out", pattern=os.fsdecode(text))
        if said.startswith(start):
            return mark + b"/" + said[len(start) :].lstrip(b"/")
    return mark + said


def _compiled(text: bytes, said: bytes) -> _Pattern:
    # Here, so that a backup without patterns does not load it.
    from pathspec.patterns.gitignore.base import GitIgnorePatternError
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    while said.endswith(b" ") and not said.endswith(b"\\ "):
        said = said[:-1]
    if said.endswith(b"/**/"):
        said += b"*/"  # folders below it; `pathspec` would take the folder itself along
    try:
        expression, leaves_out = GitIgnoreSpecPattern.pattern_to_regex(said.decode("latin-1").translate(_HIDDEN))
    except GitIgnorePatternError:
        expression = leaves_out = None
    if expression is None or leaves_out is None or _UNKNOWN.search(said):
        raise PatternInvalid(
            "pattern can match nothing",
            hint="Write it as in a .gitignore: `*.o`, `/cache/`, `docs/**/*.pdf`. A backslash goes before what is "
            "meant as it is: \\#, \\!, \\*.",
            pattern=os.fsdecode(text),
        )
    if not expression.startswith("^"):
        expression = f"^.*{expression}"  # what stands for "everything" or "every folder"
    end, instead = next(((end, instead) for end, instead in _ENDS if expression.endswith(end)), ("", r".*\Z"))
    whole = (expression.removesuffix(end) + instead).translate(_SHOWN)
    return _Pattern(text, re.compile(whole.encode("latin-1"), re.DOTALL), leaves_out)


def _one_of(patterns: Sequence[_Pattern]) -> re.Pattern[bytes] | None:
    """One expression for all, so that what none matches, which is nearly everything, costs one look."""
    if not patterns:
        return None
    return re.compile(b"|".join(b"(?:%s)" % each.expression.pattern for each in patterns), re.DOTALL)
