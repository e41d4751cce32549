"""Dead letters that went with their stream: told until an operator says that the loss is known.

Dead letters lie in one stream alone, and no record fills it again. Promise: where that stream is made anew although a
record was published before, the new one says so itself, in metadata that are written with it; what it says stays until
`accept_loss`, and the reason that was given stays beside it. Letters of a store that was put back from an older copy
are not missed by anybody: how many there were stands nowhere else.
"""

from datetime import datetime

import nats.errors
from nats.js import JetStreamContext
from nats.js.api import StreamInfo
from nats.js.errors import APIError, NotFoundError

from chassis.bus.topology import LETTERS_LOST, changed_metadata
from contracts import errors
from contracts.errors import PlatformError
from contracts.lost_streams import streams_lost
from contracts.streams import DEAD_LETTER_STREAM

ACCEPTED = "wedsync-loss-accepted"


def loss_of(info: StreamInfo) -> PlatformError | None:
    """DEAD_LETTERS_LOST where letters may have gone with the stream before this one, and nobody has accepted it."""
    since = (info.config.metadata or {}).get(LETTERS_LOST)
    if since is None:
        return None
    return PlatformError(
        errors.DEAD_LETTERS_LOST,
        f"the stream {info.config.name} was lost and made anew at {since}: which messages had been given up before, "
        "and what was decided about them, is not known any more",
    )


async def accept_loss(js: JetStreamContext, *, reason: str, time: datetime) -> bool:
    """Note, as the topology identity, that the loss is known, and why that is well; False where there is none.

    Raises STREAM_MISSING, UNAVAILABLE.
    """
    info = await letters_info(js)
    since = (info.config.metadata or {}).get(LETTERS_LOST)
    if since is None:
        return False
    words = f"{time:%Y-%m-%dT%H:%M:%SZ} lost before {since}: {reason}"
    await changed_metadata(js, info, drop=LETTERS_LOST, add={ACCEPTED: words})
    return True


async def letters_info(js: JetStreamContext) -> StreamInfo:
    """The dead-letter stream as the server shows it. Raises STREAM_MISSING, UNAVAILABLE."""
    try:
        return await js.stream_info(DEAD_LETTER_STREAM)
    except NotFoundError as error:
        raise streams_lost("there is no dead-letter stream", [DEAD_LETTER_STREAM]) from error
    except (nats.errors.Error, APIError, OSError) as error:
        raise PlatformError(errors.UNAVAILABLE, "jetstream does not answer") from error
