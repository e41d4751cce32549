"""A subscriber of WedSync Backup's events in Python: keeps one line per completed or failed backup.

    pip install "nats-py[nkeys]"
    python subscriber.py --name crm --seed-file crm.seed --stream BACKUP_EXECUTOR --output backups.jsonl

It shows what every subscriber needs: its own identity and inbox, its durable consumer, acknowledgement only
after the effect is safe, repeats recognised by the event's id, and a clean stop on SIGTERM.
"""

import argparse
import asyncio
import json
import os
import signal
from pathlib import Path

import nats
from nats.aio.msg import Msg
from nats.errors import TimeoutError as NothingCame
from nats.js.errors import ServiceUnavailableError


class Inbox:
    """The effect of an event is one line, which carries the event's id: what is in the file was handled."""

    def __init__(self, path: Path) -> None:
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        # A line that was cut off by a crash has no end of line, and its event was never acknowledged.
        self._seen = {json.loads(line)["id"] for line in lines[:-1]}
        whole = sum(len(line.encode()) + 1 for line in lines[:-1])
        self._file = path.open("ab")
        self._file.truncate(whole)

    def take(self, event: dict) -> None:
        """Have the effect of an event, once. Returns when it is on the disk."""
        if event["id"] in self._seen:
            return
        line = {"id": event["id"], "type": event["type"], "organisation": event["organisation"], "data": event["data"]}
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._seen.add(event["id"])


async def handle(message: Msg, inbox: Inbox) -> None:
    """Handle one message; acknowledge it, give it back, or give it up."""
    try:
        event = json.loads(message.data)
        event["id"], event["type"], event["organisation"], event["data"]
    except (ValueError, KeyError, TypeError):
        print("not an event:", message.subject)
        await message.term()  # Trying again does not help; it stays in the stream to be looked at.
        return
    try:
        inbox.take(event)
    except OSError as error:
        print("not handled, again in ten seconds:", error)
        await message.nak(delay=10)
        return
    await message.ack()


async def on_error(error: Exception) -> None:
    """A refused publish or subscription shows here and nowhere else: to the caller it looks like a timeout."""
    print("nats:", error)


async def main() -> None:
    """Read until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", default="nats://127.0.0.1:4222")
    parser.add_argument("--name", required=True, help="the name that the operator registered")
    parser.add_argument("--seed-file", required=True, help="the seed that the operator handed over")
    parser.add_argument("--stream", default="BACKUP_EXECUTOR")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    inbox = Inbox(arguments.output)
    client = await nats.connect(
        arguments.url,
        name=arguments.name,
        nkeys_seed=arguments.seed_file,
        # Answers come to a prefix of one's own; another is refused.
        inbox_prefix=f"_INBOX_{arguments.name}",
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.5,
        error_cb=on_error,
    )
    # Subscribers reach the API by this prefix. The operator declared the consumer: it is bound to, never created.
    jetstream = client.jetstream(prefix="WEDSYNC.API")
    subscription = await jetstream.pull_subscribe_bind(f"{arguments.name}--events", arguments.stream)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("ready", flush=True)
    while not stop.is_set():
        try:
            messages = await subscription.fetch(16, timeout=1)
        except (NothingCame, TimeoutError):
            continue
        except ServiceUnavailableError:
            await asyncio.sleep(1)  # The consumer is not there: the operator is repairing the streams.
            continue
        for message in messages:
            await handle(message, inbox)
    await client.flush()  # The last acknowledgements are on their way.
    await client.close()


if __name__ == "__main__":
    asyncio.run(main())
