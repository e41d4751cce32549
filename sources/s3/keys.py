"""Keys of a bucket as paths of a snapshot, and back.

Promise: `key_of(path_of(key)) == key` for every key, and no two keys have one path. What looks like a path is kept as
it is: `photos/2026/a.jpg` is a file in a folder in a folder, and a restore to a directory makes just that. The rest:

| in a key | in its path |
|---|---|
| `%`, the zero byte | `%25`, `%00` |
| nothing between two slashes, before the first or behind the last one | `%` |
| `.` and `..` between slashes | `%2E` and `%2E%2E` |
| the beginning of what a restore names its own files by | its first byte as `%` and two digits |
| more than 240 bytes between slashes | such pieces in folders of one another, each but the last ended by `%-` |
| `a`, where there is `a/b`, too: a file and a folder of one name | the file is `a%f` |

All of it but the last row depends on the key alone. Nothing else ends in `%f`, so that the way back needs no other key.
"""

import re
from typing import Final

from repository.restore.names import COMMON_PREFIX

BESIDE_FOLDER: Final = b"%f"
"""Behind the name of an object whose key is the beginning of others' keys."""
_MORE: Final = b"%-"
_PIECE_MAX: Final = 240
_ESCAPES: Final = re.compile(rb"%([0-9A-F]{2})")


def path_of(key: bytes) -> bytes:
    """The path of a key, as if no folder had its name."""
    return b"/".join(map(_escaped, key.split(b"/")))


def key_of(path: bytes) -> bytes:
    """The key whose path it is."""
    segments: list[bytes] = []
    begun = b""
    for name in path.removesuffix(BESIDE_FOLDER).split(b"/"):
        if name.endswith(_MORE):
            begun += name[: -len(_MORE)]
        else:
            segments.append(_plain(begun + name))
            begun = b""
    return b"/".join(segments)


def _plain(name: bytes) -> bytes:
    return b"" if name == b"%" else _ESCAPES.sub(lambda found: bytes([int(found[1], 16)]), name)


def _escaped(segment: bytes) -> bytes:
    if not segment:
        return b"%"
    name = segment.replace(b"%", b"%25").replace(b"\0", b"%00")
    pieces = []
    while len(name) > _PIECE_MAX:
        end = _PIECE_MAX
        while name[end] & 0xC0 == 0x80:  # within a character: many file systems take no half of one
            end -= 1
        pieces.append(_as_name(name[:end]) + _MORE)
        name = name[end:]
    return b"/".join([*pieces, _as_name(name)])


def _as_name(piece: bytes) -> bytes:
    """What a file may be called: no folder's own or upper one, and nothing that a restore names its own files by."""
    if piece in (b".", b".."):
        return piece.replace(b".", b"%2E")
    return b"%%%02X" % piece[0] + piece[1:] if piece.startswith(COMMON_PREFIX) else piece
