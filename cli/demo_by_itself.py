"""What the platform does by itself, and stops when it is told to: three small scenes beside the demo's main job.

A schedule falls due, and its run is made. A run is degraded since a disk is not there, and is caught up when it is. A
run is cancelled. Each is asked for over the API and seen there; what they leave is taken away at the end.
"""

import asyncio
import shutil
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from chassis.calendar.plan import Plan
from chassis.clock import SystemClock
from chassis.ids import new_id
from cli.output import duration, size
from contracts import errors
from contracts.errors import ErrorCode, PlatformError
from contracts.executor_events import ENDED
from contracts.schedule import Schedule

if TYPE_CHECKING:
    from cli.api import ApiClient, Document
    from deploy.stack.layout import Layout

NOTES, DISK = "demo-notes", "demo-disk"
NAME = "Demo by itself"
FOLLOW_SECONDS = 0.2
ENDS_SECONDS = 120.0
MARGINS = (4.0, 10.0, 25.0)
"""How far ahead an instant is chosen, in seconds; further, where the platform is busy and has missed one."""
CANCELLATIONS = 3
"""So many runs are begun at most to cancel one: a small one may be over before it is told."""
LETS_GO_SECONDS = 2.0
"""So long the worker of a cancelled run may write on, into a tier that the demo deletes next."""
CONFIGURATIONS = "/api/backup/configurations"


@dataclass
class ByItself:
    """The scenes. `due_at`: the instant of the schedule; the others are runs as the API shows them."""

    due_at: datetime | None = None
    runs: "dict[str, Document]" = field(default_factory=dict)

    @property
    def late_seconds(self) -> float:
        """How long after its instant the schedule's run was taken on."""
        began = datetime.fromisoformat(self.runs["scheduled"]["startedAt"])
        return (began - self.due_at).total_seconds() if self.due_at is not None else 0.0

    @property
    def caught_up(self) -> "Document":
        """What the catch-up has of the disk that was away."""
        found: Document = next(tier for tier in self.runs["caughtUp"]["tiers"] if tier["tier"] == "local")
        return found

    def document(self) -> "Document":
        """For machines."""
        return {"schedule": {"dueAt": self.due_at.isoformat() if self.due_at else None}, **self.runs}

    def rows(self) -> list[list[str]]:
        """For people."""
        after = self.runs["caughtUp"]
        took = sum(phase["seconds"] or 0.0 for phase in after["phases"])
        how = "by itself" if after["startedBy"] == "service:executor" else "when it was asked for"
        return [
            ["schedule", f"fell due, and its run began {duration(max(0.0, self.late_seconds))} later: completed"],
            ["cancelled", f"a run, while it was {self.runs['cancelled']['phases'][-1]['name'].replace('_', ' ')}"],
            [
                "degraded",
                f"a run without one disk; caught up {how} in {duration(took)}, "
                f"{size(self.caught_up['uploadedBytes'] or 0)} verified",
            ],
        ]


