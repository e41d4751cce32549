"""`wedsync-backup demo`: the main job from end to end, on real parts, and the proof that it was done.

It starts the platform where none runs in the home, makes a seeded folder of photos and contracts (or takes
`--directory`), creates a configuration over the REST API, backs up to four tiers with progress from the
WebSocket, deletes the local tier, restores from another one with the stand-alone CLI into a new place and once more
over the REST API, with a second factor, and compares every byte and every attribute of both. Beside it a schedule falls
due, a run is cancelled, and one without its disk is caught up (`cli.demo_by_itself`). Ends with 0 only where all
compared equal, with 10 where something differs. What was started is stopped; with `--open` not before Ctrl-C.
"""

import argparse
import asyncio
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.home import add_home, home_of
from cli.options import given

if TYPE_CHECKING:
    from cli.api import ApiClient, Document
    from cli.demo_by_itself import ByItself, Scenes
    from cli.demo_source import SourceSummary
    from cli.demo_summary import Outcome
    from cli.demo_told import Told
    from cli.demo_watch import Watch
    from deploy.stack.layout import Layout

DEFAULT_MEGABYTES = 64
LOCK_DAYS = 1
FOLLOW_SECONDS = 0.2
LOCATION = "demo-source"
TARGET = "demo-restored"
RESTORED_FROM = "cloud primary"
_WORDS = {
    "source": "the source is made",
    "begin-by-itself": "a run without its disk goes on",
    "by-itself": "what comes by itself is waited for",
    "backup": "the backup goes on",
    "restore": "the restore goes on",
    "recovery": "the recovery over the API goes on",
    "compare": "the copies are compared",
    "catch-up": "the local tier is filled again",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    add_home(parser)
    parser.add_argument("--directory", metavar="PATH", type=given, help="back up this folder instead of a seeded one")
    parser.add_argument("--size", type=_megabytes, default=DEFAULT_MEGABYTES, metavar="MB", help="of the seeded folder")
    parser.add_argument("--json", metavar="FILE", type=given, help="write all figures to this file as well")
    parser.add_argument(
        "--open", action="store_true", help="keep the platform up for a look at its console, until Ctrl-C"
    )
    parser.add_argument("--keep", action="store_true", help="leave the seeded and the restored folder for a look")


def run(arguments: argparse.Namespace) -> int:
    """Do the main job, say how it went."""
    from cli.demo_platform import platform
    from cli.output import duration, say
    from cli.patience import patience

    home = home_of(arguments)
    directory = None if arguments.directory is None else _checked(Path(arguments.directory), home)
    say(f"The platform starts in {home} …")
    with platform(home) as running:
        console = f"{running.layout.gateway_url}/console"
        if running.ready_seconds is not None:
            kept = "" if arguments.open else "; --open keeps it up afterwards"
            say(f"The platform is ready after {duration(running.ready_seconds)}. Its console: {console}{kept}")
        else:
            say(f"The platform runs already. Its console: {console}")
        demo = Demo(running.layout, directory, arguments.size, keep=arguments.keep)
        with patience("the demo goes on"):
            outcome = demo.perform(running.ready_seconds)
        if arguments.open:
            _tell(outcome, arguments.json)
            _stay(running.layout)
    if not arguments.open:
        _tell(outcome, arguments.json)
    return ExitCode.OK if outcome.comparison.is_equal else ExitCode.DIFFERENT


def _tell(outcome: "Outcome", file: str | None) -> None:
    from cli.output import say

    for line in outcome.page():
        say(line)
    if file is not None:
        Path(file).write_text(json.dumps(outcome.document(), indent=2) + "\n")


def _stay(layout: "Layout") -> None:
    """Say how to look at what was done, and wait for Ctrl-C."""
    from cli.home import home_option
    from cli.output import say

    who = f" --role auditor --second-factor --organisation {layout.remembered.demo_organisation}"
    say("")
    say(f"The console: {layout.gateway_url}/console")
    say(f"  a token to sign in with: wedsync-backup token --role owner{who}{home_option(layout.home)}")
    say("Ctrl-C ends it.")
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


class Demo:
    """One performance of the main job in a home whose platform is ready."""

    def __init__(self, layout: "Layout", directory: Path | None, megabytes: int, *, keep: bool) -> None:
        self._layout = layout
        self._organisation = layout.remembered.demo_organisation
        self._directory = directory
        self._megabytes = megabytes
        self._keep = keep
        self._seconds: dict[str, float] = {}

    def perform(self, ready_seconds: float | None) -> "Outcome":
        """Back up, lose, restore, compare. Raises PlatformError where a step fails."""
        from cli.demo_by_itself import Scenes
        from cli.demo_compare import compare_folders
        from cli.demo_restore import bring_local_tier_back, delete_local_tier, restore
        from cli.demo_summary import Outcome
        from cli.output import say, size
        from cli.tiers import forget

        restored = self._layout.demo / "restored"
        shutil.rmtree(restored, ignore_errors=True)
        with self._timed("source"):
            source, made = self._source()
        scenes = Scenes(self._layout, self._organisation)
        try:
            with self._timed("begin-by-itself"):
                asyncio.run(self._begin(scenes))
            say("A run without its disk is degraded, the disk is put back, and a schedule falls due in a moment.")
            with self._timed("backup"):
                execution, watched, told = asyncio.run(self._back_up(source))
            with self._timed("by-itself"):
                by_itself = asyncio.run(self._end(scenes, execution["configurationId"]))
            say("The schedule's run and the catch-up have come by themselves; another run is cancelled.")
            # Said before it is done: a demo that is cut short in between leaves no tier that counts as vanished.
            forget(self._layout, "local", self._organisation)
            deleted = delete_local_tier(self._layout, self._organisation)
            say(f"The local tier of the demo is deleted: {size(deleted)} are gone.")
            with self._timed("restore"):
                snapshot_id = execution["completionDetails"]["snapshotId"]
                back = restore(self._layout, self._organisation, snapshot_id, restored)
            say(f"Restored from {RESTORED_FROM} into {restored}.")
            recovered = self._layout.demo / "recovered"
            shutil.rmtree(recovered, ignore_errors=True)
            recovered.mkdir(parents=True)
            with self._timed("recovery"):
                recovery = asyncio.run(self._recover(execution["id"], recovered))
            say(f"Recovered over the API into {recovered}, and verified there.")
            with self._timed("compare"):
                comparison = compare_folders(bytes(source), bytes(restored))
                by_api = compare_folders(bytes(source), bytes(recovered))
                comparison = comparison if by_api.is_equal else by_api
            with self._timed("catch-up"):
                caught_up = bring_local_tier_back(self._layout, self._organisation)
        finally:
            scenes.leave()
            if not self._keep:
                shutil.rmtree(self._layout.demo, ignore_errors=True)
        return Outcome(
            home=self._layout.home,
            source=source,
            made=made,
            execution=execution,
            watched=watched,
            deleted_bytes=deleted,
            restored_from=RESTORED_FROM,
            restored=back,
            recovery=recovery,
            told=told,
            by_itself=by_itself,
            caught_up=caught_up,
            comparison=comparison,
            platform_ready_seconds=ready_seconds,
            seconds=self._seconds,
        )

    def _source(self) -> "tuple[Path, SourceSummary | None]":
        """The user's folder, or a new seeded one."""
        from cli.demo_source import make_source
        from cli.output import say, size

        if self._directory is not None:
            say(f"The source is {self._directory}.")
            return self._directory, None
        folder = self._layout.demo / "source"
        shutil.rmtree(folder, ignore_errors=True)
        made = make_source(folder, megabytes=self._megabytes)
        say(
            f"The source has {made.photos} photos and {made.contracts} contracts, {size(made.content_bytes)}, "
            f"and {made.others} oddities: {folder}."
        )
        return folder, made

    async def _back_up(self, source: Path) -> "tuple[Document, Watch, Told]":
        """Register the source, create a configuration, execute it and follow it to its end."""
        from chassis.ids import new_id
        from cli.demo_told import told_of
        from cli.demo_watch import watch
        from cli.output import say
        from cli.progress import display
        from contracts import errors
        from contracts.errors import PlatformError, catalogue
        from deploy.stack.locations import register, source_location

        register(self._layout, source_location(LOCATION, source, organisation=self._organisation))
        client = self._client()
        try:
            name = f"Demo {new_id()[-12:]}"
            configuration = await client.write("POST", "/api/backup/configurations", _configuration(name))
            say(f"Configuration {configuration['id']} is created: {name}, four tiers, all required.")
            request = {"configurationId": configuration["id"]}
            async with told_of(client, self._layout, self._organisation, configuration["id"]) as told:
                accepted = await client.write("POST", "/api/backup/execute", request)
                say(f"Execution {accepted['id']} is accepted.")
                with display(for_machines=False) as bars:
                    execution, watched = await watch(client, accepted["id"], bars.show)
                await told.take(execution)
        finally:
            await client.close()
        if execution["state"] != "completed" or execution["degraded"]:
            why = execution["error"] or {"code": "tier-behind", "hint": "Look at the tiers of the execution."}
            raise PlatformError(
                catalogue().get(why["code"], errors.INTERNAL),
                f"the backup ended as {execution['state']}{' (degraded)' if execution['degraded'] else ''}",
                hint=why["hint"],
                execution=execution["id"],
            )
        say("The backup is on all four tiers and was verified there.")
        return execution, watched, told

    async def _begin(self, scenes: "Scenes") -> None:
        client, proven = self._client(), self._client(second_factor=True)
        try:
            await scenes.begin(client, proven)
        finally:
            await client.close()
            await proven.close()

    async def _end(self, scenes: "Scenes", configuration_id: str) -> "ByItself":
        client, proven = self._client(), self._client(second_factor=True)
        try:
            return await scenes.end(client, proven, configuration_id)
        finally:
            await client.close()
            await proven.close()

    async def _recover(self, recovery_point_id: str, folder: Path) -> "Document":
        """Restore the point over the API into an empty folder, which is registered for it, and follow it to its end."""
        from contracts import errors
        from contracts.errors import PlatformError, catalogue
        from deploy.stack.locations import register, target_location

        register(self._layout, target_location(TARGET, folder, organisation=self._organisation))
        client = self._client(second_factor=True)
        try:
            request = {"recoveryPointId": recovery_point_id, "targetLocation": TARGET}
            recovery = await client.write("POST", "/api/backup/recovery/initiate", request)
            while recovery["finishedAt"] is None:
                await asyncio.sleep(FOLLOW_SECONDS)
                recovery = await client.get(f"/api/backup/recovery/operations/{recovery['id']}")
        finally:
            await client.close()
        if recovery["state"] != "completed" or recovery["degraded"]:
            why = recovery["error"] or {"code": "recovery-incomplete", "hint": errors.RECOVERY_INCOMPLETE.hint}
            raise PlatformError(
                catalogue().get(why["code"], errors.INTERNAL),
                f"the recovery ended as {recovery['state']}{' (degraded)' if recovery['degraded'] else ''}",
                hint=why["hint"],
                operation=recovery["id"],
            )
        return recovery

    def _client(self, *, second_factor: bool = False) -> "ApiClient":
        from chassis.ids import new_id
        from cli.api import ApiClient
        from deploy.stack.identity_provider import IdentityProvider

        provider, person = IdentityProvider.of(self._layout), new_id()
        return ApiClient(
            self._layout.gateway_url,
            lambda: provider.token(
                organisation=self._organisation, roles=["owner"], subject=person, second_factor=second_factor
            ),
            new_key=new_id,
        )

    @contextmanager
    def _timed(self, step: str) -> Iterator[None]:
        from cli.patience import patience

        begun = time.monotonic()
        with patience(_WORDS[step]):
            yield
        self._seconds[step] = time.monotonic() - begun


def _configuration(name: str) -> "Document":
    from cli.demo_watch import TIERS

    return {
        "name": name,
        "sourceType": "directory",
        "sourceLocation": LOCATION,
        "sourceIdentifier": "",
        "backupType": "full",
        "storageDestinations": {
            tier: {"location": place, "required": True, "lockDays": LOCK_DAYS if tier == "offsite" else 0}
            for tier, place in TIERS.items()
        },
        "isWeddingCritical": True,
        "weddingDate": "2027-06-19",
        "tags": ["demo"],
    }


def _checked(directory: Path, home: Path) -> Path:
    """The folder to back up. The platform never reads its own data and keys, so the home must lie elsewhere."""
    from contracts import errors
    from contracts.errors import PlatformError

    folder = directory.resolve()
    if not folder.is_dir():
        raise PlatformError(errors.SOURCE_UNREACHABLE, f"{directory} is no folder")
    if home.resolve().is_relative_to(folder):
        raise PlatformError(
            errors.SOURCE_UNREACHABLE,
            f"the platform's own home lies inside {directory}, and is never backed up",
            hint="Name a home elsewhere with --home.",
        )
    return folder


def _megabytes(text: str) -> int:
    megabytes = int(text)
    if not 1 <= megabytes <= 1_000_000:
        raise argparse.ArgumentTypeError("between 1 and 1000000")
    return megabytes
