"""Keys of a bucket as paths: each comes back as it was, and none takes another one's place."""

import os

from hypothesis import example, given
from hypothesis import strategies as st

from repository.restore.snapshot_walk import is_safe
from sources.s3.keys import key_of, path_of
from sources.s3.objects import Listed, ObjectTable

SEGMENTS = st.one_of(
    st.sampled_from(["", "a", ".", "..", "%", "%f", "%-", "%25", "a%f", "\0", ".wedsync-restore-0123456789abcdef"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
    st.sampled_from(["x" * 300, "é" * 200, "%" * 130]),
    # What is left behind the last cut.
    st.sampled_from(["x" * 240 + end for end in (".", "..", ".wedsync-restore-0123456789abcdef", "%2E", "." * 241)]),
)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=5).map(lambda parts: "/".join(parts).encode())


def _paths(table: ObjectTable, folder: bytes = b"") -> dict[bytes, Listed]:
    """All files of a table by path."""
    names = table.names(folder)
    assert names == sorted(set(names))
    found: dict[bytes, Listed] = {}
    for name, listed in zip(names, table.rows(folder, names) if names else (), strict=True):
        assert is_safe(name)
        assert len(name) <= 255
        path = folder + b"/" + name if folder else name
        if listed is None:
            found |= _paths(table, path)
        else:
            found[path] = listed
    return found


@example([b"a", b"a/", b"a//b", b"..", b"a/..", b"a/b", b"a%f", b"/", b"", b"x" * 1024, "é".encode() * 512])
@example([b"x" * 240 + b".", b"d/" + b"y" * 480 + b"..", b"x" * 240 + b".wedsync-restore-0123456789abcdef", b"x" * 240])
@given(st.lists(KEYS, unique=True, max_size=12))
def test_every_key_comes_back_from_a_path_of_its_own(keys: list[bytes]) -> None:
    """In folders of safe names that any file system takes; with what was listed of it."""
    table = ObjectTable()
    table.add((key, Listed(number, 0, b"")) for number, key in enumerate(keys))
    found = _paths(table)
    assert {key_of(path): listed.size for path, listed in found.items()} == {
        key: number for number, key in enumerate(keys)
    }


def test_keys_that_look_like_paths_are_paths() -> None:
    """Nobody has to learn anything to find what is usual."""
    assert path_of(b"Fotos 2026/Anna & Tom.jpg") == b"Fotos 2026/Anna & Tom.jpg"
    assert os.path.normpath(path_of(b"../../etc/passwd")) == b"%2E%2E/%2E%2E/etc/passwd"
