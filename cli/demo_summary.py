"""What the demo has found: a page for people, one document for machines."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

from cli.api import Document
from cli.demo_by_itself import ByItself
from cli.demo_compare import Comparison
from cli.demo_restore import Command
from cli.demo_source import SourceSummary
from cli.demo_told import Told
from cli.demo_watch import Watch, label
from cli.output import columns, duration, percent_saved, size

SHOWN_DIFFERENCES = 20


@dataclass
class Outcome:
    """Everything that is told at the end. Seconds, bytes; `made`: None where the user gave a folder."""

    home: Path
    source: Path
    made: SourceSummary | None
    execution: Document
    watched: Watch
    deleted_bytes: int
    restored_from: str
    restored: Command
    recovery: Document
    told: Told
    by_itself: ByItself
    caught_up: Command
    comparison: Comparison
    platform_ready_seconds: float | None
    seconds: dict[str, float] = field(default_factory=dict)

    def document(self) -> Document:
        """For machines."""
        run = self.execution
        return {
            "equal": self.comparison.is_equal,
            "home": str(self.home),
            "source": {"path": str(self.source), "made": None if self.made is None else _camel(asdict(self.made))},
            "platformReadySeconds": self.platform_ready_seconds,
            "execution": run,
            "backupBytesPerSecond": _rate(run["sourceBytes"], self._run_seconds),
            "webSocket": {"facts": self.watched.facts, "progressMessages": self.watched.progress_messages},
            "notification": self.told.document(),
            "byItself": self.by_itself.document(),
            "deletedTier": {"tier": "local", "bytes": self.deleted_bytes},
            "restore": {
                "tier": self.restored_from,
                "seconds": self.restored.seconds,
                "bytesPerSecond": _rate(run["sourceBytes"], self.restored.seconds),
                "command": self.restored.line,
            },
            "recovery": self.recovery,
            "catchUp": {"seconds": self.caught_up.seconds, "command": self.caught_up.line},
            "comparison": _camel(asdict(self.comparison)),
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }

    def page(self) -> list[str]:
        """For people."""
        return [
            "",
            *self._overview(),
            "",
            *self._tiers(),
            "",
            *self._classes(),
            "",
            *self._verdict(),
        ]

    @property
    def _run_seconds(self) -> float:
        """From the claim to the last byte read back, as the worker measured it."""
        seconds: float = self.execution["completionDetails"]["seconds"]
        return seconds

    def _overview(self) -> list[str]:
        run = self.execution
        ready = self.platform_ready_seconds
        rows = [
            ["platform", "ran already" if ready is None else f"ready in {duration(ready)}"],
            ["source", f"{run['files']} files, {size(run['sourceBytes'])}"],
            [
                "backup",
                f"{duration(self._run_seconds)}, {size(_rate(run['sourceBytes'], self._run_seconds))}/s, "
                f"{size(run['newBytes'])} new, {size(run['storedBytes'])} stored on each tier",
            ],
            [
                "progress",
                f"{self.watched.progress_messages} messages and {len(self.watched.facts)} facts by WebSocket",
            ],
            ["told", self.told.line()],
            *self.by_itself.rows(),
            [
                "restore",
                f"{duration(self.restored.seconds)} from {self.restored_from}, "
                f"{size(_rate(run['sourceBytes'], self.restored.seconds))}/s",
            ],
            [
                "recovery",
                f"{duration(self.recovery['result']['seconds'])} over the API, "
                f"{self.recovery['result']['totals']['files']} files, read back and verified",
            ],
            ["catch-up", f"{duration(self.caught_up.seconds)} to bring the local tier back"],
        ]
        return columns(rows)

    def _tiers(self) -> list[str]:
        rows = [["tier", "uploaded", "packs", "time", "log entry", "state"]]
        for tier in self.execution["tiers"]:
            state = tier["state"] + (", verified" if tier["verified"] else "")
            rows.append(
                [
                    label(tier["tier"]),
                    size(tier["uploadedBytes"] or 0),
                    str(tier["objects"] or 0),
                    duration(tier["seconds"] or 0.0),
                    str(tier["logEntry"] or "-"),
                    state,
                ]
            )
        return columns(rows, right=(1, 2, 3, 4))

    def _classes(self) -> list[str]:
        rows = [["content", "read", "new", "stored", "saved by compression"]]
        for each in self.execution["completionDetails"]["byClass"]:
            new, stored = each["newBytes"], each["storedBytes"]
            saved = f"{percent_saved(new, stored)} %" if new else "-"
            rows.append([each["contentClass"], size(each["sourceBytes"]), size(new), size(stored), saved])
        return columns(rows, right=(1, 2, 3, 4))

    def _verdict(self) -> list[str]:
        seen = self.comparison
        what = (
            f"{size(seen.content_bytes)} in files: {seen.files}, folders: {seen.folders}, links: {seen.links}, "
            f"hard links: {seen.hard_links}, sparse files: {seen.sparse_files}, extended attributes: {seen.attributes}"
        )
        if seen.is_equal:
            return [f"Equal, every byte and every attribute: {what}."]
        shown = seen.differences[:SHOWN_DIFFERENCES]
        return [f"NOT EQUAL. Compared were {what}.", *(f"  {difference}" for difference in shown)]


def _camel(fields: Document) -> Document:
    """Field names as the API spells them."""

    def spelled(name: str) -> str:
        first, *others = name.split("_")
        return first + "".join(word.capitalize() for word in others)

    return {spelled(name): value for name, value in fields.items()}


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