class Scenes:
    """Plays them in a home whose platform is ready."""

    def __init__(self, layout: "Layout", organisation: str) -> None:
        self._layout = layout
        self._organisation = organisation
        self._disk: Path = layout.demo / "disk"
        self._scheduled: Document = {}
        self._tried = 0
        self.seen = ByItself()

    async def begin(self, client: "ApiClient", proven: "ApiClient") -> None:
        """Let a run be degraded, put the disk back, and let a schedule fall due: all goes on by itself from here."""
        await self._retire(proven)
        self._place()
        both = {"cloudPrimary": {"location": "cloud-primary", "required": True}}
        scheduled = await self._create(client, both)
        unplugged = await self._create(client, {**both, "local": {"location": DISK}})
        degraded = await self._ended(client, await self._execute(client, unplugged["id"]))
        if not (degraded["state"] == "completed" and degraded["degraded"]):
            raise _failed("the run without its disk", degraded)
        self.seen.runs["degraded"] = degraded
        self._disk.mkdir(parents=True)
        self._scheduled = scheduled
        await self._let_fall_due(client)

    async def end(self, client: "ApiClient", proven: "ApiClient", configuration_id: str) -> ByItself:
        """Wait for what was to come by itself, cancel a run of a configuration, and retire what was made for this."""
        self.seen.runs["caughtUp"] = await self._caught_up(client)
        self.seen.runs["scheduled"] = await self._fallen_due(client)
        self.seen.runs["cancelled"] = await self._cancelled(client, configuration_id)
        await self._retire(proven)
        return self.seen

    def leave(self) -> None:
        """Forget the disk, whatever has become of the scenes: nobody is to look for it any more."""
        from cli.tiers import forget
        from deploy.stack.locations import changed

        forget(self._layout, DISK, self._organisation)
        with changed(self._layout) as change:
            change(lambda locations: [each for each in locations if each.name != DISK])

    def _place(self) -> None:
        from chassis.location import Location
        from cli.tiers import forget
        from deploy.stack.locations import directory_url, register, source_location

        notes = self._layout.demo / "notes"
        shutil.rmtree(notes, ignore_errors=True)
        shutil.rmtree(self._disk, ignore_errors=True)
        notes.mkdir(parents=True)
        (notes / "guests.txt").write_text("".join(f"Guest {n}, table {n * n % 97}\n" for n in range(20_000)))
        register(self._layout, source_location(NOTES, notes, organisation=self._organisation))
        forget(self._layout, DISK, self._organisation)
        disk = Location(
            name=DISK,
            kind="directory",
            roles=("tier",),
            organisations=(self._organisation,),
            url=directory_url(self._disk),
        )
        register(self._layout, disk)

    async def _retire(self, proven: "ApiClient") -> None:
        """Also what one that was cut short has left."""
        for each in (await proven.get(f"{CONFIGURATIONS}?limit=200"))["items"]:
            if each["state"] != "retired" and (each["name"] or "").startswith(NAME):
                await proven.write("DELETE", f"{CONFIGURATIONS}/{each['id']}")

    async def _create(self, client: "ApiClient", destinations: "Document") -> "Document":
        body = {"sourceType": "directory", "sourceLocation": NOTES, "storageDestinations": destinations}
        made = await client.write("POST", CONFIGURATIONS, {"name": f"{NAME} {new_id()[-12:]}", **body})
        return {"id": made["id"], "version": made["version"], "body": {"name": made["name"], **body}}

    async def _execute(self, client: "ApiClient", configuration_id: str) -> str:
        accepted = await client.write("POST", "/api/backup/execute", {"configurationId": configuration_id})
        return str(accepted["id"])

    async def _ended(self, client: "ApiClient", execution_id: str) -> "Document":
        deadline = time.monotonic() + ENDS_SECONDS
        while (run := await client.execution(execution_id))["state"] not in ENDED:
            if time.monotonic() > deadline:
                raise PlatformError(errors.INTERNAL, f"a run has not ended: it is {run['state']}", run=execution_id)
            await asyncio.sleep(FOLLOW_SECONDS)
        return run

    async def _latest(self, client: "ApiClient", configuration_id: str, kind: str) -> "Document | None":
        runs = (await client.get(f"/api/backup/executions?configurationId={configuration_id}&limit=5"))["items"]
        return next((run for run in runs if run["executionType"] == kind), None)

    async def _caught_up(self, client: "ApiClient") -> "Document":
        degraded = self.seen.runs["degraded"]
        if degraded["followUpAt"] is None:
            # A platform that runs already, whose operator lets nothing follow by itself.
            run_id = await self._execute(client, degraded["configurationId"])
        else:
            begun = await self._appears(client, degraded["configurationId"], "catch-up", errors.TIER_BEHIND)
            run_id = begun["id"]
        run = await self._ended(client, run_id)
        if run["state"] != "completed" or run["degraded"]:
            raise _failed("the catch-up", run)
        return run

    async def _appears(
        self, client: "ApiClient", configuration_id: str, kind: str, code: ErrorCode, seconds: float = ENDS_SECONDS
    ) -> "Document":
        deadline = time.monotonic() + seconds
        while (run := await self._latest(client, configuration_id, kind)) is None:
            if time.monotonic() > deadline:
                raise PlatformError(code, f"no {kind} run has begun by itself within {seconds:.0f} s")
            await asyncio.sleep(FOLLOW_SECONDS)
        return run

    async def _let_fall_due(self, client: "ApiClient") -> None:
        known = self._scheduled
        schedule, self.seen.due_at = soonest(known["id"], SystemClock().now(), MARGINS[self._tried])
        self._tried += 1
        body = {**known["body"], "schedule": {"cron": schedule.cron, "jitterMinutes": schedule.jitter_minutes}}
        changed = await client.write("PUT", f"{CONFIGURATIONS}/{known['id']}", body, version=f'"{known["version"]}"')
        known["version"] = changed["version"]

    async def _fallen_due(self, client: "ApiClient") -> "Document":
        while True:
            is_last = self._tried == len(MARGINS)
            try:
                run = await self._appears(
                    client,
                    self._scheduled["id"],
                    "scheduled",
                    errors.SCHEDULE_MISSED,
                    seconds=MARGINS[self._tried - 1] + (ENDS_SECONDS if is_last else 10.0),
                )
                break
            except PlatformError as error:
                if error.code is not errors.SCHEDULE_MISSED or is_last:
                    raise
                await self._let_fall_due(client)  # The instant was over before the platform knew of it.
        run = await self._ended(client, run["id"])
        if run["state"] != "completed":
            raise _failed("the schedule's run", run)
        return run

    async def _cancelled(self, client: "ApiClient", configuration_id: str) -> "Document":
        for _ in range(CANCELLATIONS):
            run_id = await self._execute(client, configuration_id)
            try:
                await client.write("POST", f"/api/backup/executions/{run_id}/cancel")
            except PlatformError as error:
                if error.code is not errors.RUN_FINISHED:
                    raise
            run = await self._ended(client, run_id)
            if run["state"] == "cancelled":
                await asyncio.sleep(LETS_GO_SECONDS)
                return run
        raise PlatformError(errors.RUN_FINISHED, "each run was over before it could be cancelled")


def soonest(configuration_id: str, now: datetime, margin_seconds: float) -> tuple[Schedule, datetime]:
    """An hourly schedule of this configuration whose next instant is as soon as it can be, that far ahead; and when.

    Schedules name minutes; the jitter, which is each configuration's own, leads to seconds between them.
    """
    earliest = now + timedelta(seconds=margin_seconds)
    found = []
    for jitter in range(60):
        planned = Plan(Schedule(cron="0 * * * *", jitter_minutes=jitter), seed=configuration_id).after(now)
        assert planned is not None  # noqa: S101  # each hour has one
        ahead = (planned.at - earliest).total_seconds() % 60.0
        minutes = round((planned.at - earliest).total_seconds() // 60.0)
        found.append((earliest + timedelta(seconds=ahead), jitter, -minutes % 60))
    at, jitter, minute = min(found)
    return Schedule(cron=f"{minute} * * * *", jitter_minutes=jitter), at


def _failed(what: str, run: "Document") -> PlatformError:
    why = run["error"] or next((tier for tier in run["tiers"] if tier["code"]), None) or {}
    code = errors.catalogue().get(why.get("code") or "", errors.INTERNAL)
    state = f"{run['state']}{' (degraded)' if run['degraded'] else ''}"
    return PlatformError(code, f"{what} ended as {state}", hint=why.get("hint") or code.hint, execution=run["id"])
