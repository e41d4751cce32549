"""The one NATS connection of a process.

Promise: reconnects for ever, with an inbox prefix and an nkey of its own; a publish or subscription
that the server refuses is never lost in silence: it is counted, logged and shown by the health
report (`PUBLISH_REFUSED`), since to the caller it only looks like a timeout.
"""

from nats.aio.client import Client
from nats.js import JetStreamContext

from chassis.health import Health
from chassis.telemetry import Telemetry
from contracts.errors import PlatformError


class Connection:
    """A part (see `chassis.runtime`): connects on start, drains on stop.

    `url`: one or more NATS URLs, comma separated. `identity`: the name of the NATS identity; it decides
    the inbox prefix `_INBOX_<identity>`. `seed_file`: file with the identity's nkey seed, None where the
    server asks for none.
    """

    name = "nats"

    def __init__(
        self, *, url: str, identity: str, telemetry: Telemetry, health: Health, seed_file: str | None = None
    ) -> None:
        raise NotImplementedError

    @property
    def client(self) -> Client:
        """The raw client, once started; for core subscriptions such as the workers' wake-up."""
        raise NotImplementedError

    @property
    def js(self) -> JetStreamContext:
        """JetStream on this connection, once started; for the relay and the projector."""
        raise NotImplementedError

    async def start(self) -> None:
        """Connect. Raises PlatformError UNAVAILABLE where no server answers, INVALID_SETTING where the key is refused."""
        raise NotImplementedError

    async def stop(self) -> None:
        """Flush what was published, and close."""
        raise NotImplementedError

    async def check(self) -> PlatformError | str | None:
        """UNAVAILABLE while there is no connection."""
        raise NotImplementedError
