"""What to say of streams that are gone or have lost events: whose they are, and so which command fills them again.

Promise: the hint names the services that own the streams, and never the one that has met them: whoever reads a stream
cannot publish its record.
"""

from collections.abc import Iterable
from typing import Any

from contracts import errors
from contracts.errors import PlatformError
from contracts.streams import owner_of

ALL = "all"
"""As `wedsync-backup refill` takes it: every service."""


def streams_lost(message: str, streams: Iterable[str], **context: Any) -> PlatformError:
    """STREAM_MISSING about some streams."""
    owners = {owner for owner in map(owner_of, streams) if owner is not None}
    hint = None if owners else "Run wedsync-backup topology apply: it makes anew what is missing."
    service = ALL if len(owners) > 1 else next(iter(owners), None)
    return PlatformError(errors.STREAM_MISSING, message, hint=hint, service=service, **context)
