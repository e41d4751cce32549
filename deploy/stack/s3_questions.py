"""What the supervisor asks an S3 server: whether its bucket is there, and whether it writes and reads.

The bucket is made in a new store alone. In a store that was used, a missing bucket is a loss: it is told, and
filled again only once an operator has said that the empty one is meant. The small object that is written and read
lies in a bucket of its own, which keeps no versions: nothing of an organisation's is touched. It says nothing of the
tier's bucket, whose objects lie in other volumes: for those the server is asked for a place, as for a new object.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from chassis.clock import Clock, SystemClock
from contracts.errors import PlatformError
from deploy.stack.probes import Grade, Probe, Trouble, http_get
from deploy.stack.s3_regions import Region
from deploy.stack.s3_request import Answer, ServerSilent, request
from deploy.stack.secrets import S3Credentials
from deploy.stack.stores import Store

PROBE_BUCKET = "wedsync-supervisor"
WRITE_SECONDS = 30.0
"""How often a write is tried, while it works."""
ROOMY_BYTES = 1 << 30
"""From so much free space on, several volumes, a server without one has most often only just started."""

_OBJECT = f"/{PROBE_BUCKET}/probe"
_THERE_ALREADY = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


class _Place(msgspec.Struct):
    error: str = ""


_PLACE = msgspec.json.Decoder(_Place)


class S3Questions:
    """The questions to one server, as its administrator."""

    def __init__(
        self,
        port: int,
        region: Region,
        credentials: S3Credentials,
        store: Store,
        *,
        master_port: int,
        clock: Clock | None = None,
    ) -> None:
        self._port = port
        self._master_port = master_port
        self._region = region
        self._credentials = credentials
        self._store = store
        self._clock = clock or SystemClock()
        self._is_installed = False
        self._written_at: float | None = None

    def begin(self) -> None:
        """A new process of the server is asked everything anew."""
        self._is_installed = False
        self._written_at = None

    def probe(self) -> Probe:
        """Ready when the store is in its place, the bucket is there as declared, and a write can be read again."""

        async def ask() -> Trouble | None:
            lost = await self._store.trouble()
            if lost is not None:
                return lost
            try:
                # What the server has made at its first start is seen before anybody relies on it.
                return await self._bucket_trouble() or await self._write_trouble() or await self._store.trouble()
            except ServerSilent as error:
                return Trouble(f"does not answer: {error}", restart_helps=True)

        return ask

    async def _bucket_trouble(self) -> Trouble | None:
        bucket = f"/{self._region.bucket}"
        found = await self._ask("GET", bucket, query="location=")
        if found.code == "NoSuchBucket":
            if self._store.is_known:
                return _for_operator(self._store.gone(f"has lost its bucket {self._region.bucket}"))
            found = await self._make_bucket(bucket)
        if not found.is_success:
            return Trouble(f"the bucket {self._region.bucket}: {_words(found)}")
        if not self._is_installed:
            if self._region.lock and "<ObjectLockEnabled>Enabled<" not in (await self._object_lock(bucket)).body:
                return Trouble(
                    f"the bucket {self._region.bucket} has no object lock, and none can be added to it: make another"
                    " one, and point the location at it",
                    Grade.NEEDS_OPERATOR,
                )
            await self._store.keep()
            self._is_installed = True
        return None

    async def _make_bucket(self, bucket: str) -> Answer:
        lock = {"x-amz-bucket-object-lock-enabled": "true"} if self._region.lock else None
        made = await self._ask("PUT", bucket, headers=lock)
        return Answer(200, "") if made.code in _THERE_ALREADY else made

    async def _object_lock(self, bucket: str) -> Answer:
        return await self._ask("GET", bucket, query="object-lock=")

    async def _write_trouble(self) -> Trouble | None:
        """Every now and then, and again and again where it fails: that is how a full disk is noticed."""
        if self._written_at is not None and time.monotonic() - self._written_at < WRITE_SECONDS:
            return None
        self._written_at = None
        if (full := await self._place_trouble()) is not None:
            return full
        body = self._clock.now().isoformat().encode()
        written = await self._ask("PUT", _OBJECT, body=body)
        if written.code == "NoSuchBucket":
            await self._ask("PUT", f"/{PROBE_BUCKET}")
            written = await self._ask("PUT", _OBJECT, body=body)
        if not written.is_success:
            return Trouble(f"does not take a write: {_words(written)} (is the disk of {self._store.folder} full?)")
        read = await self._ask("GET", _OBJECT)
        if read.body != body.decode():
            return Trouble(f"does not give back what was written: {_words(read)}")
        self._written_at = time.monotonic()
        return None

    async def _place_trouble(self) -> Trouble | None:
        """Whether the tier's bucket has a volume that takes an object, or could get one. Nothing is written."""
        try:
            _, answer = await http_get(self._master_port, f"/dir/assign?collection={self._region.bucket}")
            found = _PLACE.decode(answer)
        except (OSError, TimeoutError, ValueError) as error:
            raise ServerSilent(str(error) or type(error).__name__) from error
        if not found.error:
            return None
        try:
            free = await self._store.disk.ask(lambda: shutil.disk_usage(self._store.folder).free)
        except OSError:
            free = None  # What is wrong with its disk is told elsewhere.
        return _trouble_of_place(found.error, self._region.bucket, self._store.folder, free)

    async def _ask(
        self, method: str, path: str, *, query: str = "", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        return await request(
            self._port,
            method,
            path,
            credentials=self._credentials,
            region=self._region.region,
            now=self._clock.now(),
            query=query,
            headers=headers,
            body=body,
        )


def _trouble_of_place(words: str, bucket: str, folder: Path, free: int | None) -> Trouble:
    """Why there is no place: a disk is full where it is, whatever a server says that counts its volumes still.

    `free`: bytes on the disk, where they are known.
    """
    if "volume" not in words.lower():
        return Trouble(f"has no place yet for an object of the bucket {bucket}: {words}: it starts still")
    if free is not None and free >= ROOMY_BYTES:
        return Trouble(
            f"has no place yet for an object of the bucket {bucket}: {words}: it counts its volumes still. Where that"
            f" stays, the {free >> 20} MiB that are free on the disk of {folder} are too few for another one: free"
            " more, or move it to a larger disk"
        )
    return Trouble(
        f"has no room for an object of the bucket {bucket}: {words}: free space on the disk of {folder}, or move it"
        " to a larger one",
        Grade.NEEDS_OPERATOR,
    )


def _for_operator(error: PlatformError) -> Trouble:
    return Trouble(f"{error}. {error.hint}", Grade.NEEDS_OPERATOR)


def _words(answer: Answer) -> str:
    return answer.code or f"the server answers {answer.status}"
