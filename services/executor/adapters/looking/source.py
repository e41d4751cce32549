"""The source of a configuration that is tested: opened as a run opens it, then a bounded look at what is in it."""

import os
import stat
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

from chassis.disk import Disk
from chassis.life.signs import Signs
from chassis.locations import Locations
from contracts import errors
from contracts.configuration import SourceType
from contracts.errors import PlatformError
from contracts.trial import Check, CostEstimate, EstimatedFrom, Verdict
from repository.backup.source import FileProblem, Reason, Source, SourceDirectory, SourceUnreachable
from repository.errors import AccessDenied
from services.executor.adapters.looking.place import ASK_SECONDS, Place, Told
from services.executor.adapters.run_sources import RunSources
from services.executor.ports import TrialTask
from sources.s3.source import BucketSource
from vault.stores import find_location, folder_of

LOOK_SECONDS = 8.0
ENTRIES_MAX = 100_000
PAGES_MAX = 20
"""How much of a source is looked at: what is larger is estimated by the latest run."""
READ_MAX = 8
"""So many files are tried, one byte of each."""
_DENIED = frozenset({"credentials-refused", "access-denied"})


@dataclass
class Walked:
    """What a look has counted. `is_whole`: all of the source."""

    files: int = 0
    bytes: int = 0
    unreadable: int = 0
    tried: int = 0
    is_whole: bool = False


class SourcePlace:
    """What is backed up. `disk`: of a folder, one for all who ask it."""

    def __init__(
        self,
        locations: Locations,
        sources: RunSources,
        disk: Callable[[bytes], Disk],
        organisation: str,
        task: TrialTask,
    ) -> None:
        self._locations, self._sources, self._disk = locations, sources, disk
        self._organisation, self._task = organisation, task
        self._walked: Walked | None = None
        checks = [(Check.SOURCE_REACHABLE, self._reachable), (Check.SOURCE_READABLE, self._readable)]
        if task.body.source_type is not SourceType.DIRECTORY:
            checks.insert(0, (Check.SOURCE_CREDENTIALS, self._credentials))
        self.place = Place(checks, task.body.source_location, errors.SOURCE_UNREACHABLE)
        self._refused: PlatformError | None = None

    def _credentials(self) -> None:
        try:
            self._open().close()
        except PlatformError as error:
            self._refused = error
            if error.code is errors.LOCATION_UNUSABLE:
                raise
            if _is_denied(error):
                raise Told(Verdict.FAIL, errors.LOCATION_ACCESS_DENIED) from error

    def _reachable(self) -> None:
        error, self._refused = self._refused, None
        if error is not None and not _answers(error):
            raise error
        if self._task.body.source_type is SourceType.DIRECTORY:
            location = self._task.body.source_location
            found = find_location(self._locations, self._organisation, location, role="source")
            if found is not None and found.kind == "directory":
                folder = folder_of(found)
                self._disk(folder).answer(lambda: os.stat(folder), seconds=ASK_SECONDS)
            self._open().close()

    def _readable(self) -> None:
        with closing(self._open()) as source:
            found = self._walked = walked(source)
        if found is None:
            return  # A database says as a whole whether it can be read.
        if found.unreadable:
            hint = f"Of what was looked at {found.unreadable} entries cannot be read: give the platform the right to."
            raise Told(Verdict.FAIL, errors.SOURCE_INCOMPLETE, hint)
        if not found.tried:
            raise Told(Verdict.UNDECIDED, errors.SOURCE_EMPTIED, "Nothing was found in it that could be tried.")

    def _open(self) -> Source:
        return self._sources.open(self._organisation, self._task.body, Signs(), probe_seconds=ASK_SECONDS)

    def estimate(self) -> CostEstimate:
        """By a look at all of it, else by the latest run; what was not seen is not estimated."""
        last, found = self._task.last_run, self._walked
        seconds = None if last is None else last.seconds
        if found is not None and found.is_whole:
            if last is not None and last.source_bytes:
                seconds = round(last.seconds * found.bytes / last.source_bytes, 3)
            return CostEstimate(
                source_bytes=found.bytes, files=found.files, seconds=seconds, estimated_from=EstimatedFrom.LOOK
            )
        at_least = None if found is None or not found.bytes else found.bytes
        if last is None:
            return CostEstimate(at_least=at_least)
        return CostEstimate(
            source_bytes=last.source_bytes,
            files=last.files,
            seconds=seconds,
            at_least=at_least,
            estimated_from=EstimatedFrom.LAST_RUN,
        )


