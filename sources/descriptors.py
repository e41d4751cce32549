"""How many files this process may have open at a time."""

import contextlib
import resource
from typing import Final

DESCRIPTORS_WANTED: Final = 65536


def allow_many_descriptors() -> None:
    """A deep tree keeps a descriptor open for each level: take what the system allows, as Go programs do."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
