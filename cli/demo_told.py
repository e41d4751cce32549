"""A notification of the demo's run, which arrives at a receiver on this machine: signed, and before the next step."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cli.demo_receiver import DemoReceiver
from cli.output import say
from contracts import errors
from contracts.errors import PlatformError

if TYPE_CHECKING:
    from cli.api import ApiClient
    from deploy.stack.layout import Layout

SECRET = "demo-receiver"  # noqa: S105  # its name
ARRIVES_SECONDS = 20.0
FOLLOW_SECONDS = 0.05
NAME = "The demo's receiver"
CHANNELS = "/api/backup/notifications/channels"


@dataclass
class Told:
    """What the receiver was told. `reason`: why nothing could be, where the platform lets nobody be told here."""

    receiver: DemoReceiver | None = None
    reason: str | None = None
    notification: dict[str, Any] | None = None
    kinds: list[str] = field(default_factory=list)

    async def take(self, execution: dict[str, Any]) -> None:
        """Wait for what is told of a run's end. Raises RECEIVER_UNREACHABLE where nothing comes."""
        if self.receiver is None:
            return
        kind = "degraded" if execution["degraded"] else execution["state"]
        deadline = time.monotonic() + ARRIVES_SECONDS
        while (found := self.receiver.told_of(f"backup.{kind}", execution["id"])) is None:
            if time.monotonic() > deadline:
                raise PlatformError(
                    errors.RECEIVER_UNREACHABLE,
                    f"no notification of the run has come within {ARRIVES_SECONDS:.0f} s",
                    hint="Look at what config's log says: wedsync-backup logs config",
                )
            await asyncio.sleep(FOLLOW_SECONDS)
        self.notification, self.kinds = found, self.receiver.kinds
        say(f"A signed notification has come to {self.receiver.url}: {found['type']}.")

    def document(self) -> dict[str, Any]:
        """For machines."""
        if self.notification is None:
            return {"arrived": False, "reason": self.reason}
        return {"arrived": True, "kinds": self.kinds, "notification": self.notification}

    def line(self) -> str:
        """For people."""
        if self.notification is None:
            return f"nobody: {self.reason}"
        return f"{', '.join(self.kinds)} by signed webhook, to a receiver on this machine"


@asynccontextmanager
async def told_of(
    client: "ApiClient", layout: "Layout", organisation: str, configuration_id: str
) -> AsyncIterator[Told]:
    """A receiver, and a channel that tells it of a configuration's runs, while this lasts."""
    from deploy.locations import named_secrets

    key = named_secrets.new_key()
    named_secrets.keep(layout, organisation, SECRET, key)
    channel = {
        "name": NAME,
        "kind": "webhook",
        "secret": SECRET,
        "events": ["started", "completed", "degraded", "failed", "missed", "overdue"],
        "configurationIds": [configuration_id],
    }
    try:
        # One that was cut short has left its own.
        for each in (await client.get(f"{CHANNELS}?state=active"))["items"]:
            if each["name"] == NAME:
                await client.write("DELETE", f"{CHANNELS}/{each['id']}")
        with DemoReceiver(key).listening() as receiver:
            try:
                made = await client.write("POST", CHANNELS, {**channel, "url": receiver.url})
            except PlatformError as error:
                if error.field != "url":
                    raise
                # A platform that runs already, whose operator lets nobody be told on this machine.
                yield Told(reason="the platform that runs lets no receiver be on this machine (WEDSYNC_NOTIFY_PRIVATE)")
                return
            yield Told(receiver)
            # Not where it is cut short: who presses Ctrl-C waits for nothing.
            await client.write("DELETE", f"{CHANNELS}/{made['id']}")
    finally:
        named_secrets.discard(layout, organisation, SECRET)