def walked(source: Source) -> Walked | None:
    """Count what is in a source, for so long, and try some files; None where only a dump would tell."""
    found, until = Walked(), time.monotonic() + LOOK_SECONDS
    if isinstance(source, BucketSource):
        _walk_bucket(source, found, until)
        return found
    if not hasattr(source, "one_file_system"):
        return None
    _, root = source.root()
    waiting: list[SourceDirectory] = [root]
    entries = 0
    while waiting:
        folder = waiting.pop()
        with closing(folder):
            try:
                names = folder.names()
            except FileProblem as problem:
                found.unreadable += problem.reason is not Reason.EXCLUDED
                continue
            rows = folder.rows(names, lambda _name, problem: _count(found, problem)).rows
            for name, row in zip(names, rows, strict=True):
                entries += 1
                if entries > ENTRIES_MAX or time.monotonic() > until:
                    for each in waiting:
                        each.close()
                    return found
                if row is None:
                    continue
                if stat.S_ISDIR(row[0]):
                    try:
                        waiting.append(folder.enter(name))
                    except FileProblem as problem:
                        _count(found, problem)
                elif stat.S_ISREG(row[0]):
                    found.files += 1
                    found.bytes += row[3]
                    _try(folder, name, row, found)
    found.is_whole = True
    return found


def _count(found: Walked, problem: FileProblem) -> None:
    found.unreadable += problem.reason is Reason.UNREADABLE


def _try(folder: SourceDirectory, name: bytes, row: Any, found: Walked) -> None:
    """One byte of a file. Each is opened, which costs little, until some were read."""
    if found.tried >= READ_MAX:
        return
    found.tried += 1
    try:
        with closing(folder.open(name, row)) as file:
            file.read_into(memoryview(bytearray(1)))
    except FileProblem as problem:
        _count(found, problem)


def _walk_bucket(source: BucketSource, found: Walked, until: float) -> None:
    bucket, after = source.bucket, ""
    for _ in range(PAGES_MAX):
        page = bucket.call(partial(_page, bucket.name, bucket.prefix, after))
        objects = page.get("Contents", [])
        for each in objects:
            found.files += 1
            found.bytes += each["Size"]
            if found.tried < 1:
                found.tried += 1
                bucket.call(partial(_read_one, bucket.name, each["Key"]))
        if not page.get("IsTruncated") or not objects:
            found.is_whole = True
            return
        after = objects[-1]["Key"]
        if time.monotonic() > until:
            return


def _page(name: str, prefix: str, after: str, client: Any) -> Any:
    return client.list_objects_v2(Bucket=name, Prefix=prefix, StartAfter=after)


def _read_one(name: str, key: str, client: Any) -> None:
    """As a run reads each that is new: its body and its tags."""
    client.get_object(Bucket=name, Key=key, Range="bytes=0-0")["Body"].close()
    client.get_object_tagging(Bucket=name, Key=key)


def _is_denied(error: PlatformError) -> bool:
    """Whether whoever has the source does not take these credentials."""
    cause = error.__cause__
    if not isinstance(cause, SourceUnreachable):
        return False
    return cause.context.get("reason") in _DENIED or isinstance(cause.__cause__, AccessDenied)


def _answers(error: PlatformError) -> bool:
    """Whether a database that cannot be read as a whole is there all the same."""
    cause = error.__cause__
    return isinstance(cause, SourceUnreachable) and bool(cause.context.get("answers"))
