"""Where the second copy of a snapshot's log entry lies: the very bytes of the entry, under the snapshot's id.

Promise: the entry says where in which log it belongs, so that one that is lost is put there again byte for byte, and
one that was never made (its writer died before) is told apart. Who tries again behind another writer's entry, replaces
the copy of his earlier try.
"""

from typing import Final

MANIFEST_PREFIX: Final = "snapshots/"


def manifest_object_key(identity: str) -> str:
    """Where the second copy of the snapshot with this id (hex) lies below a tier's prefix."""
    return MANIFEST_PREFIX + identity


def manifest_id(object_key: str) -> str | None:
    """The snapshot's id (hex) in an object key; None where it is no manifest's."""
    digits = object_key.removeprefix(MANIFEST_PREFIX)
    is_id = len(digits) == 32 and not set(digits) - set("0123456789abcdef")
    return digits if is_id and object_key.startswith(MANIFEST_PREFIX) else None
