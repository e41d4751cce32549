"""The names that a restore gives to what is its own while it is under way.

They say something about this very folder, now: a source leaves them out (`is_of_a_restore`), so that no backup takes
the mark of an unfinished restore to another place, where it would be believed.
"""

import re
from typing import Final

MARKER_PREFIX: Final = b".wedsync-restore-"
"""The mark of a target that is being filled, and 16 digits of the snapshot's id."""
TEMPORARY_PREFIX: Final = b".wedsync-restoring-"
"""A file that will take its own name when it is whole, and 32 digits."""
COMMON_PREFIX: Final = b".wedsync-restor"

_OWN: Final = re.compile(rb"\.wedsync-restore-[0-9a-f]{16}|\.wedsync-restoring-[0-9a-f]{32}")


def is_of_a_restore(name: bytes) -> bool:
    """Whether only a restore that is under way, or was interrupted, has an entry of this name."""
    return _OWN.fullmatch(name) is not None
