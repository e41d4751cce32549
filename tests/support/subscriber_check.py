"""What a subscriber's example must do, tried on a real server; the test of the Python example, and CI's of Node's.

    python -m tests.support.subscriber_check node docs/examples/subscriber.mjs

The subscriber is registered as an operator would do it, is given events, repeats and rubbish, is killed and
started again, loses its server for a while, and is stopped. In the end it must have had every event's effect once.
"""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from nats.js import JetStreamContext

from chassis.bus import topology
from contracts.executor_events import BackupCompleted, BackupFailed
from contracts.samples import sample_envelopes
from contracts.streams import stream_of
from deploy.nats.permissions import TOPOLOGY
from deploy.nats.subscribers import load_subscribers
from tests.support import node
from tests.support.eventually import eventually
from tests.support.messages import publish
from tests.support.nats_server import NatsServer

NAME = "crm"
STREAM = stream_of("executor")
ADDED_TO, OF_NEXT_VERSION = 7, 8
"""Events as a next version of the service writes them: with a field more, and of the next version."""
REGISTERED = {"subscribers": [{"name": NAME, "events": [BackupCompleted.NAME, BackupFailed.NAME]}]}


async def check_subscriber(command: Sequence[str], folder: Path) -> None:
    """Run the scenario. Raises AssertionError with what was seen."""
    registry = folder / "subscribers.json"
    registry.write_text(json.dumps(REGISTERED), encoding="utf-8")
    (subscriber,) = load_subscribers(registry)
    server = NatsServer(folder / "nats", also=(subscriber.identity(),)).start()
    output = folder / "backups.jsonl"
    argv = [
        *command,
        *("--url", server.url, "--name", NAME, "--seed-file", str(server.seed_file(NAME))),
        *("--stream", STREAM, "--output", str(output)),
    ]

    def ids() -> list[str]:
        text = output.read_text(encoding="utf-8") if output.exists() else ""
        return [json.loads(line)["id"] for line in text.split("\n")[:-1]]

    try:
        await server.apply()
        async with server.connected(TOPOLOGY) as client:
            # What is unanswered by the killed process comes again soon, not after the usual half minute.
            readers = [msgspec.structs.replace(spec, ack_wait_seconds=2.0) for spec in subscriber.consumers()]
            await topology.apply(client.jetstream(), (), (), readers=readers)
        async with server.connected("executor") as client:
            js = client.jetstream()
            for number in range(5):
                await _publish(js, number, f"first-{number}")
            with _running(argv, folder) as process:
                await eventually(lambda: len(ids()) == 5)
                for number in range(10):  # five repeats, five new ones
                    await _publish(js, number, f"second-{number}")
                await js.publish("backup.executor.studio-a.backup-failed.v1", b"\x00 rubbish")
                await eventually(lambda: len(ids()) == 10)
                process.kill()
            # A line that was cut off by the crash.
            with output.open("ab") as file:
                file.write(b'{"id": "half a li')
            with _running(argv, folder) as process:
                await _publish(js, 10, "third-10")
                await eventually(lambda: len(ids()) == 11)
                server.stop()
                server.start()
                # A new connection: the first may not have noticed yet that its server was away.
                async with server.connected("executor") as again:
                    await _publish(again.jetstream(), 11, "fourth-11")
                await eventually(lambda: len(ids()) == 12)
                await eventually(lambda: _is_read(server))
                process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(process.wait, 20) == 0, _log(folder)
        assert ids() == [f"backup-{number}" for number in range(12)], ids()
    except AssertionError as error:
        raise AssertionError(f"{error}\n{_log(folder)}") from error
    finally:
        server.kill()


def _log(folder: Path) -> str:
    return (folder / "subscriber.log").read_text(encoding="utf-8", errors="replace")[-4000:]


async def _publish(js: JetStreamContext, number: int, message_id: str) -> None:
    samples = sample_envelopes()
    sample = samples[BackupCompleted.NAME if number % 2 else BackupFailed.NAME]
    if number == ADDED_TO:
        sample = msgspec.structs.replace(sample, data=msgspec.Raw(bytes(sample.data)[:-1] + b',"addedLater":1}'))
    if number == OF_NEXT_VERSION:
        sample = msgspec.structs.replace(sample, type=sample.type.replace(".v1", ".v2"))
    await publish(js, msgspec.structs.replace(sample, id=f"backup-{number}"), message_id=message_id)


async def _is_read(server: NatsServer) -> bool:
    async with server.connected() as client:
        info = await client.jetstream().consumer_info(STREAM, f"{NAME}--events")
        return info.num_pending == 0 and info.num_ack_pending == 0


@contextlib.contextmanager
def _running(argv: Sequence[str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with (folder / "subscriber.log").open("ab") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait(60)


def main(command: Sequence[str]) -> int:
    """Check the example that a command starts; the exit code. `node` is the one of the packages of development."""
    if command[0] == "node":
        node.install(node.ROOT / "docs" / "examples")
        command = [str(node.NODE), *command[1:]]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(check_subscriber(command, Path(folder)))
    sys.stdout.write(f"{' '.join(command)}: every event's effect once\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
