"""Follows one run by the WebSocket: progress bars for the source and each tier, until the run has ended."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cli.api import ApiClient, Document
from cli.progress import Reading
from contracts.executor_events import ENDED

CHECK_SECONDS = 2.0
_END_FACTS = ("executor.backup-completed.", "executor.backup-failed.")
SOURCE = "source"
TIERS = {
    "local": "local",
    "cloudPrimary": "cloud-primary",
    "cloudSecondary": "cloud-secondary",
    "offsite": "offsite",
}
"""Each tier of a configuration and the location that the embedded stack has for it."""
_LABELS = {"cloudPrimary": "cloud primary", "cloudSecondary": "cloud secondary"}

Show = Callable[[Mapping[str, Reading]], None]


@dataclass
class Watch:
    """What was seen of a run. The counts say that it was seen on the WebSocket."""

    execution_id: str
    gauges: dict[str, Reading] = field(default_factory=dict)
    facts: list[str] = field(default_factory=list)
    progress_messages: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gauges = {SOURCE: Reading(0, None, "waiting")}
        self.gauges |= {label(tier): Reading(0, None, "waiting") for tier in TIERS}

    def take(self, message: Document) -> None:
        """Take one message of the WebSocket."""
        match message.get("type"):
            case "snapshot":
                for progress in message["progress"]:
                    self._take_progress(progress)
                if any(run["id"] == self.execution_id and run["state"] in ENDED for run in message["executions"]):
                    self.ended.set()
            case "fact":
                self._take_fact(message)
            case "progress":
                self.progress_messages += 1
                self._take_progress(message["progress"])

    def finish(self, execution: Document) -> None:
        """What a run that has ended has done: the last words of the progress may be lost, and nobody waits for them."""
        if execution["state"] == "completed":
            read = execution["sourceBytes"]
            self.gauges[SOURCE] = Reading(read, read, f"{execution['files']} files")
        for tier in execution["tiers"]:
            if tier["state"] == "uploaded":
                uploaded = tier["uploadedBytes"]
                self.gauges[label(tier["tier"])] = Reading(uploaded, uploaded, "uploaded")

    def _take_fact(self, message: Document) -> None:
        event: str = message["event"]
        if message["executionId"] != self.execution_id:
            return
        self.facts.append(event)
        fields = message["fields"]
        if event.startswith("executor.tier-uploaded."):
            uploaded = fields["uploadedBytes"]
            self.gauges[label(fields["tier"])] = Reading(uploaded, uploaded, "uploaded")
        elif event.startswith("executor.tier-failed."):
            self.gauges[label(fields["tier"])].words = f"failed: {fields['code']}"
        elif event.startswith("executor.backup-verifying."):
            self.gauges[SOURCE].words = "verifying"
        elif event.startswith("executor.backup-requeued.") and fields.get("code"):
            self.gauges[SOURCE].words = f"waiting: {fields['code']}"
        elif event.startswith(_END_FACTS):
            self.ended.set()

    def _take_progress(self, progress: Document) -> None:
        if progress["executionId"] != self.execution_id:
            return
        files, files_total = progress["filesDone"], progress.get("filesTotal")
        words = f"{files} files" if files_total is None else f"{files} of {files_total} files"
        self.gauges[SOURCE] = Reading(progress["bytesDone"], progress.get("bytesTotal"), words)
        for tier in progress["tiers"]:
            known = tier["uploadedBytes"] + tier.get("queuedBytes", 0)
            self.gauges[label(tier["tier"])] = Reading(tier["uploadedBytes"], known or None, tier["state"])


def label(tier: str) -> str:
    """A tier's name for people."""
    return _LABELS.get(tier, tier)


async def watch(client: ApiClient, execution_id: str, show: Show) -> tuple[Document, Watch]:
    """Show a run until it has ended; the run as the read model shows it then.

    The end is also looked for by plain requests, so that a lost socket cannot keep the demo waiting.
    """
    seen = Watch(execution_id)
    follower = asyncio.create_task(_follow(client, seen, show))
    try:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await seen.ended.wait()
            execution = await client.execution(execution_id)
            # Also where the socket is silent: whoever waits sees that it goes on.
            show(seen.gauges)
            if execution["state"] in ENDED:
                break
            if follower.done():
                follower.result()
            await asyncio.sleep(CHECK_SECONDS / 10)
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)
    seen.finish(execution)
    show(seen.gauges)
    return execution, seen


async def _follow(client: ApiClient, seen: Watch, show: Show) -> None:
    async for message in client.follow(seen.execution_id):
        seen.take(message)
        show(seen.gauges)
